"""The page on drawing with embeddings: its Python runs as it stands, and it names every option that draws."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from embhub.cli.generate.generating import command as generate

PAGE = (Path(__file__).parents[4] / "docs/how-to/draw-with-embeddings.md").read_text()
ELSEWHERE = {"--base", "--replace", "--device", "--registry", "--insecure", "--out", "--json", "--help"}


@pytest.mark.thorough
def test_the_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(code, "draw-with-embeddings.md", "exec"), {})


def test_the_page_names_every_option() -> None:
    options = {max(part.opts, key=len) for part in generate.params if isinstance(part, click.Option)}
    assert not {name for name in options - ELSEWHERE if name not in PAGE and name != "--number"}
