"""`--json` everywhere: a result or an error is one document on stdout, with keys that programs can use."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from embhub.__main__ import main
from embhub.cli import root
from embhub.cli.output import print_json, print_rows
from embhub.cli.this_machine.reference import walk
from embhub.formats import safe_yaml
from tests.support.releases import ROOT, make_card, make_embedding, make_export, make_release

VERBS = {" ".join(path[1:]): command for path, command in walk(root) if not isinstance(command, click.Group)}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("EMBHUB_REGISTRY", "EMBHUB_TOKEN", "EMBHUB_NAMESPACE", "EMBHUB_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_every_verb_takes_json() -> None:
    flags = {verb: {flag for parameter in command.params for flag in parameter.opts} for verb, command in VERBS.items()}
    assert [verb for verb, taken in flags.items() if "--json" not in taken] == [] and len(flags) > 60


def test_every_wrong_option_of_every_verb_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        said = run(capsys, *verb.split(), "--no-such-option", code=2)
        assert set(said) == {"error"} and set(said["error"]) == {"type", "message", "hint", "exit_code"}, verb
        assert said["error"]["type"] == "UsageError" and said["error"]["exit_code"] == 2, verb
        assert "--no-such-option" in said["error"]["message"], verb


def test_an_error_of_embhub(capsys: pytest.CaptureFixture[str]) -> None:
    said = run(capsys, "show", "nothing.safetensors", code=2)["error"]
    assert said["type"] == "UsageError" and "nothing.safetensors is not there" in said["message"] and said["hint"]
    assert run(capsys, "search", code=7)["error"]["type"] == "ConfigError"


def test_a_refused_release_lists_its_checks(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_release().to_folder(home / "pulled")
    (home / "export.json").write_bytes(make_export())
    run(capsys, "trust", "add", "export.json", "--fingerprint", ROOT.fingerprint)
    assert run(capsys, "verify", "pulled")["repository"] == "radboud/prostate-cspca"
    (home / "pulled" / "learned_embeds.safetensors").write_bytes(make_embedding(seed=9).data)
    said = run(capsys, "verify", "pulled", code=4)
    assert said["verified"] is False and said["rule"] == "digest-mismatch"
    assert said["findings"][-1]["outcome"] == "failed"
    assert said["error"]["type"] == "DigestMismatchError" and said["error"]["exit_code"] == 4


def test_after_two_dashes_it_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--", "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_results_of_the_small_verbs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = run(capsys, "key", "new")
    assert run(capsys, "key", "list") == [{"key": "default", "fingerprint": made["fingerprint"]}]
    assert run(capsys, "key", "export")["public_key_pem"].startswith("-----BEGIN PUBLIC KEY-----")
    (home / "export.json").write_bytes(make_export())
    added = run(capsys, "trust", "add", "export.json", "--fingerprint", ROOT.fingerprint)
    assert added["root_key"] == ROOT.fingerprint
    assert [row["registry"] for row in run(capsys, "trust", "list")] == [added["registry"]]
    assert run(capsys, "trust", "remove", added["registry"]) == {"removed": added["registry"]}
    artifact = make_embedding()
    (home / "x.safetensors").write_bytes(artifact.data)
    drafted = run(capsys, "card", "init", "x.safetensors")
    assert drafted["card"] == "x.card.yaml" and any("description" in line for line in drafted["missing"])
    (home / "y.card.yaml").write_bytes(safe_yaml.dump(make_card(artifact)))
    assert run(capsys, "card", "check", "y.card.yaml")["complete"] is True
    assert run(capsys, "budget", "cap", "4") == {"epsilon": 4.0, "delta": 1e-5, "every_patient": True}
    assert run(capsys, "budget", "cap", "none")["epsilon"] is None
    (home / "y.safetensors").write_bytes(artifact.data)
    shown = run(capsys, "show", "y.safetensors")
    assert all(re.fullmatch(r"[a-z0-9_]+", key) for key in shown)
    (vectors,) = shown["vectors"]
    assert shown["bytes"] == len(artifact.data) and vectors["count"] == artifact.vectors[0].count
    assert main(["show", "y.safetensors"]) == 0
    printed = capsys.readouterr().out
    assert f"{len(artifact.data):,}" in printed and f"{vectors['count']} x {vectors['dim']}" in printed


def test_keys_and_times(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"held-out loss": 1, "labels": {"left lung": 2}, "at": datetime(2026, 11, 20, 10, tzinfo=UTC)})
    expected = {"held_out_loss": 1, "labels": {"left lung": 2}, "at": "2026-11-20T10:00:00+00:00"}
    assert json.loads(capsys.readouterr().out) == expected
    print_rows([{"made for": "x"}], as_json=True)
    assert json.loads(capsys.readouterr().out) == [{"made_for": "x"}]
