"""`embhub export --bom`: documents of a release that verifies, and of nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from embhub.__main__ import main
from embhub.site import trust_store
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


def test_nothing_is_written_of_what_does_not_verify(folder: Path) -> None:
    readme = folder / "release" / "README.md"
    readme.write_bytes(readme.read_bytes() + b"\nmore\n")
    assert main(["export", "release", "--bom", "both"]) == 4
    assert not (folder / "bom").exists()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--to", "comfyui", "--bom", "spdx"],
        ["--to", "comfyui", "--eval-results"],
        ["--bom", "spdx", "--dtype", "float16"],
    ],
)
def test_one_thing_is_asked_for(folder: Path, words: list[str]) -> None:
    assert main(["export", "release", *words]) == 2
    assert not (folder / "bom").exists()


def test_a_card_without_such_a_figure_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_release(evaluation=None).to_folder(folder / "other")
    assert main(["export", "other", "--eval-results"]) == 2
    assert "owner/name" in capsys.readouterr().err
    assert not (folder / "bom").exists()
