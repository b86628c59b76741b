"""docs/reference/hub-conformance.md, written from what the clients of today did:

python -m tests.conformance.page > docs/reference/hub-conformance.md
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.conformance import javascript
from tests.conformance.driver.listed import CALLS, GROUPS
from tests.conformance.driver.stage import Call
from tests.conformance.environments import CLIENTS
from tests.conformance.playing import Played, fault, play

TITLES = {
    "repositories": "Accounts and repositories",
    "commits": "Publishing",
    "files": "Reading",
    "lists": "Lists",
    "refs": "Branches and tags",
    "cards": "Model cards",
    "gates": "Gated and disabled repositories",
    "commands": "The `hf` command",
    "edges": "Edges: names, filters, folders, cards, plain answers",
    "refusals": "What is missing or refused",
}
INTRODUCTION = """\
# Stock clients of the Hub

These calls of unmodified clients were made against a running registry, and each gave what is expected of the Hub: the
value (`as asked`), or the client's own exception with this status. The environments of the clients have nothing of
embhub. `python -m tests.conformance.page` writes this page, and `tests/conformance` repeats every call, with
`diffusers.load_textual_inversion`, the calls for [each kind of base](../how-to/load-with-diffusers.md), ranges,
conditional requests and encoded addresses. The last table is of the Hub's client for JavaScript.

Where not all three clients for Python did, the last column has an answer of each: `yes`, or why this version cannot
make the call.

## Refused on purpose

There is no git, no LFS and no Xet: every upload is `regular`. There are no pull requests, discussions, collections,
buckets, likes, datasets and spaces, and no overviews of users and organisations. Each refusal says so. A
repository is created empty, and a branch starts at a commit. Repositories are not moved, duplicated or squashed: what
is signed names its repository and is looked up by commit. A commit has at most 100 files. Lists go newest or largest
first; `direction` is refused. They cannot be filtered by `apps`, `inference`, `inference_provider` and
`num_parameters`.

[Mirrors, and exports behind nginx](../how-to/registry-without-a-server.md#use-it), answer `raw`, `blob` and the
revision `HEAD` as a registry does. Other web servers over an export do not: it would have to hold each file twice.
"""


def main() -> int:
    """Play every client and print the page; the exit code says whether all is as it must be."""
    with tempfile.TemporaryDirectory() as scratch:
        played = {}
        for client in CLIENTS:
            folder = Path(scratch) / client
            folder.mkdir()
            played[client] = play(client, folder)
    wrong = [
        f"{found.version}: {wanted.name}: {problem}"
        for found in played.values()
        for wanted in CALLS
        if (problem := fault(wanted, found.outcomes[wanted.name], _major(found))) is not None
    ]
    print(render(played))
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


def render(played: Mapping[str, Played]) -> str:
    """The page's text."""
    versions = [found.version for found in played.values()]
    parts = [INTRODUCTION]
    for group in GROUPS:
        head = f"| calls | give in {' / '.join(versions)} |\n|---|---|"
        found: dict[tuple[str, str], list[str]] = {}
        for wanted in (wanted for wanted in CALLS if wanted.group == group):
            found.setdefault((expected(wanted), _cells(wanted, played)), []).append(wanted.name)
        rows = [
            f"| {'; '.join(names)} | {gives if cells == 'all' else f'{gives}: {cells}'} |"
            for (gives, cells), names in found.items()
        ]
        parts.append("\n".join([f"## {TITLES[group]}", "", head, *rows]))
    return "\n\n".join(part.strip() for part in [*parts, javascript.table()])


def expected(wanted: Call) -> str:
    """The middle column: the exception with its status, or the value that was asked for."""
    if wanted.raises is None:
        return "as asked"
    return f"`{wanted.raises}`" + (f", {wanted.status}" if wanted.status else "")


def _cells(wanted: Call, played: Mapping[str, Played]) -> str:
    cells = []
    for found in played.values():
        outcome = found.outcomes[wanted.name]
        wrong = fault(wanted, outcome, _major(found))
        cells.append("**no**" if wrong else outcome.get("absent", "yes"))
    return "all" if set(cells) == {"yes"} else " / ".join(cells)


def _major(found: Played) -> int:
    return int(found.version.split(".")[0])


if __name__ == "__main__":
    sys.exit(main())
