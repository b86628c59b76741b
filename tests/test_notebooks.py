"""The notebooks are stored without outputs, run from top to bottom, and are listed in the docs."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.quick import quick

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))
DEAR = [ROOT / "examples/notebooks/cost_of_privacy.ipynb"]
"""Trains with privacy and without, as tests/bench and tests/test_examples.py do."""
SECONDS = 600
"""For one notebook on a busy machine; on an idle core each takes less than two minutes."""


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["cost_of_privacy", "pull_and_generate", "train_audit_publish"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_listed_in_the_docs(path: Path) -> None:
    assert path.name in (ROOT / "docs/reference/python-api.md").read_text()


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize(
    "path",
    quick([path for path in NOTEBOOKS if path not in DEAR], exhaustive=DEAR),
    ids=lambda path: path.stem,
)
def test_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executed as Jupyter would; an error in any cell fails the test."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert outputs and not [output for output in outputs if output.output_type == "error"]
