"""Is a release in its registry's log? What `pull` and `verify` add to a release that verified, and never leave out.

A proof that is wrong, a checkpoint that is not the log's, and a log that was rewritten end the check (exit code 4).
What is not known is said, and refused by the demand `logged` alone.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from embhub.errors import ConfigError, RegistryError
from embhub.formats import instants
from embhub.log.errors import LogError
from embhub.refusals import Finding, Outcome
from embhub.site import config

if TYPE_CHECKING:
    from embhub.client.log.log_reader import LogSource
    from embhub.log.checkpoints import SignedCheckpoint
    from embhub.log.notes import VerifierKey
    from embhub.log.policies import LogPolicy
    from embhub.log.proofs import LogProof
    from embhub.release.files import Release
    from embhub.release.verified import Verified
    from embhub.trust.keyring import Trust

CHECK, WITNESSES, SIGNATURES = "log", "log-witnesses", "log-signatures"
AUDITS, KEYRING, WITHHELD = "log-audit", "log-keyring", "log-newer-keyring"
PROOF = "attestations/publish.tlog-proof"
WITNESSED_WITHIN = timedelta(days=7)
POLICY_FILE = "log-policy"


class NotComparedError(RegistryError):
    """A checkpoint that nobody can compare with those that this site knows, because no network is asked."""


@dataclass(frozen=True)
class Logged:
    """A release with what its log says; `proof` is the file that shows it, to be kept beside the bundle."""

    verified: Verified
    proof: bytes | None = None


def check(
    verified: Verified, release: Release, *, trusts: Sequence[Trust], source: LogSource | None, now: datetime
) -> Logged:
    """Look a verified release up in the log of its registry.

    Args:
        source: the registry's log; None where no network is asked: then the proof beside the bundle counts.

    Raises:
        LogError: the proof is wrong, or the log forked.
        ConfigError: the site's log policy or memory cannot be read.
    """
    trust = trust_of(verified, trusts)
    key = known_key(trust)
    try:
        if key is None:
            return _said(verified, "warning", f"unknown: the keyring of {trust.registry} names no transparency log")
        return _look_up(verified, release, key, trust=trust, source=source, now=now)
    except LogError as refusal:
        refusal.findings = (*verified.findings, Finding(refusal.rule, "failed", refusal.message))
        raise


def trust_of(verified: Verified, trusts: Sequence[Trust]) -> Trust:
    """The keyring that vouched for the release's signer."""
    return next(trust for trust in trusts if trust.registry == verified.signer.registry)


def key_of(trust: Trust, policy: LogPolicy) -> VerifierKey | None:
    """The key of a registry's log: the site's own policy has precedence over the keyring."""
    return policy.log_of(trust.origin) or trust.keyring.log_key


def known_key(trust: Trust) -> VerifierKey | None:
    """As `key_of` by this site's policy. Without a policy and a log, no module that reads logs is loaded.

    Raises:
        ConfigError: the policy cannot be read.
    """
    return trust.keyring.log_key if _policy_file() is None else key_of(trust, site_policy())


def site_policy() -> LogPolicy:
    """The logs and witnesses that this site relies on: `config/log-policy`, a tlog-policy file; none without it.

    Raises:
        ConfigError: it cannot be read.
    """
    from embhub.log import policies

    data = _policy_file()
    try:
        return policies.LogPolicy() if data is None else policies.parse(data)
    except LogError as error:
        raise _no_policy(error) from error


def _policy_file() -> bytes | None:
    path = config.paths().config / POLICY_FILE
    try:
        mode = path.stat().st_mode
        if mode & stat.S_IWOTH:  # as the policy file, which relies on it: another user could name the witnesses
            raise ConfigError(f"{path} can be used by other users of this machine", f"run: chmod o-w {path}")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _no_policy(error) from error


def _no_policy(error: Exception) -> ConfigError:
    path = config.paths().config / POLICY_FILE
    return ConfigError(f"{path} is no log policy: {error}", "see docs/reference/log.md")


def say_signatures(signed: SignedCheckpoint, key: VerifierKey, trust: Trust) -> tuple[Finding, ...]:
    """Whether the log's ML-DSA-44 key signed the checkpoint, where the keyring names one beside `key`.

    Raises:
        WrongLogError: a signature in its name is not its own.
    """
    from embhub.log import checkpoints

    second = trust.keyring.log_mldsa_key if key == trust.keyring.log_key else None
    if second is None:
        return ()
    found = checkpoints.is_signed_by_mldsa(signed, second)
    if found is None:
        text = "Ed25519 alone was checked: `cryptography` has no ML-DSA-44 here; version 48 or newer has it"
        return (Finding(SIGNATURES, "note", text),)
    if found:
        return (Finding(SIGNATURES, "ok", "the log signed by Ed25519 and ML-DSA-44"),)
    text = "the keyring names an ML-DSA-44 key, and the log signed this checkpoint by Ed25519 alone; pull again"
    return (Finding(SIGNATURES, "warning", text),)


def witness_finding(signed: SignedCheckpoint, policy: LogPolicy, now: datetime) -> Finding:
    """Who cosigned a checkpoint, and when: `fresh`, `stale` or `unknown`.

    Raises:
        BadCosignatureError: a cosignature in the name of a witness of the policy is not its own.
    """
    from embhub.log import checkpoints

    found = checkpoints.check_cosignatures(signed.note, policy.witnesses.values())
    if not policy.asks_for_witnesses:
        text = "unknown: how old the checkpoint is, because this site's log policy names no quorum of witnesses"
        return Finding(WITNESSES, "note", text)
    at = policy.time_of(found)
    if at is None:
        names = ", ".join(one.witness.name for one in found) or "nobody"
        return Finding(WITNESSES, "warning", f"unknown: no quorum of witnesses cosigned the checkpoint; {names} did")
    moment = datetime.fromtimestamp(min(at, 253_402_300_799), UTC)
    said = f"a quorum of witnesses cosigned on {instants.write(moment)}"
    if moment > now + timedelta(hours=1):
        return Finding(WITNESSES, "warning", f"unknown: {said}, which is in the future here: check the clocks")
    if moment + WITNESSED_WITHIN < now:
        since = instants.write(moment + WITNESSED_WITHIN)
        return Finding(WITNESSES, "warning", f"stale since {since}: {said}; what was logged later may be withheld")
    return Finding(WITNESSES, "ok", f"fresh: {said}")


def vouching_findings(signed: SignedCheckpoint, key: VerifierKey, trust: Trust, now: datetime) -> tuple[Finding, ...]:
    """As `say_signatures`, and `witness_finding` by this site's policy. Raises as both, and ConfigError."""
    return (*say_signatures(signed, key, trust), witness_finding(signed, site_policy(), now))


def renewed(
    said: Sequence[Finding], signed: SignedCheckpoint, key: VerifierKey, source: LogSource | None, now: datetime
) -> tuple[Finding, ...]:  # fmt: skip
    """The findings of a checkpoint that `compare` compared with the reader's own.

    A folder's proof ages, and a registry may leave out who cosigned. Whoever cosigned the log that this site saw last,
    or that its own witness cosigned, vouches for what that log is shown to begin with. Raises as `vouching_findings`.
    """
    from embhub.client.log import log_memory

    if all(one.check != WITNESSES or one.outcome != "warning" for one in said):
        return tuple(said)
    for book, seen in ((log_memory.READER, "were seen last"), (log_memory.WITNESS, "this site's witness cosigned")):
        held = log_memory.recall(key, book=book)
        if held is None or held.size < signed.size:
            continue
        if book != log_memory.READER and not _begins_with(held, signed, source):
            continue  # `compare` finds a conflict with it, and asks for no proof
        later = witness_finding(held, site_policy(), now)
        if later.outcome == "ok":
            text = f"{later.text} the {held.size:,} entries that {seen}"
            return tuple(replace(later, text=text) if one.check == WITNESSES else one for one in said)
    return tuple(said)


def _begins_with(held: SignedCheckpoint, signed: SignedCheckpoint, source: LogSource | None) -> bool:
    """Whether it is shown that the log of `held` begins with that of `signed`."""
    from embhub.client.log import log_memory
    from embhub.client.log.log_reader import TileProofs

    if held.size == signed.size:
        return held.root == signed.root
    try:
        return source is not None and log_memory.relate(held, signed, TileProofs(source).prove) is None
    except (RegistryError, LogError):
        return False


def is_cosigned(said: Sequence[Finding]) -> bool:
    """Whether a quorum of the site's witnesses vouches for a checkpoint: they saw no other history."""
    return any(one.check == WITNESSES and one.outcome == "ok" for one in said)


def checkpoint_of(verified: Verified, key: VerifierKey) -> SignedCheckpoint | None:
    """The checkpoint that a release's proof leads to, or None where no proof was found. Raises LogError."""
    from embhub.log import checkpoints

    return None if verified.checkpoint is None else checkpoints.open_signed(verified.checkpoint.encode(), log=key)


def _look_up(
    verified: Verified, release: Release, key: VerifierKey, *, trust: Trust, source: LogSource | None, now: datetime
) -> Logged:
    from embhub.client.log import log_reader
    from embhub.log import proofs
    from embhub.trust import logged

    signer = trust.lookup(verified.signer.fingerprint)
    if signer is None:
        return _said(verified, "warning", "unknown: the keyring does not hold the signer's key any more")
    leaf = logged.leaf_of(release.publish_bundle.envelope, signer.public_key).to_bytes()
    data = release.files.get(PROOF)
    if source is not None:
        try:
            data = log_reader.proof(source, leaf)
        except RegistryError as error:
            return _said(verified, "warning", f"unknown: the log of {key.name} was not read: {error.message}")
        if data is None:
            return _said(verified, "warning", f"the log of {key.name} has no entry for this release")
    if data is None:
        return _said(verified, "warning", f"unknown: no proof ({PROOF}) is here; `embhub pull` fetches one")
    proof = proofs.parse(data)
    signed = proof.open(leaf, log=key)
    said = vouching_findings(signed, key, trust, now)
    outcome: Outcome = "ok"
    try:
        compared = compare(key, signed, source)
        said = renewed(said, signed, key, source, now)
    except NotComparedError as error:
        compared, outcome = error.message, "ok" if is_cosigned(said) else "warning"
    except RegistryError as error:
        return _said(verified, "warning", f"unknown: whether the log of {key.name} was rewritten: {error.message}")
    text = f"entry {proof.index:,} of {signed.size:,} in the log of {key.name}; {compared}"
    return Logged(_with(verified, Finding(CHECK, outcome, text), *said, proof=proof, signed=signed), data)


def compare(key: VerifierKey, signed: SignedCheckpoint, source: LogSource | None) -> str:
    """How the checkpoint relates to the one remembered, which is replaced by a larger one.

    Where `pull` and `verify` saw none of this log, it is compared with what `log watch` or the witness saw. An earlier
    checkpoint that was compared once is known by its size, without a network too.

    Raises:
        ForkedLogError: both are not of one log. ConfigError: the memory is damaged.
        NotComparedError: there is no network, and this site never compared a checkpoint of this size.
        RegistryError: nobody proved it.
    """
    from embhub.client.log import log_history, log_memory
    from embhub.client.log.log_reader import TileProofs

    known, newest = log_history.find(key, signed.size), log_memory.anchor(key, signed.size)
    if known is not None and newest is not None and signed.size < newest.size:  # a copy that lags, or a folder
        if known.root != signed.root:
            raise log_memory.two_trees(key, known, signed)
        return f"consistent with the {newest.size:,} entries seen before"
    sent = TileProofs(source) if source is not None else None
    before = log_memory.advance(
        key, signed, prove=sent.prove if sent is not None else None, prefix=sent.prefix if sent is not None else None
    )
    if before is None:
        log_history.remember(key, signed)
        return "the first checkpoint that this site saw of it"
    if source is None and before.size != signed.size:
        raise NotComparedError(
            f"not compared with the {before.size:,} entries seen before, which needs the network", "pull it again"
        )
    log_history.remember(key, before, signed)
    return f"consistent with the {before.size:,} entries seen before"


def _said(verified: Verified, outcome: Outcome, text: str) -> Logged:
    return Logged(_with(verified, Finding(CHECK, outcome, text)))


def _with(
    verified: Verified, *said: Finding, proof: LogProof | None = None, signed: SignedCheckpoint | None = None
) -> Verified:
    """The findings in place of the one that says that no log was asked."""
    kept = [
        one
        for one in verified.findings
        if one.check not in (CHECK, WITNESSES, SIGNATURES) and not one.text.startswith(PROOF)
    ]
    return replace(
        verified, findings=(*kept, *said), log_index=proof.index if proof else None,
        checkpoint=signed.to_bytes().decode() if signed else None,
    )  # fmt: skip
