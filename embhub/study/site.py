"""One site in one step: five messages, each sent once and in this order, and nothing else that depends on a patient.

Secure aggregation after Bonawitz et al. 2017 (doi:10.1145/3133956.3133982), for active coordinators, with a mask of
each pair of sites and a mask of each site's own. A site shows, of every other site, its share of one of the two, never
of both. Which of them depends on a list of survivors that a quorum has signed, and it signs one list a step. With
n > 2 d + t no two lists have a quorum, so t colluders and a lying coordinator learn one sum over all honest survivors.

Beyond the paper, a vector is signed with the roster that it was masked for, and survivors check that all have the same.
So masks of pairs cancel, or nobody agrees; and a colluding site cannot have other keys for other sites. All public keys
of a step differ, and masks and boxes are tied to the names of their two sites: a site gains nothing by another's key.

    step = SiteStep(...)
    step.begin() -> Keys, share(Roster) -> Boxes, open(Boxes), mask(vector) -> Masked
    agree(Survivors) -> Agreement, show(Agreement) -> Shown

A refusal ends the step for this site: it drops out. Secrets live in this object alone. A site that restarts drops out
as well, and begins the next number. **Privacy rests on it that a number is begun once.** Nothing here remembers that:
the caller writes down on disk which number is begun, before `begin` (`embhub.study.answering` does).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from embhub.study import masking, shamir, wire
from embhub.study.grid import Residues
from embhub.study.wire import Keys, Step, StudyStepError
from embhub.trust import p256
from embhub.trust.dsse import Signer

_ORDER = ("begin", "share", "open", "mask", "agree", "show", "done")


class SiteStep:
    """A site's part in a step.

    Args:
        step: which step, and who takes part in the study.
        site: this site's namespace.
        key: what it signs this study's messages with.
        state: digest (hex) of what was learned so far: sites that disagree about it do not go on.

    Raises:
        StudyStepError: another key than the study has for this site.
    """

    def __init__(self, step: Step, site: str, key: Signer, *, state: str) -> None:
        if site not in step.sites or step.sites[site].public_numbers() != _public(key):
            raise StudyStepError(f"the study has another key for {site}")
        self._step, self.site, self._key, self._state = step, site, key, state
        self._next = "begin"
        self._seed, self._pair_seed = shamir.draw(), shamir.draw()
        self._mask_key, self._cipher_key = masking.mask_key(self._pair_seed), X25519PrivateKey.generate()
        self._own: Keys | None = None
        self._roster: dict[str, Keys] = {}
        self._shares: dict[str, tuple[int, int]] = {}
        self._survivors: dict[str, str] = {}
        self._started = self._sent = ""

    def begin(self) -> bytes:
        """The message Keys. Whoever calls has charged the ledger, and written down that this number was begun."""
        with self._stage("begin"):
            self._own = Keys(
                site=self.site,
                mask=masking.public_bytes(self._mask_key),
                cipher=masking.public_bytes(self._cipher_key),
                commitment=masking.commit(self._seed),
                state=self._state,
                signature=bytes(8),
            )
            signature = self._sign("keys", self._own.facts())
            return self._own.model_copy(update={"signature": signature}).to_bytes()

    def share(self, roster: bytes) -> bytes:
        """The message Boxes, from a Roster: shares of both secrets for all who began.

        Raises:
            StudyStepError: fewer than a quorum, a site or a key twice, keys that a site did not sign, or another state.
        """
        with self._stage("share"):
            self._roster = self._read_roster(roster)
            sites = sorted(self._roster)
            places = [self._step.place(site) for site in sites]
            own = shamir.split(self._seed, threshold=self._step.quorum, places=places)
            pair = shamir.split(self._pair_seed, threshold=self._step.quorum, places=places)
            self._shares[self.site] = own[self._step.place(self.site)], pair[self._step.place(self.site)]
            boxes = {}
            for site, place in zip(sites, places, strict=True):
                if site != self.site:
                    plain = shamir.to_bytes(own[place]) + shamir.to_bytes(pair[place])
                    other = self._roster[site].cipher
                    boxes[site] = masking.seal(self._cipher_key, other, plain, self._box_context(), (self.site, site))
            return wire.Boxes(boxes=boxes).to_bytes()

    def open(self, boxes: bytes) -> None:
        """Keep the shares in the Boxes for this site. No patient need be sampled before this has ended well.

        Raises:
            StudyStepError: fewer than a quorum, a box of a stranger, or one that was not sealed for this site and step.
        """
        with self._stage("open"):
            self._open(wire.read(wire.Boxes, boxes).boxes)

    def mask(self, vector: Residues) -> bytes:
        """The message Masked: `vector` (width,) with masks on it.

        `vector` has its share of noise on it already (`embhub.study.grid.Grid.protect`). Patients and noise of it were
        drawn for this attempt alone: in the difference of two sums, the same noise would cancel.

        Raises:
            StudyStepError: other numbers than the step's.
        """
        with self._stage("mask"):
            if vector.shape != (self._step.width,) or vector.dtype != np.uint32:
                raise StudyStepError(
                    f"{vector.size} numbers {vector.dtype}, where {self._step.width} of 32 bits belong"
                )
            context = self._step.context(wire.roster_digest(self._roster))
            total = vector + masking.own_mask(self._seed, vector.size, context)
            for site, keys in self._roster.items():
                if site != self.site:
                    pair = masking.pair_mask(self._mask_key, keys.mask, vector.size, context, (self.site, site))
                    total = total + pair if self.site < site else total - pair
            data, roster = wire.vector_bytes(total), wire.roster_digest(self._roster)
            self._sent = hashlib.sha256(data).hexdigest()
            signature = self._sign("masked", wire.masked_facts(roster, self._sent))
            return wire.Masked(site=self.site, roster=roster, vector=data, signature=signature).to_bytes()

    def agree(self, survivors: bytes) -> bytes:
        """The message Agreement with this site's signature, from the Survivors.

        Raises:
            StudyStepError: fewer than a quorum, without this site or its vector, a site twice or that was not in the
                roster, or one that did not sign the same roster.
        """
        with self._stage("agree"):
            found: dict[str, str] = {}
            roster = wire.roster_digest(self._roster)
            for header in wire.read(wire.Survivors, survivors).headers:
                if header.site in found or header.site not in self._roster:
                    raise StudyStepError(f"{header.site} is named twice, or is not in this step")
                facts = wire.masked_facts(roster, header.vector)
                self._step.check("masked", header.site, facts, header.signature)
                found[header.site] = header.vector
            if found.get(self.site) != self._sent:
                raise StudyStepError("the survivors are without this site, or with another vector in its name")
            self._enough(found)
            self._survivors = found
            signature = self._sign("agreed", wire.agreed_facts(roster, found))
            return wire.Agreement(signatures={self.site: signature}).to_bytes()

    def show(self, agreement: bytes) -> bytes:
        """The message Shown, from an Agreement of a quorum on the list that this site signed.

        Raises:
            StudyStepError: fewer than a quorum of survivors signed this very list.
        """
        with self._stage("show"):
            facts = wire.agreed_facts(wire.roster_digest(self._roster), self._survivors)
            signatures = wire.read(wire.Agreement, agreement).signatures
            for site, signature in signatures.items():
                if site not in self._survivors:
                    raise StudyStepError(f"{site} signed, and is no survivor")
                self._step.check("agreed", site, facts, signature)
            self._enough(signatures)
            own, keys = {}, {}
            for site, (own_share, key_share) in self._shares.items():
                if site in self._survivors:
                    own[site] = shamir.to_bytes(own_share)
                else:
                    keys[site] = shamir.to_bytes(key_share)
            return wire.Shown(own=own, keys=keys).to_bytes()

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """A stage that is entered once and in turn. Until it has ended well there is no next."""
        if self._next != name:
            ended = "has ended" if self._next in ("", "done") else f"waits for {self._next}"
            raise StudyStepError(f"{name} was asked for, and step {self._step.number} {ended} at {self.site}")
        self._next = ""
        try:
            yield
        except ValueError as error:
            raise StudyStepError(f"the step cannot go on: {error}") from error
        self._next = _ORDER[_ORDER.index(name) + 1]

    def _read_roster(self, roster: bytes) -> dict[str, Keys]:
        found: dict[str, Keys] = {}
        for keys in wire.read(wire.Roster, roster).keys:
            if keys.site in found:
                raise StudyStepError(f"{keys.site} is named twice")
            self._step.check("keys", keys.site, keys.facts(), keys.signature)
            if keys.state != self._state:
                raise StudyStepError(f"{keys.site} and {self.site} were shown different sums, or began apart")
            found[keys.site] = keys
        mine = found.get(self.site)
        if mine is None or self._own is None or mine.facts() != self._own.facts():
            raise StudyStepError("the roster is without this site, or with other keys in its name")
        # A site with another's key would have its masks, which cancel against them, and could pass on its boxes.
        public = [key for keys in found.values() for key in (keys.mask, keys.cipher)]
        if len(set(public)) < len(public):
            raise StudyStepError("one public key is there twice: a site sends another's key as its own")
        self._enough(found)
        self._started = wire.roster_digest(found)
        return found

    def _open(self, boxes: Mapping[str, bytes]) -> None:
        """Keep the shares in the boxes; the roster is from here on those who sent one, and this site."""
        for site, box in boxes.items():
            if site == self.site or site not in self._roster:
                raise StudyStepError(f"a box of {site}, who is not in this step")
            try:
                other = self._roster[site].cipher
                plain = masking.unseal(self._cipher_key, other, box, self._box_context(), (self.site, site))
                self._shares[site] = shamir.from_bytes(plain[:32]), shamir.from_bytes(plain[32:])
            except ValueError as error:
                raise StudyStepError(f"the box of {site} does not open: {error}") from error
        self._roster = {site: keys for site, keys in self._roster.items() if site in self._shares}
        self._enough(self._roster)

    def _box_context(self) -> bytes:
        return self._step.context(self._started)

    def _enough(self, sites: Mapping[str, object]) -> None:
        if len(sites) < self._step.quorum:
            raise StudyStepError(f"{len(sites)} sites, and a sum takes {self._step.quorum}")

    def _sign(self, kind: str, facts: Mapping[str, object]) -> bytes:
        return self._key.sign(self._step.statement(kind, self.site, facts))


def _public(key: Signer) -> object:
    return p256.read_public(key.public_pem).public_numbers()
