"""A privacy claim, or the word "none": read, written and told apart without the arithmetic of claims.

Most releases claim nothing. What a claim needs, its model and its accountants, is imported where there is one, and
`embhub.privacy.claim` then decides. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embhub.privacy.claim_errors import NONE as NONE
from embhub.privacy.claim_errors import UncheckableClaimError as UncheckableClaimError
from embhub.privacy.claim_errors import UnsupportedClaimError as UnsupportedClaimError

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from embhub.privacy.claim import Claim, PrivacyClaim


def is_claim(value: object) -> TypeIs[PrivacyClaim]:
    """Whether this is a privacy claim, and not the word "none"."""
    if isinstance(value, str):
        return False
    from embhub.privacy.claim import PrivacyClaim

    return isinstance(value, PrivacyClaim)


def at_least(number: int | str, claim: Claim) -> int | str:
    """A number of patients or images in words: beside a claim it is the least that there are."""
    return f"at least {number}" if is_claim(claim) and isinstance(number, int) else number


def parse_claim(value: Any) -> Claim:
    """Read a claim from plain data: the word "none", or the object of a `PrivacyClaim`.

    Raises:
        UncheckableClaimError: anything else.
        UnsupportedClaimError: a claim that its own parameters do not support; the message says why.
    """
    if value == NONE:
        return NONE
    from embhub.privacy import claim

    return claim.parse_claim(value)


def read_claim(text: str) -> Claim:
    """Read a claim as a file's header holds it: `none`, or canonical JSON.

    Raises:
        UncheckableClaimError: not a claim, or not canonical.
        UnsupportedClaimError: as `parse_claim`.
    """
    if text == NONE:
        return NONE
    from embhub.privacy import claim

    return claim.read_claim(text)


def write_claim(claim: Claim) -> str:
    """A claim as text for a file's header."""
    return claim.to_text() if is_claim(claim) else NONE


def plain(claim: Claim) -> dict[str, Any] | str:
    """A claim as plain data for cards, statements and `--json`."""
    return claim.to_dict() if is_claim(claim) else NONE
