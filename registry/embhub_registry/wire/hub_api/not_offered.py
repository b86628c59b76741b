"""What the Hub has and a registry has not: said in words, in the shape that each client shows to people."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.wire.hub_api import unnamespaced_ids
from embhub_registry.wire.request_context import path_of

# Parts of the Hub's addresses that are refused on purpose, and why.
_PEOPLE = "this registry has no overviews of organisations and users: the page of a namespace shows whose keys sign"
_LIKES = "this registry counts no likes"
WORDS = {
    "discussions": "this registry has no discussions and no pull requests",
    "move": "repositories keep their names: statements are signed for them",
    "super-squash": "repositories keep their history: releases are looked up by commit",
    "duplicate": "a repository's statement is signed for its own name: publish under the new one",
    "lfs-files": "this registry has no LFS: a release is small enough to travel in the commit",
    "collections": "this registry has no collections",
    "buckets": "this registry has no buckets: files are published in repositories",
    "like": _LIKES, "likers": _LIKES, "likes": _LIKES,
    "overview": _PEOPLE, "members": _PEOPLE, "followers": _PEOPLE, "following": _PEOPLE,
}  # fmt: skip
_GIT = "this registry has no git and no LFS"
_INSTEAD = "read with `embhub pull` or `hf download`, publish with `embhub push` or `hf upload`"


async def unknown(request: Request) -> Response:
    """Any other address under /api: said in JSON, as a client of the Hub expects it."""
    path = request.url.path
    if f"{path}/".startswith(("/api/datasets/", "/api/spaces/", "/datasets/", "/spaces/")):
        raise RequestDeniedError(
            404, "type", "this registry holds models only", "leave repo_type out", code="RepoNotFound"
        )
    unnamespaced_ids.refuse(path)
    for part in path.split("/"):
        if part in WORDS:
            raise RequestDeniedError(
                400, "not-offered", WORDS[part], "docs/reference/hub-conformance.md lists what there is"
            )
    raise RequestDeniedError(
        404, "address", f"{request.method} {path[:100]!a} is not an address of this registry", "see its reference"
    )


async def git(request: Request) -> Response:
    """`/{id}/info/{path}`, where git and git-lfs begin: 404 for every name; git shows plain text, git-lfs `message`."""
    if path_of(request) == "refs":
        return PlainTextResponse(f"{_GIT}: {_INSTEAD}\n", status_code=404, headers={"Cache-Control": "no-store"})
    denied = RequestDeniedError(404, "not-offered", _GIT, _INSTEAD)
    denied.extra = {"message": f"{_GIT}: {_INSTEAD}"}
    raise denied
