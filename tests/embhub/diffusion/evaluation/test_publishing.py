"""A hospital that pulled a release evaluates it and publishes what it found: real programs, from manifest to page."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from embhub.site import config
from tests.embhub.diffusion.evaluation.test_evaluating import pictures
from tests.support import pushes, releases
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import new_key, open_site

NAME = releases.REPOSITORY
RELEASE = releases.make_release()
DIGEST = RELEASE.embedding.digest


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("hub")) as made:
        made.add_key(releases.SITE, namespace="radboud")
        alice = made.add_user("alice", namespace="radboud")
        assert pushes.create(made, NAME, token=alice).status == 200
        answer = pushes.commit(made, NAME, RELEASE.files, token=alice)
        assert answer.status == 200, answer.body
        yield made


def without_the_last_patient(folder: Path) -> Path:
    lines = (folder / "manifest.csv").read_text().splitlines()
    (folder / "manifest.csv").write_text("\n".join(lines[:-2]) + "\n")
    return folder


def images(root: Path) -> tuple[Path, Path, Path]:
    """Twenty patients to learn from, 21 to test on, and images that the embedding is said to have generated."""
    real = pictures(root / "secret-real", 20, seed=1, patients="SecretReal")
    test, drawn = pictures(root / "test", 21, seed=2, patients="SecretTest"), pictures(root / "drawn", 10, seed=3)
    head, *rows = (drawn / "manifest.csv").read_text().split()
    (drawn / "manifest.csv").write_text("\n".join([f"{head},embedding", *(f"{row},{DIGEST}" for row in rows)]))
    return real, test, drawn


@pytest.mark.thorough
def test_from_a_pulled_release_to_its_page(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str | Path, code: int = 0) -> Any:
        assert main([*map(str, words), "--json"]) == code, capsys.readouterr().err
        said = capsys.readouterr()
        return (json.loads(said.out), said.err) if code == 0 else said.err

    site = open_site(registry, tmp_path / "umcu", namespace="umcu", user="ulla", role="reader").enter(monkeypatch)
    site.trust(registry)
    real, test, drawn = images(tmp_path / "images")
    words: list[str | Path] = [
        *("evaluate", "--real", real, "--test", test, "--synthetic", drawn, "--real-counts", "40", "--seeds", "2"),
        *("--synthetic-counts", "0,20", "--steps", "2", "--resolution", "24", "--no-controls", "--device", "cpu"),
        *("--report", "out", "--publish-to", NAME),
    ]
    assert "belong to --publish-to" in run(*words[:-2], "--dry-run", code=2)
    new_key(registry, namespace="umcu", role="audit", name="auditor")
    assert "no role to evaluate" in run(*words, "--key", "auditor", code=7), "before anything was measured"
    assert not Path("out").exists()

    new_key(registry, namespace="umcu", role="evaluate")
    dry, shown = run(*words, "--dry-run")
    statement = Path(dry["wrote"]).read_text()
    assert dry["sent"] == "nothing" and statement in shown, "what is shown is what is signed"
    assert "nothing was published" in run(*words, code=2), "nobody was there to ask"
    assert registry.get(f"/embhub/v1/evaluations/{DIGEST}").json()["evaluations"] == []
    assert not (config.paths().state / "evaluations.json").exists()

    done, shown = run(*words, "--yes")
    (row,) = registry.get(f"/embhub/v1/evaluations/{DIGEST}").json()["evaluations"]
    sent = base64.b64decode(row["bundle"]["dsseEnvelope"]["payload"]).decode()
    assert (done["namespace"], done["replaced"], row["own"]) == ("umcu", None, False)
    for text in (statement, sent, shown):
        assert "ecret" not in text and str(tmp_path / "images") not in text and ".png" not in text
    figures = json.loads(sent)["predicate"]["figures"]
    assert figures["patients"] == {"training": 20, "positive": 20, "negative": 20} and figures["step"] == 0.1
    assert json.loads(statement)["predicate"]["figures"] == figures

    verified, _ = run("verify", NAME)
    (found,) = verified["evaluations"]
    assert (found["namespace"], found["figures"]["outcome"]) == ("umcu", figures["outcome"])
    assert "a claim that nobody checked" in run("show", NAME)[0]["evaluated_by"]
    page = registry.get(f"/{NAME}").body.decode()
    assert "Evaluations by those who pulled it (1)" in page and "none of the figures" in page and "Umcu" in page

    without_the_last_patient(test)
    refused = run(*words[:-4], "--report", "again", "--publish-to", NAME, "--yes", code=6)
    assert "1 differ, and the difference would show them" in refused and Path("again/evaluation.json").is_file()

    removed = registry.ask(
        "curate", "evaluation", "remove", NAME, "--namespace", "umcu", "--reason", "on request of its site"
    )
    assert removed["evaluations"][0]["bundle"] is None
    verified, _ = run("verify", NAME)
    assert verified["evaluations"] == [] and any("on request of its site" in f["text"] for f in verified["findings"])
    assert "on request of its site" in registry.get(f"/{NAME}").body.decode()
