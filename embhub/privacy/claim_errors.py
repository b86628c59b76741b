"""How a privacy claim is refused, and the word that stands where there is none."""

from __future__ import annotations

from typing import Final

from embhub.errors import ArtifactError, PrivacyError

NONE: Final = "none"


class UncheckableClaimError(ArtifactError):
    """Neither "none" nor a claim of a form that this version can recompute."""


class UnsupportedClaimError(PrivacyError):
    """A claim that its own parameters do not support."""
