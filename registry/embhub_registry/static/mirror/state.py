"""How a mirror's last refresh ended, in a file that the server and the operator read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from embhub.durable import write_atomic
from embhub.errors import EmbhubError
from embhub.formats import instants
from embhub.log.errors import ForkedLogError

FILE, FORKED = "state.json", "FORKED.txt"


class State:
    """The state of the mirror in a folder."""

    def __init__(self, folder: Path) -> None:
        self._path, self._fork = folder / FILE, folder / FORKED

    def read(self) -> dict[str, Any]:
        """When it was refreshed last, to which checkpoint, and what failed since."""
        try:
            said = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            said = {}
        empty: dict[str, Any] = {
            "refreshed": None, "checkpoint": "", "failed": None, "problems": [], "witness": "",
            "withdrawals": 0, "withdrawals_read": None,
        }  # fmt: skip
        return {**empty, **(said if isinstance(said, dict) else {}), "forked": self._fork.exists()}

    def refuse_if_forked(self) -> None:
        """Raise ForkedLogError where an earlier round found a fork, and nobody removed its note."""
        if self._fork.exists():
            raise ForkedLogError(
                f"the log was found forked earlier: {self._fork.read_text().strip()}",
                f"remove {self._fork} once its operator explained it and the members agree",
            )

    def note_success(self, checkpoint: str, problems: Sequence[str], *, witness: str) -> None:
        """A refresh was done."""
        self._write({**self.read(), "refreshed": instants.write(datetime.now(UTC)), "checkpoint": checkpoint,
                     "failed": None, "problems": list(problems), "witness": witness})  # fmt: skip

    def note_list(self, number: int) -> None:
        """The list of withdrawals was read, and what it takes back is not served any more."""
        self._write({**self.read(), "withdrawals": number, "withdrawals_read": instants.write(datetime.now(UTC))})

    def note_failure(self, error: EmbhubError) -> None:
        """A refresh failed as a whole; what is served stays."""
        self._write({**self.read(), "failed": error.message})

    def note_fork(self, error: ForkedLogError) -> None:
        """The log shows two histories: from now on nothing is taken. What was noted first stays as it is."""
        if not self._fork.exists():
            write_atomic(self._fork, f"{error.message}\n{error.hint}\n".encode())
        self.note_failure(error)

    def _write(self, said: dict[str, Any]) -> None:
        said.pop("forked", None)
        write_atomic(self._path, json.dumps(said, sort_keys=True, indent=1).encode())
