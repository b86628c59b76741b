"""Was a release's audit registered in the log before it ran, and no other one dropped? Added by `pull` and `verify`.

The whole log is read for it: what is missing is seen in the log's own entries, not in what a registry says of them. It
has to be as long as what this site knows, and cosigned like the release's own proof.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from embhub.client.log import logged
from embhub.errors import RegistryError
from embhub.formats.plain_text import plain
from embhub.log.errors import LogError
from embhub.refusals import Finding, ReleaseRefusedError
from embhub.release.checks import preregistered
from embhub.release.checks.preregistered import CHECK
from embhub.release.policy import DESIGNS

if TYPE_CHECKING:
    from embhub.client.log.log_reader import LogSource
    from embhub.log.checkpoints import SignedCheckpoint
    from embhub.log.notes import VerifierKey
    from embhub.release.checks.registered_audits import Shown
    from embhub.release.files import Release
    from embhub.release.verified import Verified
    from embhub.trust.bundle import Bundle
    from embhub.trust.keyring import Trust

MOST_ENTRIES = 100_000  # in one call, of some 500 bytes each; `log_reader.MOST_READ` bounds the bytes
UNNAMED = "no design"  # in place of one, in what this site remembers
Ask = Callable[[str], bytes | None]
"""`ask(digest)`: a registry's list of designs of an embedding, unverified; None where it keeps none."""


def check(
    verified: Verified, release: Release, *, trusts: Sequence[Trust], source: LogSource | None, ask: Ask | None,
    now: datetime | None = None,
) -> Verified:  # fmt: skip
    """Look the registered audit of a verified release up in the log of its registry.

    The log is read for a release that names a design. Of another one the registry's list alone counts. A signed leak in
    that list counts for both, whatever the log shows.

    Args:
        verified: the release after `logged.check`: its checkpoint is one that the log read here has to continue.
        source: the registry's log; None where no network is asked: then what this site read before counts.
        ask: where designs that the release does not hold come from.
        now: the present, for the age of cosignatures.

    Raises:
        LogError: the log is not what its checkpoint says, or forked. ConfigError: the site's memory is damaged.
    """
    found = preregistered.bundles(release)
    ask = None if ask is None else cache(ask)  # once for all that is read of it
    trust = logged.trust_of(verified, trusts)
    if verified.report is None or found is None:
        return _say_unnamed(verified, trust, ask)
    return _say_leaks(_look_up(verified, found, trust, source=source, ask=ask, now=now), trust, ask)


def _look_up(
    verified: Verified, found: tuple[Bundle, Bundle], trust: Trust, *, source: LogSource | None, ask: Ask | None,
    now: datetime | None,
) -> Verified:  # fmt: skip
    """What the log, or the memory of it, says of the design that a release names."""
    try:
        key = logged.known_key(trust)
        if key is None:
            raise RegistryError(f"{trust.registry} keeps no transparency log")
        if source is None:
            return _say(verified, _remembered(key, found))
        return _say(verified, _read(verified, found, key, trust=trust, source=source, ask=ask, now=now))
    except LogError as refusal:
        refusal.findings = (*verified.findings, Finding(refusal.rule, "failed", refusal.message))
        raise
    except RegistryError as error:
        unknown = [Finding(CHECK, "warning", f"unknown: the log was not read: {error.message}")]
        return _say(_not_known(verified) if ask is not None else verified, unknown)


def _read(
    verified: Verified, found: tuple[Bundle, Bundle], key: VerifierKey, *, trust: Trust, source: LogSource,
    ask: Ask | None, now: datetime | None,
) -> list[Finding]:  # fmt: skip
    from embhub.client.log import log_index, log_reader, read_designs
    from embhub.release.checks import registered_audits
    from embhub.release.checks.registered_audits import Shown

    anchor = logged.checkpoint_of(verified, key)
    signed = _newest(source, key, anchor)
    vouched = _vouched(signed, anchor, key, trust, now or datetime.now(UTC))
    shown, remarks = _shown(verified.digest, ask)
    sought: dict[str, Any] = {
        "digest": verified.digest, "keyring": trust, "publisher": verified.signer.namespace,
        "shown": [*shown, Shown(*found)],
    }  # fmt: skip
    if signed.size <= MOST_ENTRIES:
        entries = log_reader.whole(source, signed, known=[anchor] if anchor is not None else [])
        rows = registered_audits.find(entries, **sought)
    else:
        if anchor is not None:
            log_index.check_known(source, anchor, signed)
        rows = registered_audits.find_among(log_index.read(source, key, signed, most=MOST_ENTRIES), **sought)
    attempt = verified.report.attempt if verified.report else None
    findings = registered_audits.judge(
        rows, design=found[0].envelope.identity, publisher=verified.signer.namespace,
        report=attempt.number if attempt else 0, vouched=vouched,
    )  # fmt: skip
    said = [replace(one, text=f"{one.text} (of {signed.size:,} entries)") for one in findings]
    read_designs.remember(str(key), *_identities(found), said)
    return findings + remarks


def _newest(source: LogSource, key: VerifierKey, anchor: SignedCheckpoint | None) -> SignedCheckpoint:
    """The log's checkpoint, compared with what this site knows.

    Raises:
        RegistryError: there is none, or it is of an older state.
        LogError: as `logged.compare`.
    """
    from embhub.client.log import log_memory, log_reader
    from embhub.log import checkpoints

    data = log_reader.checkpoint(source)
    if data is None:
        raise RegistryError(f"the log of {key.name} shows no checkpoint")
    signed = checkpoints.open_signed(data, log=key)
    known = max(one.size for one in (anchor, log_memory.anchor(key, signed.size), signed) if one is not None)
    if signed.size < known:
        raise RegistryError(f"it shows {signed.size:,} entries, and {known:,} are known: an older state")
    logged.compare(key, signed, source)
    return signed


def _vouched(
    signed: SignedCheckpoint, anchor: SignedCheckpoint | None, key: VerifierKey, trust: Trust, now: datetime
) -> int | None:
    """How many entries are under a checkpoint that the site's witnesses and both keys signed; None for all of them.

    Raises:
        RegistryError: none are. LogError: a signature is forged.
    """
    doubts = []
    for one in (signed, anchor):
        said = () if one is None else logged.vouching_findings(one, key, trust, now)
        doubts.append(next((finding.text for finding in said if finding.outcome == "warning"), None))
    if doubts[0] is None:
        return None
    if anchor is None or doubts[1] is not None:
        raise RegistryError(doubts[0])
    return anchor.size


def _shown(digest: str, ask: Ask | None) -> tuple[Sequence[Shown], list[Finding]]:
    if ask is None:
        return (), []
    from embhub.release.checks import registered_audits

    try:
        data = ask(digest)
        if data is None:
            raise RegistryError("it has no such address", "ask its operator to upgrade it")
        return registered_audits.parse_answer(data, digest=digest), []
    except (RegistryError, ReleaseRefusedError, ValueError) as error:
        text = f"the registry did not show which audits of these bytes were registered: {plain(error)}"
        return (), [Finding(registered_audits.RESULTS, "warning", text)]


def _say_unnamed(verified: Verified, trust: Trust, ask: Ask | None) -> Verified:
    """A release that names no design: what its registry shows of its file counts, and what it showed before."""
    shown, _ = _shown(verified.digest, ask)
    verified = _say_leaks(verified, trust, ask)
    if not shown:
        return verified
    from embhub.release.checks import registered_audits  # where something was shown

    text = f"audits of these bytes were registered ({len(shown)}), and the release names none of them"
    return replace(verified, findings=(*verified.findings, Finding(registered_audits.RESULTS, "warning", text)))


def _say_leaks(verified: Verified, trust: Trust, ask: Ask | None) -> Verified:
    """Signed results that found a leak, as the registry shows them now or showed them before: they need no log."""
    from embhub.client.log import read_designs

    place = (trust.registry, UNNAMED, verified.digest)
    before = read_designs.recall(*place) or []
    shown, remarks = _shown(verified.digest, ask)
    found = list(before)
    if shown:
        from embhub.release.checks import registered_audits

        publisher = verified.signer.namespace
        found += registered_audits.leaks(shown, digest=verified.digest, keyring=trust, publisher=publisher)
        found = list(dict.fromkeys(found))
    if found != before:
        read_designs.remember(*place, found)
    if any(one.check == preregistered.LEAKS for one in verified.findings):
        found = []
    new = [one for one in (*found, *remarks) if one not in verified.findings]
    verified = _not_known(verified) if remarks else verified
    return replace(verified, findings=(*verified.findings, *new))


def _not_known(verified: Verified) -> Verified:
    """The release, where nobody said what registered audits found: the demand `no-leak` is not met."""
    return replace(verified, unanswered=verified.unanswered | {DESIGNS})


def _remembered(key: VerifierKey, found: tuple[Bundle, Bundle]) -> list[Finding]:
    from embhub.client.log import read_designs

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
