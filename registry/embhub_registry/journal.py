"""The audit log: one JSON object a line, appended and flushed; no token ever enters it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from embhub_registry.clock import stamp
from embhub_registry.logs import log


class Journal:
    """Appends of less than a page are atomic on a local disk, so the CLI and a server share one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, **fields: Any) -> None:
        """Note an event: who (`user`), what (`repository`, `rule`, …), when.

        What was done is done: where the disk refuses, the event goes to the process's log instead of undoing it.
        """
        line = json.dumps({"time": stamp(), "event": event, **fields}, ensure_ascii=True, default=str) + "\n"
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line.encode())
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            log("error", "the audit log cannot be written", reason=error.strerror, missed=line.strip())
