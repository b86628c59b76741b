"""Errors that a person can act on: what is wrong with which thing, and what to do about it.

Each family has one exit code of the command line (see docs/reference/errors.md).
"""

from __future__ import annotations


class EmbhubError(Exception):
    """Base class of every error that embhub raises on purpose.

    Catch it to handle them all, or one of its families: `UsageError`, `ArtifactError`, `VerificationError`,
    `RegistryError`, `PrivacyError`, `ConfigError`, `PolicyError`.

    Args:
        message: What is wrong, and with which thing.
        hint: What to do about it; empty where nothing can be done.

    Attributes:
        message: What is wrong, and with which thing.
        hint: What to do about it.
        exit_code: Exit code of the command line for this family.

    Example:
        >>> import embhub
        >>> try:
        ...     embhub.Release.from_folder("no-such-folder")
        ... except embhub.EmbhubError as error:
        ...     print(error.message, error.exit_code)
        no-such-folder is not a folder 2
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(EmbhubError):
    """The call itself cannot be carried out: missing input, unreadable image, contradicting options."""

    exit_code = 2


class ArtifactError(EmbhubError):
    """An embedding, card or report is malformed, too large, or does not fit its base model."""

    exit_code = 3


class VerificationError(EmbhubError):
    """Bytes, signature, signer or statement do not agree: treat as tampering until explained."""

    exit_code = 4


class RegistryError(EmbhubError):
    """The registry refused, cannot be reached, or gave an invalid answer."""

    exit_code = 5


class PrivacyError(EmbhubError):
    """The call would break a privacy rule: a budget, a split, an unsupported claim."""

    exit_code = 6


class ConfigError(EmbhubError):
    """A setting, key, credential or folder of this site is missing, wrong or unsafe."""

    exit_code = 7


class PolicyError(EmbhubError):
    """What was signed is whole, and this site's policy does not take it: a decision of the site, not tampering."""

    exit_code = 8
