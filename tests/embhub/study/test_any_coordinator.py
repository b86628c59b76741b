"""A coordinator that does what it likes with t sites on its side: which sums of honest sites can it read at all?

It chooses for each honest site a roster, whose boxes it gets, a list of survivors, and the signatures it sees; its own
sites sign anything, and may send an honest site's public keys as their own, and its boxes with them. What it then knows
is worked out symbolically: seeds of which it has a quorum of shares, and masks that are known or cancel. Two masks
count as one if their keys are the same pair, whoever has them, so that the rule about keys bears the weight alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections import Counter, defaultdict
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
    owned: int
    data: st.DataObject
    shares: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    """By honest site and kind of secret, from whom it has a share."""

    def __post_init__(self) -> None:
        names = list(KEYS)[: self.sites]
        self.names, self.honest, self.own = names, names[self.owned :], names[: self.owned]
        keys = {site: KEYS[site] for site in names}
        self.step = step_of(keys, dropouts=self.dropouts, colluders=self.colluders)
        self.parts = {site: SiteStep(self.step, site, KEYS[site], state=STATE) for site in self.honest}
        self.cipher = {site: X25519PrivateKey.generate() for site in self.own}
        self.keys = {site: wire.read(Keys, part.begin()) for site, part in self.parts.items()}
        self.copied = {kind: self.draw_copies() for kind in ("mask", "cipher")}
        self.keys |= {site: self.forge_keys(site) for site in self.own}
        self.plan = self.data.draw(st.sampled_from(["anything", "one list", "many lists"]))
        self.aim = self.data.draw(st.permutations(self.honest))[: self.data.draw(st.integers(1, len(self.honest)))]
        self.rosters: dict[str, list[str]] = {}
        self.seen: dict[str, set[str]] = {}
        self.masked: dict[str, wire.Masked] = {}

    def draw_copies(self) -> dict[str, str]:
        """Which of its sites sends which honest site's key as its own: in most runs none."""
        if not self.own or self.data.draw(st.integers(0, 3)):
            return {}
        return self.data.draw(st.dictionaries(st.sampled_from(self.own), st.sampled_from(self.honest)))

    def forge_keys(self, site: str) -> Keys:
        mask = masking.public_bytes(masking.mask_key(1 + self.names.index(site)))
        cipher = masking.public_bytes(self.cipher[site])
        if site in self.copied["mask"]:
            mask = self.keys[self.copied["mask"][site]].mask
        if site in self.copied["cipher"]:
            cipher = self.keys[self.copied["cipher"][site]].cipher
        made = Keys(
            site=site, mask=mask, cipher=cipher, commitment=bytes(32), state=STATE, signature=bytes(8)
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
                for name in set(boxes[site]) & set(self.own) - set(self.copied["cipher"]):  # a copy opens no box
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
            source = self.copied["cipher"].get(name, name)  # whose boxes it sends on, as it can seal none
            if source in self.own:
                plain = shamir.to_bytes(1) * 2
                found[name] = masking.seal(self.cipher[name], self.keys[site].cipher, plain, context, (name, site))
            elif source != site and source in boxes and self.rosters[source] == self.rosters[site]:
                found[name] = boxes[source][site]
        if not found:
            return
        self.parts[site].open(wire.Boxes(boxes=found).to_bytes())
        message = self.parts[site].mask(vectors_of([site])[site])
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
                self.shares[self.copied["cipher"].get(name, name), kind].add(site)

    def knows(self, site: str, kind: str) -> bool:
        return len(self.shares[site, kind]) >= self.step.quorum

    def readable(self) -> Iterator[dict[str, int]]:
        """Sums and differences of honest sites' vectors that it can read: the factor of each."""
        opened = [site for site in sorted(self.masked) if self.knows(site, "own")]
        for factors in itertools.product((0, 1, -1), repeat=len(opened)):
            some = {site: factor for site, factor in zip(opened, factors, strict=True) if factor}
            if next(iter(some.values()), 0) == 1 and self.bare(some):
                yield some

    def bare(self, some: dict[str, int]) -> bool:
        """Whether every mask that these vectors have is known, or they cancel: by pair of keys, roster and sign."""
        left: Counter[tuple[frozenset[bytes], str]] = Counter()
        for site, factor in some.items():
            for other in self.seen[site] - {site}:
                owner = self.copied["mask"].get(other, other)
                if not (owner in self.own or self.knows(owner, "key") or self.knows(site, "key")):
                    pair = frozenset((self.keys[site].mask, self.keys[other].mask))
                    left[pair, self.masked[site].roster] += factor if site < other else -factor
        return not any(left.values())


@st.composite
def numbers(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Sites, how many may be missing and collude, and how many the coordinator has: with none named perhaps its own."""
    least, dropouts, colluders = draw(
        st.sampled_from([(4, 1, 0), (4, 1, 1), (5, 1, 2), (6, 2, 0), (6, 2, 1), (3, 0, 2), (2, 0, 0)])
    )
    return draw(st.integers(least, 6)), dropouts, colluders, draw(st.sampled_from([colluders, max(1, colluders)]))


@pytest.mark.slow
def test_no_coordinator_reads_a_sum_over_fewer_honest_sites_than_the_claim_counts() -> None:
    read: Counter[bool] = Counter()

    @settings(max_examples=300, deadline=None)
    @given(numbers=numbers(), data=st.data())
    def check(numbers: tuple[int, int, int, int], data: st.DataObject) -> None:
        sites, dropouts, colluders, owned = numbers
        adversary = Adversary(sites, dropouts, colluders, owned, data)
        adversary.play()
        for site in adversary.honest:
            assert not (adversary.knows(site, "own") and adversary.knows(site, "key"))
        sums = list(adversary.readable())
        assert all(len(some) >= sites - dropouts - owned and set(some.values()) == {1} for some in sums)
        assert len(sums) <= 1  # two of them could be subtracted
        read[bool(sums)] += 1

    check()
    assert read[True] >= 20, read  # else nothing was shown of what can be read


class Plan:
    """An adversary's choices, one after another."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def draw(self, _strategy: object) -> Any:
        return self.answers.pop(0)


def play(sites: int, dropouts: int, colluders: int, *answers: Any, owned: int | None = None) -> Adversary:
    its_own = colluders if owned is None else owned
    adversary = Adversary(sites, dropouts, colluders, its_own, Plan(*answers))  # type: ignore[arg-type]
    adversary.play()
    return adversary


def test_such_a_coordinator_does_read_the_sum_when_it_plays_fair() -> None:
    adversary = play(5, 1, 1, 1, 1, "one list", ["site-02"], 0)
    assert list(adversary.readable()) == [dict.fromkeys(adversary.honest, 1)]


def test_why_five_sites_may_not_be_two_short_even_if_nobody_is_to_collude(monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator's own site signs two lists, with site 2 and without it: each has the three signatures it takes.

    The larger figure would count two shares of noise on what it reads, and one is there.
    """
    lists = [set(), set(), {"site-02"}, {"site-02"}]
    answers = (1, 1, "anything", ["site-02"], 1, *[set()] * 8, *lists)
    with pytest.raises(ValueError, match="at least 6"):
        play(5, 2, 0, *answers, owned=1)
    monkeypatch.setattr(wire, "check_sites", lambda *_: None)
    assert {"site-02": 1} in list(play(5, 2, 0, *answers, owned=1).readable())


def test_a_copied_mask_key_cancels_no_mask() -> None:
    """Site 1 has the key of site 3: the masks of site 2 with both are one, once added and once taken off."""
    assert not list(play(3, 0, 1, 0, {"site-01": "site-03"}, 1, "one list", ["site-02"], 0).readable())


def test_boxes_that_were_sent_on_give_no_shares_of_both_secrets() -> None:
    """Site 1 has the cipher key of site 2 and its boxes: shares of its own mask in the name of site 1."""
    adversary = play(6, 2, 1, 1, 0, {"site-01": "site-02"}, "one list", ["site-02"], 1)
    assert not adversary.knows("site-02", "own") and not list(adversary.readable())
