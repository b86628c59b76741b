"""The roles there are, of accounts and of keys, why a key may be revoked, and which role may do what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ROLES = ("reader", "publisher", "auditor", "approver", "admin")  # of accounts, in the database
KEY_ROLES = ("publish", "audit", "withdraw", "approve", "evaluate")  # of keys, in the keyring
KEY_REASONS = ("superseded", "lost", "stolen")  # of a revocation, from the lightest; `key remove` has its own
SCOPES = ("read", "publish", "admin")  # of tokens; each includes those before it


@dataclass(frozen=True)
class Action:
    """What `roles` may do in their namespace with a token of at least `scope`; `words` as a refusal says it.

    An admin may do everything everywhere.
    """

    words: str
    scope: str
    roles: tuple[str, ...]


# An evaluation is signed by its namespace's key, which decides; who only reads a release may publish what it found.
ACTIONS: Mapping[str, Action] = {
    "read-private": Action("read private repositories", "read", ("reader", "publisher", "auditor", "approver")),
    "create": Action("create repositories", "publish", ("publisher",)),
    "publish": Action("publish", "publish", ("publisher",)),
    "attest": Action("add an audit", "publish", ("publisher", "auditor")),
    "evaluate": Action("publish an evaluation, or a report", "read", ("reader", "publisher", "auditor", "approver")),
    "refs": Action("change branches and tags", "publish", ("publisher",)),
    "settings": Action("change settings", "publish", ("publisher",)),
    "approve": Action("answer requests for access", "publish", ("publisher", "approver")),
    "yank": Action("yank a release", "publish", ("publisher", "approver")),
    "take-part": Action("join a study, or withdraw from one", "publish", ("publisher", "approver")),
    "see-quarantined": Action("see releases in quarantine", "read", ("publisher", "approver")),
    "quarantine": Action("set a release aside", "admin", ()),
    "delete-unreleased": Action("delete repositories without releases", "publish", ("publisher",)),
    "delete-released": Action("delete what was published", "admin", ()),
    "hide-released": Action("hide or gate what was published", "admin", ()),
    "trust-workloads": Action("say which workloads may publish", "publish", ("publisher",)),
    "operate": Action("look into the registry's operation", "admin", ()),
}

LIMITED_ACTIONS = frozenset({"read-private", "create", "publish", "refs"})
"""What a token that is good for one repository alone may do there: a workload publishes and decides nothing else."""


def widest_scope(roles: set[str]) -> str:
    """The scope that a token has where nobody chose: as much as the account's roles can use."""
    if "admin" in roles:
        return "admin"
    return "publish" if roles - {"reader"} else "read"
