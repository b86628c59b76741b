"""An access token ends after 90 days unless its operator said otherwise; tokens made before stay as they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from embhub_registry.operation.opening import open_folder
from tests.registry.test_main import ask
from tests.support.servers import run_here

ADD = ("user", "add", "anna", "--namespace", "radboud", "--role")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ask(tmp_path / "hub", "init")
    return tmp_path / "hub"


def _days(expires: str) -> float:
    return (datetime.fromisoformat(expires) - datetime.now(UTC)) / timedelta(days=1)


def test_ninety_days_unless_said_otherwise(folder: Path) -> None:
    assert [89.9 < _days(row["expires"]) <= 90 for row in ask(folder, "token", "list")["tokens"]] == [True]  # init's
    assert 89.9 < _days(ask(folder, *ADD, "publisher")["expires"]) <= 90
    assert 89.9 < _days(ask(folder, "token", "new", "anna")["expires"]) <= 90
    week = ask(folder, "token", "new", "anna", "--expires-days", "7")["expires"]
    assert 6.9 < _days(week) <= 7
    assert ask(folder, "token", "new", "anna", "--never-expires")["expires"] is None
    words = run_here("--dir", folder, "token", "list").stdout
    assert words.count("ends never") == 1 and f"ends {week[:10]}" in words
    both = run_here("--dir", folder, "token", "new", "anna", "--never-expires", "--expires-days", "7", check=False)
    assert both.returncode == 2 and "exclude each other" in both.stderr


def test_an_admins_token_without_an_end_is_warned_about(folder: Path) -> None:
    assert "warning" not in run_here("--dir", folder, "token", "list").stderr
    for words in ((*ADD, "admin", "--never-expires"), ("token", "new", "admin", "--never-expires")):
        assert "never ends" in run_here("--dir", folder, *words).stderr
    assert "never ends" in run_here("--dir", folder, "token", "list").stderr
    reader = ("user", "add", "bob", "--namespace", "radboud", "--role", "reader", "--never-expires")
    assert "warning" not in run_here("--dir", folder, *reader).stderr


def test_tokens_of_an_existing_registry_keep_their_end(folder: Path) -> None:
    endless = ask(folder, "token", "new", "admin", "--never-expires")["token_id"]
    registry = open_folder(folder)  # as a newer release opens it: migrations and upkeep run
    registry.close()
    rows = {row["id"]: row for row in ask(folder, "token", "list")["tokens"]}
    assert rows[endless]["expires"] is None and rows[endless]["state"] == "good"
