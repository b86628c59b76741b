"""The lock files hold every direct dependency in a version that pyproject.toml allows, hashed, and name no host."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
SERVER = tomllib.loads((ROOT / "registry/pyproject.toml").read_text())["project"]
REGISTRY = SERVER["dependencies"]
OWN = {"embhub", "embhub-bases", "embhub-registry"}  # installed from the tree
LOCKS = {
    ".ci/dev.lock": [extra for extra in EXTRAS if extra not in ("docs", "release")],
    "registry/deploy/requirements.lock": ["registry"],
}


def entries(lock: str) -> list[tuple[Requirement, int]]:
    """Each pinned requirement and how many hashes it has."""
    text = re.sub(r"^#.*\n", "", (ROOT / lock).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(Requirement(line.split(" --hash")[0]), line.count("--hash=sha256:")) for line in text.splitlines() if line]


@pytest.mark.parametrize(("lock", "extras"), LOCKS.items())
def test_every_direct_dependency_is_locked(lock: str, extras: list[str]) -> None:
    """Where this fails, `make lock` renews them."""
    held = {requirement.name.lower(): requirement for requirement, _ in entries(lock)}
    wanted = [
        Requirement(text) for text in sum((EXTRAS[extra] for extra in extras), [*PROJECT["dependencies"], *REGISTRY])
    ]
    for requirement in wanted:
        if requirement.name in {"torch", *OWN}:
            continue  # which build suits a machine depends on its index; constraints.txt pins the version
        (pin,) = held[requirement.name.lower().replace("_", "-")].specifier
        assert pin.operator == "==" and requirement.specifier.contains(pin.version), requirement.name


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_is_hashed_and_no_host_is_named(lock: str) -> None:
    assert all(hashes for _, hashes in entries(lock))
    assert not re.search(r"://|--(?:extra-)?index-url|--find-links|/tmp/", (ROOT / lock).read_text())
    assert not [item for item, _ in entries(lock) if item.name == "torch" or item.name.startswith("nvidia")]
