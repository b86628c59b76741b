"""Check a built documentation site: every public name is there, and no page loads anything from another host."""

from __future__ import annotations

import re
import sys
from pathlib import Path

LOADS = [
    re.compile(
        r"<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*?\b(?:src|data)=[\"']?((?:https?:)?//[^\"'\s>]+)"
    ),
    re.compile(r"<link\b(?![^>]*\brel=[\"']?canonical)[^>]*?\bhref=[\"']?((?:https?:)?//[^\"'\s>]+)"),
    re.compile(r"url\(\s*[\"']?((?:https?:)?//[^\"')\s]+)"),
    re.compile(r"@import\s+[\"']((?:https?:)?//[^\"']+)"),
]
"""What a browser fetches without being asked. Links that a reader follows (`<a href>`) are no such thing."""
SCRIPTED = re.compile(r"(?:https?:)?//(?:unpkg\.com|cdn\.|cdnjs\.|fonts\.|[a-z.]*jsdelivr|[a-z.]*googleapis)[^\"'`\s]*")
"""Hosts that scripts of themes fetch from."""


def find_external(site: Path) -> list[str]:
    """List what the pages, styles and scripts of a site would load from elsewhere.

    Args:
        site: The folder that mkdocs wrote.

    Returns:
        `file: address` for each.
    """
    found = []
    for path in sorted(site.rglob("*")):
        if path.suffix in (".html", ".css", ".svg"):
            patterns = LOADS
        elif path.suffix == ".js":
            patterns = [SCRIPTED]
        else:
            continue
        text = path.read_text()
        found += [f"{path.relative_to(site)}: {address}" for one in patterns for address in one.findall(text)]
    return found


def main() -> int:
    """Print what is wrong; returns 1 where something is."""
    site = Path(sys.argv[1])
    import embhub

    problems = [f"loads from elsewhere: {one}" for one in find_external(site)]
    problems += [f"no page for {name}" for name in embhub.__all__ if not (site / f"python/{name}.html").is_file()]
    problems += [f"no {name}" for name in ("search/search_index.json", "objects.inv") if not (site / name).is_file()]
    for problem in problems:
        print(problem)  # noqa: T201
    print(f"{len(list(site.rglob('*.html')))} pages; nothing is loaded from another host") if not problems else None  # noqa: T201
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
