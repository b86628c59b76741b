"""Are a release's audits, and the keyring that vouches for it, in the log? Beside `logged`, which asks for the release.

A keyring that was made for one reader, or an audit shown to one reader, is not in the log that everybody reads. So each
has to be under the release's own checkpoint, or under one that is as good: cosigned, signed by both keys, compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from embhub.client.log import logged
from embhub.client.log.logged import NotComparedError
from embhub.errors import RegistryError
from embhub.log.errors import LogError, NotIncludedError
from embhub.refusals import Finding
from embhub.site.pins import trust_store

if TYPE_CHECKING:
    from embhub.client.log.log_reader import LogSource
    from embhub.log.checkpoints import SignedCheckpoint
    from embhub.log.notes import VerifierKey
    from embhub.log.proofs import LogProof
    from embhub.release.files import Release
    from embhub.release.verified import Verified
    from embhub.trust.keyring import Trust

KEYRING_PROOF = "attestations/keyring.tlog-proof"
MOST_LATER = 65_536  # entries that one call looks through for the keyring in use, and for a newer one


@dataclass(frozen=True)
class Papers:
    """A release with what its log says of its audits and keyring. `proofs` are files, to be kept beside the bundles."""

    verified: Verified
    proofs: dict[str, bytes]


def check(
    verified: Verified, release: Release, *, trusts: Sequence[Trust], source: LogSource | None,
    now: datetime | None = None,
) -> Papers:  # fmt: skip
    """Look up the audits of a verified release, and its keyring, in the log of its registry.

    Args:
        verified: the release after `logged.check`: its checkpoint is the one that the others are compared with.
        source: the registry's log; None where no network is asked: then the proofs beside the bundles count.
        now: the present, for the age of cosignatures.

    Raises:
        LogError: a proof is wrong, or the log forked. ConfigError: the site's log policy or memory cannot be read.
    """
    trust = logged.trust_of(verified, trusts)
    key = logged.known_key(trust)
    if key is None:
        return Papers(verified, {})
    try:
        anchor = logged.checkpoint_of(verified, key)
        look = _Look(release, trust, key, source, anchor, now or datetime.now(UTC), {})
        said = [*_say_audits(verified, trust, look), *_say_keyring(trust, look)]
    except LogError as refusal:
        refusal.findings = (*verified.findings, Finding(refusal.rule, "failed", refusal.message))
        raise
    names = {_proof_of(item.path) for item in verified.audit_files} | {KEYRING_PROOF}
    kept = [one for one in verified.findings if one.text.partition(":")[0] not in names]
    return Papers(replace(verified, findings=(*kept, *said)), look.found)


@dataclass(frozen=True)
class _Look:
    """Where proofs come from, the checkpoint that shows the release, and the proofs that were found."""

    release: Release
    trust: Trust
    key: VerifierKey
    source: LogSource | None
    anchor: SignedCheckpoint | None
    now: datetime
    found: dict[str, bytes]

    def up(self, leaf: bytes, name: str) -> LogProof | str:
        """The proof of an entry, checked; or why there is none that counts. `name` is that of its file."""
        from embhub.client.log import log_reader
        from embhub.log import proofs

        data = self.release.files.get(name)
        try:
            if self.source is not None:
                data = log_reader.proof(self.source, leaf)
            if data is None:
                return "no entry is shown for it" if self.source is not None else f"unknown: no proof ({name}) is here"
            proof = proofs.parse(data)
            doubt = self._doubt(proof.open(leaf, log=self.key))
            if (moved := self._under_anchor(proof, leaf)) is not None:
                proof, doubt = moved, None
        except RegistryError as error:
            return f"unknown: the log was not read: {error.message}"
        self.found[name] = proof.to_bytes()
        return proof if doubt is None else f"entry {proof.index:,}, under another checkpoint than the release: {doubt}"

    def _doubt(self, signed: SignedCheckpoint) -> str | None:
        """Why a checkpoint is not as good as the release's, or None."""
        if self.anchor is not None and signed.checkpoint == self.anchor.checkpoint:
            return None
        said = logged.vouching_findings(signed, self.key, self.trust, self.now)
        unknown = None
        try:
            logged.compare(self.key, signed, self.source)
            said = logged.renewed(said, signed, self.key, self.source, self.now)
        except NotComparedError as error:
            unknown = None if logged.is_cosigned(said) else error.message
        return next((one.text for one in said if one.outcome == "warning"), unknown)

    def _under_anchor(self, proof: LogProof, leaf: bytes) -> LogProof | None:
        """The proof of the same entry under the release's checkpoint, made from tiles; None where it is not there.

        Raises:
            RegistryError: the tiles do not show it.
        """
        from embhub.client.log import log_reader

        if self.source is None or self.anchor is None or proof.index >= self.anchor.size:
            return None
        if proof.note.text == self.anchor.note.text:
            return None
        moved = log_reader.prove_inclusion(self.source, proof.index, self.anchor)
        try:
            moved.open(leaf, log=self.key)
        except NotIncludedError as error:
            raise RegistryError(f"its tiles are not those of the release's checkpoint: {error.message}") from error
        return moved


def _say_audits(verified: Verified, trust: Trust, look: _Look) -> Iterator[Finding]:
    from embhub.trust import logged as entries

    for item in verified.audit_files:
        signer = trust.lookup(item.signer.fingerprint)
        if item.left_out or signer is None:
            continue
        leaf = entries.leaf_of(item.envelope, signer.public_key).to_bytes()
        found, who = look.up(leaf, _proof_of(item.path)), f"the audit that {item.signer.namespace} signed"
        if isinstance(found, str):
            yield Finding(logged.AUDITS, "warning", f"{who}: {found}")
        else:
            yield Finding(logged.AUDITS, "ok", f"{who}: entry {found.index:,}")


def _say_keyring(trust: Trust, look: _Look) -> Iterator[Finding]:
    """One root key's signature is enough: each is an entry of its own."""
    from embhub.trust import logged as entries

    document = trust_store.signed_keyring(trust.digest)
    if document is None:
        return
    why = "nobody of its root signed it"
    for leaf in entries.leaves_of(document, (key.public for key in trust.root_keys)):
        try:
            found = look.up(leaf.to_bytes(), KEYRING_PROOF)
        except NotIncludedError:
            if look.source is not None:
                raise
            found = f"unknown: {KEYRING_PROOF} is of another keyring, or of another signature of it"
        if not isinstance(found, str):
            yield Finding(logged.KEYRING, "ok", f"keyring {trust.keyring.version}: entry {found.index:,}")
            yield from _say_newer(trust, look, found, leaf.digest)
            return
        why = found
    known = look.source is not None or not why.startswith("unknown")
    yield Finding(logged.KEYRING, "warning" if known else "note", f"keyring {trust.keyring.version}: {why}")


def _say_newer(trust: Trust, look: _Look, own: LogProof, digest: bytes) -> Iterator[Finding]:
    """Whether the log holds a keyring that came after the one in use, and was not shown: a withheld revocation.

    What a key of the root signed later is one, unless it is another signature of this keyring. Whoever withholds a
    keyring can withhold the log's entries, too: entries that were not read are a warning like a newer keyring.
    """
    from embhub.client.log import log_index
    from embhub.log import checkpoints, leaves
    from embhub.log.errors import MalformedLogError
    from embhub.trust import logged as entries

    source = look.source
    if source is None:
        return
    signed = look.anchor or checkpoints.open_signed(own.note.to_bytes(), log=look.key)
    keys = {key.fingerprint: key.public for key in trust.root_keys}

    def is_keyring(data: bytes, *, newer: bool) -> bool:
        try:
            leaf = leaves.parse(data)
        except MalformedLogError:  # of a kind that this version does not know
            return False
        key = keys.get(leaf.fingerprint)
        return key is not None and (leaf.digest != digest) is newer and entries.is_signed(leaf, key)

    def find(after: int, *, newer: bool, purpose: str) -> int | None:
        wanted = partial(is_keyring, newer=newer)
        return log_index.first_after(source, look.key, signed, after, wanted, purpose=purpose, most=MOST_LATER)

    try:
        # The proof may name a copy of the entry, which the log appended behind a newer keyring: the first one counts.
        purpose = f"newer than {trust.digest}"
        looked = log_index.looked_through(source, look.key, signed, purpose)
        first = looked - 1 if looked else find(-1, newer=False, purpose=f"first {trust.digest}")
        place = find(own.index if first is None else first, newer=True, purpose=purpose)
    except RegistryError as error:
        text = f"not known whether the log holds a newer keyring: {error.message}"
        yield Finding(logged.WITHHELD, "warning", text)
        return
    if place is not None:
        text = f"entry {place:,} of the log is a newer keyring than the one in use here"
        yield Finding(logged.WITHHELD, "warning", text)


def _proof_of(path: str) -> str:
    from embhub.log import proofs

    return path.removesuffix(".sigstore.json") + proofs.SUFFIX
