"""The account of an access token, as a registry or the public Hub states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embhub.formats.plain_text import plain

_PUBLISH = ("publisher", "write", "admin")  # the last two on the public Hub


@dataclass(frozen=True)
class Account:
    """The account of an access token.

    Attributes:
        name: Name of the account.
        namespaces: Namespaces that it belongs to, sorted.
        roles: Its role in each of them, as the registry calls it.
        publishes: Those of its namespaces in which it may publish.
    """

    name: str
    namespaces: tuple[str, ...]
    roles: Mapping[str, str] = field(default_factory=dict)

    @property
    def publishes(self) -> tuple[str, ...]:
        """Those of its namespaces in which it may publish."""
        return tuple(name for name in self.namespaces if self.roles.get(name) in _PUBLISH)

    def in_words(self) -> str:
        """Each namespace with its role."""
        return ", ".join(f"{name} ({self.roles[name]})" if name in self.roles else name for name in self.namespaces)

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Account:
        """Read what `/api/whoami-v2` answered.

        Args:
            answer: The answer, as the registry wrote it.

        Returns:
            The account; a role that a registry states beside the Hub's own is taken before it.
        """
        orgs = answer.get("orgs") or []
        roles = {plain(org["name"]): plain(org.get("role") or org.get("roleInOrg") or "") for org in orgs}
        return cls(plain(answer["name"]), tuple(sorted(roles)), dict(sorted(roles.items())))
