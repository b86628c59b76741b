"""A registry with one release, made by whichever version of embhub is on the path: `python -P FILE DIR`.

`bench.serving` runs it with the sources of either version: formats of unreleased versions differ. It prints the commit,
a reader's access token and the embedding's size in bytes, as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def first(*names: str) -> Any:
    """The first of these modules that this version has: some have moved."""
    for name in names[:-1]:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
    return importlib.import_module(names[-1])


def publish(root: Path) -> dict[str, Any]:
    """Make it in `root`/registry."""
    releases = first("tests.releases", "tests.support.releases")  # the earlier place first: folders of tests merge
    servers = first("tests.servers", "tests.support.servers")
    hub = first("embhub.client.hub", "embhub.hub")
    embedding = first("embhub.release.files", "embhub.release").EMBEDDING
    large = importlib.import_module("bench.registry").large
    repository = releases.REPOSITORY
    namespace = repository.partition("/")[0]
    with servers.running_registry(root) as registry:
        registry.add_key(releases.SITE, namespace=namespace)
        token = registry.add_user("alice", namespace=namespace)
        hub.Hub(registry.url, token=token).push(releases.make_release(artifact=large()), repository)
        registry.run("setting", "set", "rate.exempt", "127.0.0.0/8")
        reader = registry.add_user("reader", namespace="lumc", role="reader")
        commit = str(registry.get(f"/api/models/{repository}").json()["sha"])
        size = len(registry.get(f"/{repository}/resolve/{commit}/{embedding}").body)
    return {"commit": commit, "token": reader, "size": size}


if __name__ == "__main__":
    print(json.dumps(publish(Path(sys.argv[1]))))
