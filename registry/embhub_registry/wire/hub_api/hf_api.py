"""The Hugging Face Hub's routes, so that stock clients need no change: those that only read."""

from __future__ import annotations

import base64
import json
from itertools import accumulate
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from embhub.formats import strict_json
from embhub_registry.database.releases import last_changes, repositories, search, usage
from embhub_registry.database.releases.repositories import Revision
from embhub_registry.database.standing import yanks
from embhub_registry.http_errors import malformed, no_entry, token_needed
from embhub_registry.people import auth
from embhub_registry.repositories import access, repos
from embhub_registry.repositories.repos import Snapshot
from embhub_registry.wire.hub_api import hf_answers, json_stream, list_parameters, model_list
from embhub_registry.wire.limits import bodies
from embhub_registry.wire.request_context import (
    account_of,
    base_url,
    flag,
    fold_namespace,
    member_of,
    path_of,
    read_files_at,
    registry_of,
    repository_of,
    revision_of,
    whole_account_of,
)
from embhub_registry.wire.request_context import run_in_threadpool as threaded

PAGE = 100
LARGEST_PAGE = 1000
LONGEST_CURSOR = 500
MAX_HISTORY = 500_000  # bytes of titles and messages in one page of a history
SORTS = {
    "lastModified": "modified", "createdAt": "created", "downloads": "downloads", "likes": "downloads",
    "trendingScore": "modified", "epsilon": "epsilon", "epsilon-largest": "epsilon-largest",
}  # fmt: skip


async def whoami(request: Request) -> Response:
    """`GET /api/whoami-v2`."""
    account = whole_account_of(request)
    if account is None:
        raise token_needed("whoami")
    return JSONResponse(hf_answers.whoami(account))


async def model_info(request: Request) -> Response:
    """`GET /api/models/{id}[/revision/{revision}]`; 410 as for `tree` where a revision is named.

    huggingface_hub asks here which commit a branch means, and then for the files of that commit.
    """
    repository, _ = repository_of(request)
    blobs, expand = flag(request, "blobs"), _expand(request)

    def collect() -> tuple[dict[str, Any], str]:
        db = registry_of(request).database.connection()
        snapshot, entries = read_files_at(request, repository)
        if "revision" in request.path_params:
            repos.refuse_forged(db, snapshot)
        sha = snapshot.revision.id
        tags = repositories.tags_of(db, repository.id)
        answer = hf_answers.model(repository, tags, sha=sha, entries=entries, blobs=blobs)
        if taken := yanks.find(db, repository.id, sha):
            told = {"reason": taken.reason, "date": taken.date, "by": taken.by, "scope": taken.scope}
            answer["embhub"] = {**(answer["embhub"] or {}), "yanked": told}
        return answer, sha

    answer, sha = await threaded(collect)
    return JSONResponse(hf_answers.expanded(answer, expand), headers={"X-Repo-Commit": sha})


async def list_models(request: Request) -> Response:
    """`GET /api/models`: search, author, filter, pipeline_tag, sort, limit, full, expand; pages by `Link`."""
    account = account_of(request)
    asked = request.query_params
    list_parameters.check(asked)
    limit = _limit(asked.get("limit"))
    sort = SORTS.get(asked.get("sort", "lastModified"))
    if sort is None:
        raise malformed(f"cannot sort by {asked.get('sort')!a}", f"sort by one of {', '.join(SORTS)}")
    if asked.get("direction", "-1") != "-1":
        raise malformed("a list has one direction", "leave `direction` out; sort by epsilon or epsilon-largest")
    query = search.Query(
        text=list_parameters.search_text(asked), author=asked.get("author"), tags=list_parameters.tags(asked),
        sort=sort, limit=limit, gated=list_parameters.yes_or_no(asked, "gated"), facets=list_parameters.facets(asked),
        after=read_cursor(asked.get("cursor")), readers=auth.readable(account),
        everything=account is not None and account.admin,
    )  # fmt: skip
    full, expand = flag(request, "full"), _expand(request)
    wanted = model_list.Wanted(
        files=full or bool(expand & {"siblings", "usedStorage"}),
        card=full or flag(request, "cardData") or bool(expand),
        expand=expand,
    )
    database = registry_of(request).database
    page = await threaded(lambda: model_list.find(database.connection(), query))
    headers = {}
    if page.more:
        pairs = [(key, value) for key, value in asked.multi_items() if key != "cursor"]
        pairs.append(("cursor", make_cursor(*page.last)))
        headers["Link"] = f'<{base_url(request)}/api/models?{urlencode(pairs)}>; rel="next"'
    rows = model_list.batches(database.connection, query, page, wanted)
    return await json_stream.answer_list(request, rows, headers=headers)


async def own_repositories(request: Request) -> Response:
    """`GET /api/settings/repositories`, and a namespace's own: what `hf repos ls` lists; pages by `Link`."""
    account = member_of(request, "listing one's own repositories")
    named = request.path_params.get("namespace")
    if named is not None:
        auth.require(account, named := fold_namespace(named), "read-private")
    namespaces = auth.readable(account) if named is None else (named,)
    limit, after = _limit(request.query_params.get("limit")), read_cursor(request.query_params.get("cursor"))

    def collect() -> list[dict[str, Any]]:
        db = registry_of(request).database.connection()
        rows = usage.of_repositories(db, namespaces, after=after[1] if after else 0, limit=limit + 1)
        held = {name: usage.measure(db, name, "bytes") for name in {row["namespace"] for row in rows}}
        return [hf_answers.own_repository(row, held[row["namespace"]]) for row in rows]

    found = await threaded(collect)
    headers = {}
    if len(found) > limit:
        pairs = {"limit": limit, "cursor": make_cursor("", found[limit - 1]["_id"])}
        headers["Link"] = f'<{base_url(request)}{request.url.path}?{urlencode(pairs)}>; rel="next"'
    return JSONResponse(found[:limit], headers=headers)


async def tree(request: Request) -> Response:
    """`GET …/tree/{revision}[/path]`: files and folders; `recursive`, `expand`."""
    repository, _ = repository_of(request)
    snapshot, entries = await threaded(read_files_at, request, repository)
    repos.refuse_forged(registry_of(request).database.connection(), snapshot)
    below = path_of(request)
    last = await _last_changes(request, snapshot) if flag(request, "expand") else {}
    shown = hf_answers.tree(entries, below, recursive=flag(request, "recursive"), last=last)
    if below and not shown:
        raise no_entry(repository.full_name, below)
    return JSONResponse(shown, headers={"X-Repo-Commit": snapshot.revision.id})


async def paths_info(request: Request) -> Response:
    """`POST …/paths-info/{revision}`: the files and folders among `paths` that exist; 410 as for `tree`."""
    repository, _ = repository_of(request)
    fields = await bodies.read_fields(request)
    snapshot, entries = await threaded(read_files_at, request, repository)
    repos.refuse_forged(registry_of(request).database.connection(), snapshot)
    by_path = {entry.path: entry for entry in entries}
    expand = fields.get("expand", [""])[0].lower() in {"1", "true"}
    last = await _last_changes(request, snapshot) if expand else {}
    shown = []
    for path in dict.fromkeys(p.strip("/") for p in fields.get("paths", [])):
        if path in by_path:
            shown.append(hf_answers.file(by_path[path], last))
        elif any(entry.path.startswith(f"{path}/") for entry in entries):
            shown.append(hf_answers.folder(path, entries, last))
    return JSONResponse(shown)


async def _last_changes(request: Request, snapshot: Snapshot) -> hf_answers.LastChanges:
    db = registry_of(request).database
    reader = account_of(request)

    def find() -> hf_answers.LastChanges:
        hidden = repos.hidden_from(db.connection(), snapshot.repository, reader)
        return last_changes.find(db.connection(), snapshot.repository.id, snapshot.revision, hidden=hidden)

    return await threaded(find)


async def refs(request: Request) -> Response:
    """`GET …/refs`."""
    repository, account = repository_of(request)
    answer: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": []}
    prefix = {"branch": ("branches", "refs/heads/"), "tag": ("tags", "refs/tags/")}
    registry = registry_of(request)
    rows = await threaded(lambda: repos.list_refs(registry.database.connection(), repository, account))
    for row in rows:
        kind, start = prefix[row["kind"]]
        answer[kind].append({"name": row["name"], "ref": start + row["name"], "targetCommit": row["revision_id"]})
    return JSONResponse(answer | ({"pullRequests": []} if flag(request, "include_prs") else {}))


async def history(request: Request) -> Response:
    """`GET …/commits/{revision}`: newest first; the next page starts at the commit before the last.

    `X-Total-Count` counts this commit and all before it.
    """
    repository, account = repository_of(request)
    asked = request.query_params
    limit = _limit(asked.get("limit"))

    def collect() -> tuple[list[Revision], str | None, int]:
        db = registry_of(request).database.connection()
        snapshot = repos.at(db, repository, revision_of(request), account)
        line = repos.history(db, snapshot, account, limit=limit + 1)
        shown = _within(line[:limit], MAX_HISTORY)
        if len(line) == len(shown):
            return shown, None, len(shown)
        return shown, line[len(shown)].id, repos.count_history(db, snapshot, account)

    found, after, total = await threaded(collect)
    rows = [hf_answers.commit(revision, formatted="formatted" in asked.getlist("expand[]")) for revision in found]
    headers = {"X-Total-Count": str(total)}
    if after is not None:
        following = f"{base_url(request)}/api/models/{repository.full_name}/commits/{after}"
        headers["Link"] = f'<{following}?{urlencode(asked.multi_items())}>; rel="next"'
    return await json_stream.answer_list(request, [rows], headers=headers)


async def auth_check(request: Request) -> Response:
    """`GET …/auth-check[/write]`: 200 where the caller may."""
    repository, account = repository_of(request)
    access.require_files(registry_of(request).database.connection(), repository, account)
    if request.url.path.endswith("/write"):
        auth.require_author(account, repository.namespace)
    return hf_answers.done()


async def tags_by_type(request: Request) -> Response:
    """`GET /api/models-tags-by-type`: empty; our tags are free words."""
    del request
    return JSONResponse({})


def _expand(request: Request) -> frozenset[str]:
    asked = request.query_params
    wanted = frozenset(asked.getlist("expand")) | frozenset(asked.getlist("expand[]"))
    if unknown := sorted(wanted - hf_answers.EXPANDABLE):
        raise malformed(
            f"`expand` does not know {unknown[0][:60]!a}", f"one of {', '.join(sorted(hf_answers.EXPANDABLE))}"
        )
    return wanted


def _within(revisions: list[Revision], most: int) -> list[Revision]:
    """As many from the start as have `most` bytes of text together, and one at least."""
    sizes = accumulate(len((revision.title + revision.message).encode()) for revision in revisions)
    return revisions[: max(1, sum(size <= most for size in sizes))]


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not text.isascii() or not text.isdigit() or not int(text[:9]) >= 1:
        raise malformed("`limit` must be a number from 1 up")
    return min(int(text[:9]), LARGEST_PAGE)


def make_cursor(value: str | float, identity: int) -> str:
    """Where a next page starts: after the row with this sort value and id."""
    return base64.urlsafe_b64encode(json.dumps([value, identity]).encode()).decode()


def read_cursor(text: str | None) -> tuple[str | float, int] | None:
    """The sort value and id in a cursor; None without one.

    Raises:
        RequestDeniedError: 400 where this registry did not make it.
    """
    if text is None:
        return None
    wrong = malformed("`cursor` is not one that this registry gave", "start from the first page")
    try:
        pair = strict_json.read(base64.urlsafe_b64decode(text[: 2 * LONGEST_CURSOR].encode()), limit=LONGEST_CURSOR)
    except ValueError as error:  # JsonError, binascii.Error and UnicodeError are such
        raise wrong from error
    match pair:
        case [str() | int() | float() as value, int() as identity] if not {type(value), type(identity)} & {bool}:
            largest = max(abs(identity), abs(value) if isinstance(value, int) else 0)
            if largest < 2**63:  # what SQLite holds
                return value, identity
    raise wrong
