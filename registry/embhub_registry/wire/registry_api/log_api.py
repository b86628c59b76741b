"""`/log`: the checkpoint, tiles and bundles of entries as of C2SP tlog-tiles, and a proof for each entry."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from embhub.client.log.log_reader import NOT_IN_LOG
from embhub.log import notes, tiles
from embhub.log.errors import LogError, MalformedLogError
from embhub_registry.database.logs import log_rows
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.storage.log import log_witnesses, registry_log
from embhub_registry.wire.limits import bodies
from embhub_registry.wire.request_context import registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

PREFIX = "/log"
TEXT = "text/plain; charset=utf-8"
FRESH = {"Cache-Control": "no-cache"}
FINAL = {"Cache-Control": "public, max-age=31536000, immutable"}
_HASH = re.compile(r"[0-9a-f]{64}")


async def checkpoint(request: Request) -> Response:
    """`GET /log/checkpoint`: the newest one, with the cosignatures that came in."""
    found = await threaded(registry_log.newest_checkpoint, registry_of(request))
    if found is None:
        raise RequestDeniedError(404, "log", "this registry signed no checkpoint of a log", "its keyring says whether")
    return Response(found, media_type=TEXT, headers=FRESH)


async def tile(request: Request) -> Response:
    """`GET /log/tile/…`: hashes, or entries; what was signed once never changes."""
    registry = registry_of(request)
    try:
        asked = tiles.parse_path(f"tile/{request.path_params['path']}")
    except MalformedLogError as error:
        raise _no_tile() from error
    signed = log_rows.newest(registry.database.connection())
    held = tiles.needed(asked.level, asked.number, signed.size) if signed else None
    if held is None or asked.width > held.width:
        raise _no_tile()
    try:
        data = await threaded(registry_log.read_tile, registry, asked)
    except OSError as error:
        raise _no_tile() from error
    return Response(data, media_type="application/octet-stream", headers=FINAL)


async def proof(request: Request) -> Response:
    """`GET /log/proof/{hash}`: a tlog-proof for the entry with this leaf hash, to a signed checkpoint."""
    hashed = request.path_params["hash"]
    found = None
    if _HASH.fullmatch(hashed):
        found = await threaded(registry_log.prove, registry_of(request), bytes.fromhex(hashed))
    if found is None:
        raise RequestDeniedError(
            404, "log", "no entry with this hash is in the log", "ask again in a few seconds", code=NOT_IN_LOG
        )
    return Response(found.to_bytes(), media_type=TEXT, headers=FRESH)


async def cosignature(request: Request) -> Response:
    """`POST /log/cosignature`: the checkpoint with a cosignature, from a witness that the operator accepts."""
    data = await bodies.read(request, limit=notes.MAX_BYTES)
    try:
        taken = await threaded(log_witnesses.take, registry_of(request), notes.parse(data))
    except LogError as error:
        raise RequestDeniedError(422, error.rule, error.message, error.hint) from error
    if not taken:
        raise RequestDeniedError(
            404, "log", "no accepted witness cosigned a checkpoint that is kept here",
            "the operator accepts a witness with `log witness`",
        )  # fmt: skip
    return Response(b"%d\n" % taken, media_type=TEXT, headers=FRESH)


def _no_tile() -> RequestDeniedError:
    return RequestDeniedError(404, "log", "the log has no tile at this address", "/log/checkpoint says how large it is")
