"""Pulling from a registry: fetched, verified and written, beside plain downloads from the same server."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import huggingface_hub as hf

from bench.measurement import clocked, compare
from bench.scale import Scale
from bench.table import Section, timed
from embhub.client import pulling, roots
from embhub.client.hub import Hub
from tests.support.releases import REPOSITORY, SITE, make_release
from tests.support.servers import RunningRegistry, running_registry

PEER = (
    "Peer: `huggingface_hub.hf_hub_download` of the same files from the same registry on this machine, into an empty "
    "cache; nothing is verified."
)
CALLS = 3
"""Pulls a turn."""
_NAMESPACE = REPOSITORY.partition("/")[0]


def run(scale: Scale) -> Section:
    """One release, pulled again and again into new folders."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with running_registry(root) as registry, _reading_site(root / "home", registry):
            names = _publish(registry)
            number = count()

            def pull() -> None:
                pulling.pull(REPOSITORY, out=root / f"pulled-{next(number)}")

            def download() -> None:
                cache = root / f"cache-{next(number)}"
                for path in names:
                    hf.hf_hub_download(REPOSITORY, path, endpoint=registry.url, cache_dir=cache, token=False)

            calls = min(CALLS, scale.calls)
            compared = compare(clocked(pull, times=calls), clocked(download, times=calls), repeats=scale.repeats)
    row = timed("a release: fetch, verify, write", compared)
    notes = (f"{len(names)} files, {calls} pulls a turn; the CPU time is the client's.",)
    return Section("Pulling", PEER, (row,), notes)


def _publish(registry: RunningRegistry) -> tuple[str, ...]:
    """Publish a release, and say which files it has."""
    registry.add_key(SITE, namespace=_NAMESPACE)
    token = registry.add_user("alice", namespace=_NAMESPACE)
    made = make_release()
    Hub(registry.url, token=token).push(made, REPOSITORY)
    roots.add_root(registry.url, fingerprint=registry.root_fingerprint)
    return tuple(made.files)


@contextmanager
def _reading_site(home: Path, registry: RunningRegistry) -> Iterator[None]:
    """Be a site with a home of its own that reads from `registry`, and nobody else, while open."""
    changed = {"EMBHUB_HOME": str(home), "EMBHUB_REGISTRY": registry.url, "EMBHUB_TOKEN": "", "EMBHUB_NAMESPACE": ""}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
