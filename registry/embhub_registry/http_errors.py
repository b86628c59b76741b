"""Why a request is refused, in the words that stock Hub clients understand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from embhub.errors import RegistryError
from embhub.refusals import ReleaseRefusedError

# Stock clients read any other 401 on a repository as "the repository does not exist".
BAD_CREDENTIALS = "Invalid credentials in Authorization header"
# By these words alone stock clients know a disabled repository.
DISABLED = "Access to this resource is disabled."


class RequestDeniedError(RegistryError):
    """A refusal with its HTTP `status`, the `rule` that refused, what is wrong, and the remedy (`hint`).

    `code` becomes `X-Error-Code`, from which stock clients choose their exception.
    """

    def __init__(
        self, status: int, rule: str, message: str, hint: str = "", *, code: str = "", **extra: object
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.rule = rule
        self.code = code
        self.extra = extra
        self.headers: dict[str, str] = {}


def no_repository(name: str, *, near: str = "") -> RequestDeniedError:
    """One answer for what is absent and for what the caller may not see; `near` is a name the caller may see."""
    hint = f"did you mean {near}?" if near else "check the name; a private one needs a token"
    return RequestDeniedError(404, "repository", f"repository {name} not found", hint, code="RepoNotFound")


def no_namespace(name: str) -> RequestDeniedError:
    """An id such as the Hub's `gpt2`: stock clients read it as a repository that is not there."""
    return RequestDeniedError(
        404, "repository", f"repository {name[:100]!a} not found: an id here is NAMESPACE/NAME",
        "put the namespace first, for example radboud/prostate-csPCa", code="RepoNotFound",
    )  # fmt: skip


def disabled(name: str) -> RequestDeniedError:
    """An admin took the repository out of circulation."""
    return RequestDeniedError(
        403, "disabled", f"{DISABLED} An admin of this registry disabled {name}", "ask the registry's admin"
    )


def deleted(name: str, date: str, reason: str) -> RequestDeniedError:
    """It was there; stock clients read it as a repository that is not."""
    return RequestDeniedError(410, "deleted", f"repository {name} was deleted on {date[:10]}: {reason}",
                  "use another release; what you pulled before can still be verified", code="RepoNotFound")  # fmt: skip


def no_revision(name: str, revision: str) -> RequestDeniedError:
    """The repository is there, the branch, tag or commit is not."""
    return RequestDeniedError(
        404,
        "revision",
        f"there is no revision {revision} of {name}",
        "its page lists versions and commits",
        code="RevisionNotFound",
    )


def set_aside(name: str, revision: str) -> RequestDeniedError:
    """The release is in quarantine: it is shown to nobody while it is looked at, and the reason neither."""
    return RequestDeniedError(
        404, "quarantined", f"the revision {revision} of {name} is set aside while this registry looks at it",
        "it is not withdrawn: use another version, or ask the registry's operator", code="RevisionNotFound",
    )  # fmt: skip


def forged(name: str, reason: str) -> RequestDeniedError:
    """What a branch, tag or version names was signed by a stolen key; its exact commit stays readable."""
    return RequestDeniedError(
        410, "key-stolen", f"the newest release of {name} is not served: {reason}",
        "pull an earlier release by its version, or ask the publisher to sign anew", code="RevisionNotFound",
    )  # fmt: skip


def no_entry(name: str, path: str) -> RequestDeniedError:
    """The revision is there, the file is not."""
    return RequestDeniedError(
        404, "entry", f"{name} has no file {path}", "list the files of the revision", code="EntryNotFound"
    )


def bad_token(why: str) -> RequestDeniedError:
    """A token that is unknown, expired or revoked."""
    return RequestDeniedError(
        401, "token", f"{BAD_CREDENTIALS}: {why}", "ask the registry's admin for a token, then `embhub login`"
    )


def token_needed(what: str) -> RequestDeniedError:
    """An anonymous call to something that needs an account."""
    return RequestDeniedError(
        401, "token", f"{BAD_CREDENTIALS}: {what} needs a token", "run `embhub login`, or send a token"
    )


def forbidden(message: str, hint: str, *, rule: str = "role") -> RequestDeniedError:
    """A good token that may not do this."""
    return RequestDeniedError(403, rule, message, hint)


def malformed(message: str, hint: str = "send what docs/reference/registry-api.md describes") -> RequestDeniedError:
    """A request that cannot be read."""
    return RequestDeniedError(400, "request", message, hint)


@contextmanager
def statement_refusals() -> Iterator[None]:
    """Answer a signed statement that its readers refuse with 422, in the words that they give."""
    try:
        yield
    except ReleaseRefusedError as error:
        raise RequestDeniedError(422, error.rule, error.message, error.hint) from error


def key_out_of_use(fingerprint: str) -> RequestDeniedError:
    """Nothing new is taken that a revoked key signed, whatever its kind."""
    return RequestDeniedError(422, "revoked-key", f"the key {fingerprint} is out of use", "sign with another key")


def header_text(text: str) -> str:
    """A message as a header can carry it: one line of printable ASCII, of bounded length."""
    line = "".join(each if " " <= each <= "~" else "?" for each in " ".join(text.split()))
    return line if len(line) <= 1500 else line[:1497] + "..."
