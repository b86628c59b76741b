"""`GET` and `HEAD /{namespace}/{name}/resolve/{revision}/{path}`: one file's bytes, whole or a range.

The Hub's `raw` and `blob` addresses are the same here: there are no pointers of LFS, and no page for a single file.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from embhub.release.files import EMBEDDING
from embhub_registry.database import Connection
from embhub_registry.database.releases.repositories import Entry, Repository
from embhub_registry.database.standing import yanks
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.repositories import access, repos
from embhub_registry.storage import configuration
from embhub_registry.wire.closed_reading import is_closed
from embhub_registry.wire.request_context import (
    path_of,
    registry_of,
    repository_of,
    revision_of,
    usage_counters_of,
)
from embhub_registry.wire.store_reads import StoreReads

TYPES = {".md": "text/markdown; charset=utf-8", ".json": "application/json", ".png": "image/png"}
# A commit's bytes never change, but they may be withdrawn or deleted: whoever keeps them asks again after ten minutes,
# and gets 304 by their ETag. What was withdrawn already is asked for each time.
PUBLIC = "public, max-age=600, must-revalidate"
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


async def resolve(request: Request) -> Response:
    """The file, from memory where it is held there; both reads are by primary key, so they run inline.

    HEAD of a branch or tag answers with a relative redirect to the commit, so that what a client then reads belongs
    together even where a push comes in between.
    """
    registry = registry_of(request)
    db = registry.database.connection()
    repository, account = repository_of(request)
    access.require_files(db, repository, account)
    snapshot = repos.at(db, repository, revision_of(request), account)
    repos.refuse_forged(db, snapshot)
    headers = {"X-Repo-Commit": snapshot.revision.id}
    try:
        entry = repos.entry(db, snapshot, path_of(request))
    except RequestDeniedError as error:
        error.headers = headers
        raise
    closed = repository.private or repository.gated or repository.disabled or snapshot.set_aside
    if request.method == "HEAD" and snapshot.moving:
        target = f"/{repository.full_name}/resolve/{snapshot.revision.id}/{quote(entry.path)}"
        return RedirectResponse(target, status_code=307, headers=headers)
    etag = f'"{entry.digest}"'
    fresh = snapshot.moving or (not closed and yanks.find(db, repository.id, snapshot.revision.id) is not None)
    headers |= {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-cache" if fresh else "private, max-age=0" if closed else PUBLIC,
        "Content-Disposition": f'inline; filename="{entry.path.rsplit("/", 1)[-1]}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    media = TYPES.get("." + entry.path.rsplit(".", 1)[-1], "application/octet-stream")
    if not _named(request.headers.get("if-match", "*"), etag):
        raise RequestDeniedError(
            412, "condition", f"{entry.path} has another ETag than If-Match names", "read its present one"
        )
    if _named(request.headers.get("if-none-match", ""), etag, weakly=True):
        return Response(status_code=304, headers=headers)
    again = {} if closed or fresh else _for_proxies(request, db)
    if request.method == "HEAD":
        return Response(headers=headers | again | {"Content-Length": str(entry.size)}, media_type=media)
    reads: StoreReads = request.app.state.store_reads
    data = await reads.read(registry.blobs, entry.digest)
    if closed:
        request.app.state.reads.note(repository=repository.full_name, commit=snapshot.revision.id, file=entry.path)
    asked = request.headers.get("range")
    if asked is None or request.headers.get("if-range", etag) != etag:
        _count(request, repository, entry)
        return Response(data, headers=headers | again, media_type=media)
    part = _part(asked, len(data))
    if part is None:
        return Response(data, headers=headers, media_type=media)
    start, end = part
    if start >= end:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return Response(data[start:end], status_code=206, headers=headers, media_type=media)


def _for_proxies(request: Request, db: Connection) -> dict[str, str]:
    """For how long a proxy may send this answer again without asking, to callers who do not say who they are.

    nginx reads this header, and passes it to nobody.
    """
    seconds = configuration.limit(db, "files.proxy_seconds")
    known = "authorization" in request.headers or "cookie" in request.headers
    return {} if seconds is None or known or is_closed(db) else {"X-Accel-Expires": f"{seconds:.0f}"}


def _count(request: Request, repository: Repository, entry: Entry) -> None:
    """Count a download of an embedding."""
    if entry.path == EMBEDDING:
        usage_counters_of(request).downloaded(repository.id)


def _named(condition: str, etag: str, *, weakly: bool = False) -> bool:
    """Whether a list of entity tags, or `*`, names this one (RFC 9110 section 8.8.3.2)."""
    tags = (tag.strip() for tag in condition.split(","))
    return any(tag in ("*", etag) or (weakly and tag == f"W/{etag}") for tag in tags)


def _part(asked: str, size: int) -> tuple[int, int] | None:
    """Start and end of a single range (RFC 9110 section 14); None where the header is to be ignored."""
    match = _RANGE.fullmatch(asked.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(0, size - int(match[2])), size
    start = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    return None if last < start and match[2] else (start, min(last + 1, size))
