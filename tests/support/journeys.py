"""An embedding's way from one site through a real registry to another."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub.artifact.embedding import Embedding
from embhub.client.publishing import push as publishing
from embhub.client.pulling import pull as pulling
from embhub.formats import safe_yaml
from embhub.release.verification import Verified
from tests.support.releases import make_card
from tests.support.servers import RunningRegistry
from tests.support.sites import Site, new_key, open_site


def travel(registry: RunningRegistry, folder: Path, artifact: Embedding, *, name: str) -> Verified:
    """Publish `artifact` as `name/name` from a new site, and pull it at another that trusts the registry."""
    with pytest.MonkeyPatch.context() as patch:
        site = open_site(registry, folder / "publisher", namespace=name, user=name).enter(patch)
        new_key(registry, namespace=name)
        file = site.folder / f"{name}.safetensors"
        file.write_bytes(artifact.data)
        fields = make_card(artifact, name=name)
        file.with_name(f"{name}.card.yaml").write_bytes(safe_yaml.dump(fields))
        publishing.push(file)
    with pytest.MonkeyPatch.context() as patch:
        reader = Site(folder / "reader", registry.url).enter(patch)
        reader.trust(registry)
        return pulling.pull(f"{name}/{name}")
