"""Every way in which a registry, or somebody in between, fails its client: one class a reason."""

from __future__ import annotations

from embhub.errors import RegistryError
from embhub.formats.plain_text import plain

_OF_ANY_SERVER = {400, 404, 405, 406, 410, 501}  # a registry says why, in a header and in words
_OPERATOR = "inform the registry's operator"


class UnreachableError(RegistryError):
    """There is no connection."""


class AnswerCutShortError(RegistryError):
    """The connection ended before the answer did."""


class AnswerTooSlowError(RegistryError):
    """An answer took longer than anybody waits."""


class AnswerTooLargeError(RegistryError):
    """More bytes are announced or sent than such an answer may have."""


class CompressedAnswerError(RegistryError):
    """An answer is compressed, though it was asked for plain: its size says nothing about what it unpacks to."""


class RedirectedElsewhereError(RegistryError):
    """The client is sent on to another host."""


class NotARegistryError(RegistryError):
    """An answer does not have the form of a registry's."""


class WrongCommitError(RegistryError):
    """No commit is named, or another one than was asked for."""


class NotFoundError(RegistryError):
    """There is no such repository or revision, or a file is missing that was listed."""


class NotAllowedError(RegistryError):
    """The token is missing, not good any more, or not good for this."""


class VisibilityError(RegistryError):
    """A repository is not as visible, or as hidden, as was asked for."""


class RegistryFailedError(RegistryError):
    """The registry says that it failed."""


def from_status(
    status: int, code: str, said: str, *, registry: str, what: str, anonymous: bool = False
) -> RegistryError:  # fmt: skip
    """One refused request in words, by its status and the registry's `X-Error-Code`.

    `anonymous`: it was sent without an access token.
    """
    match code:
        case "RevisionNotFound" if status == 410 and said:
            return NotFoundError(
                f"{registry} does not serve {what}: {said}", f"embhub pull {what.partition('@')[0]}@VERSION"
            )
        case "RevisionNotFound":
            return NotFoundError(f"{registry} has no such revision: {what}", "leave @revision out for the newest")
        case "GatedRepo":
            return gated(registry=registry, what=what, said=said)
        case "EntryNotFound":
            return NotFoundError(f"{registry} lacks a file that it listed for {what}", _OPERATOR)
        case "RepoNotFound" if status == 404:
            return NotFoundError(f"{registry} has no repository {what}", "`embhub search` lists what you may read")
    if status in _OF_ANY_SERVER and not code and not said:
        return no_registry(registry, status=status)
    return refused(status, registry=registry, what=what, said=said, anonymous=anonymous)


def refused(status: int, *, registry: str, what: str, said: str, anonymous: bool = False) -> RegistryError:
    """A request that was answered with an error's status, in words: the server's own first, then what to do.

    `anonymous`: it was sent without an access token.
    """
    if status == 401 and anonymous:
        hint = f"run `embhub login --registry {registry}`; the registry's operator issues access tokens"
        return NotAllowedError(f"{registry} answers this only with an access token: {what}", hint)
    if status == 401:
        hint = f"run `embhub login --registry {registry}` with a token that is still valid; its operator issues them"
        return NotAllowedError(f"{registry} does not accept your token" + (f": {said}" if said else ""), hint)
    if status == 403:
        own = said.startswith(("proof:", "signature:"))  # the registry says what to do
        hint = "" if own else "ask the registry's admin for the role or namespace"
        return NotAllowedError(f"{registry} refuses {what}: {said or 'not allowed for your account'}", hint)
    if status == 412:
        return RegistryError(
            f"somebody else changed {what} meanwhile", "look at it with `embhub show`, then push again"
        )
    if status >= 500 or status == 429:
        return RegistryFailedError(
            f"{registry} failed with {status}: {said or 'no reason given'}", "try again in a while"
        )
    return RegistryError(
        f"{registry} refuses {what}: {said or f'status {status}'}", "correct what it names, then try again"
    )


def gated(*, registry: str, what: str, said: str) -> NotAllowedError:
    """Files that are kept for accounts which asked and were let in."""
    ask = f"embhub curate access request {what.partition('@')[0]}"
    text = f"{registry} keeps the files of {what} for accounts that were let in" + (f": {said}" if said else "")
    return NotAllowedError(text, f"`embhub login`, then `{ask}`; its publisher answers")


def too_large(what: str, *, announced: int | None = None, limit: int) -> AnswerTooLargeError:
    """A file that is, or says that it is, larger than its kind may be."""
    if announced is None:
        return AnswerTooLargeError(f"{what} sent more than {limit:,} bytes", f"nothing was kept; {_OPERATOR}")
    return AnswerTooLargeError(f"{what} is {announced:,} bytes, more than {limit:,}", f"nothing was read; {_OPERATOR}")


def another_commit(what: str, *, asked: str, said: str) -> WrongCommitError:
    """An answer for another commit than the one that was asked for."""
    return WrongCommitError(f"{what} was asked for at {asked[:12]}, and answered at {said[:12]}", _OPERATOR)


def no_answer(registry: str, error: Exception) -> UnreachableError:
    """No connection, in the operating system's or the HTTP library's words."""
    hint = "is it running, and is --registry or EMBHUB_REGISTRY right?"
    if "WRONG_VERSION_NUMBER" in str(error):  # OpenSSL's name for an answer that is not TLS
        hint = f"no TLS there: is it http://{registry.removeprefix('https://')}?"
    return UnreachableError(f"{registry} cannot be reached: {plain(error) or type(error).__name__}", hint)


def no_registry(registry: str, *, status: int | None = None) -> NotARegistryError:
    """An answer that makes no sense, or a refusal without a registry's reason for it."""
    answered = "something that is" if status is None else f"{status}, which is"
    return NotARegistryError(
        f"{registry} answered {answered} not a registry's answer",
        "is --registry or EMBHUB_REGISTRY the address of an embhub registry, and no proxy's login page?",
    )
