"""The audit log: one JSON object a line, appended and flushed; no token ever enters it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from embhub_registry.clock import stamp


class Journal:
    """Appends of less than a page are atomic on a local disk, so the CLI and a server share one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, **fields: Any) -> None:
        """Note an event: who (`user`), what (`repository`, `rule`, …), when."""
        line = json.dumps({"time": stamp(), "event": event, **fields}, ensure_ascii=True, default=str) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
