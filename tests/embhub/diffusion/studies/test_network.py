"""What a kit lets a job do at a site, and what a job names: read from files, without FLARE."""

from __future__ import annotations

import ast
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from embhub.diffusion.studies.flare import network
from embhub.errors import ConfigError

DEFAULT = {
    "class_list_enforcement_mode": "warn",
    "class_allow_list": ["*"],
    "allow_log_streaming": True,
    "components": [{"id": "process_launcher"}, {"id": "site_log_streamer"}],
}


def kit(path: Path) -> Path:
    (path / "local").mkdir(parents=True)
    (path / "local" / "resources.json.default").write_text(json.dumps(DEFAULT))
    return path


def test_a_site_runs_one_class_and_shows_nothing(tmp_path: Path) -> None:
    network.guard(kit(tmp_path), [network.ANSWERING])
    resources = json.loads((tmp_path / "local" / "resources.json").read_bytes())
    assert resources["class_allow_list"] == [network.ANSWERING]
    assert resources["class_list_enforcement_mode"] == "enforce" and resources["allow_log_streaming"] is False
    assert [part["id"] for part in resources["components"]] == ["process_launcher"]
    rights = json.loads((tmp_path / "local" / "authorization.json").read_bytes())["permissions"]
    assert list(rights) == ["project_admin"]
    assert {right for right, who in rights["project_admin"].items() if who != "none"} == {"submit_job", "manage_job"}


def test_what_is_no_kit_is_not_guarded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no kit"):
        network.guard(tmp_path, [network.ANSWERING])


def test_a_job_names_classes_that_are_installed_and_holds_no_code(tmp_path: Path) -> None:
    network._write_job(tmp_path, "a" * 64, ["north", "south"], 2)
    files = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert sorted(files) == [
        "coordinator/config/config_fed_server.json", "meta.json", "site/config/config_fed_client.json",
    ]  # fmt: skip
    for path, file in ((network.ANSWERING, "client"), (network.COORDINATING, "server")):
        module, _, name = path.rpartition(".")
        spec = find_spec(module)
        assert spec is not None and spec.origin is not None
        tree = ast.parse(Path(spec.origin).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        (text,) = (text for place, text in files.items() if file in place)
        assert json.dumps(path) in text and "a" * 64 in text
    assert json.loads(files["meta.json"])["deploy_map"]["site"] == ["north", "south"]


def test_without_flare_it_is_said_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(network.CarrierError, match="not installed"):
        network.start(tmp_path)
