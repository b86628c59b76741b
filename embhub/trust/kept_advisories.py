"""The advisories that came with a keyring: signed by the key that it names, of its registry, and never older. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from embhub.refusals import MalformedAdvisoriesError, RollbackError
from embhub.trust import dsse, p256
from embhub.trust.keyring import Trust

if TYPE_CHECKING:
    from embhub.trust.advisories import Advisories


def opened(trust: Trust) -> Advisories | None:
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

    Raises:
        RollbackError: one of these: a withdrawal may be held back.
        VerificationError: the new advisories are malformed, or not signed by the key that the keyring names.
    """
    new, known = opened(after), opened(before)
    if known is None:
        return
    hint = "a withdrawal may be held back: ask the registry's operator"
    if new is None:
        raise RollbackError(f"{after.registry} showed advisories before (number {known.number}), and now none", hint)
    if new.number < known.number:
        raise RollbackError(
            f"the advisories of {after.registry} have number {new.number}, but {known.number} was seen before", hint
        )
    if new.number == known.number and new != known:
        raise RollbackError(f"two different lists of advisories of {after.registry} have number {new.number}", hint)


@lru_cache(maxsize=16)
def _read(envelope: dsse.Envelope, public_pem: str) -> Advisories:
    from embhub.trust.advisories import Advisories  # where a keyring comes with any

    return Advisories.parse(envelope, p256.read_public(public_pem))
