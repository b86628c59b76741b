"""`card init` asks on a terminal, and never anywhere else."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embhub.formats import safe_yaml
from tests.support.releases import make_embedding

ANSWERS = {
    "Answer them now?": "y",
    "description:": "A dark focus.",
    "modality:": "XX",
    "not a DICOM image modality": "MR",
    "anatomy:": "RID343 prostate",
    "legal_basis, from the site's defaults": "y",
}
SITE = "site: {legal_basis: GDPR Art. 9, ethics_ref: waived}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "home/config").mkdir(parents=True, mode=0o700)
    (tmp_path / "home/config/config.yaml").write_text(SITE)
    path = tmp_path / "cspca.safetensors"
    path.write_bytes(make_embedding().data)
    return path


def test_a_form_on_a_terminal(file: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "embhub", "card", "init", str(file)]
    environment = {**os.environ, "EMBHUB_HOME": str(tmp_path / "home"), "NO_COLOR": "1", "TERM": "dumb"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        said = converse(ours, dict(ANSWERS))
        assert process.wait(30) == 0, said
    os.close(ours)
    values = safe_yaml.load(file.with_name("cspca.card.yaml").read_bytes())
    assert values["description"] == "A dark focus." and values["modality"] == ["MR"]
    assert values["anatomy"] == [{"system": "RadLex", "code": "RID343", "display": "prostate"}]
    assert values["confirm"] == ["ethics_ref"]
    assert values["limitations"] is None  # an empty answer stays open
    assert "fill in: limitations" in said and "fill in: description" not in said


def test_a_word_is_taken_for_its_code_and_a_proposal_only_with_a_yes(file: Path, tmp_path: Path) -> None:
    file.write_bytes(make_embedding(training={"caption": "axial prostate mri, {}"}).data)
    answers = {
        "Answer them now?": "y",
        "Caption and base say: MR": "y",
        "finding:": "pneumona",
        "near are": "pneumonia",
    }
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "embhub", "card", "init", str(file)]
    environment = {**os.environ, "EMBHUB_HOME": str(tmp_path / "home"), "NO_COLOR": "1", "TERM": "dumb"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        said = converse(ours, answers)
        assert process.wait(30) == 0, said
    os.close(ours)
    values = safe_yaml.load(file.with_name("cspca.card.yaml").read_bytes())
    assert values["modality"] == ["MR"] and values["anatomy"] is None and values["view"] is None
    assert values["finding"] == [{"system": "RadLex", "code": "RID5350", "display": "pneumonia"}]
    assert "  RadLex RID5350 pneumonia" in said and "proposed: anatomy: RadLex RID343 prostate" in said


def test_what_was_answered_before_the_terminal_was_closed_is_kept(file: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "embhub", "card", "init", str(file)]
    environment = {**os.environ, "EMBHUB_HOME": str(tmp_path / "home"), "NO_COLOR": "1", "TERM": "dumb"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        converse(ours, dict(ANSWERS), until="limitations:")
        os.close(ours)
        try:
            assert process.wait(60) != 0
        finally:
            process.kill()
    values = safe_yaml.load(file.with_name("cspca.card.yaml").read_bytes())
    assert values["description"] == "A dark focus." and values["modality"] == ["MR"]
    assert values["limitations"] is None


def converse(terminal: int, answers: dict[str, str], *, until: str | None = None) -> str:
    """Answer what is asked for, and everything else with an empty line; returns all that was said, up to `until`."""
    said, waiting, end = "", "", time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 30)[0]:
            break
        try:
            data = os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # the other end is closed
            break
        if not data:
            break
        said, waiting = said + data, waiting + data
        if re.search(r"(> |\]: )$", waiting):
            if until is not None and until in waiting:
                break
            asked = [question for question in answers if question in waiting]
            os.write(terminal, (answers.pop(asked[-1]) if asked else "").encode() + b"\n")
            waiting = ""
    return said


@pytest.mark.thorough
def test_without_a_terminal_nothing_is_asked(file: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "embhub", "card", "init", str(file)]
    environment = {**os.environ, "EMBHUB_HOME": str(tmp_path / "home")}
    for streams in ({"stdin": theirs, "stdout": subprocess.PIPE}, {"stdin": subprocess.DEVNULL, "stdout": theirs}):
        done = subprocess.run(
            command, **streams, stderr=subprocess.PIPE, text=True, env=environment, timeout=60, check=False
        )  # type: ignore[call-overload]
        assert done.returncode == 0 and "Answer them now?" not in done.stderr
    os.close(theirs)
    os.close(ours)
