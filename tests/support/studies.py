"""Sites of a study, all in this process: a step played message by message, some changed on their way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec

from embhub.site.signing.keys import SigningKey
from embhub.study.grid import Residues
from embhub.study.rehearsal import ROUNDS as ROUNDS
from embhub.study.rehearsal import Missing, Rehearsal
from embhub.study.wire import Step

STUDY, STATE = "5" * 64, "a" * 64
Change = Callable[[str, str, bytes], bytes]
"""What a coordinator or a site makes of a message: round, site, bytes."""


def unchanged(_round: str, _site: str, data: bytes) -> bytes:
    return data


def keys_of(sites: int) -> dict[str, SigningKey]:
    return {
        f"site-{number:02}": SigningKey("study", ec.generate_private_key(ec.SECP256R1()))
        for number in range(1, sites + 1)
    }


def step_of(
    keys: Mapping[str, SigningKey], *, dropouts: int, colluders: int = 0, width: int = 8, number: int = 1
) -> Step:
    return Step(STUDY, number, {site: key.public for site, key in keys.items()}, dropouts, colluders, width)


def vectors_of(sites: Collection[str], width: int = 8) -> dict[str, Residues]:
    random = np.random.default_rng()
    return {site: random.integers(0, 2**32, width, dtype=np.uint32) for site in sites}


class Play(Rehearsal):
    """A rehearsal whose messages a test may change on their way."""

    def __init__(
        self,
        step: Step,
        keys: Mapping[str, SigningKey],
        vectors: Mapping[str, Residues],
        missing: Missing | None = None,
        *,
        to_site: Change = unchanged,
        from_site: Change = unchanged,
    ) -> None:
        super().__init__(step, keys, dict.fromkeys(keys, STATE), vectors.__getitem__, missing)
        self.step, self.keys, self.vectors = step, keys, vectors
        self.to_site, self.from_site = to_site, from_site
        self.got: Counter[str] = Counter()

    @property
    def missing(self) -> Missing:
        return self._missing

    @missing.setter
    def missing(self, missing: Missing) -> None:
        self._missing = missing

    def _round(self, name: str, data: Callable[[str], bytes], take: Callable[[str, bytes], None]) -> None:
        self.here = [site for site in self.here if site not in self._missing.get(name, ())]
        for site in self.here:
            got = self.to_site(name, site, data(site))
            self.got[site] += len(got)  # bytes
            sent = self.from_site(name, site, self.answer(name, site, got))
            self.left.append((name, site, sent))
            take(site, sent)

    def expected(self) -> Residues:
        """The sum over those whose vectors arrived, by plain arithmetic."""
        return np.add.reduce([self.vectors[site] for site in self.coordinator.survived], dtype=np.uint32)
