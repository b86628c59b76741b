"""Orders of events at a registry, a site and a thief, and what has to hold after each, whatever the order.

1. What a site saw revoked or removed never counts again. What it saw withdrawn binds until the key that its keyring
   names for advisories says otherwise.
2. No keyring counts that the root did not sign.
3. A site takes the honest registry's answer; after a theft of the online keys at the latest once they were replaced.
4. A release passes if and only if its key is in force where it was pulled; what binds as withdrawn is said with it.

The thief has everything that was ever shown, and any of the online keys, earlier roots and a publisher's key. The
person who signs keyrings reads nothing and signs what their machine lets them.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from embhub.errors import EmbhubError
from embhub.formats import instants
from embhub.refusals import Finding
from embhub.release import verification
from embhub.release.checks import signers, withdrawals
from embhub.site.pins import pin_names, trust_store
from embhub.site.signing.keys import SigningKey
from embhub.trust import freshness, kept_advisories, keyring_document, keyring_review, root_keys
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import TrustExport
from embhub.trust.proposal import Proposal
from tests.support.releases import REGISTRY, make_keyring, member
from tests.support.trust_world import LISTS, PUBLISHERS, ROOTS, STAMPS, THIEF, World, at_home, release_of

MIRROR = "http://127.0.0.2"
PLACES = (REGISTRY, MIRROR)
AHEAD = (timedelta(), timedelta(hours=20), timedelta(days=400), timedelta(days=365 * 70))


@dataclass
class Expected:
    """What has to hold of one pin: names of withdrawals, fingerprints of keys, and whether a thief's word was taken."""

    root: int = 0
    key: str = ""
    number: int = 0
    listed: set[str] = field(default_factory=set)
    carried: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    barred: set[str] = field(default_factory=set)  # of these, whose word counts under no date
    misled: int | None = None  # which online keys a thief had when this place took their word


class TrustModel(RuleBasedStateMachine):
    """One registry, reached at its address and at a mirror's."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.site = Path(self.folder.name) / "site"
        self.world = World(Path(self.folder.name) / "signer")
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(trust_store, "_now", lambda: self.world.now)
        self.online = self.roots = 0  # how many of the online keys and of the roots before are stolen
        self.pins = {REGISTRY: Expected()}
        with at_home(self.site):
            trust_store.add(self.world.answers[-1].to_bytes(), fingerprint=ROOTS[0].fingerprint)
        self.note(REGISTRY, self.world.answers[-1])

    def teardown(self) -> None:
        self.patched.undo()
        self.folder.cleanup()

    @rule(number=st.integers(0, 2**64 - 1))
    def something_happens(self, number: int) -> None:
        """Hypothesis chooses among numbers near the edges; each stands for an event with all its circumstances."""
        dice = random.Random(number)
        event = dice.choice(EVENTS)
        note(event.__name__)
        event(self, dice)

    # the operator

    def a_publisher_joins(self, dice: random.Random) -> None:
        if self.world.made < len(PUBLISHERS):
            self.world.add_publisher()

    def a_key_is_revoked_or_removed(self, dice: random.Random) -> None:
        if valid := [key for key in self.world.publishers if key.fingerprint not in self.world.revoked]:
            self.world.revoke(dice.choice(valid), dice.choice(["left", "lost", "stolen"]))

    def a_file_is_withdrawn(self, dice: random.Random) -> None:
        self.world.withdraw()

    def a_withdrawal_is_lifted(self, dice: random.Random) -> None:
        if names := sorted(self.world.withdrawn):
            self.world.lift(dice.choice(names))

    def days_pass(self, dice: random.Random) -> None:
        self.world.pass_time(timedelta(days=dice.randrange(30)))
        self.world.publish()

    def online_keys_are_replaced(self, dice: random.Random) -> None:
        if self.world.online + 1 < len(LISTS):
            self.world.replace_online()

    def the_root_is_replaced(self, dice: random.Random) -> None:
        if self.world.root + 1 < len(ROOTS):
            self.world.replace_root()

    def a_backup_is_restored(self, dice: random.Random) -> None:
        if dice.random() < 0.5 and self.world.online + 1 < len(LISTS):
            self.world.online += 1  # after a theft
        self.world.restore(dice.choice(self.world.keyrings[-5:]))

    # the site

    def the_site_asks(self, dice: random.Random) -> None:
        """Nothing keeps a site from the honest answer but the word of a thief whose keys are still in force.

        A change of root moves every place of the registry, so what a thief said at one of them counts then too.
        """
        place = dice.choice(PLACES)
        asked = self.pins.get(place)
        heard = [asked] if asked is None or asked.root == self.world.root else list(self.pins.values())
        try:
            self.ask(place, self.world.answers[-1])
        except EmbhubError as error:
            if all(pin is None or pin.misled != self.world.online for pin in heard):
                raise AssertionError("the honest answer was refused") from error
        self.compare()

    def the_site_reads_an_old_folder(self, dice: random.Random) -> None:
        self.attack(dice, dice.choice(self.world.answers[-5:]))

    def the_site_pulls(self, dice: random.Random) -> None:
        """A release by any key, from any place whose keyring is kept here."""
        key, place = dice.choice([*PUBLISHERS[: self.world.made], THIEF]), dice.choice(sorted(self.pins))
        with at_home(self.site):
            trust = trust_store.load(place)
        pin, known, release = self.expected(place), trust.lookup(key.fingerprint), release_of(key)
        in_force = known is not None and known.revocation is None
        try:
            verified = verification.verify(release, trust=trust, now=self.world.now)
        except EmbhubError as error:
            if in_force:
                raise AssertionError("a release by a key in force was refused") from error
            return
        assert key is not THIEF and key.fingerprint not in pin.barred, "a release by a key of no right passed"
        bound = {name for name in pin.listed | pin.carried if self.world.digests.get(name) == verified.digest}
        assert bound <= {one.id for one in verified.withdrawn}, "a release passed as if it were not withdrawn"

    # the thief

    def online_keys_are_stolen(self, dice: random.Random) -> None:
        self.online = self.world.online + 1

    def earlier_roots_are_stolen(self, dice: random.Random) -> None:
        self.roots = self.world.root

    def parts_are_mixed(self, dice: random.Random) -> None:
        """A signed keyring, with a list and a timestamp of any day, or made by stolen keys, or by keys of no right."""
        world = self.world
        keyring = dice.choice(world.keyrings[-3:])
        online = keyrings.parse_keyring(keyring.payload).online or {}
        at = next(number for number, key in enumerate(LISTS) if key.fingerprint == online["advisories"].fingerprint)
        lists, stamps = (LISTS[at], STAMPS[at]) if at < self.online else (THIEF, PUBLISHERS[0])
        shown, stated = dice.choice(world.lists[-5:]), dice.choice(world.stamps[-5:])
        if dice.random() < 0.7:
            told = [entry for entry in world.withdrawn.values() if dice.random() < 0.5]
            told = [replace(one, withdrawn_on=one.published) if dice.random() < 0.3 else one for one in told]
            shown = world.listed(told, lists, ahead=dice.choice(AHEAD))
        if dice.random() < 0.8:
            stated = world.stamped(keyring, shown, stamps, ahead=dice.choice(AHEAD))
        self.attack(dice, TrustExport(REGISTRY, keyring, dice.choice([world.chain, world.chain[:-1]]), stated, shown))

    def an_earlier_root_signs(self, dice: random.Random) -> None:
        """All that was revoked is back in it. A site that has this root pinned cannot know that it was stolen."""
        number = dice.randrange(max(self.roots, 1))
        if self.roots and max(pin.root for pin in self.pins.values()) > number:
            self.forge(dice, number, ROOTS[number])

    def nobody_signs_for_the_root(self, dice: random.Random) -> None:
        """A keyring or a change of the root in force, with the thief's own signature."""
        self.forge(dice, self.world.root, THIEF)

    def forge(self, dice: random.Random, number: int, key: SigningKey) -> None:
        world, root, signer, chain = self.world, ROOTS[number], key, self.world.chain[:number]
        if dice.random() < 0.5:
            made = world.change(root, THIEF, number=number + 1)
            root, signer, chain = THIEF, THIEF, (*chain, made.signed_by(key).signed_by(THIEF))
        ring = make_keyring(
            version=world.current.version + 1 + dice.randrange(2),
            members=[member("radboud", [(key, "publish") for key in PUBLISHERS[: world.made]])],
            root=root_keys.one_key(root.public).model_dump(),
            online={"advisories": root_keys.named(LISTS[-1].public).model_dump(),
                    "timestamp": root_keys.named(STAMPS[-1].public).model_dump()},
        )  # fmt: skip
        keyring = keyrings.sign_keyring(ring, root_key=signer)
        shown = world.listed((), LISTS[-1], ahead=timedelta())
        stated = world.stamped(keyring, shown, STAMPS[-1], ahead=timedelta())
        self.attack(dice, TrustExport(REGISTRY, keyring, dice.choice([chain, world.chain]), stated, shown))

    def a_thief_proposes(self, dice: random.Random) -> None:
        """A keyring that goes on from any earlier one: what was revoked since is left out, and the key is back."""
        world = self.world
        before = dice.choice(world.keyrings[-5:])
        old = keyrings.parse_keyring(before.payload)
        gone = [row for row in old.revoked if dice.random() < 0.8]
        left = {row.fingerprint for row in gone if row.reason == "left"}
        there = [key for key in PUBLISHERS[: world.made] if key.fingerprint not in left]
        ring = world.ring(version=dice.choice([old.version, world.current.version]) + 1 + dice.randrange(2))
        ring = make_keyring(**{
            **json.loads(ring.to_bytes()), "revoked": [row.model_dump() for row in gone],
            "members": [member("radboud", [(key, "publish") for key in there])] if there else [],
        })  # fmt: skip
        try:
            world.sign(Proposal(keyrings.unsigned_keyring(ring), before), remembers=dice.random() < 0.8)
        except EmbhubError:
            return
        world.publish()

    # what is compared

    def expected(self, place: str) -> Expected:
        """What has to hold at a place: of one that follows a later root where another place showed it."""
        return max((self.pins[place], *self.pins.values()), key=lambda one: one.root)

    def ask(self, place: str, shown: TrustExport) -> None:
        """The site takes this answer for the one of a place, or refuses it."""
        with at_home(self.site):
            if place in self.pins:
                trust_store.refresh(place, shown.to_bytes())
            else:
                root = ROOTS[self.pins[REGISTRY].root].fingerprint
                trust_store.add(shown.to_bytes(), fingerprint=root, address=place)
        self.pins.setdefault(place, Expected())
        self.note(place, shown)

    def attack(self, dice: random.Random, shown: TrustExport) -> None:
        """The site may take it or refuse it; what it takes is judged."""
        with suppress(EmbhubError):
            self.ask(dice.choice(sorted(self.pins)), shown)
        self.compare()

    def note(self, place: str, shown: TrustExport) -> None:
        """What has to hold from now on, for this place took an answer."""
        pin, world, ring = self.pins[place], self.world, shown.claimed
        assert shown.advisories is not None and shown.timestamp is not None
        listed, stamp = json.loads(shown.advisories.payload), json.loads(shown.timestamp.payload)
        tomorrow = world.now + timedelta(days=1)
        assert listed["number"] <= tomorrow.timestamp(), "a number that no honest one reaches was taken"
        assert stamp["issued"] <= instants.write(tomorrow), "a date that is far ahead was taken"
        root = next(number for number, key in enumerate(ROOTS) if key.fingerprint == shown.root_fingerprint)
        others = [one for name, one in self.pins.items() if name != place]
        if any(one.root > root for one in others):
            return  # another place showed a later root: that one counts, and nothing of this is new
        key = ring.online["advisories"].fingerprint if ring.online else ""
        for one in (pin, *(one for one in others if root > one.root)) if root > pin.root else (pin,):
            pin.carried |= one.carried | (one.listed if one.key != key else set())
        named = {entry["id"] for entry in listed["advisories"]}
        assert key != pin.key or listed["number"] >= pin.number, "an older list was taken"
        pin.number = listed["number"]
        pin.carried -= named
        pin.listed = {entry["id"] for entry in listed["advisories"] if "withdrawn" not in entry}
        pin.key, pin.root = key, root
        pin.gone |= {row.fingerprint for row in ring.revoked}
        pin.barred |= {row.fingerprint for row in ring.revoked if row.reason in ("left", "stolen")}
        if shown not in world.answers and self.online > world.online:
            pin.misled = world.online
        elif pin.misled != world.online:
            pin.misled = None

    def compare(self) -> None:
        """What counts at each place now, with what has to."""
        for place in self.pins:
            with at_home(self.site):
                trust = trust_store.load(place)
            assert trust.digest in {keyring.digest for keyring in self.world.keyrings}, "the root did not sign it"
            pin = self.expected(place)
            for key in pin.gone:
                found = trust.lookup(key)
                assert found is None or found.revocation is not None, f"{key} counts again"
            bound = kept_advisories.opened(trust)
            in_force = {entry.id for entry in bound.entries if entry.withdrawn_on is None} if bound else set()
            assert pin.listed | pin.carried <= in_force, "a withdrawal was forgotten"


EVENTS: Sequence[Callable[[TrustModel, random.Random], None]] = [
    event
    for event, weight in {
        TrustModel.a_publisher_joins: 2, TrustModel.a_key_is_revoked_or_removed: 5, TrustModel.a_file_is_withdrawn: 4,
        TrustModel.a_withdrawal_is_lifted: 1, TrustModel.days_pass: 3, TrustModel.online_keys_are_replaced: 2,
        TrustModel.the_root_is_replaced: 1, TrustModel.a_backup_is_restored: 3, TrustModel.the_site_asks: 8,
        TrustModel.the_site_pulls: 6,
        TrustModel.the_site_reads_an_old_folder: 4, TrustModel.online_keys_are_stolen: 2,
        TrustModel.earlier_roots_are_stolen: 1, TrustModel.parts_are_mixed: 6, TrustModel.an_earlier_root_signs: 3,
        TrustModel.nobody_signs_for_the_root: 2, TrustModel.a_thief_proposes: 6,
    }.items()
    for _ in range(weight)
]  # fmt: skip


def run(events: int) -> None:
    """This many events, in sequences of fifty. What a keyring's bytes say is worked out once for each."""
    chosen = settings(max_examples=events // 50, stateful_step_count=50, database=None, phases=(Phase.generate,),
                      suppress_health_check=list(HealthCheck))  # fmt: skip
    with patch.object(keyring_document, "read_model", lru_cache(4096)(root_keys.read_model)):
        run_state_machine_as_test(TrustModel, settings=chosen)


def test_what_was_promised_holds_in_any_order() -> None:
    run(500)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.exhaustive
def test_what_was_promised_holds_in_twenty_thousand_events() -> None:
    run(20_000)


SAID = Finding("revocation", "ok", "")
FAULTS: Mapping[str, Sequence[tuple[object, str, Callable[..., Any]]]] = {
    "a signer's machine compares nothing": [
        (keyring_review, "_check_in_force", lambda *_: None), (keyring_review, "check_succession", lambda *_: None),
    ],
    "a new advisories key counts on from the old one": [(kept_advisories, "_has_one_key", lambda *_: True)],
    "numbers and dates far ahead are taken": [(freshness, "refuse_the_future", lambda *_: None)],
    "an older list is taken": [(kept_advisories, "check_succession", lambda *_, **__: None)],
    "what was withdrawn ends with the key that listed it": [(kept_advisories, "carried", lambda *_, **__: None)],
    "a replaced root still speaks at another address": [(pin_names, "in_force", lambda pin, among: pin)],
    "a stolen key's release passes": [(signers, "check_publishers_key", lambda *_, **__: SAID)],
    "nobody asks what was withdrawn": [(withdrawals, "find", lambda *_, **__: ((), ()))],
    "nobody asks whether the root signed": [(root_keys.RootKeys, "check", lambda *_, **__: None)],
}  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS)
def test_the_model_finds_a_program_without_one_of_its_checks(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name, instead in FAULTS[fault]:
        monkeypatch.setattr(place, name, instead)
    with pytest.raises(AssertionError):
        run(20_000)  # ends with the first event that breaks a promise
