"""Lists as JSON, made and sent piece by piece: who reads slowly holds one piece of an answer, never all of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

PIECE_BYTES = 32_000
JSON = "application/json"


async def answer_list(
    request: Request, batches: Iterable[list[dict[str, Any]]], *, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON list whose rows come in batches. Each batch is made in a thread, when the one before it was sent.

    A list of one piece is an ordinary answer with its length.
    """
    if request.method == "HEAD":
        return Response(media_type=JSON, headers=headers)
    made = pieces(batches)
    first, second = await run_in_threadpool(lambda: (next(made), next(made, None)))
    if second is None:
        return Response(first, media_type=JSON, headers=headers)
    return StreamingResponse(chain([first, second], made), media_type=JSON, headers=headers)


def pieces(batches: Iterable[list[dict[str, Any]]]) -> Iterator[bytes]:
    """The list's bytes; a piece ends with the row by which it reaches `PIECE_BYTES`."""
    piece, between = bytearray(b"["), b""
    for batch in batches:
        for row in batch:
            piece += between + json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
            between = b","
            if len(piece) >= PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
    yield bytes(piece + b"]")
