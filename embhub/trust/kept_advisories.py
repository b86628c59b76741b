"""The advisories that came with a keyring: signed by the key that it names, of its registry, and never older. Pure.

A keyring that the root signed may name another key for advisories. Then a new count begins, for a thief of the key
before may have counted far ahead (TUF's specification, 5.3: recovery from fast-forward attacks). What was withdrawn
under the key before binds on, until the new list names it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from embhub.refusals import MalformedAdvisoriesError, RollbackError
from embhub.trust import dsse, p256
from embhub.trust.keyring import Trust

if TYPE_CHECKING:
    from embhub.trust.advisories import Advisories, Advisory

MOST_CARRIED = 10_000  # entries that lists under earlier keys leave behind: some three full lists


def opened(trust: Trust) -> Advisories | None:
    """What binds: the list that came with a keyring, and what was withdrawn under keys before; None without a list.

    Raises: as `listed`.
    """
    found = listed(trust)
    if found is None or trust.withdrawn_before is None:
        return found
    return replace(found, entries=(*found.entries, *_unnamed(_read_kept(trust.withdrawn_before), found)))


def listed(trust: Trust) -> Advisories | None:
    """The advisories that came with a keyring, their signature and registry checked; None where there are none.

    Raises:
        BadSignatureError, MalformedAdvisoriesError: they are not what this registry's key for advisories signed.
    """
    key = trust.keyring.online_key("advisories")
    if trust.advisories is None or key is None:
        return None
    found = _read(trust.advisories, p256.public_pem(key))
    if found.registry != trust.origin:
        raise MalformedAdvisoriesError(
            f"the advisories are those of {found.registry}, not of {trust.origin}",
            "refresh the keyring with `embhub trust refresh`; if it stays so, ask the registry's operator",
        )
    return found


def check_succession(after: Trust, *, before: Trust) -> None:
    """Refuse advisories that are older than those seen before, that are gone, or other ones under the same number.

    Of another key, which the newer keyring names, any number is taken.

    Raises:
        RollbackError: one of these: a withdrawal may be held back.
        VerificationError: the new advisories are malformed, or not signed by the key that the keyring names.
    """
    new, known = listed(after), listed(before)
    if known is None:
        return
    hint = "a withdrawal may be held back: ask the registry's operator"
    if new is None:
        raise RollbackError(f"{after.registry} showed advisories before (number {known.number}), and now none", hint)
    if not _has_one_key(after, before):
        return
    if new.number < known.number:
        raise RollbackError(
            f"the advisories of {after.registry} have number {new.number}, but {known.number} was seen before", hint
        )
    if new.number == known.number and new != known:
        raise RollbackError(f"two different lists of advisories of {after.registry} have number {new.number}", hint)


def carried(after: Trust, *, before: Iterable[Trust]) -> bytes | None:
    """What keyrings seen before leave binding beside the list of this one: a document without a signature, or None.

    That is what was in force in lists of other keys, and what these had carried on themselves. What the new list names,
    as in force or as lifted, is its own matter from then on.

    Raises: as `listed`.
    """
    found: dict[str, Advisory] = {}
    for trust in before:
        kept = _read_kept(trust.withdrawn_before) if trust.withdrawn_before is not None else ()
        last = listed(trust)
        ended = last.entries if last is not None and not _has_one_key(after, trust) else ()
        found |= {entry.id: entry for entry in (*kept, *ended)}
    own = listed(after)
    if not found or own is None:
        return None
    left = _unnamed(found.values(), own)[:MOST_CARRIED]
    return replace(own, entries=left).to_bytes() if left else None


def _has_one_key(one: Trust, other: Trust) -> bool:
    keys = [(trust.keyring.online or {}).get("advisories") for trust in (one, other)]
    return keys[0] == keys[1]


def _unnamed(entries: Iterable[Advisory], by: Advisories) -> tuple[Advisory, ...]:
    """Those in force that a list does not speak of. A repository that became private is named in one of the two."""
    named: dict[tuple[str | None, ...], list[str | None]] = {}
    for entry in by.entries:
        named.setdefault(_facts(entry), []).append(entry.repository)
    return tuple(
        entry for entry in entries
        if entry.withdrawn_on is None and not _is_in(entry.repository, named.get(_facts(entry), []))
    )  # fmt: skip


def _facts(entry: Advisory) -> tuple[str | None, ...]:
    return entry.scope, entry.by, entry.namespace, entry.version, entry.digest, entry.published


def _is_in(repository: str | None, found: list[str | None]) -> bool:
    return bool(found) and (repository is None or repository in found or None in found)


@lru_cache(maxsize=16)
def _read(envelope: dsse.Envelope, public_pem: str) -> Advisories:
    from embhub.trust.advisories import Advisories  # where a keyring comes with any

    return Advisories.parse(envelope, p256.read_public(public_pem))


@lru_cache(maxsize=16)
def _read_kept(document: bytes) -> tuple[Advisory, ...]:
    from embhub.trust import advisories

    return advisories.read_document(document, lists=4).entries
