"""The registries that this site trusts: one pinned root each, in `config/trust/`, with the newest keyring seen.

Every use checks the stored keyring again, so that an edited file is noticed. A keyring older than one seen before, or
another one of the same version, is refused. Where the root changed, by statements that the root before signed, the pin
moves to the new one. Statements name a registry by its host name alone, so two pins of one host name must have one
root: else either registry could speak for the other's members.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from embhub.durable import write_atomic
from embhub.errors import ConfigError
from embhub.formats import strict_json
from embhub.formats.immutable import dataclass
from embhub.refusals import MalformedKeyringError, RollbackError, WrongRootError
from embhub.site import config, pin_names
from embhub.trust import kept_advisories
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import Keyring, Trust, TrustExport
from embhub.trust.multisig import SignedDocument
from embhub.trust.root_keys import follow

_SCHEMA = "embhub.pin/2"
_LIMIT = 2 * keyrings.EXPORT_BYTES


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


@dataclass(frozen=True)
class _Pin:
    """A keyring as it is kept, and the root that a person pinned."""

    address: str
    root_fingerprint: str
    version: int
    export: bytes
    namespaces: tuple[str, ...] | None = None
    confirmed: bytes | None = None  # the keyring that a person of this site agreed to last

    def open(self) -> Trust:
        opened = keyrings.open_export(
            keyrings.parse_export(self.export), root_fingerprint=self.root_fingerprint, minimum_version=self.version
        )
        return replace(opened, namespaces=None if self.namespaces is None else frozenset(self.namespaces))


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
        WrongRootError: the export has another root key, or another one is pinned for this address or host name.
        RollbackError: an older keyring than one seen before.
        VerificationError: any other fault of the export.
        ConfigError: the folder cannot be written.
    """
    document = keyrings.parse_export(export)
    where = config.check_registry(address or document.registry)
    known = _find(where)
    if known is not None and not _leads_to(document, fingerprint, known.root_fingerprint):
        raise WrongRootError(
            f"another root key is pinned for {where}: {known.root_fingerprint}",
            f"if the operator confirms the new one, `embhub trust remove {where}` first",
        )
    if known is not None:
        fingerprint = known.root_fingerprint
    return _accept(document, where=where, fingerprint=fingerprint, known=known, namespaces=namespaces)


def refresh(registry: str, export: bytes) -> Trust:
    """Take a newer keyring of a registry that is pinned already.

    Raises:
        ConfigError: the registry is not pinned.
        WrongRootError, Rollback, VerificationError: as `add`; the old keyring stays in force.
    """
    pin = _require(registry)
    document = keyrings.parse_export(export)
    return _accept(document, where=pin.address, fingerprint=pin.root_fingerprint, known=pin)


def confirmed(registry: str) -> Keyring | None:
    """The keyring of a pinned registry that a person of this site agreed to last, or None.

    Raises:
        ConfigError: it is not pinned, or its file is damaged.
    """
    pin = _require(registry)
    return keyrings.parse_keyring(pin.confirmed) if pin.confirmed is not None else None


def confirm(registry: str) -> None:
    """Note that a person agreed to the keyring of a pinned registry as it is kept here.

    Raises:
        ConfigError: it is not pinned, or cannot be written.
    """
    pin = _require(registry)
    _save(replace(pin, confirmed=keyrings.parse_export(pin.export).keyring.payload))


def load(registry: str) -> Trust:
    """The trust of one registry.

    Raises:
        ConfigError: it is not pinned, its file is damaged, or another root is pinned under its host name.
        VerificationError: its file was edited.
    """
    pin = _require(registry)
    pin_names.check([pin], among=_pins())
    return pin.open()


def load_all() -> list[Trust]:
    """The trust of every registry that is pinned.

    Raises:
        ConfigError: a file is damaged, or two roots are pinned under one host name.
        VerificationError: a file was edited.
    """
    pins = _pins()
    pin_names.check(pins, among=pins)
    return [pin.open() for pin in pins]


def load_some(*, hint: str = "embhub trust add URL") -> list[Trust]:
    """The same, where there must be one; `hint` is the command that would add one.

    Raises:
        ConfigError: nothing is pinned, or a file is damaged.
        VerificationError: a file was edited.
    """
    if kept := load_all():
        return kept
    raise ConfigError("no registry is trusted yet, so no signature can be verified", f"{hint} --fingerprint SHA256:…")


def list_roots() -> list[Root]:
    """Every pin, by address, also where `load_all` refuses two of one host name. Raises as `load_all` otherwise."""
    rows = [(pin, pin.open().keyring) for pin in _pins()]
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
    return tuple(pin.address for pin in _pins())


def remove(registry: str) -> None:
    """Forget a registry, the highest keyring version seen included.

    Raises:
        ConfigError: it is not pinned.
    """
    where = config.check_registry(registry)
    try:
        _path(where).unlink()
    except FileNotFoundError as error:
        raise _unknown(where) from error
    except OSError as error:
        raise ConfigError(f"cannot remove {_path(where)}: {error.strerror}") from error


def signed_keyring(digest: str) -> SignedDocument | None:
    """The keyring kept here with this SHA-256, with its signatures; None where there is none. Raises as `load_all`."""
    found = (keyrings.parse_export(pin.export).keyring for pin in _pins())
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
    document: TrustExport, *, where: str, fingerprint: str, known: _Pin | None, namespaces: Sequence[str] | None = None
) -> Trust:
    opened = keyrings.open_export(
        document, root_fingerprint=fingerprint, minimum_version=known.version if known is not None else 1
    )
    if known is not None:
        check_succession(opened, before=known.open(), where=where)
    limited = tuple(sorted(set(namespaces))) if namespaces is not None else known.namespaces if known else None
    pin = _Pin(
        where, opened.root_fingerprint, opened.keyring.version, _newer(document, opened, known).to_bytes(), limited,
        known.confirmed if known else document.keyring.payload,
    )  # fmt: skip
    if other := pin_names.namesake(pin, among=_pins()):
        raise WrongRootError(*pin_names.two_roots(pin, other))
    _save(pin)
    return replace(pin.open(), passed=opened.passed)


def _newer(document: TrustExport, opened: Trust, known: _Pin | None) -> TrustExport:
    """The export as it came, or the one kept here where that has the newer timestamp of the very same keyring."""
    if known is None:
        return document
    before = known.open()
    if (before.digest, before.advisories) != (opened.digest, opened.advisories) or before.timestamp is None:
        return document
    if opened.timestamp is not None and opened.timestamp.issued >= before.timestamp.issued:
        return document
    return keyrings.parse_export(known.export)


def check_succession(opened: Trust, *, before: Trust, where: str) -> None:
    """Refuse a keyring that does not continue the one that was seen before of the registry at `where`.

    Raises:
        MalformedKeyringError: another registry's. VerificationError: its advisories are malformed.
        RollbackError: another keyring of the same version, withdrawals that are gone, or a revoked key counts again.
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
    if brought_back := keyrings.keys_brought_back(before.keyring, opened.keyring):
        raise RollbackError(
            f"the keyring of {where} lets a revoked key count again: {', '.join(brought_back)}",
            "a revocation is final, and a member makes a new key: ask the registry's operator what happened",
        )


def _save(pin: _Pin) -> None:
    document = {
        "schema": _SCHEMA,
        "address": pin.address,
        "root_fingerprint": pin.root_fingerprint,
        "version": pin.version,
        "export": pin.export.decode("utf-8"),
        "namespaces": pin.namespaces,
        "confirmed": pin.confirmed.decode("utf-8") if pin.confirmed is not None else None,
    }
    write_atomic(_path(pin.address), json.dumps(document, indent=1).encode("utf-8") + b"\n", mode=0o600)


def _require(registry: str) -> _Pin:
    where = config.check_registry(registry)
    pin = _find(where)
    if pin is None:
        raise _unknown(where)
    return pin


def _find(where: str) -> _Pin | None:
    path = _path(where)
    return _read(path) if path.exists() else None


def _pins() -> list[_Pin]:
    folder = _folder()
    pins = [_read(path) for path in folder.glob("*.json")] if folder.is_dir() else []
    return sorted(pins, key=lambda pin: pin.address)


def _read(path: Path) -> _Pin:
    try:
        with path.open("rb") as stream:
            document = strict_json.read_object(stream.read(_LIMIT + 1), limit=_LIMIT)
        if document["schema"] != _SCHEMA:
            raise strict_json.JsonError(f"not {_SCHEMA}")
        pin = _Pin(
            str(document["address"]),
            str(document["root_fingerprint"]),
            int(document["version"]),
            str(document["export"]).encode("utf-8"),
            None if document["namespaces"] is None else tuple(str(name) for name in document["namespaces"]),
            None if document["confirmed"] is None else str(document["confirmed"]).encode("utf-8"),
        )
    except (strict_json.JsonError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is damaged: {error}", "remove it and pin the registry again") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if _path(pin.address) != path:
        raise ConfigError(f"{path} is not the pin of {pin.address}", "remove it and pin the registry again")
    return pin


def _unknown(where: str) -> ConfigError:
    return ConfigError(f"no root key is pinned for {where}", f"embhub trust add {where}")


def _path(where: str) -> Path:
    return _folder() / f"{hashlib.sha256(where.encode('utf-8')).hexdigest()[:32]}.json"


def _folder() -> Path:
    return config.paths().config / "trust"
