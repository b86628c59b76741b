"""The Hub's routes that change something: repositories, settings, commits, branches and tags."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from embhub_registry.admission import hub_cards, publication
from embhub_registry.admission import rules as admission
from embhub_registry.admission.listing import MAX_FRONT_MATTER, front_matter
from embhub_registry.database.releases import repositories
from embhub_registry.database.statements.proposals import Proposal
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.people import auth
from embhub_registry.repositories import access, commits, deletion, repos
from embhub_registry.wire.hub_api import hf_answers
from embhub_registry.wire.limits import bodies
from embhub_registry.wire.rate_limiting import run_paced
from embhub_registry.wire.request_context import (
    account_of,
    address_of,
    author_of,
    base_url,
    commit_limiter_of,
    flag,
    fold_namespace,
    member_of,
    parsing_of,
    permitted,
    read_files_at,
    registry_of,
    repository_of,
    revision_of,
    whole_account_of,
)
from embhub_registry.wire.request_context import run_in_threadpool as threaded

MAX_ANONYMOUS = 32_000  # bytes of front matter


async def create_repo(request: Request) -> Response:
    """`POST /api/repos/create`: 200 with its url and visibility; 409 with the url of the one that is there.

    `private` or `visibility`, and `gated`, which is ours; without any, the registry's default holds. Files, and the
    licence that a card states, come with a commit.
    """
    member_of(request, "creating a repository")
    caller = whole_account_of(request)
    assert caller is not None  # noqa: S101  # asked just before
    auth.require_somewhere(caller, "create")
    body = await bodies.read_json(request)
    _only_models(body)
    if any(body.get(word) is not None for word in ("files", "license")):
        raise malformed("a repository is created empty", "send files, and the card with its licence, in a commit")
    name, organisation = _name(body)
    account = auth.narrowed(caller, f"{organisation or caller.namespace}/{name}")
    private, gated = _visibility(body), _gate(body)
    try:
        made = await threaded(
            repos.create, registry_of(request), account, organisation, name, private=private, gated=gated
        )
    except RequestDeniedError as error:
        if "present" in error.extra:
            error.extra = {"url": f"{base_url(request)}/{error.extra['present']}"}
        raise
    shown = {"url": f"{base_url(request)}/{made.full_name}", "name": made.full_name, "id": str(made.id)}
    return JSONResponse({**shown, "private": made.private, "gated": made.gated or False})


async def delete_repo(request: Request) -> Response:
    """`DELETE /api/repos/delete`."""
    account = auth.require_somewhere(member_of(request, "deleting a repository"), "delete-unreleased")
    body = await bodies.read_json(request)
    _only_models(body)
    name, organisation = _name(body)
    namespace = organisation or account.namespace
    scope = body.get("scope")
    if scope is not None and not isinstance(scope, str):
        raise malformed("`scope` must be text")
    await threaded(deletion.delete, registry_of(request), account, namespace, name, scope=scope)
    return hf_answers.done()


async def settings(request: Request) -> Response:
    """`PUT /api/models/{id}/settings`: `private` or `visibility`, `gated`; `disabled` is an admin's.

    The answer repeats what was sent, as the Hub's does.
    """
    account = permitted(request, "settings", "changing settings")
    body = await bodies.read_json(request)
    wanted = access.Settings(private=_visibility(body), gated=_gate(body), disabled=_yes_or_no(body, "disabled"))
    if wanted == access.Settings():
        raise malformed("none of `private`, `visibility`, `gated` and `disabled` is there", "send what is to change")
    changed = await threaded(access.change, registry_of(request), account, *address_of(request), wanted)
    now = {
        "private": changed.private, "visibility": "private" if changed.private else "public",
        "gated": changed.gated or False, "disabled": changed.disabled,
    }  # fmt: skip
    return JSONResponse({name: value for name, value in now.items() if name in body})


async def validate_yaml(request: Request) -> Response:
    """`POST /api/validate-yaml`: whether a README's front matter can be read, here and by `ModelCard.load`.

    Anybody may ask, because `ModelCard.validate` of stock clients sends no token; YAML is slow, so nobody's is short,
    and everybody's is paced by the CPU time that it takes.
    """
    limit = MAX_FRONT_MATTER if account_of(request) else MAX_ANONYMOUS
    body = await bodies.read_json(request)
    content = body.get("content")
    if not isinstance(content, str):
        raise malformed("`content` must be the text of a README.md")
    front, problem = await run_paced(request, parsing_of(request), _read_card, content, limit)
    if problem is not None:
        return JSONResponse({"errors": [{"message": problem}], "warnings": []}, status_code=400)
    warnings = [] if front else [{"message": "empty or missing yaml metadata in repo card"}]
    return JSONResponse({"errors": [], "warnings": warnings})


def _read_card(content: str, limit: int) -> tuple[dict[str, Any], str | None]:
    """The front matter, and why it or the whole card cannot be read, by us or by the clients that ask."""
    front, problem = front_matter(content.encode(), limit=limit)
    return front, problem or hub_cards.find_problem(content, limit=limit)


async def preupload(request: Request) -> Response:
    """`POST …/preupload/{revision}`: every file travels in the commit; what could not be admitted is refused here."""
    author_of(request)
    repository, _ = repository_of(request)
    body = await bodies.read_json(request)
    if flag(request, "create_pr"):
        raise _no_pull_requests()
    files = body.get("files")
    if not isinstance(files, list):
        raise malformed("`files` must be a list")
    if len(files) > commits.MAX_OPERATIONS:
        raise commits.too_many_files("upload")
    head, entries = await threaded(read_files_at, request, repository)
    present = {entry.path: entry.git_oid for entry in entries}
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
    namespace, name = address_of(request)
    account = member_of(request, "publishing")
    if flag(request, "create_pr"):
        raise _no_pull_requests()
    branch = revision_of(request)
    commit_limiter, reader = commit_limiter_of(request), commits.Reader()

    def store() -> repositories.Revision | Proposal:
        return publication.publish(
            registry_of(request), account, namespace, name, branch=branch, request=reader.finish()
        )

    try:
        author_of(request)  # `publish` asks again, of the repository as it is then
        async with commit_limiter.commit(account.user):
            await bodies.read_lines(request, reader.take, limit=commits.MAX_BODY, longest=commits.MAX_LINE)
            async with commit_limiter.judging:
                made = await threaded(store)
    except RequestDeniedError as error:
        request.app.state.refusals.note(
            user=account.user, repository=f"{namespace}/{name}", rule=error.rule,
            status=error.status, details={"message": error.message},
        )  # fmt: skip
        raise
    url = f"{base_url(request)}/{namespace}/{name}/commit/{made.id}"
    said = {"success": True, "commitOid": made.id, "commitUrl": url, "hookOutput": ""}
    if isinstance(made, Proposal):
        said |= _proposed(made, f"{base_url(request)}/account/review/{made.id}")
    return JSONResponse(said)


def _proposed(made: Proposal, url: str) -> dict[str, Any]:
    """What a push is told that is not published; stock clients print `hookOutput` at most."""
    waits = [f"{made.needed} approval{'s' if made.needed > 1 else ''}"] if made.needed else []
    waits += [f"the end of its embargo, {made.not_before}"] if made.not_before else []
    said = f"proposed, not published: it waits for {' and '.join(waits)}; {url}"
    facts = {"id": made.id, "digest": made.digest, "needed": made.needed, "not_before": made.not_before, "url": url}
    return {"hookOutput": said, "proposal": facts}


async def branch(request: Request) -> Response:
    """`POST` and `DELETE …/branch/{name}`."""
    permitted(request, "refs", "changing a branch")
    body = await bodies.read_json(request)
    if body.get("emptyBranch"):
        raise malformed("a branch starts at a commit: there are no empty ones", "leave `emptyBranch` out")
    start = body.get("startingPoint") or repos.MAIN
    return await _change_ref(request, "branch", revision_of(request), str(start))


async def tag(request: Request) -> Response:
    """`POST …/tag/{revision}` with the tag's name in the body; `DELETE …/tag/{name}`."""
    permitted(request, "refs", "changing a branch")
    body = await bodies.read_json(request)
    if request.method == "DELETE":
        return await _change_ref(request, "tag", revision_of(request), "")
    return await _change_ref(request, "tag", str(body.get("tag") or ""), revision_of(request))


async def _change_ref(request: Request, kind: str, ref: str, revision: str) -> Response:
    account, registry, (namespace, name) = account_of(request), registry_of(request), address_of(request)
    if request.method == "DELETE":
        await threaded(repos.delete_ref, registry, account, namespace, name, kind=kind, ref=ref)
        return hf_answers.done()
    await threaded(repos.add_ref, registry, account, namespace, name, kind=kind, ref=ref, revision=revision)
    return JSONResponse({})


def _no_pull_requests() -> RequestDeniedError:
    return RequestDeniedError(400, "pull-request", "this registry has no pull requests", "commit to the branch itself")


def _only_models(body: dict[str, Any]) -> None:
    if body.get("type", "model") != "model":
        raise malformed("this registry holds models only", "leave repo_type out")


def _name(body: dict[str, Any]) -> tuple[str, str | None]:
    name, organisation = body.get("name"), body.get("organization")
    if not isinstance(name, str) or not (organisation is None or isinstance(organisation, str)):
        raise malformed("`name` and `organization` must be text")
    if organisation is None and "/" in name:
        organisation, _, name = name.partition("/")
    return name, None if organisation is None else fold_namespace(organisation)


def _gate(body: dict[str, Any]) -> str | None:
    gate = body.get("gated")
    if gate is None:
        return None
    if gate not in ("auto", "manual", False):
        raise malformed("`gated` is auto, manual or false")
    return str(gate) if gate else ""


def _yes_or_no(body: dict[str, Any], name: str) -> bool | None:
    found = body.get(name)
    if found is not None and not isinstance(found, bool):
        raise malformed(f"`{name}` is true or false")
    return found


def _visibility(body: dict[str, Any]) -> bool | None:
    if (private := _yes_or_no(body, "private")) is not None:
        return private
    visibility = body.get("visibility")
    if visibility is None:
        return None
    if visibility not in ("public", "private"):
        raise malformed("`visibility` is public or private")
    return bool(visibility == "private")
