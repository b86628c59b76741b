"""What the newest texts say about how frequent words are: which parts of a word to look up, and how far to look.

A process keeps a sample of the newest rows for a minute. It decides how a search reads, and never what it finds:
every row is looked at for its words and labels, whatever the sample said.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from embhub_registry.database.connection import Connection
from embhub_registry.database.wording import BETWEEN, label_key

ROWS = 512
_SECONDS = 60.0
_LONGEST = 4000  # letters of a text that are looked at
_MASKS = 4000  # parts of words that are remembered at most
_TRIGRAM = 3
_ENOUGH = 4  # rows of a sample that say something
_READ = (
    f"SELECT position, substr(words, 1, {_LONGEST}) AS words, labels FROM wording ORDER BY position DESC LIMIT {ROWS}"  # noqa: S608  # constants
)

Label = tuple[str, str]
"""A kind and a value, as in the table `label`."""


@dataclass
class Sample:
    """The newest texts, each with its labels behind it. A mask has a bit for each of them."""

    texts: Sequence[str]
    newest: int = 0
    until: float = 0.0
    _masks: dict[str, int] = field(default_factory=dict)

    def mask(self, part: str) -> int:
        """Which texts hold this part of a word, or this label's key."""
        found = self._masks.get(part)
        if found is None:
            found = sum(1 << place for place, text in enumerate(self.texts) if part in text)
            if len(self._masks) < _MASKS:
                self._masks[part] = found
        return found

    def knows(self, words: Sequence[str]) -> bool:
        """Whether any text holds all of these."""
        return self._all(words) > 0

    def share(self, parts: Sequence[str]) -> float:
        """The share of all texts that hold all of these; where none does, that of half a text."""
        return max(self._all(parts).bit_count(), 0.5) / max(len(self.texts), 1)

    def share_of(self, words: Sequence[str], labels: Mapping[Label, int]) -> float:
        """The share of rows that hold the words and have the labels, each of which so many rows have.

        Where the sample has few such rows, words and labels are taken to be independent of one another.
        """
        both = [*words, *keys_of(labels)]
        if not labels or self._all(both).bit_count() >= _ENOUGH:
            return self.share(both)
        apart = (max(rows, 1) / max(self.newest, rows, 1) for rows in labels.values())
        return self.share(words) * math.prod(apart)

    def choose(self, words: Sequence[str]) -> list[str]:
        """Trigrams of these words that hardly any text but those with the words has: all of them where none has these.

        With every trigram a search reads the long list of a frequent one for nothing. With one that is chosen blindly,
        a word from parts that everybody wrote would have the text of every row read.
        """
        grams = list(dict.fromkeys(w[at : at + _TRIGRAM] for w in words for at in range(len(w) - _TRIGRAM + 1)))
        wanted = self._all(words).bit_count()
        chosen: list[str] = []
        left = self._all(())
        while wanted and (not chosen or 4 * (left.bit_count() - wanted) > wanted):
            best = min(grams, key=lambda gram: (left & self.mask(gram)).bit_count())
            if chosen and left & self.mask(best) == left:
                return grams
            chosen.append(best)
            left &= self.mask(best)
        return chosen or grams

    def _all(self, parts: Sequence[str]) -> int:
        found = (1 << len(self.texts)) - 1
        for part in parts:
            found &= self.mask(part)
        return found


def of_newest(db: Connection) -> Sample:
    """The sample that this process keeps of the database, read anew after a minute."""
    kept = db.kept.get(Sample)
    if isinstance(kept, Sample) and time.monotonic() < kept.until:
        return kept
    rows = db.execute(_READ).fetchall()
    newest = rows[0]["position"] if rows else 0
    texts = [f"{row['words']}{row['labels']}" for row in rows]
    made = db.kept[Sample] = Sample(texts, newest, time.monotonic() + _SECONDS)
    return made


def keys_of(labels: Iterable[Label]) -> list[str]:
    """Each label as it stands in a text of the sample, and in `wording.labels`."""
    return [f"{BETWEEN}{label_key(*label)}{BETWEEN}" for label in labels]
