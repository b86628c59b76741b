"""A running registry for each client, all calls played on it, and whether each outcome is the one it must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.driver.stage import COUNTERSIGNED, RELEASED, Call
from tests.conformance.environments import open_client
from tests.support import releases
from tests.support.servers import RunningRegistry, running_registry

ACCOUNTS = {"alice": "radboud", "lea": "lumc", "gus": "nki"}
READERS = {"rob": "radboud", "rita": "lumc"}


@dataclass(frozen=True)
class Played:
    """One client's outcomes: call's name -> what came of it."""

    version: str
    outcomes: Mapping[str, Mapping[str, Any]]


def play(client: str, scratch: Path) -> Played:
    """Every call with one client against a registry of its own."""
    opened = open_client(client)
    with running_registry(scratch) as registry:
        found = opened.run(set_stage(registry, scratch), scratch)
    return Played(found["version"], found["outcomes"])


def set_stage(registry: RunningRegistry, scratch: Path) -> dict[str, Any]:
    """Accounts, a key and a release to publish, as the driver reads them."""
    registry.add_key(releases.SITE, namespace="radboud")
    registry.add_key(releases.AUDITOR, namespace="nki", role="audit")
    tokens = {name: registry.add_user(name, namespace=namespace) for name, namespace in ACCOUNTS.items()}
    for name, namespace in READERS.items():
        tokens[name] = registry.add_user(name, namespace=namespace, role="reader")
    tokens["nora"] = registry.add_user("nora", namespace="nki", role="auditor")
    tokens["revoked"] = registry.add_user("vera", namespace="radboud")
    registry.run("token", "revoke", "vera")
    releases.make_release(repository=RELEASED).to_folder(scratch / "release")
    release = releases.make_release(repository=COUNTERSIGNED)
    release.to_folder(scratch / "countersigned")
    countersigned = releases.resigned(release, audit_key=releases.AUDITOR).files[releases.AUDITOR_BUNDLE]
    (scratch / "countersigned.json").write_bytes(countersigned)
    return {
        "endpoint": registry.url, "tokens": {**tokens, "admin": registry.admin}, "release": str(scratch / "release"),
        "scratch": str(scratch / "driver"),
    }  # fmt: skip


def fault(wanted: Call, outcome: Mapping[str, Any], major: int) -> str | None:
    """What is wrong with an outcome; None where it is what it must be."""
    if major < wanted.since:
        return None if "absent" in outcome else f"{outcome} where the client has no such call"
    if wanted.raises is None:
        return None if outcome.get("value", ...) == wanted.gives else f"{outcome}, not {wanted.gives}"
    if wanted.raises not in outcome.get("raised", ()):
        return f"{outcome}, not {wanted.raises}"
    if wanted.status is not None and outcome["status"] != wanted.status:
        return f"status {outcome['status']}, not {wanted.status}: {outcome['said']}"
    return None if wanted.says.lower() in outcome["said"].lower() else f"{outcome['said']!r} lacks {wanted.says!r}"
