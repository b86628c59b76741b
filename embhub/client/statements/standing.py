"""What a registry says of a release when it is asked: was it taken back, who else audited or evaluated its bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from embhub.client.statements import memory, reports
from embhub.errors import RegistryError
from embhub.formats.plain_text import plain
from embhub.refusals import Finding
from embhub.release import policy as policies
from embhub.release.checks import attested
from embhub.release.verification import Verified

if TYPE_CHECKING:
    from embhub.client.wire.hub import Hub
    from embhub.release.checks.attested import Attested
    from embhub.trust.keyring import Trust

_Read = TypeVar("_Read")


def ask(hub: Hub, verified: Verified, commit: str, trusts: Sequence[Trust]) -> tuple[Verified, bool]:
    """The release with what its registry says of it: was it taken back, who else audited these bytes.

    A host that is no embhub registry says nothing. Where `hub` is a copy, or does not answer, what the registry itself
    said before counts too. Also whether the registry itself gave its list of what was taken back.
    """
    from embhub.client.trusted import vouching  # here, not above: a folder is verified without it
    from embhub.release.checks import yanks

    digest, repository = verified.digest, verified.repository
    unanswered, remarks = set[str](), list[Finding]()
    others: tuple[Attested, ...] = ()
    yanked = _hear(
        hub, yanks.CHECK, "this release is yanked", lambda: hub.status(repository),
        lambda said: [yank for yank in yanks.parse(said, repository=repository) if yank.revision == commit],
    )  # fmt: skip
    if not isinstance(yanked, list):  # no answer, or no such address
        unanswered.add(policies.YANKS)
        remarks += [yanked] if yanked else []
    first = yanked[0] if isinstance(yanked, list) and yanked else None
    checked = {item.envelope: item.audit for item in verified.audit_files if not item.left_out}
    numbers = verified.embedding.numbers
    audits = _hear(
        hub, attested.CHECK, "others audited these bytes", lambda: hub.statements("audits", digest),
        lambda said: (
            *attested.parse(said, digest=digest, trusts=trusts, numbers=numbers, checked=checked), said,
        ),
    )  # fmt: skip
    if audits is not None and not isinstance(audits, Finding):
        others, refused, said = audits
        nearly = _hear(hub, attested.CHECK, "others audited these bytes", lambda: said, attested.nearly)
        if isinstance(nearly, tuple):
            remarks += [Finding(attested.CHECK, "warning", text) for text in nearly]
            remarks += _say_refused(attested.CHECK, hub.registry, "audits", refused)
        else:
            audits = nearly
    if audits is None or isinstance(audits, Finding):
        unanswered.add(policies.AUDITS)
        remarks += [audits] if audits else []
    told = verified.told(
        yanked=first, others=others, remembered=reports.audits(digest), unanswered=unanswered
    )  # fmt: skip
    found = [first.as_finding(hub.registry)] if first else []
    told = memory.say_claim(replace(told, findings=(*found, *told.findings, *remarks)))
    if isinstance(yanked, list) and vouching.is_itself(hub.registry, told.signer.registry):
        return told, True
    return memory.say_yank(told), False


def ask_evaluations(hub: Hub, verified: Verified, trusts: Sequence[Trust]) -> Verified:
    """The release with what others found of its bytes: each a note, whatever it says.

    A registry that does not answer, or answers nonsense, changes nothing but the findings.
    """
    from embhub.release.checks import evaluated

    heard = _hear(
        hub, evaluated.CHECK, "others evaluated these bytes", lambda: hub.statements("evaluations", verified.digest),
        lambda said: evaluated.parse(said, digest=verified.digest, trusts=trusts),
    )  # fmt: skip
    if heard is None or isinstance(heard, Finding):
        return replace(verified, findings=(*verified.findings, *([heard] if heard else [])))
    found, removed, refused = heard
    said = [*evaluated.say(found, removed), *_say_refused(evaluated.CHECK, "the registry", "evaluations", refused)]
    return replace(verified, findings=(*verified.findings, *said), evaluations=found)


def _hear(
    hub: Hub, check: str, what: str, question: Callable[[], bytes | None], read: Callable[[bytes], _Read]
) -> _Read | Finding | None:
    """What a registry answers; None where it has no such address, and a finding where it gave no answer that counts."""
    try:
        said = question()
        return None if said is None else read(said)
    except RegistryError as error:
        return Finding(check, "note", f"not known whether {what}: {error.message}")
    except ValueError as error:
        text = f"{hub.registry} returned an invalid answer when asked whether {what}; ignored: {plain(error)}"
        return Finding(check, "warning", text)


def _say_refused(check: str, who: str, what: str, number: int) -> list[Finding]:
    text = f"{who} showed {what} of these bytes that do not verify: {number}, left out"
    return [Finding(check, "warning", text)] if number else []
