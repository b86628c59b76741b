"""How much a namespace may hold, and how much it does."""

from __future__ import annotations

from typing import Any

from embhub.errors import UsageError
from embhub_registry.database import Connection
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import usage
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.storage import configuration
from embhub_registry.storage.folder import Registry

KINDS = ("bytes", "repositories", "releases")
MOST_DIGITS = 18  # of a limit: as many as the database holds


def check(db: Connection, namespace: str, kind: str) -> None:
    """Within the transaction that added something: the refusal undoes it.

    Raises:
        RequestDeniedError: 403 with how much would be used, how much is allowed, and who can raise it.
    """
    allowed = limits(db, namespace)[kind]
    if allowed is None:
        return
    used = usage.measure(db, namespace, kind)
    if used > allowed:
        raise RequestDeniedError(
            403, "quota", f"{namespace} may hold {allowed:,} {kind}, and this would make it {used:,}",
            f"the registry's admin can raise it: `embhub-registry quota set {namespace} --{kind} N`",
            used=used, allowed=allowed,
        )  # fmt: skip


def limits(db: Connection, namespace: str) -> dict[str, int | None]:
    """What a namespace may hold of each kind: its own limit, else the registry's; None without one."""
    own, common = usage.own_limits(db, namespace), defaults(db)
    return {kind: common[kind] if own[kind] is None else own[kind] for kind in KINDS}


def defaults(db: Connection) -> dict[str, int | None]:
    """What a namespace without limits of its own may hold of each kind; None without a limit."""
    found = {kind: configuration.limit(db, f"quota.{kind}") for kind in KINDS}
    return {kind: None if value is None else int(value) for kind, value in found.items()}


def list_all(registry: Registry) -> dict[str, Any]:
    """Used and allowed, a namespace a row."""
    db = registry.database.connection()
    rows = []
    for name in accounts.list_namespaces(db):
        allowed = limits(db, name)
        used = {kind: usage.measure(db, name, kind) for kind in KINDS}
        rows.append({"namespace": name} | {kind: {"used": used[kind], "allowed": allowed[kind]} for kind in KINDS})
    return {"namespaces": rows}


def change(
    registry: Registry, namespace: str, wanted: dict[str, int | None], *, by: str = "operator"
) -> dict[str, Any]:
    """Give a namespace limits of its own; None gives it the registry's again. Kinds that are not named stay.

    Raises:
        UsageError: no such namespace, or a limit below 0.
    """
    if any(value is not None and value < 0 for value in wanted.values()):
        raise UsageError("a limit cannot be below 0", "0 lets a namespace add nothing")
    with registry.database.writing() as db:
        if not accounts.namespace_exists(db, namespace):
            raise UsageError(f"there is no namespace {namespace!r}", "`quota show` lists them")
        usage.set_own_limits(db, namespace, wanted)
        allowed = limits(db, namespace)
    registry.audit_log.write(
        "quota-set", user=by, namespace=namespace, **{f"max_{kind}": n for kind, n in wanted.items()}
    )
    return {"namespace": namespace, "allowed": allowed}
