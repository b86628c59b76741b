"""The intake sheet: `index.html` and `intake.json` about somebody else's release, made from public data alone.

With `--for` it also quotes records of this site.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from embhub.audits.audit_page import TONES
from embhub.audits.explanation import plural
from embhub.client.account import accounts
from embhub.client.monitor import watching
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import site_policy
from embhub.errors import UsageError
from embhub.evidence import controls, folders, pack
from embhub.evidence.intake_document import Intake, Source
from embhub.evidence.intake_sheet import intake_gathering
from embhub.evidence.languages import CODES, Translation, load
from embhub.evidence.sections import sections
from embhub.evidence.sections.cover import VERDICTS
from embhub.evidence.sections.guarantee import guarantee
from embhub.pages import rendering
from embhub.pages.messages import ENGLISH, Day, Language, count
from embhub.release import policy as policies
from embhub.release.files import Release
from embhub.release.verified import Verified

PAGE, DOCUMENT = "index.html", "intake.json"
_TRANSLATED, _CONTROLS = "index.{}.html", "{}.html"


def write_intake(
    target: str,
    folder: str | Path,
    *,
    policy: str = "standard",
    require: str = "",
    registry: str | None = None,
    languages: Sequence[str] = (),
    standards: Sequence[str] = (),
    now: datetime | None = None,
) -> Intake:
    """Verify a release and write the sheet about it; returns what `intake.json` says.

    Nothing is written where verification or the policy refuses. An earlier sheet in the folder is replaced.

    Args:
        target: `namespace/name`, a folder as `pull` writes it, or a signed file; only the first needs a network.
        folder: where the sheet goes.
        policy: as for `pull`.
        require: as for `pull`.
        registry: as for `pull`; for a repository.
        languages: codes of languages in which the first and the last sections are written too, as `index.CODE.html`.
        standards: keys of `controls.STANDARDS` whose controls are listed too, as `KEY.html`. These sheets also quote
            what this site's own records say of the training, where it has any.
        now: time of making, with its zone  [default: the clock].

    Raises:
        VerificationError: it is not what a trusted publisher signed.
        PolicyError: the policy refuses the release.
        RegistryError: the registry refuses or cannot be reached.
        ConfigError: no keyring is trusted, or the folder holds something else or cannot be written.
        UsageError: there is nothing of that name, or no translation into a language, or no Babel, or no such standard.
        LedgerTamperedError: standards are asked for, and this site's privacy ledger was changed.
    """
    if unknown := set(standards) - set(controls.STANDARDS):
        raise UsageError(f"no controls are known for {min(unknown)!r}", f"known: {', '.join(controls.STANDARDS)}")
    folder, translations = Path(folder), [load(code) for code in languages]
    others = {PAGE, *map(_TRANSLATED.format, CODES), *map(_CONTROLS.format, controls.STANDARDS)}
    folders.check(folder, DOCUMENT, Intake.parse, beside=others, what="intake sheet")
    verified, release, source = _verify(target, policy=policy, require=require, registry=registry)
    intake = intake_gathering.gather(verified, release, source=source, now=now or datetime.now(UTC))
    pages = {_TRANSLATED.format(one.code): render_translation(intake, one).encode() for one in translations}
    if standards:
        ledger, second = pack.ask_ledger(release), pack.find_second_opinion(release)
        facts = controls.Facts(intake, verified, release, ledger, second)
        listed = {key: controls.list_controls(key, facts) for key in standards}
        intake = intake.model_copy(update={"controls": listed})
        private = (ledger or second) is not None
        pages |= {_CONTROLS.format(key): render_controls(intake, key, private=private).encode() for key in listed}
    folders.write_whole(folder, {PAGE: render(intake).encode(), **pages, DOCUMENT: intake.to_bytes()})
    return intake


def render(intake: Intake) -> str:
    """The page of a sheet: HTML 5; text that came with the release is escaped."""
    return str(
        rendering.render(
            "embhub.evidence",
            "intake.html.j2",
            **_shared(intake, ENGLISH),
            form=intake.form,
            tone=TONES[intake.audit.verdict] if intake.audit else "open",
            units=plural(intake.audit.unit) if intake.audit else "",
            claim=sections.describe_guarantee(intake.privacy),
            gauge=sections.draw_gauge(intake.audit, intake.privacy) if intake.audit else "",
        )
    )


def render_translation(intake: Intake, language: Translation) -> str:
    """The first and the last sections in another language, marked as a translation.

    Args:
        intake: what the English page says.
        language: what the page is in.

    Returns:
        HTML 5; what people wrote, and what checks and audits say in English, is not translated.
    """
    use = intake.form[0].from_card
    return str(
        rendering.render(
            "embhub.evidence",
            "intake_translation.html.j2",
            **_shared(intake, language),
            form=intake_gathering.list_fields(use, review_by=intake.review_by, language=language),
            code=language.code,
            english=ENGLISH,
        )
    )


def render_controls(intake: Intake, key: str, *, private: bool) -> str:
    """The sheet of a standard's controls: HTML 5, text of the release escaped. `private`: records are quoted."""
    page = rendering.render(
        "embhub.evidence", "controls.html.j2", intake=intake, title=f"{intake.repository} {intake.version}",
        standard=controls.STANDARDS[key], controls=intake.controls[key], not_advice=controls.NOT_ADVICE,
        blanks=sections.BLANKS, private=private,
    )  # fmt: skip
    return str(page)


def _shared(intake: Intake, language: Language) -> dict[str, Any]:
    return {
        "intake": intake, "title": f"{intake.repository} {intake.version}", "say": language.say,
        "verdict": language.say(VERDICTS[intake.audit.verdict]) if intake.audit else "",
        "guarantee": guarantee(intake.privacy, language), "signers": sections.SIGNERS, "blanks": sections.BLANKS,
        "count": count, "day": Day,
    }  # fmt: skip


def _verify(target: str, *, policy: str, require: str, registry: str | None) -> tuple[Verified, Release, Source]:
    chosen = site_policy.choose(policy, require)
    if pulling.names_repository(target):
        fetched = pulling.fetch(target, policy=chosen, registry=registry)
        pulling.remember(fetched)
        verified, source = fetched.verified, Source(
            asked=target, registry=fetched.verified.signer.registry, commit=fetched.commit
        )  # fmt: skip
        if watching.is_copy(accounts.connect(registry).registry):  # it may be older than a withdrawal
            verified = replace(verified, unanswered=verified.unanswered | {policies.YANKS})
        return verified, fetched.release, source
    release = pulling.read_release(target)
    verified = pulling.verify_release(release, target=target, policy=chosen)
    return verified, release, Source(asked=Path(target).name, registry=None, commit=None)
