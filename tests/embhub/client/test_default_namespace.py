"""Under which namespace a file is published where nobody names one, and what follows where it was the wrong one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site, new_key, open_site

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("namespaces")) as made:
        yield made


@pytest.fixture
def anna(registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """She publishes in umcu and reads in lumc, which comes first in the alphabet."""
    user = f"anna-{next(NUMBERS)}"
    site = open_site(registry, tmp_path, namespace="umcu", user=user)
    registry.run("user", "join", user, "--namespace", "lumc", "--role", "reader")
    site.enter(monkeypatch)
    new_key(registry, namespace="umcu")
    site.trust(registry)
    assert main(["login", "--registry", registry.url, "--access-token", site.token]) == 0
    return site


def said(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> Any:
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_default_is_where_the_account_publishes(anna: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "login", "--show")["roles"] == {"lumc": "reader", "umcu": "publisher"}
    assert main(["login", "--show"]) == 0
    assert "lumc (reader), umcu (publisher)" in capsys.readouterr().out
    assert said(capsys, "push", anna.make("first"))["repository"] == "umcu/first"


def test_who_publishes_in_several_namespaces_has_to_name_one(
    registry: RunningRegistry, anna: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    user = said(capsys, "login", "--show")["account"]
    registry.run("user", "join", user, "--namespace", "umcg", "--role", "publisher")
    assert main(["login", "--registry", registry.url, "--access-token", anna.token]) == 0
    error = said(capsys, "push", anna.make("second", seed=1), code=7)["error"]
    assert error["message"] == "which namespace? you publish in umcg and umcu" and "namespace/name" in error["hint"]
    assert said(capsys, "push", "second.safetensors", "umcu/second")["repository"] == "umcu/second"


def test_a_reader_is_told_that_they_publish_nowhere(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = open_site(registry, tmp_path, namespace="lumc", user="rob", role="reader").enter(monkeypatch)
    error = said(capsys, "push", site.make(), code=7)["error"]
    assert error["message"] == "rob may publish in no namespace; its namespaces: lumc (reader)"


def test_a_file_that_was_signed_for_another_name_is_signed_anew(anna: Site, capsys: pytest.CaptureFixture[str]) -> None:
    file = anna.make("third", seed=2)
    assert said(capsys, "sign", file, "lumc/third")["signed"] == "lumc/third"
    assert said(capsys, "push", file, "umcu/third")["repository"] == "umcu/third"


def test_what_another_key_signed_for_another_name_is_refused(anna: Site, capsys: pytest.CaptureFixture[str]) -> None:
    file = anna.make("fourth", seed=3)
    assert said(capsys, "sign", file, "lumc/fourth")["signed"] == "lumc/fourth"
    for key in (anna.folder / "home").rglob("keys/*"):
        key.unlink()
    assert said(capsys, "push", file, "umcu/fourth", code=4)["error"]["exit_code"] == 4
