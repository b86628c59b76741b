"""Three hospitals that join a study by what their commands call, and the commands themselves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from embhub.__main__ import main
from embhub.client.member import studies
from embhub.diffusion.studies import joining
from embhub.diffusion.studies.seats import Seat
from tests.support.sites import Site

SITES = ("lumc", "radboud", "umcu")
Act = Callable[[str], Site]
Proposed = Callable[..., studies.Fetched]


def seat(site: Site, lies: Path, **changes: Any) -> Seat:
    manifest = site.folder / "images" / "manifest.csv"
    return Seat("", **{"images": str(manifest), "base": str(lies), "device": "cpu", "holdout": 0.0, **changes})


def join(fetched: studies.Fetched, sat: Seat, *, key: str = "officer", confirm: Any = None) -> studies.Fetched:
    return joining.join(
        fetched, sat, key=key, registry=None, ask_passphrase=None, confirm=confirm, say=lambda _text: None
    )


def run_here(*words: str | Path) -> tuple[int, str]:
    """`embhub WORDS`: exit code, and what it said."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(out):
        code = main([*map(str, words)])
    return code, out.getvalue()
