"""Structured logs: one JSON object a line on standard error; never a token, never a query."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from typing import Any

from embhub_registry.clock import stamp
from embhub_registry.redaction import redact

_ENCODE = json.JSONEncoder(default=str).encode


def log(level: str, event: str, **fields: Any) -> None:
    """Write one line; fields without a value are left out."""
    said = {name: value for name, value in fields.items() if value is not None}
    line = _ENCODE({"time": stamp(), "level": level, "event": event, **said})
    write(redact(line) + "\n")


def write(lines: str) -> None:
    """Lines that hold no secret."""
    with contextlib.suppress(OSError):  # a log whose disk is full fails no request
        sys.stderr.write(lines)


class Structured(logging.Handler):
    """Takes in what uvicorn and asyncio log."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record as one line."""
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = logging.Formatter().formatException(record.exc_info)
        log(record.levelname.lower(), record.getMessage(), **fields)


def configure() -> None:
    """Send every logger here."""
    root = logging.getLogger()
    root.handlers[:] = [Structured()]
    root.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
