"""The registries that this site trusts: one pinned root each, in `config/trust/`, with the newest keyring seen.

Every use checks the stored keyring again, so that an edited file is noticed. A keyring older than one seen before, or
another one of the same version, is refused. Where the root changed, by statements that the root before signed, the pin
moves to the new one. Statements name a registry by its host name alone, so two pins of one host name must have one
root: else either registry could speak for the other's members (`pin_names` says which keyring speaks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from embhub.durable import locked
from embhub.errors import ConfigError
from embhub.refusals import MalformedKeyringError, ReleaseRefusedError, RollbackError, WrongRootError
from embhub.site import config
from embhub.site.memory import seen
from embhub.site.pins import pin_files, pin_names
from embhub.site.pins.pin_files import Pin
from embhub.trust import freshness, kept_advisories
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import Keyring, Trust, TrustExport
from embhub.trust.multisig import SignedDocument
from embhub.trust.root_keys import follow


@dataclass(frozen=True)
class Root:
    """A pin, as `embhub trust list` shows it. `registry` is the address under which this site reaches it.

    `namespaces` are those that the registry is asked about here, None for all.
    """

    registry: str
    root_fingerprint: str
    version: int
    issued: str
    members: int
    expires: str
    namespaces: tuple[str, ...] | None = None


def add(
    export: bytes, *, fingerprint: str, address: str | None = None, namespaces: Sequence[str] | None = None
) -> Trust:
    """Pin a registry's root.

    Args:
        export: what `embhub-registry trust export` prints.
        fingerprint: the root's, from a source other than the export: a person's confirmation, or the operator. It may
            be that of an earlier root, from which signed changes lead to the present one.
        address: where this site reaches the registry, if not at the address that the registry gives itself.
        namespaces: the registry speaks for these alone; None for all of them, or for those of an earlier pin.

    Raises:
        WrongRootError: the export has another root key, another one is pinned for this address or host name, or the
            export is new here and its root was replaced.
        RollbackError: an older keyring than one seen before, or one without a revocation or removal in it.
        VerificationError: any other fault of the export.
        ConfigError: the folder cannot be written.
    """
    document = keyrings.parse_export(export)
    where = config.check_registry(address or document.registry)
    known = pin_files.find(where)
    if known is not None and not _leads_to(document, fingerprint, known.root_fingerprint):
        raise WrongRootError(
            f"another root key is pinned for {where}: {known.root_fingerprint}",
            f"if the operator confirms the new one, `embhub trust remove {where}` first",
        )
    if known is not None:
        fingerprint = known.root_fingerprint
    return _accept(document, where=where, fingerprint=fingerprint, known=known, namespaces=namespaces)


def refresh(registry: str, export: bytes) -> Trust:
    """Take a newer keyring of a registry that is pinned already, and return the one that counts.

    That is another pin's where this address is late: its root was replaced, which it does not show yet.

    Raises:
        ConfigError: the registry is not pinned.
        WrongRootError, Rollback, VerificationError: as `add`; the old keyring stays in force.
    """
    pin = pin_files.require(registry)
    document = keyrings.parse_export(export)
    return _accept(document, where=pin.address, fingerprint=pin.root_fingerprint, known=pin)


def preview(registry: str, export: bytes) -> Trust:
    """As `refresh`, and nothing is written: what would count if this export came from a registry that is pinned.

    Raises:
        ConfigError, VerificationError: as `refresh`.
    """
    pin = pin_files.require(registry)
    document = keyrings.parse_export(export)
    return _judge(document, where=pin.address, fingerprint=pin.root_fingerprint, known=pin)[1]


def confirmed(registry: str) -> Keyring | None:
    """The keyring of a pinned registry that a person of this site agreed to last, or None.

    Raises:
        ConfigError: it is not pinned, or its file is damaged.
    """
    pin = pin_files.require(registry)
    return keyrings.parse_keyring(pin.confirmed) if pin.confirmed is not None else None


def load(registry: str) -> Trust:
    """The trust of one registry.

    Raises:
        ConfigError: it is not pinned, its file is damaged, or another root is pinned under its host name.
        VerificationError: its file was edited.
    """
    pin, pins = pin_files.require(registry), pin_files.read_all()
    pin_names.check([pin], among=pins)
    return pin.in_force(pins)


def was_replaced(registry: str, root: str) -> bool:
    """Whether signed changes lead from this root to the one that counts for a pinned registry. Raises as `load`."""
    return pin_names.came_after(pin_names.in_force(pin_files.require(registry), among=pin_files.read_all()), root)


def load_all() -> list[Trust]:
    """The trust of every registry that is pinned.

    Raises:
        ConfigError: a file is damaged, or two roots are pinned under one host name.
        VerificationError: a file was edited.
    """
    pins = pin_files.read_all()
    pin_names.check(pins, among=pins)
    return [pin.in_force(pins) for pin in pins]


def load_some(*, hint: str = "embhub trust add URL") -> list[Trust]:
    """The same, the newest keyrings first, where there must be one; `hint` is the command that would add one.

    Raises:
        ConfigError: nothing is pinned, or a file is damaged.
        VerificationError: a file was edited.
    """
    if kept := load_all():
        return sorted(kept, key=lambda one: one.keyring.version, reverse=True)
    raise ConfigError("no registry is trusted yet, so no signature can be verified", f"{hint} --fingerprint SHA256:…")


def list_roots() -> list[Root]:
    """Every pin as its address showed it, also where `load_all` refuses two of one host name.

    Raises as `load_all` otherwise.
    """
    rows = [(pin, pin.open().keyring) for pin in pin_files.read_all()]
    return [
        Root(
            pin.address, pin.root_fingerprint, ring.version, ring.issued, len(ring.members), ring.expires,
            pin.namespaces,
        )
        for pin, ring in rows
    ]  # fmt: skip


def addresses() -> tuple[str, ...]:
    """Where the pinned registries are reached, unverified.

    Raises:
        ConfigError: a file is damaged.
    """
    return tuple(pin.address for pin in pin_files.read_all())


def remove(registry: str) -> None:
    """Forget a registry, the highest keyring version seen included.

    Raises:
        ConfigError: it is not pinned, or it alone shows that the root of another pin was replaced.
    """
    where = config.check_registry(registry)
    if other := _that_relies_on(where):
        raise ConfigError(
            f"the pin of {where} shows that the root key {other.root_fingerprint} was replaced, and that key is still"
            f" pinned at {other.address}",
            f"`embhub trust refresh {other.address}` if that shows the change now, else remove it first",
        )
    try:
        pin_files.path_of(where).unlink()
    except FileNotFoundError as error:
        raise pin_files.unknown(where) from error
    except OSError as error:
        raise ConfigError(f"cannot remove {pin_files.path_of(where)}: {error.strerror}") from error


def signed_keyring(digest: str) -> SignedDocument | None:
    """The keyring kept here with this SHA-256, with its signatures; None where there is none. Raises as `load_all`."""
    found = (keyrings.parse_export(pin.export).keyring for pin in pin_files.read_all())
    return next((document for document in found if document.digest == digest), None)


def _leads_to(document: TrustExport, given: str, pinned: str) -> bool:
    """Whether the root that a person names is the pinned one, one before it, or one that follows from it."""
    named = {given, pinned}
    for fingerprint in named if len(named) > 1 else ():
        try:
            passed = follow(document.roots, registry=document.registry, pinned=fingerprint, current=document.root)
        except WrongRootError:
            continue
        if named <= {*passed, document.root_fingerprint}:
            return True
    return given == pinned


def _accept(
    document: TrustExport, *, where: str, fingerprint: str, known: Pin | None, namespaces: Sequence[str] | None = None
) -> Trust:
    with locked(pin_files.path_of(where)):  # another process may have stored a newer one since
        known = known and pin_files.require(where)
        pin, counts = _judge(document, where=where, fingerprint=fingerprint, known=known, namespaces=namespaces)
        if known is not None:
            seen.forget_keys(counts.registry, _dropped(known.open().keyring, counts.keyring))
        pin_files.save(pin)
    return counts


def _dropped(before: Keyring, after: Keyring) -> set[str]:
    """Keys that a keyring does not list any more. Where a later one lists one again, it is as new here."""
    return before.fingerprints() - after.fingerprints()


def _judge(
    document: TrustExport, *, where: str, fingerprint: str, known: Pin | None, namespaces: Sequence[str] | None = None
) -> tuple[Pin, Trust]:
    """The pin with this export, not yet saved, and the keyring that counts then for the registry's name."""
    opened = keyrings.open_export(
        document, root_fingerprint=fingerprint, minimum_version=known.version if known is not None else 1
    )
    freshness.refuse_the_future(opened, _now())
    before = [known.open()] if known is not None else []
    if known is not None:
        check_succession(opened, before=before[0], where=where)
    limited = tuple(sorted(set(namespaces))) if namespaces is not None else known.namespaces if known else None
    pin = Pin(
        where,
        opened.root_fingerprint,
        opened.keyring.version,
        _newer(document, opened, known).to_bytes(),
        limited,
        confirmed=_still_confirmed(known, opened.keyring) if known else document.keyring.payload,
        withdrawn_before=kept_advisories.carried(opened, before=before),
    )
    pins = pin_files.read_all()
    if other := pin_names.namesake(pin, among=pins):
        raise WrongRootError(*pin_names.two_roots(pin, other))
    if (later := pin_names.in_force(pin, among=pins)) is not pin:
        pin = _as_seen(pin, later, among=pins)
    elif known is None or opened.passed:
        replaced = [one for one in pins if pin_names.replaces(pin, one)]
        _check_what_it_replaces(opened, replaced, where=where)
        before += [one.open() for one in replaced]
        pin = replace(pin, withdrawn_before=kept_advisories.carried(opened, before=before))
    return pin, replace(pin.in_force(pins), passed=opened.passed)


def _still_confirmed(known: Pin, current: Keyring) -> bytes | None:
    """The keyring that a person agreed to, without the keys that were dropped since: nobody agreed to their return."""
    if known.confirmed is None:
        return None
    agreed = keyrings.parse_keyring(known.confirmed)
    dropped = _dropped(agreed, current)
    if not dropped:
        return known.confirmed
    members = [
        one.model_copy(update={"keys": tuple(key for key in one.keys if key.fingerprint not in dropped)})
        for one in agreed.members
    ]
    revoked = tuple(row for row in agreed.revoked if row.fingerprint not in dropped)
    return agreed.model_copy(update={"members": tuple(members), "revoked": revoked}).to_bytes()


def _as_seen(pin: Pin, later: Pin, *, among: Sequence[Pin]) -> Pin:
    """The pin of a late address, with nothing in it that is new here: its root was replaced, and may be stolen."""
    digest = keyrings.parse_export(pin.export).keyring.digest
    for one in among:
        if one.root_fingerprint == pin.root_fingerprint and keyrings.parse_export(one.export).keyring.digest == digest:
            return replace(pin, export=one.export)
    raise WrongRootError(*pin_names.replaced(pin, later))


def _check_what_it_replaces(opened: Trust, earlier: Sequence[Pin], *, where: str) -> None:
    """The keyrings of an earlier root stop counting, so what they revoked and withdrew has to be in the new one."""
    for pin in earlier:
        try:
            kept_advisories.check_succession(opened, before=pin.open())
            _refuse_brought_back(opened, before=pin.open(), where=where)
        except RollbackError as error:
            error.message += f"; {pin.address} showed it"
            error.hint += f". If the new root key is theirs, and that was not: `embhub trust remove {pin.address}`"
            raise


def _newer(document: TrustExport, opened: Trust, known: Pin | None) -> TrustExport:
    """The export as it came, or the one kept here where that has the newer timestamp of the very same keyring."""
    if known is None:
        return document
    before = known.open()
    if (before.digest, before.advisories) != (opened.digest, opened.advisories) or before.timestamp is None:
        return document
    if freshness.is_ahead(before.timestamp.issued, _now()):  # a clock here was wrong when it came
        return document
    if opened.timestamp is not None and opened.timestamp.issued >= before.timestamp.issued:
        return document
    return keyrings.parse_export(known.export)


def check_succession(opened: Trust, *, before: Trust, where: str) -> None:
    """Refuse a keyring that does not continue the one that was seen before of the registry at `where`.

    Raises:
        MalformedKeyringError: another registry's. VerificationError: its advisories are malformed.
        RollbackError: another keyring of the same version, withdrawals that are gone, or a revocation or removal is.
    """
    if opened.registry != before.registry:
        raise MalformedKeyringError(
            f"the keyring is that of {opened.registry}, before it was that of {before.registry}",
            f"if the registry was renamed, `embhub trust remove {where}` and pin it again",
        )
    if opened.keyring.version == before.keyring.version and opened.digest != before.digest:
        raise RollbackError(
            f"two different keyrings of {where} have the version {before.keyring.version}",
            "the registry shows different keyrings to different people: ask its operator",
        )
    kept_advisories.check_succession(opened, before=before)
    _refuse_brought_back(opened, before=before, where=where)


def _refuse_brought_back(opened: Trust, *, before: Trust, where: str) -> None:
    if brought_back := keyrings.keys_brought_back(before.keyring, opened.keyring):
        raise RollbackError(
            f"the keyring of {where} leaves out that a key was revoked or removed: {', '.join(brought_back)}",
            "both are final, and a member makes a new key: ask the registry's operator what happened",
        )


def _now() -> datetime:
    return datetime.now(UTC)


def _that_relies_on(where: str) -> Pin | None:
    try:
        pin = pin_files.find(where)
        return pin_names.relies_on(pin, among=pin_files.read_all()) if pin is not None else None
    except (ConfigError, ReleaseRefusedError):  # a damaged pin has to be removable
        return None
