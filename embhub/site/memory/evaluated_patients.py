"""Whose images this site published evaluations of: a second publication of nearly the same patients reveals the rest.

Two evaluations that differ by one patient say by their difference what that patient's images do. So a publication is
refused where it shares patients of a group with an earlier one, and differs from it by few. They are compared by their
ids and by their images, so that images may be exported anew, or ids given anew, but not both; and with the other label
too. Both are kept under the site's key in `state/evaluations.json`, which only this user can read. Another machine of
the same hospital has another memory.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from embhub.cards.published_evaluation import LEAST, LEAST_TRAINED, Cohort
from embhub.durable import locked
from embhub.errors import PrivacyError
from embhub.formats import instants
from embhub.site.memory.books import Book
from embhub.site.memory.secret import derive_key

MOST_OF_ONE_PATIENT = 10
"""Publications that share patients: each one tells a little more of them."""
Name = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]


class Published(BaseModel):
    """One publication: of which embedding, where, when, and of whom."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    registry: str
    repository: str
    digest: str
    created: str
    groups: dict[str, frozenset[Name]]


class _Memory(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)

    published: list[Published] = []


BOOK: Book[_Memory] = Book(
    "evaluations", _Memory, 64_000_000, "what this site published of evaluations",
    "restore it from a backup; without it, a second publication could reveal a patient",
)  # fmt: skip


def check(cohort: Cohort) -> None:
    """Refuse a publication that an earlier one of this site, of whatever release, would turn against a patient.

    Raises:
        PrivacyError: it shares patients with an earlier one and differs by few, or too many share patients.
        ConfigError: what was published before cannot be read.
    """
    _compare(BOOK.read(), _names(cohort))


def remember(cohort: Cohort, *, registry: str, repository: str, digest: str) -> None:
    """Note a publication before it is sent: whether it arrived is not always known.

    Raises:
        PrivacyError, ConfigError: as `check`.
    """
    groups = _names(cohort)
    with locked(BOOK.path):
        memory = BOOK.read()
        _compare(memory, groups)
        made = Published(
            registry=registry, repository=repository, digest=digest, created=instants.write(datetime.now(UTC)),
            groups={name: frozenset(group) for name, group in groups.items()},
        )  # fmt: skip
        memory.published.append(made)
        BOOK.write(memory)


def find(names: Iterable[str]) -> tuple[str, ...]:
    """The repositories of which published evaluations count a patient who goes by these names.

    Raises:
        ConfigError: what was published before cannot be read.
    """
    hashed = _hashed(names)
    return tuple(dict.fromkeys(
        one.repository for one in BOOK.read().published if any(hashed & group for group in one.groups.values())
    ))  # fmt: skip


def _compare(memory: _Memory, groups: dict[str, frozenset[str]]) -> None:
    sharing = 0
    for earlier in memory.published:
        found = [(name, now, before) for name, now in groups.items() if (before := _alike(earlier, name, now))]
        for name, now, before in found:
            least = LEAST if name.startswith("test") else LEAST_TRAINED
            for some in (len(now - before), len(before - now)):
                if 0 < some < least:
                    raise PrivacyError(
                        f"the {name} are nearly those of the evaluation of {earlier.repository} that was"
                        f" published on {earlier.created[:10]}: {some} differ, and the difference would show them",
                        f"publish of exactly the same patients with the same images, or of {least} others and more",
                    )
        sharing += bool(found)
    if sharing >= MOST_OF_ONE_PATIENT:
        raise PrivacyError(
            f"{sharing} published evaluations are of these patients already", "evaluate on other patients"
        )


def _alike(earlier: Published, name: str, now: frozenset[str]) -> frozenset[str]:
    """The group of an earlier publication, of either label, that shares somebody with this one and differs least."""
    groups = (earlier.groups.get(one, frozenset()) for one in (name, _with_other_label(name)))
    return min((one for one in groups if now & one), key=lambda one: len(now ^ one), default=frozenset())


def _with_other_label(name: str) -> str:
    side, label, kind = name.split()
    return " ".join([side, "negative" if label == "positive" else "positive", kind])


def _names(cohort: Cohort) -> dict[str, frozenset[str]]:
    return {name: _hashed(group) for name, group in cohort.groups.items()}


def _hashed(names: Iterable[str]) -> frozenset[str]:
    key = derive_key("published evaluations")
    return frozenset(hmac.new(key, one.encode(), hashlib.sha256).hexdigest()[:24] for one in names)
