"""Structured logs: one JSON object a line, on standard error or in a file; never a token, never a query."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, TextIO

from embhub.errors import ConfigError
from embhub_registry.database.clock import stamp

_ENCODE = json.JSONEncoder(default=str).encode
# Ours and the Hub's, which people mix up; and whatever stands where a credential stands.
_TOKEN = re.compile(r"(hf_emb|\bhf)_[A-Za-z0-9_-]{16,}")
_CREDENTIAL = re.compile(r"(?i)\b(authorization\W{1,6}(?:bearer|basic))\s+[^\s\"'\\]+")


class _File(WatchedFileHandler):
    """A file of lines that is begun anew where it was renamed, as logrotate does."""

    terminator = ""

    def write(self, lines: str) -> None:
        """Append lines."""
        self.handle(logging.makeLogRecord({"msg": lines}))

    def handleError(self, record: logging.LogRecord) -> None:
        """As `write` below: nothing is said of it elsewhere."""


@dataclass
class _Output:
    """Where lines go: a file, or standard error. `quiet` leaves out what is neither warning nor error."""

    file: _File | TextIO | None = None
    quiet: bool = False


_OUTPUT = _Output()
_WITHIN: ContextVar[Mapping[str, str]] = ContextVar("within", default={})  # noqa: B039  # it is never changed


def direct(file: Path | None) -> None:
    """Send the log to `file`; without one to standard error, which on a terminal gets warnings and errors alone.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        _OUTPUT.file = None if file is None else _File(file, encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "this is no path"
        raise ConfigError(f"cannot write the log {str(file)!a}: {reason}", "choose another --log FILE") from error
    _OUTPUT.quiet = file is None and sys.stderr.isatty()


def log(level: str, event: str, **fields: Any) -> None:
    """Write one line; fields without a value are left out."""
    if _OUTPUT.quiet and level == "info":
        return
    said = {name: value for name, value in {**fields, **_WITHIN.get()}.items() if value is not None}
    write(redact(_ENCODE({"time": stamp(), "level": level, "event": event, **said})) + "\n")


@contextlib.contextmanager
def within(**fields: str) -> Iterator[None]:
    """Lines that the block writes, its threads included, have these fields: the id of a request, of a trace."""
    before = _WITHIN.set({**_WITHIN.get(), **fields})
    try:
        yield
    finally:
        _WITHIN.reset(before)


def write(lines: str) -> None:
    """Lines that hold no secret."""
    try:
        (_OUTPUT.file or sys.stderr).write(lines)
    except OSError:  # a log whose disk is full fails no request
        return


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


def redact(text: str) -> str:
    """`text` with every token and credential in it replaced by a word that says so."""
    if text.isascii() and "hf_" not in text and "authorization" not in text.lower():
        return text  # most lines; the patterns below cost ten times as much
    return _CREDENTIAL.sub(r"\1 [redacted]", _TOKEN.sub(r"\1_[redacted]", text))
