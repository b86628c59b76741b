"""The coordinator of one step: it passes messages on, and reads the sum over the survivors, which is all it learns.

It is trusted with nothing but to keep the step going. What it checks here is for its own good: a site whose message is
refused counts as missing. Each `take` raises `StudyStepError` for such a message and is none the worse for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from embhub.study import masking, shamir, wire
from embhub.study.grid import Residues
from embhub.study.wire import Keys, Step, StudyStepError


class CoordinatorStep:
    """A step as the coordinator runs it: `take_…` for what comes, and what to send after each round."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._keys: dict[str, Keys] = {}
        self._boxes: dict[str, Mapping[str, bytes]] = {}
        self._headers: dict[str, wire.Header] = {}
        self._vectors: dict[str, Residues] = {}
        self._signatures: dict[str, bytes] = {}
        self._shown: dict[str, wire.Shown] = {}
        self._closed: list[object] = []

    def take_keys(self, site: str, data: bytes) -> None:
        """A site's Keys."""
        keys = wire.read(Keys, data)
        self._check_sender(site, keys.site, self._keys)
        self._step.check("keys", site, keys.facts(), keys.signature)
        self._keys[site] = keys

    def roster(self) -> bytes:
        """The Roster, for all who began.

        Raises:
            StudyStepError: fewer than a quorum; so do the others.
        """
        self._close(self._keys, "began")
        return wire.Roster(keys=tuple(self._keys[site] for site in sorted(self._keys))).to_bytes()

    def take_boxes(self, site: str, data: bytes) -> None:
        """A site's Boxes."""
        boxes = wire.read(wire.Boxes, data).boxes
        self._check_sender(site, site, self._boxes)
        if set(boxes) != set(self._keys) - {site}:
            raise StudyStepError(f"{site} sent boxes for others than those in this step")
        self._boxes[site] = boxes

    def boxes_for(self, site: str) -> bytes:
        """The Boxes for one site, of all others who sent theirs."""
        self._close(self._boxes, "sent shares")
        boxes = {sender: sent[site] for sender, sent in sorted(self._boxes.items()) if sender != site}
        return wire.Boxes(boxes=boxes).to_bytes()

    def take_masked(self, site: str, data: bytes) -> None:
        """A site's Masked vector."""
        masked = wire.read(wire.Masked, data)
        self._check_sender(site, masked.site, self._vectors)
        if site not in self._boxes or masked.roster != self._roster_digest:
            raise StudyStepError(f"{site} masked its vector for other sites than those in this step")
        vector, digest = wire.vector_of(masked.vector, self._step.width), hashlib.sha256(masked.vector).hexdigest()
        self._step.check("masked", site, wire.masked_facts(masked.roster, digest), masked.signature)
        self._vectors[site] = vector
        self._headers[site] = wire.Header(site=site, vector=digest, signature=masked.signature)

    def survivors(self) -> bytes:
        """The Survivors, for each of them. Vectors that come later are lost."""
        self._close(self._vectors, "sent a vector")
        headers = tuple(self._headers[site] for site in sorted(self._headers))
        return wire.Survivors(headers=headers).to_bytes()

    def take_agreement(self, site: str, data: bytes) -> None:
        """A survivor's Agreement."""
        signatures = wire.read(wire.Agreement, data).signatures
        self._check_sender(site, "several sites" if len(signatures) > 1 else next(iter(signatures)), self._signatures)
        facts = wire.agreed_facts(self._roster_digest, {name: head.vector for name, head in self._headers.items()})
        self._step.check("agreed", site, facts, signatures[site])
        self._signatures[site] = signatures[site]

    def agreement(self) -> bytes:
        """The Agreement of all who signed, for each survivor."""
        self._close(self._signatures, "agreed")
        return wire.Agreement(signatures=dict(sorted(self._signatures.items()))).to_bytes()

    def take_shown(self, site: str, data: bytes) -> None:
        """What a survivor shows."""
        shown = wire.read(wire.Shown, data)
        self._check_sender(site, site, self._shown)
        if set(shown.own) != set(self._vectors) or set(shown.keys) != set(self._boxes) - set(self._vectors):
            raise StudyStepError(f"{site} shows shares of others than it was asked for")
        self._shown[site] = shown

    def total(self) -> Residues:
        """The sum (width,) over the survivors, modulo 2^32.

        Raises:
            StudyStepError: fewer than a quorum showed shares, or the shares do not give a secret back.
        """
        self._close(self._shown, "showed shares")
        context = self._step.context(self._roster_digest)
        vectors = list(self._vectors.values())
        total = vectors[0].copy()
        for vector in vectors[1:]:
            total += vector
        for site in self._vectors:
            seed = self._restore(site, "own")
            if masking.commit(seed) != self._keys[site].commitment:
                raise StudyStepError(f"the shares of {site}'s own mask do not give it back: a site shows wrong ones")
            total -= masking.own_mask(seed, self._step.width, context)
        for lost in set(self._boxes) - set(self._vectors):
            key = masking.mask_key(self._restore(lost, "keys"))
            if masking.public_bytes(key) != self._keys[lost].mask:
                raise StudyStepError(f"the shares of {lost}'s key do not give it back: a site shows wrong ones")
            for site in self._vectors:
                pair = masking.pair_mask(key, self._keys[site].mask, self._step.width, context, (site, lost))
                total = total - pair if site < lost else total + pair
        return total

    @property
    def survived(self) -> tuple[str, ...]:
        """Whose vectors are in the sum."""
        return tuple(sorted(self._vectors))

    @property
    def _roster_digest(self) -> str:
        return wire.roster_digest({site: self._keys[site] for site in self._boxes})

    def _restore(self, site: str, which: str) -> int:
        shares = {}
        for holder in sorted(self._shown)[: self._step.quorum]:
            try:
                shares[self._step.place(holder)] = shamir.from_bytes(getattr(self._shown[holder], which)[site])
            except ValueError as error:
                raise StudyStepError(f"{holder} shows no share of {site}: {error}") from error
        return shamir.combine(shares)

    def _check_sender(self, site: str, named: str, seen: Mapping[str, object]) -> None:
        if site not in self._step.sites or named != site:
            raise StudyStepError(f"a message in the name of {named} from {site}")
        if site in seen or any(seen is closed for closed in self._closed):
            raise StudyStepError(f"{site} sent this message already, or too late")

    def _close(self, sites: Mapping[str, object], did: str) -> None:
        """Refuse too few; who comes later in this round is missing."""
        self._closed.append(sites)
        if len(sites) < self._step.quorum:
            raise StudyStepError(f"{len(sites)} sites {did}, and a sum takes {self._step.quorum}: the step is lost")
