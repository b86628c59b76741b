"""The site's memory of its trainings: private, found by digest, never another embedding's."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub.errors import ConfigError
from embhub.site.memory import runs
from embhub.site.memory.runs import Run, Sample

RUN = Run(
    embedding_digest="a" * 64,
    base="builtin",
    caption="axial t2 prostate mri, {}",
    token="<cspca>",
    vectors=8,
    members=(Sample(path="/data/p1.png", patient_id="p1"), Sample(path="/data/p2.png", patient_id="p2", label="x")),
    holdout=(Sample(path="/data/p3.png", patient_id="p3"),),
    settings={"steps": 200, "seed": 7, "where": {"label": "x"}},
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    return tmp_path / "state/runs"


def test_found_again(folder: Path) -> None:
    assert runs.find("a" * 64) is None
    runs.save(RUN)
    assert runs.find("a" * 64) == RUN
    assert runs.find("b" * 64) is None


def test_nobody_else_can_read_it(folder: Path) -> None:
    runs.save(RUN)
    path = folder / f"{'a' * 64}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o077 == 0
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        runs.find("a" * 64)


def test_digest_is_no_path(folder: Path) -> None:
    runs.save(RUN)
    assert runs.find("../runs/" + "a" * 64) is None
    with pytest.raises(ValueError, match="pattern"):
        Run(**{**RUN.model_dump(by_alias=True), "embedding_digest": "../x"})


def test_damaged_and_foreign_records(folder: Path) -> None:
    runs.save(RUN)
    path = folder / f"{'a' * 64}.json"
    path.rename(folder / f"{'b' * 64}.json")
    with pytest.raises(ConfigError, match="another embedding"):
        runs.find("b" * 64)
    (folder / f"{'b' * 64}.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        runs.find("b" * 64)
