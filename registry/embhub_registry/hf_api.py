"""The Hugging Face Hub's routes, so that stock clients need no change; facts of the wire in docs/reference/registry-api.md."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from embhub_registry import admission, bodies, commits, hf_answers, publication, repos
from embhub_registry.calls import account_of, base_url, flag, path_of, registry_of, repository_of, revision_of
from embhub_registry.calls import run_in_threadpool as threaded
from embhub_registry.database import repositories, search
from embhub_registry.denials import Denied, malformed, token_needed
from embhub_registry.listing import front_matter

PAGE = 100
LARGEST_PAGE = 1000
SORTS = {
    "lastModified": "modified", "createdAt": "created", "downloads": "downloads", "likes": "downloads",
    "trendingScore": "modified",
}  # fmt: skip


async def whoami(request: Request) -> Response:
    """`GET /api/whoami-v2`."""
    account = account_of(request)
    if account is None:
        raise token_needed("whoami")
    return JSONResponse(hf_answers.whoami(account))


async def create_repo(request: Request) -> Response:
    """`POST /api/repos/create`: 200 with its url; 409 with the url of the one that is there."""
    account = account_of(request)
    body = await bodies.read_json(request)
    _only_models(body)
    name, organisation = _name(body)
    private = _visibility(body) or False
    try:
        made = await threaded(repos.create, registry_of(request), account, organisation, name, private=private)
    except Denied as error:
        if "present" in error.extra:
            error.extra = {"url": f"{base_url(request)}/{error.extra['present']}"}
        raise
    return JSONResponse({"url": f"{base_url(request)}/{made.full_name}", "name": made.full_name, "id": str(made.id)})


async def delete_repo(request: Request) -> Response:
    """`DELETE /api/repos/delete`."""
    account = account_of(request)
    body = await bodies.read_json(request)
    _only_models(body)
    name, organisation = _name(body)
    namespace = organisation or (account.namespace if account else "")
    await threaded(repos.delete, registry_of(request), account, namespace, name)
    return JSONResponse({})


async def settings(request: Request) -> Response:
    """`PUT /api/models/{id}/settings`: `private` or `visibility`."""
    account = account_of(request)
    body = await bodies.read_json(request)
    private = _visibility(body)
    if private is None:
        raise malformed(
            "only `private` and `visibility` can be set here", "a registry of this kind has no gated repositories"
        )
    params = request.path_params
    await threaded(
        repos.set_private, registry_of(request), account, params["namespace"], params["name"], private=private
    )
    return JSONResponse({"private": private})


async def validate_yaml(request: Request) -> Response:
    """`POST /api/validate-yaml`: whether a README's front matter can be read."""
    body = await bodies.read_json(request)
    content = body.get("content")
    if not isinstance(content, str):
        raise malformed("`content` must be the text of a README.md")
    front, problem = front_matter(content.encode())
    if problem is not None:
        return JSONResponse({"errors": [{"message": problem}], "warnings": []}, status_code=400)
    warnings = [] if front else [{"message": "empty or missing yaml metadata in repo card"}]
    return JSONResponse({"errors": [], "warnings": warnings})


async def preupload(request: Request) -> Response:
    """`POST …/preupload/{revision}`: every file travels in the commit; what could not be admitted is refused here."""
    repository, account = repository_of(request)
    if account is None:
        raise token_needed("publishing")
    body = await bodies.read_json(request)
    files = body.get("files")
    if not isinstance(files, list) or len(files) > commits.MAX_OPERATIONS:
        raise malformed(f"`files` must be a list of at most {commits.MAX_OPERATIONS}")
    db = registry_of(request).database.connection()
    head = repos.at(db, repository, revision_of(request))
    present = {e.path: e.git_oid for e in repositories.entries(db, repository.id, head.revision.id)}
    answer = []
    for item in files:
        if not isinstance(item, dict) or not isinstance(item.get("path"), str) or not isinstance(item.get("size"), int):
            raise malformed("each of `files` has a `path` and a `size`")
        admission.check_announced(item["path"], item["size"])
        entry = {"path": item["path"], "uploadMode": "regular", "shouldIgnore": False}
        answer.append(entry | ({"oid": present[item["path"]]} if item["path"] in present else {}))
    return JSONResponse({"files": answer, "commitOid": head.revision.id})


async def commit(request: Request) -> Response:
    """`POST …/commit/{branch}`: JSON lines; stored whole or refused whole."""
    params = request.path_params
    account = account_of(request)
    if account is None:
        raise token_needed("publishing")
    if flag(request, "create_pr"):
        await bodies.read(request, limit=commits.MAX_BODY)
        raise Denied(400, "pull-request", "this registry has no pull requests", "commit to the branch itself")
    body = await bodies.read(request, limit=commits.MAX_BODY)
    branch = revision_of(request)

    def store() -> repositories.Revision:
        parsed = commits.parse(body)
        return publication.publish(
            registry_of(request), account, params["namespace"], params["name"], branch=branch, request=parsed
        )

    try:
        made = await threaded(store)
    except Denied as error:
        registry_of(request).journal.write(
            "refused", user=account.user, repository=f"{params['namespace']}/{params['name']}", rule=error.rule,
            status=error.status, message=error.message,
        )  # fmt: skip
        raise
    url = f"{base_url(request)}/{params['namespace']}/{params['name']}/commit/{made.id}"
    return JSONResponse({"success": True, "commitOid": made.id, "commitUrl": url, "hookOutput": ""})


async def model_info(request: Request) -> Response:
    """`GET /api/models/{id}[/revision/{revision}]`."""
    repository, _ = repository_of(request)
    db = registry_of(request).database.connection()
    snapshot = repos.at(db, repository, revision_of(request))
    entries = repositories.entries(db, repository.id, snapshot.revision.id)
    tags = repositories.tags_of(db, repository.id)
    blobs = flag(request, "blobs")
    answer = hf_answers.model(repository, tags, sha=snapshot.revision.id, entries=entries, blobs=blobs)
    return JSONResponse(_expanded(request, answer), headers={"X-Repo-Commit": snapshot.revision.id})


async def list_models(request: Request) -> Response:
    """`GET /api/models`: search, author, filter, pipeline_tag, sort, limit, full, expand; `Link` leads to the next page."""
    account = account_of(request)
    asked = request.query_params
    limit = _limit(asked.get("limit"))
    sort = SORTS.get(asked.get("sort", "lastModified"))
    if sort is None:
        raise malformed(f"cannot sort by {asked.get('sort')!a}", f"sort by one of {', '.join(SORTS)}")
    tags = [t for value in asked.getlist("filter") for t in value.split(",") if t]
    query = search.Query(
        text=asked.get("search", "")[:200], author=asked.get("author"), tags=tags[:20], sort=sort, limit=limit,
        after=_cursor(asked.get("cursor")), reader=account.namespace if account else None,
        everything=account is not None and account.role == "admin",
    )  # fmt: skip
    full = flag(request, "full")

    def collect() -> tuple[list[dict[str, Any]], str | None]:
        db = registry_of(request).database.connection()
        found = search.run(db, query)
        page, more = found[:limit], len(found) > limit
        rows = []
        for repository in page:
            head = repositories.find_ref(db, repository.id, repos.MAIN)
            entries = repositories.entries(db, repository.id, head) if full and head else None
            tags = repositories.tags_of(db, repository.id)
            card = full or flag(request, "cardData") or bool(request.query_params.getlist("expand"))
            rows.append(hf_answers.model(repository, tags, sha=head, entries=entries, card=card))
        return rows, _next(getattr(page[-1], sort), page[-1].id) if more else None

    rows, cursor = await threaded(collect)
    wanted = asked.get("pipeline_tag")
    rows = [_expanded(request, row) for row in rows if wanted is None or row.get("pipeline_tag") == wanted]
    headers = {}
    if cursor is not None:
        pairs = [(key, value) for key, value in asked.multi_items() if key != "cursor"] + [("cursor", cursor)]
        headers["Link"] = f'<{base_url(request)}/api/models?{urlencode(pairs)}>; rel="next"'
    return JSONResponse(rows, headers=headers)


async def tree(request: Request) -> Response:
    """`GET …/tree/{revision}[/path]`: files and folders; `recursive`, `expand`."""
    repository, _ = repository_of(request)
    db = registry_of(request).database.connection()
    snapshot = repos.at(db, repository, revision_of(request))
    entries = repositories.entries(db, repository.id, snapshot.revision.id)
    below = path_of(request)
    last = snapshot.revision if flag(request, "expand") else None
    shown = hf_answers.tree(entries, below, recursive=flag(request, "recursive"), last=last)
    if below and not shown:
        raise Denied(
            404, "entry", f"{repository.full_name} has no folder {below}", "list the root", code="EntryNotFound"
        )
    return JSONResponse(shown, headers={"X-Repo-Commit": snapshot.revision.id})


async def paths_info(request: Request) -> Response:
    """`POST …/paths-info/{revision}`: the files and folders among `paths` that exist."""
    repository, _ = repository_of(request)
    fields = await bodies.read_fields(request)
    db = registry_of(request).database.connection()
    snapshot = repos.at(db, repository, revision_of(request))
    entries = repositories.entries(db, repository.id, snapshot.revision.id)
    by_path = {entry.path: entry for entry in entries}
    expand = fields.get("expand", [""])[0].lower() in {"1", "true"}
    last = snapshot.revision if expand else None
    shown = []
    for path in dict.fromkeys(p.strip("/") for p in fields.get("paths", [])):
        if path in by_path:
            shown.append(hf_answers.file(by_path[path], last))
        elif any(entry.path.startswith(f"{path}/") for entry in entries):
            shown.append(hf_answers.folder(path, entries, last))
    return JSONResponse(shown)


async def refs(request: Request) -> Response:
    """`GET …/refs`."""
    repository, _ = repository_of(request)
    answer: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": []}
    prefix = {"branch": ("branches", "refs/heads/"), "tag": ("tags", "refs/tags/")}
    for row in repositories.list_refs(registry_of(request).database.connection(), repository.id):
        kind, start = prefix[row["kind"]]
        answer[kind].append({"name": row["name"], "ref": start + row["name"], "targetCommit": row["revision_id"]})
    return JSONResponse(answer | ({"pullRequests": []} if flag(request, "include_prs") else {}))


async def history(request: Request) -> Response:
    """`GET …/commits/{revision}`: newest first."""
    repository, _ = repository_of(request)
    db = registry_of(request).database.connection()
    snapshot = repos.at(db, repository, revision_of(request))
    rows = [hf_answers.commit(r) for r in repositories.history(db, repository.id, snapshot.revision.id)]
    if request.query_params.get("expand[]") == "formatted":
        rows = [row | {"formatted": {"title": row["title"], "message": row["message"]}} for row in rows]
    return JSONResponse(rows, headers={"X-Total-Count": str(len(rows))})


async def branch(request: Request) -> Response:
    """`POST` and `DELETE …/branch/{name}`."""
    body = await bodies.read_json(request)
    start = body.get("startingPoint") or repos.MAIN
    return await _change_ref(request, "branch", revision_of(request), str(start))


async def tag(request: Request) -> Response:
    """`POST …/tag/{revision}` with the tag's name in the body; `DELETE …/tag/{name}`."""
    body = await bodies.read_json(request)
    if request.method == "DELETE":
        return await _change_ref(request, "tag", revision_of(request), "")
    return await _change_ref(request, "tag", str(body.get("tag") or ""), revision_of(request))


async def auth_check(request: Request) -> Response:
    """`GET …/auth-check[/write]`: 200 where the caller may."""
    repository, account = repository_of(request)
    if request.url.path.endswith("/write"):
        from embhub_registry.auth import require_member

        require_member(account, repository.namespace, roles=("publisher", "auditor"), what="publish")
    return JSONResponse({})


async def tags_by_type(request: Request) -> Response:
    """`GET /api/models-tags-by-type`: empty; our tags are free words."""
    del request
    return JSONResponse({})


async def unknown(request: Request) -> Response:
    """Any other address under /api: said in JSON, as a client of the Hub expects it."""
    path = request.url.path
    if path.startswith(("/api/datasets/", "/api/spaces/")):
        raise Denied(404, "type", "this registry holds models only", "leave repo_type out", code="RepoNotFound")
    raise Denied(404, "address", f"{request.method} {path[:100]!a} is not an address of this registry", "see /docs")


async def _change_ref(request: Request, kind: str, ref: str, revision: str) -> Response:
    account, registry, params = account_of(request), registry_of(request), request.path_params
    if request.method == "DELETE":
        await threaded(repos.delete_ref, registry, account, params["namespace"], params["name"], kind=kind, ref=ref)
    else:
        await threaded(repos.add_ref, registry, account, params["namespace"], params["name"], kind=kind, ref=ref,
                       revision=revision)  # fmt: skip
    return JSONResponse({})


def _only_models(body: dict[str, Any]) -> None:
    if body.get("type", "model") != "model":
        raise malformed("this registry holds models only", "leave repo_type out")


def _name(body: dict[str, Any]) -> tuple[str, str | None]:
    name, organisation = body.get("name"), body.get("organization")
    if not isinstance(name, str) or not (organisation is None or isinstance(organisation, str)):
        raise malformed("`name` and `organization` must be text")
    if organisation is None and "/" in name:
        organisation, _, name = name.partition("/")
    return name, organisation


def _visibility(body: dict[str, Any]) -> bool | None:
    if isinstance(body.get("private"), bool):
        return bool(body["private"])
    visibility = body.get("visibility")
    if visibility is None:
        return None
    if visibility not in ("public", "private"):
        raise malformed("`visibility` is public or private")
    return bool(visibility == "private")


def _expanded(request: Request, answer: dict[str, Any]) -> dict[str, Any]:
    wanted = set(request.query_params.getlist("expand")) | set(request.query_params.getlist("expand[]"))
    if not wanted:
        return answer
    return {key: value for key, value in answer.items() if key in wanted | {"_id", "id", "modelId"}}


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not text.isascii() or not text.isdigit() or not int(text[:9]) >= 1:
        raise malformed("`limit` must be a number from 1 up")
    return min(int(text[:9]), LARGEST_PAGE)


def _next(value: object, identity: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([value, identity]).encode()).decode()


def _cursor(text: str | None) -> tuple[Any, int] | None:
    if text is None:
        return None
    try:
        value, identity = json.loads(base64.urlsafe_b64decode(text.encode()))
    except (binascii.Error, ValueError, TypeError) as error:
        raise malformed("`cursor` is not one that this registry gave", "start from the first page") from error
    if not isinstance(identity, int) or not isinstance(value, str | int) or not -(2**63) <= identity < 2**63:
        raise malformed("`cursor` is not one that this registry gave", "start from the first page")
    return value, identity
