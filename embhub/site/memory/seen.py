"""What this site remembers of registries: its namespace there, every release accepted from them, and auditors' keys.

`embhub.release.verification` refuses by it: an older release that nobody asked for, and another release under a
version that was accepted before, wherever it comes from. Registries are told apart by the name in their keyring, not
by the address they are reached at. Kept in `state/seen.json`, which only this user can read: it tells what a hospital
looked at. One process at a time writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from embhub.durable import locked, write_atomic
from embhub.errors import ConfigError
from embhub.formats import names, strict_json
from embhub.site import config

MAX_BYTES = 32_000_000
MOST_VERSIONS = 500  # remembered of one repository: the highest
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TABLES = ("namespaces", "confirmed", "auditors", "releases")
_OPTIONAL = ("commit", "statement", "card", "audit", "signer", "on")


@dataclass(frozen=True)
class Accepted:
    """One version that was accepted.

    `digest`, `card` and `audit` are the SHA-256 of what the publisher signed as this version, `audit` None where the
    statement names no audit. `commit` is the registry's, `statement` the identity of the statement, `signer` the
    fingerprint of the key, and `keyring` the version of the keyring that vouched for it. What is not known is None.
    `unexpected` says that a warning of the signer came with it: accepting it was no confirmation of the key.
    """

    version: str
    digest: str
    commit: str | None = None
    statement: str | None = None
    card: str | None = None
    audit: str | None = None
    signer: str | None = None
    keyring: int | None = None
    on: str | None = None
    unexpected: bool = False


@dataclass(frozen=True)
class Sighting:
    """Every version of one repository that was accepted."""

    versions: Mapping[str, Accepted] = field(default_factory=dict)

    def of(self, version: str, *, stolen: Collection[str] = ()) -> Accepted | None:
        """What was accepted as this version, unless a key in `stolen` signed it."""
        found = self.versions.get(version)
        return None if found is not None and found.signer in stolen else found

    def newest(self, *, stolen: Collection[str] = ()) -> Accepted | None:
        """The highest version that was accepted; those that a key in `stolen` signed do not count."""
        held = [one for one in self.versions.values() if one.signer not in stolen]
        return max(held, key=lambda one: names.version_order(one.version), default=None)


@dataclass(frozen=True)
class SignerChange:
    """A key that this site has no reason to expect: another one than before, or one that is new in the keyring."""

    fingerprint: str
    before: tuple[str, ...]

    def in_words(self) -> str:
        """Which key, and what was expected."""
        if self.before:
            return f"the key {self.fingerprint} signed, and what was accepted here before was signed by " + ", ".join(
                self.before
            )
        return f"the key {self.fingerprint} signed; it is new in the keyring, and nobody here confirmed it"


@dataclass(frozen=True)
class _Memory:
    """What the file holds."""

    namespaces: dict[str, str] = field(default_factory=dict)
    confirmed: dict[str, list[str]] = field(default_factory=dict)
    releases: dict[str, dict[str, Accepted]] = field(default_factory=dict)
    auditors: dict[str, list[str]] = field(default_factory=dict)


def accepted() -> dict[tuple[str, str], Sighting]:
    """What was accepted of every repository, by (registry, repository)."""
    found = {}
    for place, versions in _read().releases.items():
        registry, _, repository = place.rpartition(" ")
        found[registry, repository] = Sighting(versions)
    return found


def newest(registry: str, repository: str, *, stolen: Collection[str] = ()) -> Accepted | None:
    """The highest version of `repository` that this site accepted by the keyring of `registry`, or None."""
    return Sighting(_read().releases.get(f"{registry} {repository}", {})).newest(stolen=stolen)


def remember(registry: str, repository: str, *, version: str, digest: str, **facts: Any) -> None:
    """Note an accepted release. `facts` are the further members of `Accepted`.

    An entry of the same release stays as it is, with the day on which it was accepted first. What another key signed is
    another entry: a statement that was signed anew within a second is the same but for the key, and a key that was
    stolen may have signed the first.
    """
    entry = Accepted(version=version, digest=digest, **facts)

    def note(memory: _Memory) -> None:
        held = memory.releases.setdefault(f"{registry} {repository}", {})
        before = held.get(version)
        if before is None or _identity(before) != _identity(entry):
            held[version] = entry
        elif before.commit is None and entry.commit is not None:  # it came from a copy first
            held[version] = replace(before, commit=entry.commit)
        if len(held) > MOST_VERSIONS:
            del held[min(held, key=names.version_order)]

    _change(note)


def _identity(entry: Accepted) -> tuple[str | None, ...]:
    return entry.digest, entry.statement, entry.signer


def signer_change(registry: str, repository: str, *, fingerprint: str) -> SignerChange | None:
    """Whether a release of `repository` is signed by a key that this site does not expect.

    Expected are keys that signed what was accepted here of the same namespace without a warning, and those that a
    person confirmed (`confirm`). Where nothing was accepted of the namespace, any key is, unless some of the registry
    were confirmed: then this one came to the keyring later. A release that was signed anew by an unexpected key takes
    the place of the one before, and makes that key no expected one.
    """
    memory = _read()
    confirmed = memory.confirmed.get(registry)
    prefix = f"{registry} {names.namespace_of(repository)}/"
    held = [one for place, found in memory.releases.items() if place.startswith(prefix) for one in found.values()]
    before = sorted({one.signer for one in held if one.signer is not None and not one.unexpected})
    if fingerprint in before or fingerprint in (confirmed or ()):
        return None
    if not before and confirmed is None and not any(one.unexpected for one in held):
        return None
    return SignerChange(fingerprint, tuple(before))


def auditor_change(registry: str, namespace: str, *, fingerprint: str) -> SignerChange | None:
    """Whether an auditor countersigned with a key that this site does not expect, as `signer_change` decides it."""
    memory = _read()
    confirmed = memory.confirmed.get(registry)
    before = memory.auditors.get(f"{registry} {namespace}", [])
    if fingerprint in before or fingerprint in (confirmed or ()) or (not before and confirmed is None):
        return None
    return SignerChange(fingerprint, tuple(before))


def remember_auditors(registry: str, found: Iterable[tuple[str, str]]) -> None:
    """Note the keys, as (namespace, fingerprint), with which auditors countersigned what was accepted here."""
    listed = list(found)

    def note(memory: _Memory) -> None:
        for namespace, fingerprint in listed:
            place = f"{registry} {namespace}"
            memory.auditors[place] = sorted({*memory.auditors.get(place, ()), fingerprint})

    if listed:
        _change(note)


def confirm(registry: str, fingerprints: Iterable[str]) -> None:
    """Note that a person of this site agreed to these keys of a registry's keyring, when pinning or refreshing it."""
    new = set(fingerprints)

    def note(memory: _Memory) -> None:
        memory.confirmed[registry] = sorted(new.union(memory.confirmed.get(registry, ())))

    _change(note)


def forget_keys(registry: str, fingerprints: Collection[str]) -> None:
    """Expect these keys no more, for their registry's keyring dropped them. What they signed stays remembered.

    Raises:
        ConfigError: the memory cannot be read or written.
    """

    def note(memory: _Memory) -> None:
        if registry in memory.confirmed:
            memory.confirmed[registry] = [key for key in memory.confirmed[registry] if key not in fingerprints]
        for place, keys in memory.auditors.items():
            if place.startswith(f"{registry} "):
                memory.auditors[place] = [key for key in keys if key not in fingerprints]
        for place, held in memory.releases.items():
            if place.startswith(f"{registry} "):
                theirs = {version: one for version, one in held.items() if one.signer in fingerprints}
                held |= {version: replace(one, unexpected=True) for version, one in theirs.items()}

    if fingerprints:
        _change(note)


def namespace(registry: str) -> str | None:
    """The namespace that the account at `registry` publishes under, as `login` learned it."""
    return _read().namespaces.get(registry)


def remember_namespace(registry: str, name: str | None) -> None:
    """Note the only namespace in which the account at `registry` publishes; None where there is not one alone."""

    def note(memory: _Memory) -> None:
        memory.namespaces.pop(registry, None)
        if name is not None:
            memory.namespaces[registry] = name

    _change(note)


def _path() -> Path:
    return config.paths().state / "seen.json"


def _change(change: Callable[[_Memory], object]) -> None:
    """Read, change and write, while no other process does: what another one noted meanwhile is not lost."""
    with locked(_path()):
        memory, before = _read(), _read()
        change(memory)
        if memory != before:
            _write(memory)


def _read() -> _Memory:
    path = _path()
    try:
        with path.open("rb") as stream:
            return _parse(_open(stream.read(MAX_BYTES + 1)))
    except FileNotFoundError:
        return _Memory()
    except (OSError, strict_json.JsonError, ValueError) as error:
        # never start afresh in silence: forgetting is what a rollback needs
        raise ConfigError(
            f"what this site remembers of releases cannot be read: {path}",
            "restore it from a backup; or remove it, knowing that older releases would then be accepted again",
        ) from error


def _open(data: bytes) -> dict[str, Any]:
    return strict_json.read_object(data, limit=MAX_BYTES, nodes=MAX_BYTES // 10, items=MAX_BYTES // 10)


def _parse(document: Mapping[str, Any]) -> _Memory:
    members = strict_json.exact(document, set(), optional={*_TABLES}, what="the memory")
    memory = _Memory(members.get("namespaces", {}), members.get("confirmed", {}), auditors=members.get("auditors", {}))
    tables: list[Any] = [memory.namespaces, memory.confirmed, memory.auditors, members.get("releases", {})]
    if not all(isinstance(table, dict) for table in tables):
        raise ValueError("a table is no object")
    if not all(isinstance(name, str) for name in memory.namespaces.values()):
        raise ValueError("a namespace is no text")
    if not all(_is_texts(keys) for keys in (*memory.confirmed.values(), *memory.auditors.values())):
        raise ValueError("keys are no list of texts")
    for place, versions in members.get("releases", {}).items():
        if not isinstance(versions, dict):
            raise ValueError("a repository's versions are no object")
        memory.releases[place] = {version: _entry(version, found) for version, found in versions.items()}
    return memory


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _entry(version: str, found: Any) -> Accepted:
    if names.version_fault(version) is not None:
        raise ValueError("no version")
    members = strict_json.exact(found, {"digest"}, optional={*_OPTIONAL, "keyring", "unexpected"}, what="a release")
    if not isinstance(members["digest"], str) or not _DIGEST.fullmatch(members["digest"]):
        raise ValueError("no digest")
    if not all(isinstance(members.get(name), str | None) for name in _OPTIONAL):
        raise ValueError("a fact is no text")
    if not isinstance(members.get("keyring"), int | None):
        raise ValueError("a keyring's version is no number")
    if not isinstance(members.get("unexpected", False), bool):
        raise ValueError("whether the signer was unexpected is neither true nor false")
    return Accepted(version=version, **members)


def _write(memory: _Memory) -> None:
    releases = {
        place: {version: _members(found) for version, found in versions.items()}
        for place, versions in memory.releases.items()
    }
    document = {
        "namespaces": memory.namespaces, "confirmed": memory.confirmed, "auditors": memory.auditors,
        "releases": releases,
    }  # fmt: skip
    write_atomic(_path(), json.dumps(document, indent=1, sort_keys=True).encode(), mode=0o600)


def _members(found: Accepted) -> dict[str, Any]:
    return {name: value for name, value in asdict(found).items() if value not in (None, False) and name != "version"}
