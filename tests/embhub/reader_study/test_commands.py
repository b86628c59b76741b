"""The commands, from images to a card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.cards import card_draft
from embhub.cards.reader_study import TASK, parse_result
from embhub.formats import safe_yaml
from embhub.reader_study.study import read_study
from tests.embhub.reader_study.conftest import NUMBER
from tests.embhub.reader_study.test_result import read_all
from tests.support.claims import make_claim
from tests.support.releases import make_card, make_embedding


@pytest.fixture
def result(
    sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    """`reader-study.json` of one reader, made by the commands."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    real, drawn = map(str, sources)
    words = ["--dataset", "noise", "--finding", "spot", "--number", str(NUMBER), "--out", "study", "--json"]
    assert main(["research", "reader-study", "prepare", "--real", real, "--generated", drawn, *words]) == 0
    assert json.loads(capsys.readouterr().out)["images_of_each_kind"] == NUMBER
    assert main(["research", "reader-study", "result", "study"]) == 2
    assert "no reader has rated all 20 images (0 began)" in capsys.readouterr().err
    read_all(tmp_path / "study", read_study(tmp_path / "study"), "a" * 16, "radiologist", fooled=3)
    assert main(["research", "reader-study", "result", "study", "--out", "reader-study.json"]) == 0
    said = capsys.readouterr()
    assert "0.30 (" in said.out and "1 reader: 1 radiologist" in said.out
    return tmp_path / "reader-study.json"


def test_figures_of_a_study_stand_on_the_card_beside_those_of_an_evaluation(result: Path) -> None:
    file = make_embedding()
    path, target = result.with_name("cspca.safetensors"), result.with_name("cspca.card.yaml")
    path.write_bytes(file.data)
    found = parse_result(result.read_bytes()).model_copy(update={"embeddings": [file.digest]})
    result.write_text(found.to_json())
    other = {"task": "Image classification", "dataset": "squares", "metric": "AUC", "value": 0.8}
    values = make_card(file)
    target.write_bytes(card_draft.write_draft({**values, "evaluation": [other]}, []))
    for _ in range(2):  # the second time replaces the first
        assert main(["card", "init", str(path), "--reader-study", str(result)]) == 0
        rows = safe_yaml.load(target.read_bytes())["evaluation"]
        assert rows[0] == other and [row["task"] for row in rows[1:]] == [TASK] * 4


def test_figures_of_an_earlier_file_do_not_stay_beside_a_claim(result: Path) -> None:
    """What readers said of the plain file's images is covered by no claim of the private one of the same name."""
    file, path = make_embedding(), result.with_name("cspca.safetensors")
    path.write_bytes(file.data)
    found = parse_result(result.read_bytes()).model_copy(update={"embeddings": [file.digest]})
    result.write_text(found.to_json())
    assert main(["card", "init", str(path), "--reader-study", str(result)]) == 0
    private = make_embedding(privacy=make_claim())
    path.write_bytes(private.data)
    assert main(["card", "init", str(path)]) == 0
    assert "evaluation" not in safe_yaml.load(result.with_name("cspca.card.yaml").read_bytes())
    result.write_text(found.model_copy(update={"embeddings": [private.digest]}).to_json())
    for chosen in (["--reader-study", str(result)], []):  # its own figures stay
        assert main(["card", "init", str(path), *chosen]) == 0
        assert len(safe_yaml.load(result.with_name("cspca.card.yaml").read_bytes())["evaluation"]) == 2


def test_a_file_that_is_no_result_is_refused(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = result.with_name("cspca.safetensors")
    path.write_bytes(make_embedding().data)
    assert main(["card", "init", str(path), "--reader-study", str(result)]) == 3
    assert "covers images of another embedding" in capsys.readouterr().err
    result.write_text("{}")
    assert main(["card", "init", str(path), "--reader-study", str(result)]) == 3
    assert "no result of a reader study" in capsys.readouterr().err
