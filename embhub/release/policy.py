"""What a site may demand of a release beyond good signatures: named demands, and the two policies. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from embhub.errors import UsageError

YANKS, AUDITS, DESIGNS = "yanks", "audits", "designs"  # what a registry can be asked, and may leave unanswered
# Up to here an epsilon is a reasonable guarantee (Ponomareva et al., How to DP-fy ML, JAIR 2023, section 5.2.1): beyond
# it a claim stands in for no auditor. A site that wants less says `epsilon<=4`.
LARGEST_EPSILON = 10.0
NAMES = (
    "countersigned", "confirmed", "no-leak", "not-yanked", "known-signer", "fresh", "logged", "witnessed",
    "preregistered", "one-ledger", "approved", "approved-by-key", "epsilon<=X",
)  # fmt: skip
_EPSILON = re.compile(r"epsilon\s*<=\s*(\d{1,6}(?:\.\d{1,6})?)")


@dataclass(frozen=True)
class Demand:
    """One demand by its name; `limit` is the largest epsilon that `epsilon` allows."""

    name: str
    limit: float | None = None

    def __str__(self) -> str:
        return self.name if self.limit is None else f"epsilon<={self.limit:g}"


@dataclass(frozen=True)
class Policy:
    """How much a site asks for beyond signatures, which no policy does without.

    `countersigned_suffices`: whether an independent auditor may stand in for a publisher whose key was stolen.
    """

    name: str
    demands: tuple[Demand, ...] = ()
    countersigned_suffices: bool = True

    def demanding(self, more: Iterable[Demand]) -> Policy:
        """The same policy with more demands; its name says which."""
        new = tuple(demand for demand in dict.fromkeys(more) if demand not in self.demands)
        if not new:
            return self
        name = " + ".join([self.name, *map(str, new)])
        return replace(self, name=name, demands=(*self.demands, *new))


STANDARD = Policy("standard")
STRICT = Policy(
    "strict",
    (
        Demand("not-yanked"),
        Demand("no-leak"),
        Demand("confirmed"),
        Demand("known-signer"),
        Demand("fresh"),
        Demand("logged"),
        Demand("witnessed"),
    ),
    countersigned_suffices=False,
)


def parse(words: str | Iterable[str]) -> tuple[Demand, ...]:
    """Demands from `countersigned,no-leak,epsilon<=4` or from a list of such words.

    Raises:
        UsageError: a word that is no demand.
    """
    listed = words.split(",") if isinstance(words, str) else list(words)
    return tuple(dict.fromkeys(_parse_one(word) for word in listed))


def _parse_one(word: object) -> Demand:
    text = word.strip() if isinstance(word, str) else ""
    if text in NAMES[:-1]:
        return Demand(text)
    if found := _EPSILON.fullmatch(text):
        limit = float(found[1])
        if limit > 0:
            return Demand("epsilon", limit)
    raise UsageError(f"there is no demand {str(word)[:60]!a}", f"demands are {', '.join(NAMES)}, such as epsilon<=4")
