"""The JSON file that a study writes row by row, so that what was measured is kept and not measured again."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from bench import machine

Row = dict[str, Any]


class ResultsFile:
    """`rows` are those of earlier runs and of this one; each says on which day and processor it was measured, and on
    which GPU, where `device` is one."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._path = path
        self._facts = ("processor",) if device == "cpu" else ("processor", "GPU")
        self.rows: list[Row] = json.loads(path.read_text()) if path.exists() else []

    def keep(self, row: Row) -> None:
        """Add a row, and write them all."""
        facts = machine.describe()
        self.rows.append({**row, "day": date.today().isoformat(), **{name: facts[name] for name in self._facts}})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.rows, indent=1) + "\n")
