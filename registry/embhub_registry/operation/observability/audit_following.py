"""The audit log as it grows: each sealed line once, in its order, to standard output or to a syslog server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub_registry.storage.folder import Registry

SECONDS = 1.0  # between two looks


def follow(registry: Registry, *, since: int, until: Callable[[], bool], pause: float = SECONDS) -> Iterator[str]:
    """The sealed lines from number `since` on, and those to come, until `until` says so.

    After the first look only what is new of the open segment is read.
    """
    log, last, place = registry.audit_log, since - 1, None
    while True:
        head = log.head()
        if head.number > last:
            start = place[1] if place is not None and place[0] == head.segment else 0
            fresh = _fresh(registry, start, head.size, last) if start else None
            for number, line in fresh if fresh is not None else _all(registry, last):
                last = max(last, number)
                yield line
            last = max(last, head.number)  # also where lines are missing, of which `verify` tells
            place = (head.segment, head.size)
            continue
        if until():
            return
        time.sleep(pause)


def _fresh(registry: Registry, start: int, end: int, last: int) -> list[tuple[int, str]] | None:
    """Lines of the open segment between two of its bytes; None where they do not follow line `last`."""
    try:
        with registry.audit_log.path.open("rb") as stream:
            stream.seek(start)
            lines = stream.read(end - start).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return None
    found = [(number_of(line), line) for line in lines]
    numbers = [number for number, _ in found]
    return found if numbers == list(range(last + 1, last + 1 + len(found))) and found else None


def _all(registry: Registry, last: int) -> Iterator[tuple[int, str]]:
    for line in registry.audit_log.lines(after=max(last, 0)):
        text = line.decode("utf-8", "replace")
        if last < 1 or number_of(text) > last:
            yield number_of(text), text


def number_of(line: str) -> int:
    """The number of a line; 0 where it has none, because somebody changed it."""
    try:
        fields = json.loads(line)
    except ValueError:
        return 0
    number = fields.get("number") if isinstance(fields, dict) else None
    return number if isinstance(number, int) else 0


def read_position(file: Path) -> int:
    """The number of the next line, from a position file; 1 where there is none yet.

    Raises:
        UsageError: it holds something else. ConfigError: it cannot be read.
    """
    try:
        text = file.read_text("ascii")[:30].strip()
    except FileNotFoundError:
        return 1
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", "check its owner") from error
    except ValueError:
        text = ""
    if not text.isdigit():
        raise UsageError(f"{file} is no position of `audit export`", "name another file, or remove it to start anew")
    return int(text) + 1


class Position:
    """The number of the last line that was passed on, kept in a file now and then, so that few come twice.

    Args:
        file: Where it is kept; None for nowhere.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._number = self._kept = 0
        self._written = time.monotonic()

    def reached(self, number: int) -> None:
        """A line was passed on. Raises as `keep`."""
        self._number = max(self._number, number)
        if time.monotonic() - self._written > SECONDS:
            self.keep()

    def keep(self) -> None:
        """Write it now, if it has changed.

        Raises:
            ConfigError: it cannot be written.
        """
        if self._file is None or self._number == self._kept:
            return
        try:
            write_atomic(self._file, f"{self._number}\n".encode(), mode=0o600)
        except OSError as error:
            raise ConfigError(f"cannot write {self._file}: {error.strerror}", "choose another --position") from error
        self._kept, self._written = self._number, time.monotonic()
