"""Fixtures of tests that train or read images: a site of their own, and a tiny base. What needs torch imports it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site that nothing was kept at."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module", autouse=True)
def shorter_self_test() -> Iterator[None]:
    """The self-test of a private training with the fewest rounds that the program allows, at any width.

    It is the larger part of a small private training. dp/test_mechanism.py tries it at its full length.
    """
    from embhub.diffusion.dp import selftest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selftest, "OWN_ROUNDS", (selftest.OWN_ROUNDS[0],) * 2)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random pipeline of the real classes, as a folder."""
    from tests.support import pipelines

    return pipelines.write(tmp_path_factory.mktemp("bases") / "tiny-base")
