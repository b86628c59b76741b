"""A later release of the registry: today's program, which knows more steps of the schema.

`python -m tests.support.later_program FOLDER ARGUMENTS` is `embhub-registry ARGUMENTS` with the steps in FOLDER, too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from embhub_registry.database import schema
from embhub_registry.database.dialects import SQLITE, Dialect
from tests.support.servers import RunningRegistry, environment, wait_until_ready


def start(server: RunningRegistry, steps: Path) -> None:
    """Serve by it; returns once requests are answered."""
    port = server.url.rsplit(":", 1)[1]
    words = [sys.executable, "-m", "tests.support.later_program", str(steps)]
    words += ["--dir", str(server.folder), "serve", "--port", port]
    server.log = server.folder.parent / "registry.log"
    with server.log.open("a") as log:
        server.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True, env=environment())
    wait_until_ready(server.process, server.url, log=server.log)


def _main() -> None:
    from embhub_registry.__main__ import main

    known = schema.known_steps
    files = sorted(Path(sys.argv.pop(1)).glob("*.sql"))
    more = [schema.Step(int(file.name.partition("_")[0]), file.name, file.read_text()) for file in files]

    def all_steps(dialect: Dialect = SQLITE) -> list[schema.Step]:
        return [*known(dialect), *more]

    schema.known_steps = all_steps
    main()


if __name__ == "__main__":
    _main()
