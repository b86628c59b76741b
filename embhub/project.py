"""Where the project lives, read from the installed metadata, so that no address is written in two places."""

from __future__ import annotations

from importlib import metadata
from urllib.parse import urlsplit

UNNAMED = "the maintainers (see SECURITY.md in the source)"
"""What is printed where this build names no address of that kind."""


def find_url(label: str) -> str | None:
    """Return an address from `[project.urls]` of pyproject.toml.

    Args:
        label: Its name there, such as `Issues` or `Security`.

    Returns:
        The address, or None where the build names none. An address under `.example` (RFC 2606) is a placeholder that
        nobody has filled in, so it counts as none.
    """
    try:
        lines = metadata.metadata("embhub").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return None
    urls = dict(line.split(", ", 1) for line in lines)
    url = urls.get(label)
    return None if url is None or (urlsplit(url).hostname or "").endswith(".example") else url


def where_to_report(label: str) -> str:
    """Name the place for a report, for use in a hint.

    Args:
        label: `Issues` for defects, `Security` for vulnerabilities.

    Returns:
        The address, or a pointer to SECURITY.md where this build names none.
    """
    return find_url(label) or UNNAMED
