"""A program that uses embhub keeps its own process: log handlers, environment, filters, signals, and its Hub client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.client.trusted import roots
from tests.support import hostile
from tests.support.hostile import Middleman
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site, new_key, open_site

STATE = """
import logging, os, signal, socket, sys, threading, warnings
import huggingface_hub, scipy.sparse, scipy.special, torch  # what these and diffusers set when imported is theirs
from diffusers import StableDiffusionPipeline
from huggingface_hub import HfApi, set_client_factory
from huggingface_hub.utils import get_session

made, Client = [], type(get_session())

def factory():
    client = Client(headers={"X-Program": "its own"})
    made.append(client)
    return client

set_client_factory(factory)
session = get_session()

def loggers():
    found = {"": logging.getLogger(), **logging.Logger.manager.loggerDict}
    return {name: (log.level, log.propagate, log.disabled, list(log.handlers))
            for name, log in found.items() if isinstance(log, logging.Logger)}

before_loggers = loggers()

def state():
    return {
        "loggers": {name: facts for name, facts in loggers().items() if name in before_loggers},
        "environment": dict(os.environ),
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook),
        "socket": socket.getdefaulttimeout(),
        "session": (id(get_session()), get_session().is_closed, len(made)),
        "torch": (torch.get_num_threads(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()),
        "folder": os.getcwd(),
    }

before = state()

def report():
    after = state()
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, [(name, before[name], after[name]) for name in changed]
"""

IMPORTS = """
import embhub
kinds = {name: getattr(embhub, name) for name in embhub.__all__}
assert all(map(callable, kinds.values()))
report()
assert huggingface_hub.utils.logging.get_logger("huggingface_hub") is logging.getLogger("huggingface_hub")
assert len(logging.getLogger("huggingface_hub").handlers) == 1
"""

VERBS = """
address, repository = sys.argv[1:]
stop, asked = threading.Event(), []

def program():
    api = HfApi(endpoint=address, token=False)
    while not stop.is_set():
        assert get_session() is session and not session.is_closed
        asked.append(api.list_models(limit=1))
        list(asked[-1])

thread = threading.Thread(target=program)
thread.start()
pushed = embhub.push("prostate-cspca.safetensors", repository)
hub = embhub.Hub(address)
hub.search()
embhub.pull(repository, out="pulled")
embhub.verify("pulled")
embhub.verify(repository)
stop.set()
thread.join()
assert len(asked) > 1
assert made == [session]
report()
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def middle(registry: RunningRegistry) -> Iterator[Middleman]:
    with hostile.stand_between(registry.url) as between:
        yield between


def run(code: str, *words: str) -> None:
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "HF_"))}
    done = subprocess.run(
        [sys.executable, "-c", STATE + code, *words], capture_output=True, text=True, timeout=300, env=surroundings,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.thorough
def test_imports_push_pull_and_verify_change_nothing_and_leave_the_programs_client_alone(
    registry: RunningRegistry, middle: Middleman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = open_site(registry, tmp_path / "site", namespace="umc", user="umc-user")
    site = Site(site.folder, middle.url, site.token).enter(monkeypatch)
    new_key(registry, namespace="umc")
    site.make()
    roots.add_root(middle.url, fingerprint=registry.root_fingerprint)
    middle.requests.clear()
    run(IMPORTS + VERBS, middle.url, "umc/prostate-cspca")
    ours: list[tuple[str, str, dict[str, str]]] = []
    theirs: list[tuple[str, str, dict[str, str]]] = []
    for method, path, headers, _ in middle.requests:
        mine = {name.lower(): value for name, value in headers.items()}
        (theirs if "x-program" in mine else ours).append((method, path, mine))
    assert len(theirs) > 1 and len(ours) > 10
    assert not [headers for _, _, headers in theirs if "authorization" in headers]
    assert {headers["user-agent"].partition("/")[0] for _, _, headers in ours} == {"embhub"}
    assert json.dumps(ours).count("/commit/main") == 1
