"""Was a release's audit registered in the log before it ran, and no other one dropped? Added by `pull` and `verify`.

The whole log is read for it: what is missing is seen in the log's own entries, not in what a registry says of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from embhub.client import logged
from embhub.errors import RegistryError
from embhub.formats.plain_text import plain
from embhub.log.errors import LogError
from embhub.refusals import Finding, ReleaseRefusedError
from embhub.release.checks import preregistered
from embhub.release.checks.preregistered import CHECK

if TYPE_CHECKING:
    from embhub.client.log_reader import LogSource
    from embhub.log.notes import VerifierKey
    from embhub.release.checks.registered_audits import Shown
    from embhub.release.files import Release
    from embhub.release.verified import Verified
    from embhub.trust.bundle import Bundle
    from embhub.trust.keyring import Trust

MOST_ENTRIES = 100_000  # some 50 MB
Ask = Callable[[str], bytes | None]
"""`ask(digest)`: a registry's list of designs of an embedding, unverified; None where it keeps none."""


def check(
    verified: Verified, release: Release, *, trusts: Sequence[Trust], source: LogSource | None, ask: Ask | None
) -> Verified:
    """Look the registered audit of a verified release up in the log of its registry.

    Args:
        source: the registry's log; None where no network is asked: then what this site read before counts.
        ask: where designs that the release does not hold come from.

    Raises:
        LogError: the log is not what its checkpoint says, or forked. ConfigError: the site's memory is damaged.
    """
    found = preregistered.bundles(release)
    if verified.report is None:
        return verified
    if found is None:
        return _warn_of_unnamed(verified, ask)
    trust = logged.trust_of(verified, trusts)
    key = logged.known_key(trust)
    if key is None:
        return _say(verified, [Finding(CHECK, "warning", f"unknown: {trust.registry} keeps no transparency log")])
    try:
        if source is None:
            return _say(verified, _remembered(key, found))
        return _say(verified, _read(verified, found, key, trust=trust, source=source, ask=ask))
    except LogError as refusal:
        refusal.findings = (*verified.findings, Finding(refusal.rule, "failed", refusal.message))
        raise
    except RegistryError as error:
        return _say(verified, [Finding(CHECK, "warning", f"unknown: the log was not read: {error.message}")])


def _read(
    verified: Verified, found: tuple[Bundle, Bundle], key: VerifierKey, *, trust: Trust, source: LogSource,
    ask: Ask | None,
) -> list[Finding]:  # fmt: skip
    from embhub.client import log_reader
    from embhub.log import checkpoints
    from embhub.release.checks import registered_audits
    from embhub.release.checks.registered_audits import Shown
    from embhub.site import read_designs

    data = log_reader.checkpoint(source)
    if data is None:
        return [Finding(CHECK, "warning", f"unknown: the log of {key.name} shows no checkpoint")]
    signed = checkpoints.open_signed(data, log=key)
    if signed.size > MOST_ENTRIES:
        text = f"unknown: the log has {signed.size:,} entries, and at most {MOST_ENTRIES:,} are read for this"
        return [Finding(CHECK, "warning", text)]
    logged.compare(key, signed, source)
    entries = log_reader.whole(source, signed)
    shown, remarks = _shown(verified.digest, ask)
    rows = registered_audits.find(
        entries, digest=verified.digest, keyring=trust, publisher=verified.signer.namespace,
        shown=[*shown, Shown(*found)],
    )  # fmt: skip
    attempt = verified.report.attempt if verified.report else None
    findings = registered_audits.judge(
        rows, design=found[0].envelope.identity, publisher=verified.signer.namespace,
        report=attempt.number if attempt else 0,
    )  # fmt: skip
    said = [replace(one, text=f"{one.text} (of {signed.size:,} entries)") for one in findings]
    read_designs.remember(str(key), *_identities(found), said)
    return findings + remarks


def _shown(digest: str, ask: Ask | None) -> tuple[Sequence[Shown], list[Finding]]:
    if ask is None:
        return (), []
    from embhub.release.checks import registered_audits

    try:
        data = ask(digest)
        return (registered_audits.parse_answer(data, digest=digest) if data is not None else ()), []
    except (RegistryError, ReleaseRefusedError, ValueError) as error:
        text = f"the registry did not show which audits of these bytes were registered: {plain(error)}"
        return (), [Finding(registered_audits.RESULTS, "warning", text)]


def _warn_of_unnamed(verified: Verified, ask: Ask | None) -> Verified:
    """A release that names no design, of a file for which some were registered."""
    shown, remarks = _shown(verified.digest, ask)
    if shown:
        from embhub.release.checks import registered_audits

        text = f"audits of these bytes were registered ({len(shown)}), and the release names none of them"
        remarks = [Finding(registered_audits.RESULTS, "warning", text)]
    return replace(verified, findings=(*verified.findings, *remarks))


def _remembered(key: VerifierKey, found: tuple[Bundle, Bundle]) -> list[Finding]:
    from embhub.site import read_designs

    rows = read_designs.recall(str(key), *_identities(found))
    if rows is None:
        return [Finding(CHECK, "warning", "unknown: which audits were registered needs the network, once")]
    return [replace(one, text=f"{one.text}, as read before") for one in rows]


def _identities(found: tuple[Bundle, Bundle]) -> tuple[str, str]:
    return found[0].envelope.identity, found[1].envelope.identity


def _say(verified: Verified, findings: list[Finding]) -> Verified:
    """The findings in place of the one that says that no log was asked."""
    kept = [one for one in verified.findings if one.check != CHECK]
    return replace(verified, findings=(*kept, *findings))
