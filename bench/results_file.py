"""The JSON file that a study writes row by row, so that what was measured is kept and not measured again."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from bench import machine

Row = dict[str, Any]


class ResultsFile:
    """`rows` are those of earlier runs and of this one; each says on which day and processor it was measured."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: list[Row] = json.loads(path.read_text()) if path.exists() else []

    def keep(self, row: Row) -> None:
        """Add a row, and write them all."""
        self.rows.append({**row, "day": date.today().isoformat(), "processor": machine.describe()["processor"]})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.rows, indent=1) + "\n")
