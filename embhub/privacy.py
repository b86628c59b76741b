"""What a release claims about privacy, and which claims this version can recompute.

Today there is one: the plain word "none", trained without differential privacy. A claim that nobody here can check is
refused rather than passed on. `PrivacyClaim` (unit, sampling, sigma, steps, delta, epsilon) and its RDP accounting
belong here, behind `check_claim`.
"""

from __future__ import annotations

from typing import Any

from embhub.errors import ArtifactError

NONE = "none"


class UncheckableClaim(ArtifactError):
    """A claim other than "none": this version cannot recompute its epsilon."""


def check_claim(claim: Any) -> str:
    """Return the claim if it can be checked: the word "none".

    Raises:
        UncheckableClaim: anything else.
    """
    if claim != NONE:
        raise UncheckableClaim(
            "the privacy claim is not the word none, and this version cannot recompute any other",
            "publish with `privacy: none`, or verify with a version that recomputes differential privacy claims",
        )
    return NONE
