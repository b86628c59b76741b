"""Trusted publishers, as the operator's commands manage them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from embhub.errors import UsageError
from embhub_registry.database.people import workloads as rows
from embhub_registry.people.login import workloads
from embhub_registry.repositories.access_by_operator import OPERATOR
from embhub_registry.storage.folder import Registry


def add(
    registry: Registry, repository: str, *, issuer: str, audience: str | None, claims: Sequence[str], scope: str
) -> dict[str, Any]:
    """Register a trusted publisher; `claims` are NAME=VALUE.

    Raises:
        UsageError: a claim without `=`, or one that is named twice.
        RequestDeniedError: no token can be checked against this.
    """
    wanted: dict[str, str] = {}
    for claim in claims:
        name, equals, value = claim.partition("=")
        if not equals or name in wanted:
            raise UsageError(
                f"{claim[:60]!a} is no NAME=VALUE, or its name comes twice", "--claim repository_id=123456"
            )
        wanted[name] = value
    made = workloads.register(
        registry, OPERATOR, repository=repository, issuer=issuer, audience=audience or registry.setting("url"),
        claims=wanted, scope=scope,
    )  # fmt: skip
    return {**asdict(made), "claims": dict(made.claims)}


def list_all(registry: Registry, namespace: str | None) -> dict[str, Any]:
    """Every trusted publisher, or those of one namespace."""
    return {"publishers": [asdict(found) for found in rows.list_all(registry.database.connection(), namespace)]}


def end(registry: Registry, identity: str) -> dict[str, Any]:
    """End one.

    Raises:
        RequestDeniedError: no such one is in force.
    """
    found = workloads.end(registry, OPERATOR, identity)
    return {"id": identity, "repository": found.repository}
