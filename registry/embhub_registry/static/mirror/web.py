"""What a mirror answers: its files, with the headers that clients of the Hub need; nothing is changed from outside."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from embhub.client.wire import static_list
from embhub.client.wire.connecting import find_file
from embhub.formats import instants
from embhub_registry.database.releases.search import FACETS
from embhub_registry.http_errors import header_text
from embhub_registry.static.mirror.following import Mirror

LATE = 5  # intervals after the last refresh, after which the mirror is not ready
_RESOLVE = re.compile(r"/((?!api/)[^/]+/[^/]+)/(?:resolve|raw|blob)/([^/]+)/(.+)")
_MODEL = re.compile(r"/api/models/([^/]+/[^/]+)(?:/.*)?")
_HEAD = re.compile(r"(/api/models/[^/]+/[^/]+/(?:revision|tree|commits))/HEAD")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TYPES = {".md": "text/markdown; charset=utf-8", ".json": "application/json", ".png": "image/png"}
SAFE = {
    "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-cache",
}  # fmt: skip


def build(mirror: Mirror, *, interval: float) -> Starlette:
    """The application over a mirror's folder."""
    app = Starlette(routes=[
        Route("/healthz", _healthz), Route("/readyz", _readyz),
        Route("/api/models", _search), Route("/{path:path}", _file),
    ])  # fmt: skip
    app.state.mirror, app.state.interval = mirror, interval
    return app


def describe(mirror: Mirror, *, interval: float) -> dict[str, Any]:
    """How old the mirror and its list of withdrawals are, and what is wrong with it."""
    said = mirror.state.read()
    age, list_age = (_age(said[name]) for name in ("refreshed", "withdrawals_read"))
    late = [found is None or found > LATE * interval for found in (age, list_age)]
    ready = not any(late) and not said["forked"]
    return {"ready": ready, "follows": mirror.url, "age_seconds": age, "withdrawals_age_seconds": list_age, **said}


def _age(moment: str | None) -> int | None:
    return None if moment is None else max(round((datetime.now(UTC) - instants.read(moment)).total_seconds()), 0)


async def _healthz(request: Request) -> Response:
    del request
    return PlainTextResponse("ok\n", headers=SAFE)


async def _readyz(request: Request) -> Response:
    found = describe(request.app.state.mirror, interval=request.app.state.interval)
    return JSONResponse(found, status_code=200 if found["ready"] else 503, headers=SAFE)


async def _search(request: Request) -> Response:
    """The list, searched as the client asks; a client that searches itself finds the same."""
    asked, site = request.query_params, request.app.state.mirror.site
    file = find_file(site, "api/models")
    rows = json.loads(await run_in_threadpool(file.read_bytes)) if file is not None else []
    facets = {name: asked.getlist(name) for name in FACETS if asked.getlist(name)}
    found = static_list.choose(rows, asked.get("search", ""), facets)
    if author := asked.get("author"):
        found = [row for row in found if row["author"] == author]
    limit = asked.get("limit", "1000")
    return JSONResponse(found[: int(limit[:4]) if limit.isascii() and limit.isdigit() else 1000], headers=SAFE)


async def _file(request: Request) -> Response:
    path, site = str(request.scope["path"]), request.app.state.mirror.site
    return await run_in_threadpool(_answer, site, path)


def _answer(site: Path, path: str) -> Response:
    asked = _RESOLVE.fullmatch(path)
    if asked and not _COMMIT.fullmatch(asked[2]):
        if (commit := _named(site, asked[1], asked[2])) is None:
            return _absent(site, path)
        target = f"/{asked[1]}/resolve/{commit}/{quote(asked[3])}"
        return RedirectResponse(target, status_code=307, headers={**SAFE, "X-Repo-Commit": commit})
    file = find_file(site, f"{asked[1]}/resolve/{asked[2]}/{asked[3]}" if asked else _HEAD.sub(r"\1/main", path))
    if file is None or "/." in path:  # `STAGING`, and the like
        return _absent(site, path)
    if asked:
        return FileResponse(
            file, media_type=_TYPES.get(file.suffix, "application/octet-stream"),
            headers={**SAFE, "X-Repo-Commit": asked[2]},
        )  # fmt: skip
    media = "application/json" if path.startswith(("/api/", "/embhub/")) else "application/octet-stream"
    return FileResponse(file, media_type=media, headers=SAFE)


def _named(site: Path, repository: str, name: str) -> str | None:
    file = find_file(site, f"api/models/{repository}/revision/{'main' if name == 'HEAD' else name}")
    return None if file is None else str(json.loads(file.read_bytes())["sha"])


def _absent(site: Path, path: str) -> Response:
    """404 in the Hub's words; 410 with the reason for what was withdrawn."""
    found = _MODEL.fullmatch(path) or _RESOLVE.fullmatch(path)
    headers = dict(SAFE)
    if found is None:
        return JSONResponse({"error": "there is nothing at this address"}, status_code=404, headers=headers)
    status = find_file(site, f"embhub/v1/status/{found[1]}")
    rows = json.loads(status.read_bytes())["yanked"] if status is not None else []
    if rows:
        text = f"withdrawn: {rows[-1]['reason']}"
        headers["X-Error-Message"] = header_text(text)
        return JSONResponse({"error": text}, status_code=410, headers=headers)
    headers["X-Error-Code"] = "RepoNotFound" if status is None else "RevisionNotFound"
    if status is not None and path.startswith(f"/{found[1]}/"):
        headers["X-Error-Code"] = "EntryNotFound"
    return JSONResponse({"error": "this mirror does not hold it"}, status_code=404, headers=headers)
