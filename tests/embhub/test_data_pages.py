"""The Python of the pages on images and phantoms runs as it stands, and what they list exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from embhub import phantoms
from embhub.images.inspections.report import Inspection

DOCS = Path(__file__).parents[2] / "docs"


def python_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.S)


@pytest.mark.thorough
def test_the_examples_run(tmp_path: Path) -> None:
    code = "\n".join([*python_of("reference/phantoms.md"), *python_of("how-to/prepare-images.md")])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("16 ")


def test_the_page_lists_every_field_of_the_report() -> None:
    page = (DOCS / "how-to/prepare-images.md").read_text()
    fields = [field.alias or name for name, field in Inspection.model_fields.items()]
    assert not [name for name in fields if f"`{name}`" not in page]


@pytest.mark.parametrize("name", [*phantoms.HELD_OUT, *phantoms.MODALITIES])
def test_the_page_lists_what_can_be_drawn(name: str) -> None:
    assert f"`{name}`" in (DOCS / "reference/phantoms.md").read_text()
