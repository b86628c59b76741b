"""Who installs embhub gets its types: a program of theirs passes mypy --strict, and a wrong one does not."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path
from types import ModuleType

import pytest

import embhub
import embhub_registry
from tests.support.quick import quick

CONSUMER = Path(__file__).with_name("typed_consumer.py")
WRONG = {
    'token="<cspca>", caption="prostate mri, {}"': 'token="<cspca>", caption=7',
    "assert_type(commit, str)": "assert_type(commit, int)",
    "embhub.pull(reference, policy": "embhub.pull(reference, politics",
}


def test_the_program_uses_every_public_name() -> None:
    used = {
        node.attr
        for node in ast.walk(ast.parse(CONSUMER.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "embhub"
    }
    assert used == set(embhub.__all__)


@pytest.mark.parametrize("package", [embhub, embhub_registry])
def test_the_marker_lies_in_each_package(package: ModuleType) -> None:
    assert (resources.files(package) / "py.typed").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("absent", quick([], exhaustive=["torch,transformers,diffusers,scipy,sympy", ""]))
def test_a_program_of_somebody_else_is_typed(tmp_path: Path, absent: str) -> None:
    """Elsewhere than in this repository, and without its settings: as mypy finds what is installed.

    PyTorch takes mypy four fifths of the time, so that it is there before a release alone.
    """
    sections = [f"[mypy-{package}.*]\nfollow_imports = skip\n" for package in absent.split(",") if package]
    (tmp_path / "settings.ini").write_text("".join(["[mypy]\n", *sections]))
    text = CONSUMER.read_text()
    (tmp_path / "sound.py").write_text(text)
    for right, wrong in WRONG.items():
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    (tmp_path / "wrong.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=settings.ini", "sound.py", "wrong.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith(("MYPY", "PYTHONPATH"))},
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert not [line for line in errors if not line.startswith("wrong.py")], done.stdout[-3000:]
    assert len(errors) == len(WRONG), done.stdout[-3000:]
