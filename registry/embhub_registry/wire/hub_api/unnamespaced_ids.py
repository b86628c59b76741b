"""Ids without a namespace, such as the Hub's `gpt2`: repositories that are not there, so that stock clients say so."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from embhub_registry.http_errors import no_namespace

PARTS = frozenset(
    [
        "auth-check", "branch", "commit", "commits", "paths-info", "preupload", "refs", "revision", "settings", "tag",
        "tree", "user-access-request",
    ]
)  # fmt: skip


async def file(request: Request) -> Response:
    """`/{name}/resolve/{revision}/{path}`: the address of a file.

    Raises:
        RequestDeniedError: 404 RepoNotFound, always.
    """
    raise no_namespace(request.path_params["name"])


def refuse(path: str) -> None:
    """Refuse an address under /api/models whose id has one part.

    Raises:
        RequestDeniedError: 404 RepoNotFound.
    """
    match path.split("/"):
        case ["", "api", "models", name] if name:
            raise no_namespace(name)
        case ["", "api", "models", name, part, *_] if part in PARTS:
            raise no_namespace(name)
