"""A step of all sites in one process: for an officer who wants to see it run, for tests, and for measurements."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from embhub.study.coordinator import CoordinatorStep
from embhub.study.grid import Residues
from embhub.study.site import SiteStep
from embhub.study.wire import Step
from embhub.trust.dsse import Signer

ROUNDS = ("begin", "share", "mask", "agree", "show")
Missing = Mapping[str, Collection[str]]
"""Which sites are lost before which of the ROUNDS."""


class Rehearsal:
    """A step as a coordinator runs it with sites that answer at once.

    Args:
        step: which step of which study.
        keys: what each site signs with.
        state: digest (hex) of the rows, as each site has it.
        vectors: what gives a site's vector; asked once the site has its boxes.
        missing: who is lost, and when.

    Attributes:
        left: what left each site: round, site and bytes.
    """

    def __init__(
        self,
        step: Step,
        keys: Mapping[str, Signer],
        state: Mapping[str, str],
        vectors: Callable[[str], Residues],
        missing: Missing | None = None,
    ) -> None:
        self.coordinator = CoordinatorStep(step)
        self.sites = {site: SiteStep(step, site, key, state=state[site]) for site, key in keys.items()}
        self.here, self.left = list(self.sites), list[tuple[str, str, bytes]]()
        self._vectors, self._missing = vectors, missing or {}

    def run(self) -> Residues:
        """The sum over the survivors (width,).

        Raises:
            StudyStepError: as the sites and the coordinator.
        """
        coordinator = self.coordinator
        self._round("begin", lambda _: b"", coordinator.take_keys)
        roster = coordinator.roster()
        self._round("share", lambda _: roster, coordinator.take_boxes)
        self._round("mask", coordinator.boxes_for, coordinator.take_masked)
        survivors = coordinator.survivors()
        self._round("agree", lambda _: survivors, coordinator.take_agreement)
        agreement = coordinator.agreement()
        self._round("show", lambda _: agreement, coordinator.take_shown)
        return coordinator.total()

    def answer(self, name: str, site: str, data: bytes) -> bytes:
        """What a site sends in a round, to what the coordinator sent it."""
        part = self.sites[site]
        if name == "begin":
            return part.begin()
        if name == "mask":
            part.open(data)
            return part.mask(self._vectors(site))
        return {"share": part.share, "agree": part.agree, "show": part.show}[name](data)

    def _round(self, name: str, data: Callable[[str], bytes], take: Callable[[str, bytes], None]) -> None:
        self.here = [site for site in self.here if site not in self._missing.get(name, ())]
        for site in self.here:
            sent = self.answer(name, site, data(site))
            self.left.append((name, site, sent))
            take(site, sent)
