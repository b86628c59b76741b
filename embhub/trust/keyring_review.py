"""What a person reads before they sign a keyring, and what they keep of it. Pure.

Whoever writes a proposal chooses the keyring that it says is in force. So the difference is shown to the keyring that
the signer's own machine remembers (`site.signed_keyrings`), as a client of TUF compares with what it trusted last.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from embhub.errors import UsageError
from embhub.refusals import RollbackError
from embhub.trust import differences
from embhub.trust.keyring import Keyring, parse_keyring
from embhub.trust.multisig import SignedDocument
from embhub.trust.proposal import Opened, check_succession

NONE = "none"  # what a person answers where the proposal is a registry's first keyring


@dataclass(frozen=True)
class Remembered:
    """The keyring that was signed or confirmed last on a machine, and the one that it was compared with then."""

    newest: SignedDocument
    before: SignedDocument | None = None

    @property
    def keyring(self) -> Keyring:
        """The newest one, read."""
        return parse_keyring(self.newest.payload)


@dataclass(frozen=True)
class Review:
    """A proposal beside what the machine remembers.

    Attributes:
        compared: the keyring that the difference is to; None where nothing is remembered.
        lines: what a person reads.
        asked: what they have to give from elsewhere, the fingerprint of the newest keyring; None where the machine
            remembers one.
        log: what a witnessed log says of the keyring in force.
    """

    opened: Opened
    compared: SignedDocument | None
    lines: tuple[str, ...]
    asked: str | None
    log: str = "not compared"

    def check_answer(self, answer: str) -> None:
        """Whether the person knows the keyring in force from another source.

        Raises:
            UsageError: they name another one.
        """
        if answer.strip() != self.asked:
            raise UsageError(
                f"the newest keyring that you know is not the one in force by this file, {self.asked}",
                "do not sign: the file leaves out what was changed since, or yours is old. Ask another signer, and a"
                " site (`embhub trust refresh` shows it)",
            )


def fingerprint(document: SignedDocument) -> str:
    """The keyring's own, as people compare it: the SHA-256 of what is signed."""
    return in_base64(document.digest)


def in_base64(digest: str) -> str:
    """A SHA-256 in hex as fingerprints are written."""
    return "SHA256:" + base64.b64encode(bytes.fromhex(digest)).decode("ascii").rstrip("=")


def review(opened: Opened, known: Remembered | None, *, elsewhere: Remembered | None = None) -> Review:
    """Compare a proposal with what this machine signed or confirmed last, of the same registry and root.

    Args:
        known: None where the machine remembers nothing.
        elsewhere: what it remembers of the registry under another root, where it does.

    Raises:
        RollbackError: the keyring in force by the proposal is older than the remembered one, or another one of its
            version; or the next one leaves out a revocation or removal that this machine knows.
    """
    before, after = opened.proposal.before, opened.keyring
    if known is None:
        asked = NONE if before is None else fingerprint(before)
        whole_list = (*_without_memory(opened), *opened.lines, *_under_another_root(after, elsewhere))
        return Review(opened, None, whole_list, asked)
    if known.newest.payload == opened.proposal.keyring.payload:  # once more, with another key
        compared, seen = known.before, parse_keyring(known.before.payload) if known.before else None
    else:
        _check_in_force(opened, known)
        compared, seen = known.newest, known.keyring
    told = [differences.dates(seen, after), *differences.describe(seen, after)]
    if seen is not None:
        check_succession(seen, after)
        if opened.before is not None and opened.before.version > seen.version:
            told.insert(1, f"version {opened.before.version} is in force: this machine did not sign what came between")
    return Review(opened, compared, tuple(told), None)


def record(reviewed: Review, *, signed_by: str, date: str, missing: list[str]) -> list[str]:
    """One page to print and keep: what was signed, from which keyring on, and every key by its whole fingerprint."""
    after, before = reviewed.opened.keyring, reviewed.opened.proposal.before
    return [
        f"RECORD FOR THE BINDER: a keyring of {after.registry}",
        f"keyring     {_named(reviewed.opened.proposal.keyring)}",
        f"dates       issued {after.issued}, expires {after.expires}",
        f"in force    {_named(before, otherwise='none: this is the first')}",
        f"compared    {_named(reviewed.compared, otherwise='the list below, by a person')}",
        f"log         {reviewed.log}",
        f"signed      {date} by {signed_by}",
        *(f"missing     {line}" for line in missing),
        *whole(after),
        *_without_a_word(reviewed),
        "name, place, hand: ______________________________",
    ]


def whole(keyring: Keyring) -> list[str]:
    """Every key in a keyring, in force and gone, one to a line."""
    root = keyring.root
    lines = [f"root        {root.fingerprint} ({root.in_words()})"] if root else []
    if root and len(root.keys) > 1:
        lines += [f"root key    {key.fingerprint}" for key in root.keys]
    lines += [f"online key  {key.fingerprint} for {name}" for name, key in sorted((keyring.online or {}).items())]
    lines += [f"log key     {keyring.log.vkey}"] if keyring.log else []
    places = sorted(differences.rights(keyring).items())
    rows = {row.fingerprint: row for row in keyring.revoked}
    lines += [f"in force    {key} may {may} in {space}" for (space, key), may in places if key not in rows]
    lines += [f"gone        {key}: {row.reason} on {row.date}" for key, row in sorted(rows.items())]
    return lines


def _without_a_word(reviewed: Review) -> list[str]:
    """Keys that the keyring does not list any more, and does not call removed either."""
    if reviewed.compared is None:
        return []
    before, after = parse_keyring(reviewed.compared.payload), reviewed.opened.keyring
    lost = before.fingerprints() - after.fingerprints() - after.removed()
    return [f"gone        {key}: not listed any more, and not as removed" for key in sorted(lost)]


def _without_memory(opened: Opened) -> list[str]:
    before, after = opened.before, opened.keyring
    first = "this machine remembers no keyring of this registry and root, so it cannot say what was left out"
    gap = (
        f"the file says that version {before.version} is in force, and this is {after.version}:"
        f" {after.version - before.version - 1} versions are between them"
        if before is not None
        else f"the file says that there was no keyring before, and this is version {after.version}"
    )
    return [first, gap, *whole(after)]


def _under_another_root(after: Keyring, elsewhere: Remembered | None) -> list[str]:
    """The difference to what was signed before the root changed, by others, or before somebody made up another one.

    Raises:
        RollbackError: what was revoked or removed then is not so now.
    """
    if elsewhere is None:
        return []
    seen = elsewhere.keyring
    check_succession(seen, after)
    root = seen.root.fingerprint if seen.root else "none"
    said = f"this machine remembers version {seen.version} under another root, {root}: did the root change since?"
    return [said, *(f"since then: {line}" for line in differences.describe(seen, after))]


def _check_in_force(opened: Opened, known: Remembered) -> None:
    newest, before = known.keyring, opened.proposal.before
    name = f"version {newest.version} ({fingerprint(known.newest)}), which this machine signed or confirmed"
    hint = (
        "do not sign: somebody may want to undo what was changed since, and a registry that was restored too; ask the"
        " other signers. If that version was never installed, remove it from this machine's memory, the file"
        " signed-keyrings.json in its folder of state"
    )
    if opened.before is None or before is None:
        raise RollbackError(f"the file says that there was no keyring before, but there was {name}", hint)
    if opened.before.version < newest.version:
        raise RollbackError(f"the file goes on from version {opened.before.version}, and not from {name}", hint)
    if opened.before.version == newest.version and before.digest != known.newest.digest:
        raise RollbackError(f"two different keyrings have one version: {fingerprint(before)}, and {name}", hint)


def _named(document: SignedDocument | None, *, otherwise: str = "") -> str:
    if document is None:
        return otherwise
    return f"version {parse_keyring(document.payload).version}, {fingerprint(document)}"
