"""The registry's settings file: argument before environment before file before default, and mistakes told in words."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import ConfigError
from embhub_registry.cli import root
from embhub_registry.cli.start.settings_file import SERVE, SETTINGS, has_password, read
from embhub_registry.storage.folder import create
from tests.support.servers import run_here


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    made = create(tmp_path / "hub", name="From the file", url="https://hub.example.org", audit="optional")
    made.close()
    return made.folder


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "registry.yaml"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return file


def show(*words: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_here(*words, "show", "--json").stdout)
    return found


def test_a_folder_is_named_by_argument_then_environment_then_file(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EMBHUB_REGISTRY_DIR", raising=False)
    file = write(tmp_path, f"dir: {hub}\n")
    assert show("--settings", file)["name"] == "From the file"
    monkeypatch.setenv("EMBHUB_REGISTRY_SETTINGS", str(file))
    assert show()["name"] == "From the file"
    for name in ("environment", "argument"):
        create(tmp_path / name, name=name, url="https://hub.example.org", audit="optional").close()
    monkeypatch.setenv("EMBHUB_REGISTRY_DIR", str(tmp_path / "environment"))
    assert show()["name"] == "environment"
    assert show("--dir", tmp_path / "argument")["name"] == "argument"


def test_options_of_serve_come_from_the_file_and_arguments_go_before_them(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, f"dir: {hub}\nserve:\n  port: 9100\n  drain_seconds: 15\n  accept_traceparent: true\n")
    taken: dict[str, Any] = {}
    monkeypatch.setattr("embhub_registry.serving.serve", lambda _, **settings: taken.update(settings))
    root.main(["--settings", str(file), "serve", "--port", "9200"], standalone_mode=False)
    assert (taken["port"], taken["drain"], taken["grace"]) == (9200, 15.0, 20.0)
    assert taken["accept_traceparent"] is True
    root.main(["--settings", str(file), "serve", "--no-accept-traceparent"], standalone_mode=False)
    assert (taken["port"], taken["accept_traceparent"]) == (9100, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("databse: postgresql://db/embhub\n", "databse"),
        ("serve:\n  prot: 1\n", "serve.prot"),
        ("serve: 8642\n", "serve"),
        ("dir: [a, b]\n", "dir"),
        ("database: true\n", "database"),
        ("- dir\n", "settings"),
        ("dir: a\ndir: b\n", "line"),
        ("serve:\n  port: many\n", "port"),
        ('dir: ""\n', "dir"),
        ("dir: 1.10\n", "dir"),
        ("serve:\n  accept_traceparent: yes\n", "accept_traceparent"),
    ],
)
def test_a_mistake_in_the_file_is_refused_in_words(hub: Path, tmp_path: Path, text: str, said: str) -> None:
    done = run_here("--dir", hub, "--settings", write(tmp_path, text), "serve", check=False)
    assert done.returncode in {2, 7} and said in done.stderr
    assert "Traceback" not in done.stderr and "unexpected" not in done.stderr


def test_a_file_that_is_not_there_or_that_everybody_may_change_is_refused(hub: Path, tmp_path: Path) -> None:
    missing = run_here("--dir", hub, "--settings", tmp_path / "none.yaml", "show", check=False)
    assert missing.returncode == 7 and "none.yaml" in missing.stderr
    for mode, meant in ((0o666, "0644"), (0o664, "0644")):
        loose = run_here("--dir", hub, "--settings", write(tmp_path, "", mode), "show", check=False)
        assert loose.returncode == 7 and f"chmod {meant}" in loose.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "serve:\n  port: 1\n")
    os.chown(file, 65534, 65534)
    with pytest.raises(ConfigError, match="another user"):
        read(file)


def test_a_password_needs_a_file_that_nobody_else_can_read(tmp_path: Path) -> None:
    assert has_password("postgresql://u:se/cret@db.example.org/embhub")
    assert not has_password("postgresql://u@[::1]:5432/embhub?sslmode=require")
    text = "database: postgresql://embhub:secret@db.example.org/embhub\n"
    assert read(write(tmp_path, text, 0o600))["database"].endswith("/embhub")
    for mode in (0o640, 0o604):
        with pytest.raises(ConfigError, match="password") as refused:
            read(write(tmp_path, text, mode))
        assert "secret" not in refused.value.message + str(refused.value.hint)
    assert read(write(tmp_path, "database: postgresql://db.example.org/embhub\n", 0o644))


def test_every_option_of_the_group_and_of_serve_can_be_set() -> None:
    serve = root.get_command(click.Context(root), "serve")
    assert serve is not None
    skipped = {"debug", "version", "settings", "as_json"}
    assert set(SETTINGS.values()) == {option.name for option in root.params} - skipped
    assert set(SERVE.values()) == {option.name for option in serve.params} - skipped


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(data)
    file.chmod(0o600)
    try:
        assert isinstance(read(file), dict)
    except ConfigError as error:
        assert error.message.isprintable() and error.exit_code == 7
