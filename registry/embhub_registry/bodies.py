"""Request bodies, measured while they arrive: nothing larger than its limit is ever held."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from embhub.formats import strict_json
from embhub_registry.commits import too_large
from embhub_registry.denials import Denied, malformed

SMALL = 1_000_000
DRAIN = 64_000_000
MOST_FIELDS = 2000
SECONDS = 120.0
SECONDS_SMALL = 15.0


async def read(request: Request, *, limit: int = SMALL) -> bytes:
    """The whole body, at most `limit` bytes.

    Raises:
        Denied: 413 past the limit, 408 past two minutes (15 seconds where `limit` is small), 400 where the client left.
    """
    seconds = SECONDS_SMALL if limit <= SMALL else SECONDS
    announced = request.headers.get("content-length", "")
    excess = announced.isdigit() and int(announced) > limit
    body = bytearray()
    received = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                received += len(chunk)
                excess = excess or received > limit
                if not excess:
                    body += chunk
                    continue
                body.clear()
                # a client that is still sending would not read an answer: take a while what it sends, and drop it
                if received > DRAIN:
                    break
    except TimeoutError as error:
        raise Denied(408, "slow", f"the body took longer than {seconds:.0f} s", "send it over a faster line") from error
    except ClientDisconnect as error:
        raise malformed("the client went away in the middle of its request") from error
    if excess:
        raise too_large(limit)
    return bytes(body)


async def read_json(request: Request) -> dict[str, Any]:
    """A small JSON object; an empty body is an empty one.

    Raises:
        Denied: 400 where it is none.
    """
    body = await read(request)
    if not body.strip():
        return {}
    try:
        return await run_in_threadpool(strict_json.read_object, body, limit=SMALL)
    except strict_json.JsonError as error:
        raise malformed(f"the body: {error}") from error


async def read_fields(request: Request) -> dict[str, list[str]]:
    """A form, or a JSON object, as lists of texts.

    Raises:
        Denied: 400 where it is neither.
    """
    if request.headers.get("content-type", "").startswith("application/json"):
        document = await read_json(request)
        fields = {k: [str(i) for i in v] if isinstance(v, list) else [str(v)] for k, v in document.items()}
        if sum(map(len, fields.values())) > MOST_FIELDS:
            raise malformed(f"the body has more than {MOST_FIELDS} values")
        return fields
    body = await read(request)
    try:
        return await run_in_threadpool(parse_qs, body.decode(), max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise malformed("the body is not a form") from error
