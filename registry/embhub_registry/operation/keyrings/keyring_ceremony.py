"""Keyrings that are signed elsewhere: propose on the registry's machine, sign where a root key is, install here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from embhub.durable import write_atomic
from embhub.errors import ConfigError, EmbhubError, UsageError
from embhub.formats import instants
from embhub.refusals import RollbackError
from embhub.site.pins import signed_keyrings
from embhub.site.signing import external_keys, keys, signing_keys
from embhub.site.signing.signing_keys import ExternalKey
from embhub.trust import keyring as keyrings
from embhub.trust import keyring_review, p256, proposal, root_keys
from embhub.trust.keyring import Keyring, RootChange, RootKeys
from embhub.trust.keyring_review import Remembered, Review
from embhub.trust.proposal import Opened, Proposal
from embhub_registry.database import Connection
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.logs import root_rows
from embhub_registry.database.people import accounts
from embhub_registry.operation.keyrings import keyring_changes, newest_keyring
from embhub_registry.repositories import advisories, stolen_keys
from embhub_registry.storage import log_entries
from embhub_registry.storage.folder import Registry, dates, root_settings

Passphrase = Callable[[], str]
_LARGEST_KEY = 10_000


def read_root(files: Sequence[Path], threshold: int | None = None) -> RootKeys:
    """A root of the public keys in `files`; all of them must sign unless a threshold says how many.

    Raises:
        UsageError: a file is no public key or is given twice, or the threshold cannot be met.
    """
    found = []
    for file in files:
        try:
            found.append(root_keys.named(p256.read_public(file.read_bytes()[:_LARGEST_KEY])))
        except OSError as error:
            raise UsageError(
                f"cannot read {file}: {error.strerror}", "give the public half of a key, in PEM"
            ) from error
        except EmbhubError as error:
            raise UsageError(f"{file}: {error.message}", error.hint) from error
    if len({key.fingerprint for key in found}) != len(found) or len(found) > root_keys.MOST_KEYS:
        raise UsageError("a root key was given twice, or too many", f"give up to {root_keys.MOST_KEYS} different keys")
    needed = len(found) if threshold is None else threshold
    if not 1 <= needed <= len(found):
        raise UsageError(
            f"{needed} of {len(found)} root keys cannot sign", "choose a --threshold from 1 to their number"
        )
    return RootKeys(threshold=needed, keys=tuple(found))


def propose(registry: Registry, file: Path, *, root: RootKeys | None = None) -> dict[str, Any]:
    """Write the next keyring to `file`, unsigned: pending changes, a new date of expiry, and with `root` a new root.

    Raises:
        UsageError: the file is there, or cannot be written; or the registry was restored without its newest keyring.
    """
    newest_keyring.check_shown(registry)
    if file.exists():
        raise UsageError(f"{file} is there already: nothing was changed", "choose a new name, with the date in it")
    with registry.database.writing() as db:
        keyring, change = keyring_changes.latest(registry), None
        version = max(registry.trust().keyring.version + 1, keyring.version)
        if root is not None and registry.has_keyring and root != registry.root():
            change = _change(registry, db, root)
        keyring = keyring.model_copy(update={"version": version, "root": root or registry.root(), **dates(registry)})
        keyring = keyrings.parse_keyring(keyring.to_bytes())
        root_rows.set_pending_keyring(db, keyring.to_bytes(), now=stamp())
    before = registry.export().keyring if registry.has_keyring else None
    made = Proposal(
        keyrings.unsigned_keyring(keyring), before, root_keys.unsigned_change(change) if change is not None else None
    )
    opened = proposal.open_proposal(made)
    _write(file, made)
    return {"file": str(file), "keyring_version": keyring.version, "changes": opened.lines, "missing": opened.missing}


def _change(registry: Registry, db: Connection, root: RootKeys) -> RootChange:
    number = len(root_rows.root_changes(db)) + 1
    return RootChange(
        registry=registry.setting("url"),
        number=number,
        issued=instants.write(now()),
        before=registry.root(),
        after=root,
    )


def read_proposal(file: Path) -> Opened:
    """A proposal, its parts checked against one another.

    Raises:
        UsageError: the file cannot be read. VerificationError: its parts do not fit.
    """
    try:
        with file.open("rb") as stream:
            return proposal.open_proposal(proposal.parse(stream.read(proposal.MAX_BYTES + 1)))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", "give a file of `keyring propose`") from error


def review(file: Path) -> Review:
    """A proposal beside the keyring that this machine signed or confirmed last of the same registry and root.

    Raises:
        UsageError, VerificationError: as `read_proposal`. ConfigError: the memory is damaged, or others can write it.
        RollbackError: it goes on from an older keyring, or leaves out a revocation or removal.
    """
    return _compare(read_proposal(file))


def _compare(opened: Opened) -> Review:
    registry = opened.keyring.registry
    known, elsewhere = signed_keyrings.recall(registry, _roots(opened)), signed_keyrings.recall_any(registry)
    return keyring_review.review(opened, known, elsewhere=elsewhere)


def confirm(reviewed: Review, answer: str) -> Review:
    """Take a person's word for which keyring is in force, where this machine remembers none, and remember it.

    Raises:
        UsageError: they know another one. ConfigError: it cannot be written.
    """
    reviewed.check_answer(answer)
    opened = reviewed.opened
    if opened.proposal.before is not None:
        known = Remembered(opened.proposal.before)
        signed_keyrings.remember(opened.keyring.registry, _roots(opened), known)
    return replace(reviewed, asked=None)


def has_witnesses(reviewed: Review) -> bool:
    """Whether a log can say something of the keyring in force: it names one, and this machine knows witnesses.

    Raises:
        ConfigError: the log policy cannot be read.
    """
    from embhub.client.log import logged

    return reviewed.opened.before is not None and logged.site_policy().asks_for_witnesses


def compare_with_log(reviewed: Review, place: str) -> Review:
    """The same, with what a witnessed log says of the keyring in force. Raises as `keyrings_in_log.check_newest`."""
    from embhub_registry.operation.keyrings import keyrings_in_log

    return replace(reviewed, log=keyrings_in_log.check_newest(reviewed.opened, place, now=now()))


def _roots(opened: Opened) -> list[str]:
    """Each root concerned: who proposes under the one before, once it changed, is compared too."""
    return [opened.root.fingerprint, *([opened.change.before.fingerprint] if opened.change is not None else [])]


def sign(file: Path, place: Path | str, *, reviewed: Review, passphrase: Passphrase) -> dict[str, Any]:
    """Add the signature of a private key to the proposal, in the same file, and remember the keyring here before.

    Args:
        reviewed: what a person read, and where they were asked, confirmed.
        place: a PEM file; or `agent:SHA256:…` or `pkcs11:…`, as `embhub key add-external` takes them; or the PEM file's
            name where that command gave such a key this name.
        passphrase: asked for a key that is encrypted, or for the PIN of a token.

    Raises:
        WrongRootError: it is no key of the root. ConfigError: the key is not there or cannot be read, or the memory
            cannot be written.
        UsageError: it names no key, or nobody confirmed the keyring in force.
    """
    if reviewed.asked is not None:
        raise UsageError(
            "nobody said which keyring is in force", "give the newest keyring's fingerprint from elsewhere"
        )
    key, opened = _open_key(str(place), passphrase), reviewed.opened
    signed = proposal.open_proposal(opened.signed_by(key))
    _compare(opened)  # again: somebody may have signed another one since it was read
    known = Remembered(signed.proposal.keyring, reviewed.compared or opened.proposal.before)
    signed_keyrings.remember(opened.keyring.registry, _roots(opened), known)
    _write(file, signed.proposal)
    page = keyring_review.record(
        reviewed, signed_by=key.fingerprint, date=instants.write(now()), missing=signed.missing
    )
    return {
        "file": str(file), "signed_by": key.fingerprint, "missing": signed.missing,
        "keyring": keyring_review.fingerprint(signed.proposal.keyring), "record": page,
    }  # fmt: skip


def _open_key(place: str, passphrase: Passphrase) -> keys.SigningKey | ExternalKey:
    if external_keys.is_uri(place):
        return signing_keys.open_uri(place, name="the root key", pin=passphrase)
    path = Path(place)
    if path.suffix != ".pem":
        raise UsageError(
            f"{place} is neither NAME.pem nor agent:SHA256:… nor pkcs11:…",
            "give the private key, in PEM, or where it is",
        )
    folder = path.absolute().parent
    try:
        return signing_keys.open_key(path.stem, folder=folder)
    except keys.PassphraseRequiredError:
        return signing_keys.open_key(path.stem, folder=folder, passphrase=passphrase())


def install(registry: Registry, files: Sequence[Path]) -> dict[str, Any]:
    """Put a signed keyring in force: enough root keys signed, it succeeds the present one, and its root is ours.

    Raises:
        BadSignatureError: too few keys signed.
        RollbackError, WrongRootError, MalformedKeyringError: it does not follow the keyring in force.
    """
    opened = proposal.open_proposal(proposal.merge(read_proposal(file).proposal for file in files))
    with registry.database.writing() as db:
        _check_follows(registry, opened)
        for root, document in opened.needed:
            what = "the keyring" if document is opened.proposal.keyring else "the change of root"
            root.check(document, what=what)
        waiting = root_rows.pending_keyring(db)
        if opened.change is not None and opened.proposal.change is not None:
            envelope = json.dumps(opened.proposal.change.to_json()).encode()
            root_rows.add_root_change(db, number=opened.change.number, envelope=envelope, now=stamp())
            log_entries.add_root_change(db, opened.proposal.change, opened.change)
            for name, value in root_settings(opened.root).items():
                accounts.write_setting(db, name, value)
        keyring_changes.put_in_force(db, opened.keyring, json.dumps(opened.proposal.keyring.to_json()).encode())
        later = _later_changes(waiting, opened.keyring)
        if later is not None:
            root_rows.set_pending_keyring(db, later.to_bytes(), now=stamp())
        keyring_changes.refresh_audits(db, opened.keyring, before=opened.before)
    stolen_keys.catch_up(registry)
    stamped = registry.renew_timestamp()
    advisories.publish_if_possible(registry)
    registry.audit_log.write(
        "keyring-installed", keyring=opened.keyring.version, root=opened.root.fingerprint,
        root_changed=opened.change is not None or None,
    )  # fmt: skip
    return {
        "keyring_version": opened.keyring.version, "root_fingerprint": opened.root.fingerprint,
        "keyring": keyring_review.fingerprint(opened.proposal.keyring),
        "expires": opened.keyring.expires, "changes": opened.lines, "timestamp": stamped,
        "pending": later is not None,
    }  # fmt: skip


def _check_follows(registry: Registry, opened: Opened) -> None:
    """The proposal was made for the keyring in force here, and nothing was installed since."""
    if opened.keyring.registry != registry.setting("url"):
        raise UsageError(f"it is the keyring of {opened.keyring.registry}", "give the file that was proposed here")
    if (opened.change.before if opened.change is not None else opened.root) != registry.root():
        raise ConfigError("it is signed by another root than this registry's", "run `keyring propose` anew")
    if registry.has_keyring:
        proposal.check_succession(registry.trust().keyring, opened.keyring)
        if opened.change is not None and opened.change.number != len(registry.export().roots) + 1:
            raise RollbackError("another change of root was installed since", "run `keyring propose` anew")


def _later_changes(waiting: bytes | None, installed: Keyring) -> Keyring | None:
    """What was changed after the proposal was written, and waits on; None where nothing was."""
    if waiting is None:
        return None
    keyring = keyrings.parse_keyring(waiting)
    same = ("members", "revoked", "online", "log")
    if all(getattr(keyring, name) == getattr(installed, name) for name in same):
        return None
    return keyring.model_copy(update={"root": installed.root, "version": installed.version + 1})


def _write(file: Path, made: Proposal) -> None:
    try:
        write_atomic(file, made.to_bytes(), mode=0o644)
    except (OSError, ConfigError) as error:
        raise UsageError(f"cannot write {file}: {error}", "choose a folder that you may write to") from error
