"""README says what `bench/install.py` measured, and the source tree can be sent whole."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from bench import install

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()


def test_readme_has_the_figures_that_were_measured() -> None:
    found = json.loads(install.RESULTS.read_text())
    assert install.page(install.PAGE.read_text(), found) == install.PAGE.read_text()
    assert found["ways"].keys() == install.WAYS.keys() and found["targets"].keys() == install.TARGETS.keys()


def test_what_is_measured_is_what_make_installs() -> None:
    """`make setup` and `make develop` name the same extras as the rows that stand for them."""
    extras = [set(words.split(",")) for words in re.findall(r"\$\(INSTALL\) -e '\.\[([a-z0-9,]+)\]'", MAKEFILE)]
    setup, develop, everything, demo_study = extras
    assert everything == {"docs", "release"}
    assert demo_study == {"study"} <= develop
    measured = {command: what[1].strip(".[]").split(",") for command, what in install.WAYS.values()}
    assert set(measured["make setup"]) == setup
    assert set(measured["make develop"]) == setup | develop


def test_a_size_counts_files_and_no_links(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/file").write_bytes(bytes(1000))
    (tmp_path / "link").symlink_to("deep")
    assert 1000 <= install.size(tmp_path) < 1100


def test_the_source_tree_can_be_sent_whole() -> None:
    """A machine with an accelerator takes at most 64 MB; weights are in the tree once."""
    if not (ROOT / ".git").exists():
        pytest.skip("no history to list tracked files from")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    files = [ROOT / name.decode() for name in listed.split(b"\0") if name]
    assert sum(file.stat().st_size for file in files if file.is_file()) < 60e6
