"""Options that an operator may mistype: told in words with an exit code, and nothing is left behind."""

from __future__ import annotations

import builtins
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from embhub_registry.operation.administration import add_user
from embhub_registry.storage.folder import create
from tests.support.servers import Done, run_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = create(
        tmp_path_factory.mktemp("mistakes") / "hub", name="Test", url="https://hub.example.org", audit="optional"
    )
    add_user(made, "admin", namespace="registry", role="admin")
    made.close()
    return made.folder


def refused(folder: Path, *words: str | Path, code: int = 2) -> Done:
    done = run_here("--dir", folder, *words, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "error: unexpected" not in done.stderr
    return done


@pytest.mark.parametrize(("typed", "meant"), [("sho", "show"), ("usr", "user"), ("check-all", "check")])
def test_a_misspelled_command_is_answered_with_the_right_one(folder: Path, typed: str, meant: str) -> None:
    assert f"Did you mean '{meant}'" in refused(folder, typed).stderr
    assert "mean" not in refused(folder, "zzzzzz").stderr


@pytest.mark.parametrize(
    "address",
    [
        "hub.example.org",
        "ftp://hub.example.org",
        "https://",
        "https://hub.example.org/embhub",
        "https://hub.example.org?x=1",
        "https://hub.example.org#top",
        "https://anna:secret@hub.example.org",
        "https://hub.example.org:99999",
        "https://hub .example.org",
        "https://hüb.example.org",
        "https://[::1",
        "https://" + "a" * 300,
        "",
    ],
)
def test_init_refuses_an_address_that_no_client_can_use(tmp_path: Path, address: str) -> None:
    done = refused(tmp_path / "hub", "init", "--url", address)
    assert "address" in done.stderr and "hint:" in done.stderr
    assert "secret" not in done.stderr
    assert not (tmp_path / "hub").exists(), "nothing is left behind"


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "x" * 101])
def test_init_refuses_a_name_that_is_not_one_line(tmp_path: Path, name: str) -> None:
    assert "name" in refused(tmp_path / "hub", "init", "--name", name).stderr
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize("address", ["https://HUB.example.org/", "http://127.0.0.1:8642", "http://[::1]:8642"])
def test_init_takes_addresses_of_a_host(tmp_path: Path, address: str) -> None:
    said = run_here("--dir", tmp_path / "hub", "init", "--url", address, "--json").stdout
    assert f'"url": "{address.lower().rstrip("/")}"' in said


@pytest.mark.parametrize("port", ["80000", "65536", "-1", "8642.5", "http"])
def test_a_port_is_one(folder: Path, port: str) -> None:
    assert "--port" in refused(folder, "serve", "--port", port).stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--grace-seconds", "inf"),
        ("--grace-seconds", "nan"),
        ("--drain-seconds", "1e300"),
        ("--drain-seconds", "-1"),
    ],
)
def test_a_pause_is_a_number_of_seconds(folder: Path, option: str, value: str) -> None:
    assert option in refused(folder, "serve", "--port", "0", option, value).stderr


@pytest.mark.parametrize("host", ["", "no such host", "x" * 300, "256.0.0.1", "\udcff"])
def test_a_host_that_is_none(folder: Path, host: str) -> None:
    done = run_here("--dir", folder, "serve", "--port", "0", "--host", host, check=False)
    assert done.returncode in (2, 7) and "error:" in done.stderr.lower()


@pytest.mark.parametrize("days", ["0", "-5", "1e3", "99999999999", "never"])
def test_an_access_token_lasts_a_day_at_least(folder: Path, days: str) -> None:
    for words in (("user", "add", "carol", "--namespace", "lumc", "--role", "reader"), ("token", "new", "admin")):
        assert "--expires-days" in refused(folder, *words, "--expires-days", days).stderr
    assert "carol" not in run_here("--dir", folder, "user", "list").stdout


def test_a_grace_period_that_outlasts_the_calendar(folder: Path) -> None:
    token = run_here("--dir", folder, "token", "list").stdout.split()[0]
    for hours in ("inf", "nan", "1e12"):
        assert "--grace-hours" in refused(folder, "token", "rotate", token, "--grace-hours", hours).stderr


@pytest.mark.parametrize("name", ["x" * 101, "two\nlines"])
def test_the_display_name_of_a_member_is_one_line(folder: Path, tmp_path: Path, name: str) -> None:
    from tests.support import releases

    (tmp_path / "key.pem").write_text(releases.SITE.public_pem)
    words = ("key", "add", tmp_path / "key.pem", "--namespace", "lumc", "--role", "publish", "--new-namespace")
    assert "name" in refused(folder, *words, "--name", name).stderr


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As after `pip install embhub` alone, or without the dependencies."""
    real = builtins.__import__

    def lacking(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "uvicorn":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    for loaded in [m for m in sys.modules if m in ("embhub_registry.serving",) or m.partition(".")[0] == "uvicorn"]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.delattr("embhub_registry.serving", raising=False)
    monkeypatch.setattr(builtins, "__import__", lacking)
    done = refused(folder, "serve", "--port", "0", code=7)
    assert "uvicorn" in done.stderr and "pip install" in done.stderr


def test_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"not a database" * 100)
    assert "database" in refused(tmp_path, "user", "list", code=7).stderr


def test_a_mistyped_namespace_of_a_key_is_not_created(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support import releases

    key = tmp_path / "key.pem"
    key.write_text(releases.SITE.public_pem)
    words = ("key", "add", key, "--namespace", "radbuod", "--role", "publish")
    done = refused(folder, *words)
    assert "no namespace 'radbuod'" in done.stderr and "registry" in done.stderr and "--new-namespace" in done.stderr
    assert run_here("--dir", folder, "key", "list").stdout == "keyring version 1\n"

    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    done = refused(folder, *words)
    assert "Create it?" in done.stderr
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    done = run_here("--dir", folder, *words)
    assert done.stdout.startswith("created the namespace radbuod\n"), "what was asked is no part of the answer"
    other = tmp_path / "other.pem"
    other.write_text(releases.OTHER_SITE.public_pem)
    agreed = ("key", "add", other, "--namespace", "lumc", "--role", "publish", "--new-namespace", "--json")
    assert '"namespace_created": true' in run_here("--dir", folder, *agreed).stdout


class Terminal(io.StringIO):
    """Somebody who types the answer."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("words", ["serve", "user add", "invite make", "init", "storage join", "backup restore"])
def test_help_of_a_command_needs_no_folder(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBHUB_REGISTRY_DIR", raising=False)
    assert f"embhub-registry {words}" in run_here(*words.split(), "--help").stdout


def test_a_command_without_its_folder_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBHUB_REGISTRY_DIR", raising=False)
    done = run_here("user", "list", check=False)
    assert done.returncode == 2 and "Missing option '--dir'" in done.stderr
