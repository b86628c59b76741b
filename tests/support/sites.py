"""A hospital for tests: a folder of its own, an EMBHUB_HOME, a key, and an embedding with its card and report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embhub.client.trusted import roots
from embhub.formats import safe_yaml
from embhub.site.signing import keys
from embhub.trust.keyring import Role
from tests.support.releases import make_card, make_embedding, make_report
from tests.support.servers import RunningRegistry


@dataclass(frozen=True)
class Site:
    """One site; `enter` makes it the one that the process acts as."""

    folder: Path
    registry: str = ""
    token: str = ""

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> Site:
        """Act as this site: its home, registry and token, nobody else's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(self.folder)
        values = {
            "EMBHUB_HOME": str(self.folder / "home"),
            "EMBHUB_REGISTRY": self.registry,
            "EMBHUB_TOKEN": self.token,
        }
        for name, value in {**values, "EMBHUB_NAMESPACE": "", "EMBHUB_KEY": ""}.items():
            monkeypatch.setenv(name, value)
        return self

    def trust(self, registry: RunningRegistry) -> None:
        """Pin the registry's root key."""
        roots.add_root(registry.url, fingerprint=registry.root_fingerprint)

    def make(self, name: str = "prostate-cspca", *, seed: int = 0, audited: bool = True, **card: Any) -> Path:
        """An embedding with a complete card, and a report, beside it."""
        artifact = make_embedding(seed=seed)
        path = self.folder / f"{name}.safetensors"
        path.write_bytes(artifact.data)
        report = make_report(artifact) if audited else None
        if report is not None:
            path.with_name(f"{name}.audit.json").write_bytes(report.to_bytes())
        fields = make_card(artifact, report=report, **{"name": name, **card})
        path.with_name(f"{name}.card.yaml").write_bytes(safe_yaml.dump(fields))
        return path


def open_site(registry: RunningRegistry, folder: Path, *, namespace: str, user: str, role: str = "publisher") -> Site:
    """A site with an account at `registry`."""
    return Site(folder, registry.url, registry.add_user(user, namespace=namespace, role=role))


def new_key(registry: RunningRegistry, *, namespace: str, name: str = "default", role: Role = "publish") -> None:
    """A key of the site that the process acts as, accepted by the registry."""
    registry.add_key(keys.generate(name), namespace=namespace, role=role)
