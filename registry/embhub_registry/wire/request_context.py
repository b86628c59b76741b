"""What every handler needs of a request: the registry, the caller, the addressed repository, absolute addresses."""

from __future__ import annotations

from asyncio import Semaphore
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from embhub.errors import ConfigError
from embhub.site.config import check_registry
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.database.releases.repositories import Entry, Repository
from embhub_registry.http_errors import RequestDeniedError, token_needed
from embhub_registry.people import auth
from embhub_registry.people.login.failed_logins import FailedLogins
from embhub_registry.repositories import access, repos
from embhub_registry.repositories.repos import Snapshot
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.usage_counters import UsageCounters
from embhub_registry.wire.host_header import AllowedHosts
from embhub_registry.wire.limits.commit_limiter import CommitLimiter
from embhub_registry.wire.rate_limiting import caller_of

__all__ = [
    "account_of",
    "address_of",
    "author_of",
    "base_url",
    "commit_limiter_of",
    "flag",
    "fold_namespace",
    "member_of",
    "parsing_of",
    "path_of",
    "permitted",
    "read_files_at",
    "registry_of",
    "repository_of",
    "revision_of",
    "run_in_threadpool",
    "whole_account_of",
]

# Stands for an encoded slash inside one segment of a path; see `segmented_paths`.
SLASH = "\x1f"


def registry_of(request: Request) -> Registry:
    """The registry that this process serves."""
    found: Registry = request.app.state.registry
    return found


def usage_counters_of(request: Request) -> UsageCounters:
    """The process's counters."""
    found: UsageCounters = request.app.state.usage_counters
    return found


def parsing_of(request: Request) -> Semaphore:
    """Held while YAML is parsed for anybody: however many ask, few threads do it."""
    found: Semaphore = request.app.state.parsing
    return found


def commit_limiter_of(request: Request) -> CommitLimiter:
    """The commits that are on their way."""
    found: CommitLimiter = request.app.state.commit_limiter
    return found


def account_of(request: Request) -> Account | None:
    """Who calls, by an access token or a browser's session; None for nobody. One read by a key, so it runs inline.

    A token that is good for one repository has no role where the address is of another, or of none.

    Raises:
        RequestDeniedError: 401 for a token that is no good.
    """
    named = {"namespace", "name"} <= request.path_params.keys()
    return auth.narrowed(whole_account_of(request), "/".join(address_of(request)) if named else None)


def whole_account_of(request: Request) -> Account | None:
    """Who calls, before it is known which repository the request is about: to be narrowed to that (`auth.narrowed`).

    Raises:
        RequestDeniedError: 401 for a token that is no good.
    """
    caller = caller_of(request.scope)
    if isinstance(caller, RequestDeniedError):
        note_failure(request, caller.message)
        raise caller
    return caller


def note_failure(request: Request, reason: str) -> None:
    """Count a login that failed, for the audit log and the metrics."""
    attempts: FailedLogins = request.app.state.attempts
    attempts.note(request.client.host if request.client else None, reason)
    request.app.state.metrics.login_failed()


def member_of(request: Request, what: str) -> Account:
    """Who calls, for what nobody may do without an account; asked before a body is read.

    Raises:
        RequestDeniedError: 401 without a token or with one that is no good.
    """
    account = account_of(request)
    if account is None:
        raise token_needed(what)
    return account


def permitted(request: Request, action: str, what: str) -> Account:
    """Who calls, where they may do `action` in the addressed repository; asked before a body is read.

    A body costs memory and one of few places: who may not do what it asks for sends none.

    Raises:
        RequestDeniedError: 401 without a token, 404 where the caller sees no such repository, 403.
    """
    member_of(request, what)
    repository, account = repository_of(request)
    return auth.require(account, repository.namespace, action)


def author_of(request: Request) -> Account:
    """Who calls, where they may send commits to the addressed repository; asked before a body is read.

    Raises:
        RequestDeniedError: as `permitted`.
    """
    member_of(request, "publishing")
    repository, account = repository_of(request)
    author = auth.require_author(account, repository.namespace)
    access.require_files(registry_of(request).database.connection(), repository, account)
    return author


def repository_of(request: Request) -> tuple[Repository, Account | None]:
    """The repository in the address, where the caller may see it."""
    account = account_of(request)
    db = registry_of(request).database.connection()
    return repos.locate(db, account, *address_of(request)), account


def address_of(request: Request) -> tuple[str, str]:
    """Namespace and name in the address. Namespaces are lower case, so that is how another case is meant."""
    return fold_namespace(request.path_params["namespace"]), request.path_params["name"]


def fold_namespace(namespace: str) -> str:
    """A namespace as it can exist: in lower case. What is not ASCII stays, and is no namespace."""
    return namespace.lower() if namespace.isascii() else namespace


def revision_of(request: Request) -> str:
    """The revision in the address, `main` where there is none; slashes in a branch's name come encoded."""
    return str(request.path_params.get("revision", repos.MAIN)).replace(SLASH, "/")


def read_files_at(request: Request, repository: Repository) -> tuple[Snapshot, list[Entry]]:
    """The commit in the address and its files; they may be many, so this is called in a thread."""
    db = registry_of(request).database.connection()
    snapshot = repos.at(db, repository, revision_of(request), account_of(request))
    return snapshot, repositories.entries(db, repository.id, snapshot.revision.id)


def path_of(request: Request) -> str:
    """The file or folder in the address."""
    return str(request.path_params.get("path", "")).replace(SLASH, "/").strip("/")


def base_url(request: Request) -> str:
    """This registry's address as the caller knows it: one of its names, or the one given at `init`.

    A `Host` header is whatever its sender likes; what stands in no link and no page of ours leads nobody elsewhere.
    """
    own = registry_of(request).setting("url")
    try:
        said = check_registry(str(request.base_url))
    except ConfigError:
        return own
    hosts: AllowedHosts = request.app.state.hosts
    return said if (urlsplit(said).hostname or "") in hosts else own


def flag(request: Request, name: str) -> bool:
    """A yes-or-no query parameter as clients send them (`true`, `True`, `1`)."""
    return request.query_params.get(name, "").lower() in {"1", "true"}
