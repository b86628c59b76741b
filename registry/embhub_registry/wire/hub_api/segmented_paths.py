"""Paths of requests, decoded segment by segment."""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from embhub_registry.wire.request_context import SLASH

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class SegmentedPathsMiddleware:
    """Routes see a path whose segments were decoded one by one: `%2F` inside one does not become a border."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw = scope.get("raw_path", b"").decode("ascii", "replace").partition("?")[0]
            segments = [unquote(segment, errors="replace") for segment in raw.split("/")] if "%" in raw else [raw]
            if len(raw) > 2000 or any(map(_CONTROL.search, segments)):
                await PlainTextResponse("not an address\n", status_code=400)(scope, receive, send)
                return
            scope["path"] = "/".join(segment.replace("/", SLASH) for segment in segments) if "%" in raw else raw
        await self.app(scope, receive, send)
