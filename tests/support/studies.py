"""Sites of a study, all in this process: a step played message by message, with sites missing where a test says so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec

from embhub.site.signing.keys import SigningKey
from embhub.study.coordinator import CoordinatorStep
from embhub.study.grid import Residues
from embhub.study.site import SiteStep
from embhub.study.wire import Step

STUDY, STATE = "5" * 64, "a" * 64
ROUNDS = ("begin", "share", "mask", "agree", "show")
Change = Callable[[str, str, bytes], bytes]
"""What a coordinator or a site makes of a message: round, site, bytes."""


def unchanged(_round: str, _site: str, data: bytes) -> bytes:
    return data


def keys_of(sites: int) -> dict[str, SigningKey]:
    return {
        f"site-{number:02}": SigningKey("study", ec.generate_private_key(ec.SECP256R1()))
        for number in range(1, sites + 1)
    }


def step_of(keys: Mapping[str, SigningKey], *, dropouts: int, width: int = 8, number: int = 1) -> Step:
    return Step(STUDY, number, {site: key.public for site, key in keys.items()}, dropouts, width)


def vectors_of(sites: Collection[str], width: int = 8) -> dict[str, Residues]:
    random = np.random.default_rng()
    return {site: random.integers(0, 2**32, width, dtype=np.uint32) for site in sites}


@dataclass
class Play:
    """A step of all sites. `missing` names who is lost before which round; `left` holds what every site sent."""

    step: Step
    keys: Mapping[str, SigningKey]
    vectors: Mapping[str, Residues]
    missing: Mapping[str, Collection[str]] = field(default_factory=dict)
    to_site: Change = field(default=unchanged)
    from_site: Change = field(default=unchanged)

    def __post_init__(self) -> None:
        self.coordinator = CoordinatorStep(self.step)
        self.sites = {site: SiteStep(self.step, site, key, state=STATE) for site, key in self.keys.items()}
        self.left: list[tuple[str, str, bytes]] = []
        self.here = list(self.sites)

    def run(self) -> Residues:
        """The sum; raises what a site or the coordinator raises."""
        coordinator = self.coordinator
        self._round("begin", lambda _: b"", coordinator.take_keys)
        roster = coordinator.roster()
        self._round("share", lambda _: roster, coordinator.take_boxes)
        boxes = {site: coordinator.boxes_for(site) for site in coordinator._boxes}
        self._round("mask", boxes.__getitem__, coordinator.take_masked)
        survivors = coordinator.survivors()
        self._round("agree", lambda _: survivors, coordinator.take_agreement)
        agreement = coordinator.agreement()
        self._round("show", lambda _: agreement, coordinator.take_shown)
        return coordinator.total()

    def _round(self, name: str, data: Callable[[str], bytes], take: Callable[[str, bytes], None]) -> None:
        self.here = [site for site in self.here if site not in self.missing.get(name, ())]
        for site in self.here:
            sent = self.from_site(name, site, self.answer(name, site, self.to_site(name, site, data(site))))
            self.left.append((name, site, sent))
            take(site, sent)

    def answer(self, name: str, site: str, data: bytes) -> bytes:
        part = self.sites[site]
        if name == "begin":
            return part.begin()
        if name == "mask":
            return part.mask(data, self.vectors[site])
        return {"share": part.share, "agree": part.agree, "show": part.show}[name](data)

    def expected(self) -> Residues:
        """The sum over those whose vectors arrived, by plain arithmetic."""
        return np.add.reduce([self.vectors[site] for site in self.coordinator.survived], dtype=np.uint32)
