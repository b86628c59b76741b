"""From `embhub report` to the registry's page: signed here or by `push`, verified, refused where it does not fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from embhub.diffusion.evaluation import base_report
from tests.support import base_reports, families
from tests.support.servers import RunningRegistry, start_registry
from tests.support.sites import new_key, open_site


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    made = start_registry(Path(tmp_path_factory.mktemp("registry")))
    yield made
    made.stop()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run_command(*words: str | Path, code: int = 0) -> Any:
        assert main([*map(str, words), "--json"]) == code, capsys.readouterr()
        said = capsys.readouterr()
        return json.loads(said.out) if code == 0 else said.err

    return run_command


def test_from_a_base_to_the_registrys_page(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    monkeypatch.setattr(base_report, "STEPS", 2)
    monkeypatch.setattr(base_report, "SAMPLING_STEPS", 2)
    site = open_site(registry, tmp_path / "umcu", namespace="umcu", user="ulla", role="reader").enter(monkeypatch)
    site.trust(registry)
    new_key(registry, namespace="umcu", role="evaluate")
    folder = families.write(tmp_path / "tiny-sd", "sd1")
    assert "does not end in .json" in run("report", "--base", folder, "--out", "r.txt", code=2)
    assert "is not a base model" in run("report", "--base", tmp_path, "--out", "r.json", code=2)
    assert "no key" in run("report", "--base", folder, "--out", "r.json", "--key", "absent", code=7)
    made = run("report", "--base", folder, "--out", "r.json", "--device", "cpu")
    assert made["signed_for"] == "127.0.0.1" and made["report"]["base"]["name"] == "tiny-sd"
    assert "r.json exists" in run("report", "--base", folder, "--out", "r.json", code=2)

    assert "no keyring here knows the key" in run("verify", "r.json", code=4)
    run("trust", "refresh")
    checked = run("verify", "r.json")
    assert checked["report"] == made["report"] and checked["by"].endswith("(umcu)")
    assert run("verify", "r.json", "--all", code=2)
    done = run("push", "r.json")
    assert (done["base"], done["replaced"], done["fingerprint"]) == ("tiny-sd", None, made["fingerprint"])
    (row,) = registry.get(f"/embhub/v1/base-reports/{made['fingerprint']}").json()["base-reports"]
    assert row["namespace"] == "umcu"
    page = registry.get("/bases").body.decode()
    assert "Ran on tiny-sd on cpu, by" in page and "none of the figures" in page and "2 reports agree" not in page
    assert "not older" in run("push", "r.json", code=5), "it is there already"
    assert "takes no" in run("push", "r.json", "--private", code=2)

    Path("x.json").write_bytes(Path("r.json").read_bytes().replace(b'"hint"', b'"hind"'))
    Path("y.json").write_text('{"schema": "embhub.base-report/1"}')
    assert "error" in run("push", "x.json", code=4) and "no report" in run("push", "y.json", code=3)
    assert "no report" in run("verify", "y.json", code=3) and "no report" in run("push", "absent.json", code=2)


def test_a_machine_without_a_key_leaves_the_signature_to_push(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "nobody"))
    from embhub.client.member import base_reporting

    assert base_reporting.begin(tmp_path / "r.json") is None
    (tmp_path / "r.json").write_bytes(base_reports.unsigned("learns"))
    assert "nobody signed" in run("verify", tmp_path / "r.json", code=4)
    site = open_site(registry, tmp_path / "amc", namespace="amc", user="anna", role="reader").enter(monkeypatch)
    site.trust(registry)
    early = run("push", tmp_path / "r.json", code=7)
    assert "no key" in early and "signing a report" in early, "what is to be signed is shown before any key is opened"
    new_key(registry, namespace="amc", role="publish")
    assert main(["push", str(tmp_path / "r.json")]) == 0
    said = capsys.readouterr()
    assert "not learns" in said.out and "not learns" in said.err and base_reports.FINGERPRINT in said.err
    assert "Not passed: learns (failed)" in registry.get("/bases").body.decode()


def test_one_for_another_registry_is_not_sent(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    from embhub.trust import bundle

    site = open_site(registry, tmp_path / "eur", namespace="eur", user="eva", role="reader").enter(monkeypatch)
    site.trust(registry)
    file = tmp_path / "r.json"
    file.write_bytes(bundle.to_json(base_reports.signed(registry="other.example.org").envelope))
    assert "signed for the registry other.example.org" in run("push", file, code=4)
