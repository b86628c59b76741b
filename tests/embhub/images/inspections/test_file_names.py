"""`inspect --show-names`: the file behind a number, on a terminal and nowhere else."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embhub.__main__ import main
from embhub.images.inspections.file_names import find_rows, name_files
from embhub.images.inspections.inspection import inspect


class Terminal(io.StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    images = tmp_path / "images"
    images.mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64), np.uint8)
        Image.fromarray(pixels).save(images / f"scan-{number}.png")
    (images / "scan-2.png").write_bytes(b"no image")
    return images


def test_the_file_behind_a_number_is_named_on_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    assert main(["inspect", str(folder), "--show-names"]) == 2
    assert "image 3: scan-2.png" in screen.getvalue()
    assert "scan-1.png" not in screen.getvalue()


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_names_are_refused_where_no_terminal_is(
    folder: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(folder), "--show-names", *more]) == 2
    said = capsys.readouterr()
    assert "on a terminal only" in said.err and bool(said.out) == bool(more), "with --json the error is JSON"
    assert "scan-2" not in said.err + said.out


def test_json_is_refused_on_a_terminal_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    assert main(["inspect", str(folder), "--show-names", "--json"]) == 2
    assert "on a terminal only" in screen.getvalue() and "scan-" not in screen.getvalue()


def test_without_the_option_no_name_is_printed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    assert main(["inspect", str(folder)]) == 2
    assert "scan-2" not in screen.getvalue()


def test_rows_of_a_manifest_are_its_lines(folder: Path) -> None:
    (folder / "manifest.csv").write_text("path\nscan-0.png\nscan-1.png\nscan-2.png\nscan-3.png\nscan-9.png\n")
    found = inspect(folder)
    assert {4, 6} <= set(find_rows(found))
    named = name_files(folder, None, find_rows(found))
    assert named[4] == "scan-2.png" and named[6] == "scan-9.png"
