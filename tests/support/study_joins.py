"""Three hospitals that join a study by what their commands call, and the commands themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from embhub.__main__ import main
from embhub.client.member import studies
from embhub.diffusion.studies import joining
from embhub.diffusion.studies.flare import kits
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


def write_kit(folder: Path, *, host: str = "hub.example.org", port: object = 8102) -> Path:
    """A machine's kit as `embhub study propose` writes it, with certificates that are none."""
    folder.mkdir(parents=True)
    (folder / kits.ADDRESS).write_text(json.dumps({"host": host, "port": port}))
    for file in kits.CERTIFICATES:
        (folder / file).write_text(f"-----BEGIN made by {folder.name} {file}")
    return folder
