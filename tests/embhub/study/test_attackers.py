"""Lying coordinators and sites: each is refused with a word, and nothing is unmasked but one sum."""

from __future__ import annotations

import hashlib
import itertools
import json
from functools import partial
from typing import Any

import numpy as np
import pytest

from embhub.study import masking, wire
from embhub.study.grid import Residues
from embhub.study.site import SiteStep
from embhub.study.wire import StudyStepError
from embhub.trust import dsse
from tests.support.stopped_steps import KEYS, NAMES, edit, play, reach
from tests.support.studies import ROUNDS, STATE


@pytest.mark.parametrize("stage", ROUNDS)
def test_no_message_is_sent_twice(stage: str) -> None:
    found, held = reach(stage)
    site = NAMES[0]
    found.answer(stage, site, held[site])
    with pytest.raises(StudyStepError, match="was asked for"):
        found.answer(stage, site, held[site])


@pytest.mark.parametrize("stage, asked", [*itertools.permutations(ROUNDS, 2)])
def test_no_message_is_sent_out_of_turn(stage: str, asked: str) -> None:
    found, held = reach(stage)
    with pytest.raises(StudyStepError, match=f"waits for {'open' if stage == 'mask' else stage}"):
        found.answer(asked, NAMES[0], held[NAMES[0]])


@pytest.mark.parametrize("stage", ROUNDS[1:])
def test_a_refusal_ends_the_step_for_the_site(stage: str) -> None:
    found, held = reach(stage)
    with pytest.raises(StudyStepError):
        found.answer(stage, NAMES[0], b"{}")
    with pytest.raises(StudyStepError, match="has ended"):
        found.answer(stage, NAMES[0], held[NAMES[0]])


def swap_mask_key(value: Any) -> None:
    """What a coordinator in the middle would do: a key of its own in another site's name."""
    value["keys"][1]["mask"] = dsse.encode(masking.public_bytes(masking.mask_key(7)))


ROSTERS = {
    "swapped key": (swap_mask_key, "not signed by it"),
    "site twice": (lambda value: value["keys"].append(value["keys"][1]), "twice"),
    "without this site": (lambda value: value["keys"].pop(0), "without this site"),
    "too few": (lambda value: value["keys"].__delitem__(slice(3, None)), "a sum takes 4"),
    "another state": (lambda value: value["keys"][1].update(state="b" * 64), "not signed by it"),
    "another name": (lambda value: value["keys"][1].update(site="stranger"), "no site of this study"),
    "no namespace": (lambda value: value["keys"][1].update(site="../x"), "not a message roster"),
}


@pytest.mark.parametrize("case", ROSTERS)
def test_a_roster_that_lies_is_refused(case: str) -> None:
    change, word = ROSTERS[case]
    found, held = reach("share")
    with pytest.raises(StudyStepError, match=word):
        found.sites[NAMES[0]].share(edit(held[NAMES[0]], change))


@pytest.mark.parametrize("sent", ["mask", "cipher"])
@pytest.mark.parametrize("copied, of", [("mask", 1), ("cipher", 1), ("mask", 0), ("cipher", 0), ("its own", 4)])
def test_a_key_that_is_there_twice_is_refused(sent: str, copied: str, of: int) -> None:
    """A site has a key of another's, of the reader's or of itself as its own, and signs it."""
    found, held = reach("share")
    roster = wire.read(wire.Roster, held[NAMES[0]]).keys
    kind = {"mask": "cipher", "cipher": "mask"}[sent] if copied == "its own" else copied
    forged = roster[4].model_copy(update={sent: getattr(roster[of], kind)})
    signature = KEYS[NAMES[4]].sign(found.step.statement("keys", NAMES[4], forged.facts()))
    forged = forged.model_copy(update={"signature": signature})
    with pytest.raises(StudyStepError, match="one public key is there twice"):
        found.sites[NAMES[0]].share(wire.Roster(keys=(*roster[:4], forged)).to_bytes())


@pytest.mark.parametrize("fact", ["mask", "cipher", "commitment"])
def test_other_keys_that_a_site_signed_itself_are_refused(fact: str) -> None:
    """It did so for this number before it restarted, say."""
    found, held = reach("share")
    roster = wire.read(wire.Roster, held[NAMES[0]]).keys
    old = roster[0].model_copy(update={fact: masking.public_bytes(masking.mask_key(3))})
    signature = KEYS[NAMES[0]].sign(found.step.statement("keys", NAMES[0], old.facts()))
    old = old.model_copy(update={"signature": signature})
    with pytest.raises(StudyStepError, match="other keys in its name"):
        found.sites[NAMES[0]].share(wire.Roster(keys=(old, *roster[1:])).to_bytes())


def test_a_roster_of_another_step_study_or_set_of_sites_is_refused() -> None:
    _, held = reach("share")
    for number, study in [(2, "5" * 64), (1, "6" * 64)]:
        step = wire.Step(study, number, {site: key.public for site, key in KEYS.items()}, 1, 0, 8)
        site = SiteStep(step, NAMES[0], KEYS[NAMES[0]], state=STATE)
        site.begin()
        with pytest.raises(StudyStepError, match="not signed by it for this step"):
            site.share(held[NAMES[0]])


def test_a_site_with_another_sum_ends_the_step() -> None:
    found = play()
    found.sites[NAMES[2]] = SiteStep(found.step, NAMES[2], KEYS[NAMES[2]], state="b" * 64)
    with pytest.raises(StudyStepError, match="shown different sums"):
        found.run()


def test_old_keys_in_a_sites_own_name_are_refused() -> None:
    """A coordinator who replays what the site sent before it restarted."""
    old, held = reach("share")
    site = SiteStep(old.step, NAMES[0], KEYS[NAMES[0]], state=STATE)
    site.begin()
    with pytest.raises(StudyStepError, match="other keys in its name"):
        site.share(held[NAMES[0]])


def _lose(value: Any, *, lost: int) -> None:
    value["headers"].pop(lost)


def test_two_lists_of_survivors_never_both_have_a_quorum() -> None:
    """Five sites, one may be missing, two collude: the coordinator gives honest sites different lists."""
    found, held = reach("agree", dropouts=1)
    honest, colluders = NAMES[:3], NAMES[3:]
    lists = [edit(held[NAMES[0]], partial(_lose, lost=lost)) for lost in (2, 1)]
    signed = {
        honest[0]: found.sites[honest[0]].agree(lists[0]),
        honest[1]: found.sites[honest[1]].agree(lists[0]),
        honest[2]: found.sites[honest[2]].agree(lists[1]),
    }
    facts = []
    for each in lists:
        headers = json.loads(each)["headers"]
        roster = wire.roster_digest({site: found.coordinator._keys[site] for site in NAMES})
        facts.append(wire.agreed_facts(roster, {head["site"]: head["vector"] for head in headers}))
    shown = 0
    for place, sites in ((0, honest[:2]), (1, honest[2:])):
        signatures = {site: json.loads(signed[site])["signatures"][site] for site in sites}
        for site in colluders:  # who sign whatever is asked
            signature = KEYS[site].sign(found.step.statement("agreed", site, facts[place]))
            signatures[site] = dsse.encode(signature)
        agreement = json.dumps({"kind": "agreement", "signatures": signatures}).encode()
        for site in sites:
            try:
                found.sites[site].show(agreement)
                shown += 1 << place
            except StudyStepError as error:
                assert "a sum takes 4" in error.message
    assert shown in (0, 2)  # the first list has a quorum of two honest and two colluding sites, the second none


def test_a_site_left_out_of_some_rosters_ends_the_step() -> None:
    """One site gets no box of another: its vector lacks a mask that others have, and would spoil the sum."""
    found, held = reach("mask", sites=4)
    without = edit(held[NAMES[0]], lambda value: value["boxes"].pop(NAMES[2]))
    masked = {NAMES[0]: found.answer("mask", NAMES[0], without)}
    masked |= {site: found.answer("mask", site, held[site]) for site in NAMES[1:4]}
    headers = []
    for site in (NAMES[0], NAMES[1], NAMES[3]):
        message = wire.read(wire.Masked, masked[site])
        headers.append(
            {"site": site, "vector": hashlib.sha256(message.vector).hexdigest(),
             "signature": dsse.encode(message.signature)}
        )  # fmt: skip
    survivors = json.dumps({"kind": "survivors", "headers": headers}).encode()
    for site in (NAMES[0], NAMES[1]):
        with pytest.raises(StudyStepError, match="not signed by it for this step"):
            found.sites[site].agree(survivors)


SURVIVORS = {
    "without this site": (lambda value: value["headers"].pop(0), "without this site"),
    "another vector": (lambda value: value["headers"][0].update(vector="0" * 64), "not signed by it"),
    "vector of another": (lambda value: value["headers"][1].update(vector="0" * 64), "not signed by it"),
    "site twice": (lambda value: value["headers"].append(value["headers"][1]), "twice"),
    "stranger": (lambda value: value["headers"][1].update(site="stranger"), "not in this step"),
    "too few": (lambda value: value["headers"].__delitem__(slice(3, None)), "a sum takes 4"),
}


@pytest.mark.parametrize("case", SURVIVORS)
def test_survivors_that_lie_are_refused(case: str) -> None:
    change, word = SURVIVORS[case]
    found, held = reach("agree")
    with pytest.raises(StudyStepError, match=word):
        found.sites[NAMES[0]].agree(edit(held[NAMES[0]], change))


AGREEMENTS = {
    "too few": (lambda value: [value["signatures"].pop(site) for site in NAMES[3:]], "a sum takes 4"),
    "one in another's name": (lambda value: value["signatures"].update({NAMES[1]: value["signatures"][NAMES[2]]}),
                              "not signed by it"),
    "stranger": (lambda value: value["signatures"].update(stranger=value["signatures"][NAMES[1]]), "no survivor"),
}  # fmt: skip


@pytest.mark.parametrize("case", AGREEMENTS)
def test_agreements_that_lie_are_refused(case: str) -> None:
    change, word = AGREEMENTS[case]
    found, held = reach("show")
    with pytest.raises(StudyStepError, match=word):
        found.sites[NAMES[0]].show(edit(held[NAMES[0]], change))


def test_a_box_that_was_tampered_with_or_sent_on_is_refused() -> None:
    for change in (
        lambda value: value["boxes"].update({NAMES[1]: value["boxes"][NAMES[2]]}),
        lambda value: value["boxes"].update({NAMES[1]: value["boxes"][NAMES[1]][:-4] + "AAA="}),
    ):
        found, held = reach("mask")
        with pytest.raises(StudyStepError, match=f"box of {NAMES[1]} does not open|not a message boxes"):
            found.sites[NAMES[0]].open(edit(held[NAMES[0]], change))


BOXES = {
    "stranger": (lambda value: value["boxes"].update(stranger=value["boxes"][NAMES[1]]), "not in this step"),
    "its own": (lambda value: value["boxes"].update({NAMES[0]: value["boxes"][NAMES[1]]}), "not in this step"),
    "too few": (lambda value: [value["boxes"].pop(site) for site in NAMES[3:]], "a sum takes 4"),
}


@pytest.mark.parametrize("case", BOXES)
def test_boxes_that_lie_are_refused(case: str) -> None:
    change, word = BOXES[case]
    found, held = reach("mask")
    with pytest.raises(StudyStepError, match=word):
        found.sites[NAMES[0]].open(edit(held[NAMES[0]], change))


def test_keys_are_tied_to_study_step_and_roster() -> None:
    sites = {site: key.public for site, key in KEYS.items()}
    steps = [
        wire.Step("5" * 64, 1, sites, 1, 0, 8),
        wire.Step("6" * 64, 1, sites, 1, 0, 8),
        wire.Step("5" * 64, 2, sites, 1, 0, 8),
    ]
    assert len({step.context(roster) for step in steps for roster in ("a", "b")}) == 6


def test_of_every_other_site_one_kind_of_share_is_shown_and_never_both() -> None:
    found = play(missing={"mask": [NAMES[1]]})
    found.run()
    for name, _, data in found.left:
        if name == "show":
            shown = wire.read(wire.Shown, data)
            assert set(shown.own) == set(NAMES) - {NAMES[1]} and set(shown.keys) == {NAMES[1]}


def test_a_vector_that_comes_late_stays_masked() -> None:
    found = play()
    late: dict[str, wire.Masked] = {}

    def lose(name: str, site: str, data: bytes) -> bytes:
        if name == "mask" and site == NAMES[1]:
            late[site] = wire.read(wire.Masked, data)
        return data

    found.from_site = lose
    take = found.coordinator.take_masked
    found.coordinator.take_masked = lambda site, data: None if site == NAMES[1] else take(site, data)  # type: ignore[method-assign]
    found.missing = {"agree": [NAMES[1]]}
    assert (found.run() == found.expected()).all()
    with pytest.raises(StudyStepError, match="too late"):
        type(found.coordinator).take_masked(found.coordinator, NAMES[1], late[NAMES[1]].to_bytes())
    # All that everybody has shown: every pairwise mask of the late site comes off, its own mask stays on.
    coordinator = found.coordinator
    key = masking.mask_key(coordinator._restore(NAMES[1], "keys"))
    context = found.step.context(coordinator._roster_digest)
    left = wire.vector_of(late[NAMES[1]].vector, 8).copy()
    for site in set(NAMES) - {NAMES[1]}:
        pair = masking.pair_mask(key, coordinator._keys[site].mask, 8, context, (site, NAMES[1]))
        left = left - pair if NAMES[1] < site else left + pair
    mask = masking.own_mask(found.sites[NAMES[1]]._seed, 8, context)
    assert (left == found.vectors[NAMES[1]] + mask).all()
    assert not any(NAMES[1] in wire.read(wire.Shown, data).own for name, _, data in found.left if name == "show")


def test_the_transcript_holds_no_sum_but_the_one_over_all_survivors() -> None:
    """With all that left the sites: own masks come off, and only all survivors together lose their pairwise masks."""
    found = play()
    found.run()
    coordinator, context = found.coordinator, found.step.context(found.coordinator._roster_digest)
    bare: dict[str, Residues] = {
        site: coordinator._vectors[site] - masking.own_mask(coordinator._restore(site, "own"), 8, context)
        for site in NAMES
    }
    everything = b"".join(data for _, _, data in found.left)
    for size in range(1, 6):
        for some in itertools.combinations(NAMES, size):
            true = np.add.reduce([found.vectors[site] for site in some], dtype=np.uint32)
            seen = np.add.reduce([bare[site] for site in some], dtype=np.uint32)
            assert (seen == true).all() == (size == 5)
            if size == 1:
                assert dsse.encode(wire.vector_bytes(true))[:40].encode() not in everything


def test_colluding_sites_learn_the_sum_of_the_others_and_no_part_of_it() -> None:
    found = play()
    total, colluders = found.run(), NAMES[3:]
    context = found.step.context(found.coordinator._roster_digest)
    bare = {}
    for site in NAMES[:3]:
        vector = found.coordinator._vectors[site]
        vector = vector - masking.own_mask(found.coordinator._restore(site, "own"), 8, context)
        for other in colluders:  # whose keys the coordinator has
            key, public = found.sites[other]._mask_key, found.coordinator._keys[site].mask
            pair = masking.pair_mask(key, public, 8, context, (site, other))
            vector = vector - pair if site < other else vector + pair
        bare[site] = vector
    rest = total - np.add.reduce([found.vectors[site] for site in colluders], dtype=np.uint32)
    assert (np.add.reduce(list(bare.values()), dtype=np.uint32) == rest).all()
    for size in (1, 2):
        for some in itertools.combinations(NAMES[:3], size):
            true = np.add.reduce([found.vectors[site] for site in some], dtype=np.uint32)
            assert (np.add.reduce([bare[site] for site in some], dtype=np.uint32) != true).all()
