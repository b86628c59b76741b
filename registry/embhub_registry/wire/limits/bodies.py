"""Request bodies, measured while they arrive: nothing larger than its limit is ever held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from embhub.formats import strict_json
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.repositories.commits import too_large
from embhub_registry.wire.rate_limiting import check_again

SMALL = 1_000_000
DRAIN = 64_000_000
MOST_FIELDS = 2000
MOST_PARTS = 20_000  # of a JSON body: objects, lists, names, commas
SECONDS = 120.0
SECONDS_SMALL = 15.0


async def read(request: Request, *, limit: int = SMALL) -> bytes:
    """The whole body, at most `limit` bytes.

    Raises:
        RequestDeniedError: 413 past the limit, 408 past two minutes (15 seconds where `limit` is small), 400 where
        the client left, 401 where the caller was shut out meanwhile.
    """
    body = bytearray()

    async def keep(chunk: bytes) -> None:
        body.extend(chunk)

    await _receive(request, keep, limit=limit, forget=body.clear)
    return bytes(body)


async def read_lines(request: Request, take: Callable[[bytes], None], *, limit: int, longest: int) -> None:
    """Hand each line of the body to `take`, in a thread, as soon as it is whole; none is held longer.

    An empty line is a line: who sends millions of them must meet the limit that `take` has.

    Raises:
        RequestDeniedError: what `take` raised, once the client has sent the rest; 413 for a line past `longest`; as
        `read`.
    """
    line = bytearray()

    async def keep(chunk: bytes) -> None:
        *whole, last = chunk.split(b"\n")
        for part in whole:
            line.extend(part)
            await _pass_on(line, take, longest)
        line.extend(last)
        if len(line) > longest:
            raise too_large(longest)

    await _receive(request, keep, limit=limit, forget=line.clear)
    if line:
        await _pass_on(line, take, longest)


async def _pass_on(line: bytearray, take: Callable[[bytes], None], longest: int) -> None:
    whole = bytes(line)
    line.clear()
    if len(whole) > longest:
        raise too_large(longest)
    await run_in_threadpool(take, whole)


async def _receive(
    request: Request, keep: Callable[[bytes], Awaitable[None]], *, limit: int, forget: Callable[[], None]
) -> None:
    """Pass the body on chunk by chunk until it is too long or refused; what is still sent then is dropped.

    A client that is still sending would not read an answer: what it sends is taken for a while.
    """
    seconds = SECONDS_SMALL if limit <= SMALL else SECONDS
    announced = request.headers.get("content-length", "")
    refused = too_large(limit) if announced.isdigit() and int(announced) > limit else None
    received = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                received += len(chunk)
                if received > limit and refused is None:
                    refused = too_large(limit)
                if refused is not None:
                    forget()
                    if received > DRAIN:
                        break
                    continue
                try:
                    await keep(chunk)
                except RequestDeniedError as error:
                    refused = error
    except TimeoutError as error:
        raise RequestDeniedError(
            408, "slow", f"the body took longer than {seconds:.0f} s", "send it over a faster line"
        ) from error
    except ClientDisconnect as error:
        raise malformed("the client went away in the middle of its request") from error
    if refused is not None:
        raise refused
    check_again(request.scope)


async def read_json(request: Request, *, limit: int = SMALL) -> dict[str, Any]:
    """A small JSON object, of at most `limit` bytes; an empty body is an empty one.

    Raises:
        RequestDeniedError: 400 where it is none, 413 past the limit.
    """
    body = await read(request, limit=limit)
    if not body.strip():
        return {}
    try:
        return await run_in_threadpool(strict_json.read_object, body, limit=SMALL, nodes=MOST_PARTS, items=MOST_PARTS)
    except strict_json.JsonError as error:
        raise malformed(f"the body: {error}") from error


async def read_fields(request: Request) -> dict[str, list[str]]:
    """A form, or a JSON object, as lists of texts, none of them empty.

    Raises:
        RequestDeniedError: 400 where it is neither; 415 for a multipart form, which nothing here needs.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise RequestDeniedError(
            415, "request", "multipart forms are not taken here", "send JSON, or a form that is URL-encoded"
        )
    if request.headers.get("content-type", "").startswith("application/json"):
        document = await read_json(request)
        fields = {k: [str(i) for i in v] if isinstance(v, list) else [str(v)] for k, v in document.items() if v != []}
        if sum(map(len, fields.values())) > MOST_FIELDS:
            raise malformed(f"the body has more than {MOST_FIELDS} values")
        return fields
    body = await read(request)
    try:
        return await run_in_threadpool(parse_qs, body.decode(), max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise malformed("the body is not a form") from error
