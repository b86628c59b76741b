"""Unmodified huggingface_hub of three major versions against the real server: one test a call and version."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from tests.conformance.driver.listed import CALLS
from tests.conformance.driver.stage import Call
from tests.conformance.environments import CLIENTS
from tests.conformance.playing import Played, fault, play

# The installed huggingface_hub talks to the server in tests/registry/wire/test_hf_api.py.
pytestmark = pytest.mark.thorough


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Played]:
    """A client's outcomes, played at the first question about it."""
    return functools.cache(lambda client: play(client, tmp_path_factory.mktemp(f"client-{client}")))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("wanted", CALLS, ids=lambda wanted: wanted.name)
def test_call(wanted: Call, client: str, played: Callable[[str], Played]) -> None:
    found = played(client)
    assert (wrong := fault(wanted, found.outcomes[wanted.name], int(found.version.split(".")[0]))) is None, wrong
