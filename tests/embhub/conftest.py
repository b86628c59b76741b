"""What several of these tests stand on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.images.checks import burned_text
from embhub.log import mldsa
from tests.support.between import World, open_world
from tests.support.hostile import Middleman
from tests.support.refusing import Refused, snapshot
from tests.support.sites import Site


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A registry with some releases, and a middleman in front of it."""
    with open_world(tmp_path_factory.mktemp("world")) as opened:
        yield opened


@pytest.fixture
def middle(world: World) -> Iterator[Middleman]:
    """The middleman, who has not lied yet."""
    yield world.middle
    world.middle.lies = {}
    world.middle.requests.clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path / "site").enter(monkeypatch)


@pytest.fixture
def no_text_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without the extra `ocr`: an inspection does not look for text, which takes a fifth of a second an image."""
    monkeypatch.setattr(burned_text, "find_engine", lambda: None)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """Run a command that must fail with `code`; returns what it said."""

    def run(*words: str | Path, code: int) -> str:
        before = snapshot(tmp_path)
        capsys.readouterr()
        got = main([str(word) for word in words])
        said = capsys.readouterr()
        assert got == code, said.err
        assert "error: " in said.err and "hint: " in said.err
        assert "Traceback" not in said.err and "unexpected" not in said.err
        assert not said.out
        assert snapshot(tmp_path) == before
        return said.err

    return run


@pytest.fixture
def without_mldsa(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As with a `cryptography` before version 47: the module for ML-DSA is not there."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    mldsa.is_offered.cache_clear()
    yield
    monkeypatch.undo()
    mldsa.is_offered.cache_clear()
