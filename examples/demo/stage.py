"""What every demo does: ask for its folder, play, say what came of it, and write summary.json and a page."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import torch

from embhub.errors import EmbhubError
from examples.demo import page
from examples.demo.cast import CommandFailed, typed

Summary = dict[str, Any]
_BEGAN = time.monotonic()  # a play is a process


def perform(
    parser: argparse.ArgumentParser, folder: str, play: Callable[[Path, argparse.Namespace], Summary],
    tell: Callable[[Summary], str],
) -> int:  # fmt: skip
    """Play into `--out`, by default `folder`, which is emptied before; 0 when every step did what the story says."""
    parser.add_argument("--out", type=Path, default=Path(folder))
    parser.add_argument("--short", action="store_true", help="every step in a few minutes; the figures mean nothing")
    chosen = parser.parse_args()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    shutil.rmtree(chosen.out, ignore_errors=True)
    try:
        summary = play(chosen.out.resolve(), chosen)
    except (CommandFailed, EmbhubError) as error:
        print(f"\nthe demo stopped: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    said = f"{chosen.out / 'index.html'} and {chosen.out / 'summary.json'}, in {summary['seconds_total']:.0f} s"
    print(f"\n{tell(summary)}\nall of it: {said}")
    return 0


def write(out: Path, template: str, summary: Summary, grids: Mapping[str, Sequence[page.Grid]], **more: Any) -> Summary:
    """Write summary.json, with every command that was typed, and index.html, self-contained, with `grids` by name."""
    summary = {**summary, "commands": typed(), "seconds_total": round(time.monotonic() - _BEGAN, 1)}
    (out / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    shown = {
        name: [{"title": g.title, "caption": g.caption, "source": page.inline(page.sheet(g.images))} for g in part]
        for name, part in grids.items()
    }
    text = environment.get_template(template).render(summary, **shown, **more)
    (out / "index.html").write_text(text, encoding="utf-8")
    return summary
