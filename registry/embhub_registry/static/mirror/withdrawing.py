"""What the signed list of withdrawals takes out of what a mirror holds."""

from __future__ import annotations

from typing import Any

from embhub.formats import names
from embhub.trust import kept_advisories
from embhub.trust.advisories import Advisory
from embhub.trust.keyring import Trust
from embhub_registry.static.mirror.holdings import Holdings


def take_out(holdings: Holdings, trust: Trust) -> int:
    """Take what the signed list withdraws out of what is held; how many releases."""
    listed, count = kept_advisories.opened(trust), 0
    if listed is None:
        return 0
    for name, held in holdings.repositories.items():
        for commit, release in list(held.releases.items()):
            said = listed.against(
                namespace=names.namespace_of(name), repository=name, version=release.version, digest=release.digest,
                numbers=release.numbers,
            )  # fmt: skip
            if said:
                del held.releases[commit]
                held.yanked.append(row_of(commit, release.version, said[0]))
                count += 1
    return count


def row_of(commit: str, version: str, advisory: Advisory) -> dict[str, Any]:
    """A withdrawal as a repository's status lists it."""
    return {
        "revision": commit, "version": version, "reason": advisory.reason, "date": advisory.published,
        "by": advisory.by, "scope": advisory.scope,
    }  # fmt: skip
