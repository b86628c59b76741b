"""Where the project lives and where this installation came from, read from the installed metadata.

No address is written in two places, and no hint names a package on an index that the project does not own.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from embhub.version import __version__

UNNAMED = "the maintainers (see SECURITY.md in the source)"
"""What is printed where this build names no address of that kind."""

_BESIDE = {"diffusion": "bases", "registry": "registry"}
"""Extras that need another distribution of the project: the folder of its source. Its wheel is `embhub_FOLDER-*`."""


def find_url(label: str) -> str | None:
    """Return an address from `[project.urls]` of pyproject.toml.

    Args:
        label: Its name there, such as `Issues` or `Security`.

    Returns:
        The address, or None where the build names none. An address under `.example` (RFC 2606) is a placeholder that
        nobody has filled in, so it counts as none.
    """
    from importlib import metadata  # here, not above: it takes longer to import than most commands need

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


def how_to_install(extra: str) -> str:
    """The command that installs an extra from where embhub itself was installed.

    Args:
        extra: Its name, such as `dicom`.

    Returns:
        A pip command for the source folder or the wheel; for an installation from an index, one for this very version.
    """
    from importlib import metadata

    try:
        found = metadata.distribution("embhub").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return "run `make setup` in the source folder"
    return command_for(extra, direct_url=found)


def command_for(extra: str, *, direct_url: str | None) -> str:
    """The same from the text of `direct_url.json` (PEP 610), None for an installation from an index."""
    facts = json.loads(direct_url) if direct_url else {}
    address = urlsplit(str(facts.get("url", "")))
    if address.scheme != "file":
        return f"pip install 'embhub[{extra}]=={__version__}', from where embhub was installed"
    source, beside = Path(unquote(address.path)), _BESIDE.get(extra)
    own = shlex.quote(f"{source}[{extra}]")
    if "archive_info" in facts:
        more = f" {shlex.quote(str(source.parent))}/embhub_{beside}-*.whl" if beside else ""
        return f"pip install {own}{more}"
    flag = "-e " if facts.get("dir_info", {}).get("editable") else ""
    more = f" {flag}{shlex.quote(str(source / beside))}" if beside else ""
    return f"pip install {flag}{own}{more}"
