"""`embhub export`: documents and packages of a release that verifies, and of nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from embhub.__main__ import main
from embhub.client.pulling.pull import read_release
from embhub.evidence.boms import ro_crate
from embhub.release import oci_layout
from embhub.release.files import Release
from embhub.site.pins import trust_store
from tests.support.releases import ROOT, make_export, make_release
from tests.support.sites import Site

FIGURE = {"task": "classification", "dataset": "owner/set", "metric": "AUC", "value": 0.8}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = Site(tmp_path / "site").enter(monkeypatch)
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    make_release(evaluation=[FIGURE, FIGURE | {"dataset": "our own"}]).to_folder(site.folder / "release")
    monkeypatch.chdir(site.folder)
    return site.folder


def test_a_folder_gets_its_documents(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "release", "--bom", "both", "--eval-results", "--json"]) == 0
    told = capsys.readouterr()
    results = next((folder / "bom" / ".eval_results").iterdir())
    assert sorted(json.loads(told.out)["wrote"]) == sorted(
        ["bom/bom.cdx.json", "bom/bom.spdx3.json", str(results.relative_to(folder))]
    )
    assert "1 figures" not in told.err and "1 figure is on no data set" in told.err
    assert yaml.safe_load(results.read_text())[0]["dataset"] == {"id": "owner/set", "task_id": "classification"}
    assert json.loads((folder / "bom" / "bom.cdx.json").read_text())["specVersion"] == "1.7"
    assert json.loads((folder / "bom" / "bom.spdx3.json").read_text())["@graph"][0]["specVersion"] == "3.0.1"


def test_the_same_bytes_again(folder: Path) -> None:
    assert (
        main(["export", "release", "--bom", "both"]) == main(["export", "release", "--bom", "both", "--out", "b"]) == 0
    )
    for name in ("bom.cdx.json", "bom.spdx3.json"):
        assert (folder / "bom" / name).read_bytes() == (folder / "b" / name).read_bytes()


def test_what_is_there_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bom").mkdir()
    (folder / "bom" / "bom.spdx3.json").write_text("mine")
    assert main(["export", "release", "--bom", "both"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert [path.name for path in (folder / "bom").iterdir()] == ["bom.spdx3.json"]
    assert main(["export", "release", "--bom", "spdx", "--overwrite"]) == 0
    assert (folder / "bom" / "bom.spdx3.json").read_text() != "mine"


@pytest.mark.parametrize("words", [["--bom", "both"], ["--to", "ro-crate"], ["--to", "oci:layout"]])
def test_nothing_is_written_of_what_does_not_verify(folder: Path, words: list[str]) -> None:
    readme = folder / "release" / "README.md"
    readme.write_bytes(readme.read_bytes() + b"\nmore\n")
    assert main(["export", "release", *words]) == 4
    assert {path.name for path in folder.iterdir()} <= {"release", "home"}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--to", "comfyui", "--bom", "spdx"],
        ["--to", "comfyui", "--eval-results"],
        ["--to", "ro-crate", "--eval-results"],
        ["--to", "oci:layout", "--bom", "spdx"],
        ["--bom", "spdx", "--dtype", "float16"],
        ["--to", "ro-crate", "--dtype", "float16"],
        ["--to", "oci:layout", "--out", "layout"],
        ["--to", "oci:"],
    ],
)
def test_one_thing_is_asked_for(folder: Path, words: list[str]) -> None:
    assert main(["export", "release", *words]) == 2
    assert not (folder / "bom").exists()


def test_a_card_without_such_a_figure_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_release(evaluation=None).to_folder(folder / "other")
    assert main(["export", "other", "--eval-results"]) == 3
    assert "owner/name" in capsys.readouterr().err
    assert not (folder / "bom").exists()


def test_what_can_be_written_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_release(evaluation=[FIGURE | {"dataset": "our own"}]).to_folder(folder / "other")
    assert main(["export", "other", "--bom", "both", "--eval-results"]) == 3
    told = capsys.readouterr().out
    assert "bom/bom.cdx.json, bom/bom.spdx3.json" in told and "missing" in told and "no figure" in told
    assert sorted(path.name for path in (folder / "bom").iterdir()) == ["bom.cdx.json", "bom.spdx3.json"]
    assert main(["export", "other", "--bom", "both", "--eval-results", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["wrote"] == ["bom/bom.cdx.json", "bom/bom.spdx3.json"]


@pytest.mark.parametrize(("to", "place"), [("ro-crate", "ro-crate"), ("oci:layout", "layout")])
def test_a_package_verifies_again(folder: Path, to: str, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "release", "--to", to, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["wrote"] == [place]
    assert read_release(folder / place).files == Release.from_folder(folder / "release").files
    assert main(["verify", place]) == 0
    assert main(["export", "release", "--to", to]) == 0, "the same bytes are there"
    make_release(version="1.1.0").to_folder(folder / "next")
    assert main(["export", "next", "--to", to]) == 2
    assert main(["export", "next", "--to", to, "--overwrite"]) == 0
    assert main(["verify", place]) == 0 and "1.1.0" in capsys.readouterr().out


def test_a_crate_is_made_in_the_folder_of_its_release(folder: Path) -> None:
    held = {path.name for path in (folder / "release").iterdir()}
    assert main(["export", "release", "--to", "ro-crate", "--out", "release"]) == 0
    assert {path.name for path in (folder / "release").iterdir()} == held | {ro_crate.FILE}


def test_a_layout_is_used_as_a_folder_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "release", "--to", "oci:layout"]) == 0
    assert "tags     1.0.0, sha256-" in capsys.readouterr().out
    assert main(["show", "layout"]) == 0 and "signed by" in capsys.readouterr().out
    assert main(["export", "layout", "--bom", "spdx", "--json"]) == 0
    blob = folder / "layout" / oci_layout.BLOBS / json.loads(capsys.readouterr().out)["sha256"]
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    assert main(["verify", "layout"]) == 4


@pytest.mark.parametrize(("place", "code"), [("release", 2), ("release/README.md", 7)])
def test_a_layout_has_a_folder_of_its_own(folder: Path, place: str, code: int) -> None:
    held = sorted((folder / "release").rglob("*"))
    assert main(["export", "release", "--to", f"oci:{place}", "--overwrite"]) == code
    assert sorted((folder / "release").rglob("*")) == held
    assert main(["verify", "release"]) == 0
