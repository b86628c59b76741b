"""A coordinator that does what it likes with t sites on its side: which sums of honest sites can it read at all?

It chooses for each honest site a roster, whose boxes it gets, a list of survivors, and the signatures it sees; its own
sites sign anything. What it then knows is worked out symbolically: seeds of which it has a quorum of shares, and masks
that are known or cancel.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.study import masking, shamir, wire
from embhub.study.site import SiteStep
from embhub.study.wire import Keys, StudyStepError
from tests.support.studies import STATE, keys_of, step_of, vectors_of

KEYS = keys_of(6)


@dataclass
class Adversary:
    """A lying coordinator with some sites, and all that it comes to know of the others."""

    sites: int
    dropouts: int
    colluders: int
    data: st.DataObject
    shares: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    """By honest site and kind of secret, from whom it has a share."""

    def __post_init__(self) -> None:
        names = list(KEYS)[: self.sites]
        self.names, self.honest, self.own = names, names[self.colluders :], names[: self.colluders]
        keys = {site: KEYS[site] for site in names}
        self.step = step_of(keys, dropouts=self.dropouts, colluders=self.colluders)
        self.parts = {site: SiteStep(self.step, site, KEYS[site], state=STATE) for site in self.honest}
        self.cipher = {site: X25519PrivateKey.generate() for site in self.own}
        self.keys = {site: wire.read(Keys, part.begin()) for site, part in self.parts.items()}
        self.keys |= {site: self.forge_keys(site) for site in self.own}
        self.plan = self.data.draw(st.sampled_from(["anything", "one list", "many lists"]))
        self.aim = self.data.draw(st.permutations(self.honest))[: self.data.draw(st.integers(1, len(self.honest)))]
        self.rosters: dict[str, list[str]] = {}
        self.seen: dict[str, set[str]] = {}
        self.masked: dict[str, wire.Masked] = {}

    def forge_keys(self, site: str) -> Keys:
        cipher = masking.public_bytes(self.cipher[site])
        made = Keys(
            site=site, mask=masking.public_bytes(masking.mask_key(1)), cipher=cipher, commitment=bytes(32),
            state=STATE, signature=bytes(8),
        )  # fmt: skip
        signature = KEYS[site].sign(self.step.statement("keys", site, made.facts()))
        return made.model_copy(update={"signature": signature})

    def choose(self, among: list[str], always: str, *, of_survivors: bool = False) -> list[str]:
        """All but as many as may be missing: fewer than a quorum are refused, which says little."""
        if self.plan == "anything":
            left_out = self.data.draw(st.sets(st.sampled_from(among), max_size=self.dropouts))
        elif not of_survivors:
            left_out = set()
        elif self.plan == "one list":
            left_out = set(self.aim[: self.dropouts])
        else:  # each site another list, so that each target is left out by as many as can be
            others = [name for name in self.aim if name != always]
            turn = self.names.index(always) % max(1, len(others))
            left_out = set((others[turn:] + others[:turn])[: self.dropouts])
        return [name for name in among if name not in left_out or name == always]

    def play(self) -> None:
        boxes: dict[str, dict[str, bytes]] = {}
        for site, part in self.parts.items():
            self.rosters[site] = self.choose(self.names, site)
            roster = wire.Roster(keys=tuple(self.keys[name] for name in self.rosters[site]))
            with contextlib.suppress(StudyStepError):
                boxes[site] = wire.read(wire.Boxes, part.share(roster.to_bytes())).boxes
                for name in set(boxes[site]) & set(self.own):
                    self.shares[site, "own"].add(name)
                    self.shares[site, "key"].add(name)
        for site in list(boxes):
            with contextlib.suppress(StudyStepError):
                self.mask(site, boxes)
        lists = {site: self.survivors(site) for site in self.masked}
        signed = {}
        for site, headers in lists.items():
            with contextlib.suppress(StudyStepError):
                answer = self.parts[site].agree(wire.Survivors(headers=headers).to_bytes())
                signed[site] = wire.read(wire.Agreement, answer).signatures[site]
        for site in signed:
            with contextlib.suppress(StudyStepError):
                self.show(site, lists, signed)

    def mask(self, site: str, boxes: dict[str, dict[str, bytes]]) -> None:
        """Boxes of those with the same roster, and forged ones: others do not open."""
        digest = wire.roster_digest({name: self.keys[name] for name in self.rosters[site]})
        context = self.step.context(digest)
        found = {}
        for name in self.choose(self.rosters[site], site):
            if name in self.own:
                plain = shamir.to_bytes(1) * 2
                found[name] = masking.seal(self.cipher[name], self.keys[site].cipher, plain, context)
            elif name != site and name in boxes and self.rosters[name] == self.rosters[site]:
                found[name] = boxes[name][site]
        if not found:
            return
        message = self.parts[site].mask(wire.Boxes(boxes=found).to_bytes(), vectors_of([site])[site])
        self.masked[site], self.seen[site] = wire.read(wire.Masked, message), set(found) | {site}

    def survivors(self, site: str) -> tuple[wire.Header, ...]:
        roster, headers = self.masked[site].roster, []
        for name in self.choose(sorted(self.seen[site]), site, of_survivors=True):
            if name in self.own:
                facts = wire.masked_facts(roster, "0" * 64)
                signature = KEYS[name].sign(self.step.statement("masked", name, facts))
                headers.append(wire.Header(site=name, vector="0" * 64, signature=signature))
            elif name in self.masked:
                sent = self.masked[name]
                digest = hashlib.sha256(sent.vector).hexdigest()
                headers.append(wire.Header(site=name, vector=digest, signature=sent.signature))
        return tuple(headers)

    def show(self, site: str, lists: dict[str, tuple[wire.Header, ...]], signed: dict[str, bytes]) -> None:
        listed = {header.site: header.vector for header in lists[site]}
        facts = wire.agreed_facts(self.masked[site].roster, listed)
        alike = {
            name: signature
            for name, signature in signed.items()
            if {header.site: header.vector for header in lists[name]} == listed
            and self.masked[name].roster == self.masked[site].roster
        }
        alike |= {
            name: KEYS[name].sign(self.step.statement("agreed", name, facts)) for name in self.own if name in listed
        }
        if not alike:
            return
        shown = wire.read(wire.Shown, self.parts[site].show(wire.Agreement(signatures=alike).to_bytes()))
        for kind, of in (("own", shown.own), ("key", shown.keys)):
            for name in of:
                self.shares[name, kind].add(site)

    def knows(self, site: str, kind: str) -> bool:
        return len(self.shares[site, kind]) >= self.step.quorum

    def readable(self) -> Iterator[tuple[str, ...]]:
        """The sets of honest sites whose sum it can read."""
        for size in range(1, len(self.masked) + 1):
            for some in itertools.combinations(sorted(self.masked), size):
                if all(self.knows(site, "own") and self.bare(site, some) for site in some):
                    yield some

    def bare(self, site: str, some: tuple[str, ...]) -> bool:
        """Whether every mask that the site has with another is known, or cancels within the sum."""
        return all(
            other in self.own
            or self.knows(other, "key")
            or self.knows(site, "key")
            or (other in some and self.masked[other].roster == self.masked[site].roster)
            for other in self.seen[site] - {site}
        )


@st.composite
def numbers(draw: st.DrawFn) -> tuple[int, int, int]:
    dropouts, colluders = draw(st.sampled_from([(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (0, 2)]))
    return draw(st.integers(2 * dropouts + colluders + 1, 6)), dropouts, colluders


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(numbers=numbers(), data=st.data())
def test_no_coordinator_reads_a_sum_over_fewer_honest_sites_than_the_claim_counts(
    numbers: tuple[int, int, int], data: st.DataObject
) -> None:
    sites, dropouts, colluders = numbers
    adversary = Adversary(sites, dropouts, colluders, data)
    adversary.play()
    for site in adversary.honest:
        assert not (adversary.knows(site, "own") and adversary.knows(site, "key"))
    sums = list(adversary.readable())
    assert all(len(some) >= sites - dropouts - colluders for some in sums)
    assert len(sums) <= 1  # two of them could be subtracted


def test_such_a_coordinator_does_read_the_sum_when_it_plays_fair() -> None:
    answers: list[Any] = ["one list", ["site-02"], 0]

    class Fair:
        def draw(self, _strategy: object) -> Any:
            return answers.pop(0)

    adversary = Adversary(5, 1, 1, Fair())  # type: ignore[arg-type]
    adversary.play()
    assert list(adversary.readable()) == [tuple(adversary.honest)]
