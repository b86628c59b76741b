"""The privacy claim: everything in it is recomputed, and what its parameters do not support is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.audits.one_run import bound
from embhub.errors import EmbhubError
from embhub.privacy import wording
from embhub.privacy.claim import (
    Build,
    PrivacyClaim,
    UncheckableClaimError,
    UnsupportedClaimError,
    build_claim,
    is_round,
    parse_claim,
    read_claim,
    write_claim,
)
from embhub.privacy.rdp import Curve, epsilon_of, gaussian_curve, largest_tpr, publish_epsilon
from embhub.privacy.self_test import certain, most_shown
from tests.support.claims import SELF_TEST, SELF_TEST_OF_ALL, altered, make_claim, site_total

CLAIM = make_claim()
AGG = make_claim(mechanism="dp-agg", batch=100, sigma=1.9939, steps=1)
VOTES = make_claim(mechanism="votes", batch=100, sigma=1.9939 * 3**0.5, steps=3)
ACCOUNTANT = CLAIM.accountant.model_dump()


def raised(claim: PrivacyClaim, **members: Any) -> str:
    with pytest.raises(UnsupportedClaimError) as caught:
        read_claim(altered(claim, **members))
    assert caught.value.exit_code == 6 and caught.value.hint
    return caught.value.message


def test_a_claim_survives_header_card_and_statement_to_the_byte() -> None:
    text = write_claim(CLAIM)
    assert read_claim(text) == CLAIM and write_claim(read_claim(text)) == text
    assert parse_claim(json.loads(text)) == CLAIM
    assert make_claim() == CLAIM and make_claim().to_text() == text, "recomputed, it is the same bytes"
    assert len(text) < 4000
    assert read_claim("none") == parse_claim("none") == "none" and write_claim("none") == "none"


BUILD = {"version": "0.1.0", "kind": "wheel", "digest": "ab" * 32}


@pytest.mark.parametrize("change", [{}, {"kind": "changed"}, {"kind": "development", "digest": None}])
def test_a_claim_states_a_build_where_it_has_one(change: dict[str, Any]) -> None:
    claim = make_claim(build=Build(**BUILD | change))
    assert read_claim(claim.to_text()) == claim and json.loads(claim.to_text())["build"] == BUILD | change
    (told,) = set(claim.words()) - set(CLAIM.words())
    assert "embhub 0.1.0" in told and "no proof: a changed program can state any digest" in told
    assert ("digest abab" in told) is (change.get("digest", BUILD["digest"]) is not None)
    assert ("not those of its wheel" in told) is (claim.build is not None and claim.build.kind == "changed")
    assert "build" not in json.loads(CLAIM.to_text()) and "embhub" not in " ".join(CLAIM.words())


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (None, "not written canonically"),
        (BUILD | {"digest": None}, "null exactly where kind is development"),
        (BUILD | {"kind": "development"}, "null exactly where kind is development"),
        (BUILD | {"kind": "safe"}, "kind"),
        (BUILD | {"digest": "AB" * 32}, "digest"),
        (BUILD | {"version": "0.1.0\nsafe"}, "version"),
        (BUILD | {"version": "0.1.0 <b>"}, "version"),
        (BUILD | {"host": "a"}, "host"),
    ],
)
def test_a_build_that_says_something_else_is_refused(build: Any, reason: str) -> None:
    with pytest.raises(EmbhubError, match=reason):
        read_claim(altered(CLAIM, build=build))


def test_a_vote_is_one_and_everybody_votes() -> None:
    assert read_claim(VOTES.to_text()) == VOTES and any("one vote of each patient" in text for text in VOTES.words())
    assert "clip is 1" in raised(VOTES, clip=0.5) and "clip is 1" in raised(VOTES, clip=2.0)
    assert "its two figures" in raised(VOTES, epsilon=1.0)
    assert "rdp is not the curve" in raised(VOTES, steps=1), "each round counts"
    with pytest.raises(UnsupportedClaimError, match="sampling is `all`"):
        make_claim(mechanism="votes", batch=50, sigma=9.0, steps=3)


@pytest.mark.parametrize("candidates", [1, 3, 257, 10_000_000])
def test_votes_were_tried_on_as_many_candidates_as_a_round_can_have(candidates: int) -> None:
    block = json.loads(VOTES.to_text())["self_test"]
    tried = block | {"own_width": block["own_width"] | {"dimension": candidates}}
    assert "from 4 to 256 candidates" in raised(VOTES, self_test=tried)


def test_what_is_stated_follows_from_the_mechanism() -> None:
    assert CLAIM.epsilon == 2.0
    assert CLAIM.sampling.q == 0.1 and CLAIM.denominator == 10
    assert CLAIM.epsilon == CLAIM.epsilon_pld and CLAIM.accountant.name == "pld"
    assert CLAIM.epsilon_rdp == publish_epsilon(epsilon_of(CLAIM.curve, delta=CLAIM.delta)) == 2.1791
    assert AGG.epsilon == 2.0 and AGG.sampling.kind == "all" and AGG.accountant.name == "gaussian"
    assert VOTES.epsilon == 2.0 and VOTES.accountant.name == "gaussian", (
        "three rounds are one of a third of the variance"
    )
    assert CLAIM.schema_ == "embhub.privacy/2" and "release-decision" in CLAIM.unprotected


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"epsilon": 1.0}, "the smaller of its two figures is 2"),
        ({"epsilon": 1.9999}, "the smaller of its two figures is 2"),
        ({"epsilon": 3.0}, "the smaller of its two figures is 2"),
        ({"epsilon": 1.0, "epsilon_pld": 1.0}, "epsilon_pld is 1, its parameters give 2"),
        ({"epsilon": 1.9999, "epsilon_pld": 1.9999}, "epsilon_pld is 1.9999, its parameters give 2"),
        ({"epsilon_pld": 2.1}, "epsilon_pld is 2.1, its parameters give 2"),
        ({"epsilon": 1.0, "epsilon_rdp": 1.0}, "epsilon_rdp is 1, its parameters give 2.1791"),
        ({"epsilon_rdp": None}, "epsilon_rdp"),
        ({"epsilon_pld": None}, "the smaller of its two figures is 2.1791"),
        ({"sigma": 9.0}, "rdp is not the curve"),
        ({"steps": 50}, "rdp is not the curve"),
        ({"rdp": [0.01] * len(CLAIM.rdp)}, "rdp is not the curve"),
        ({"rdp": [None] * len(CLAIM.rdp)}, "rdp is not the curve"),
        ({"rdp": list(CLAIM.rdp)[:-1]}, "rdp"),
        ({"delta": 0.01}, "delta 0.01 is above 1e-05, the largest of any claim"),
        ({"delta": 0.0}, "delta"),
        ({"n_public": 1000}, "is not denominator"),
        ({"n_public": 123}, "not round"),
        ({"n_public": 5}, "n_public"),
        ({"denominator": 20}, "is not denominator"),
        ({"denominator": 100}, "is not denominator"),
        ({"sampling": {"kind": "all", "q": 0.1, "truncation": "none"}}, "`all` exactly where"),
        ({"sampling": {"kind": "poisson", "q": 0.1, "truncation": "capped"}}, "truncation"),
        ({"sampling": {"kind": "shuffled", "q": 0.1, "truncation": "none"}}, "kind"),
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": -1.0}, "sigma"),
        ({"steps": 0}, "steps"),
        ({"steps": 1.5}, "steps"),
        ({"clip": 0.0}, "clip"),
        ({"unit": "image"}, "an image is one image"),
        ({"unit": "hospital"}, "unit"),
        ({"mechanism": "dp-agg"}, "reads the patients once"),
        ({"mechanism": "votes"}, "one vote a round: sampling is `all` and clip is 1"),
        ({"adjacency": "replace"}, "adjacency"),
        ({"accountant": ACCOUNTANT | {"name": "clt"}}, "accountant"),
        ({"accountant": ACCOUNTANT | {"name": "rdp"}}, "accountant.name is rdp, epsilon is that of pld"),
        ({"accountant": ACCOUNTANT | {"name": "gaussian"}}, "accountant.name is gaussian, epsilon is that of pld"),
        ({"accountant": ACCOUNTANT | {"grid": "mine"}}, "grid"),
        ({"accountant": ACCOUNTANT | {"losses": "mine"}}, "losses"),
        ({"accountant": ACCOUNTANT | {"losses": None}}, "accountant.losses"),
        ({"rng": "mersenne"}, "rng"),
        ({"released": "all"}, "released"),
        ({"tuning_runs": 3}, "counted by the ledger"),
        ({"unprotected": ["base-model"]}, "unprotected"),
        ({"unprotected": ["base-model", "settings", "public-n", "card"]}, "release-decision"),
        ({"unprotected": [*CLAIM.unprotected, "lineage"]}, "lineage"),
        ({"self_test": {**SELF_TEST.model_dump(by_alias=True), "passed": False}}, "passed"),
        ({"exact_n": 117}, "exact_n"),
        ({"loss": [0.1]}, "loss"),
    ],
)
def test_a_claim_that_its_own_parameters_do_not_support_is_refused(members: dict[str, Any], reason: str) -> None:
    assert reason in raised(CLAIM, **members)


OWN = SELF_TEST.own_width.model_dump()


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"canary_epsilon": 40.0}, "above"),
        ({"canary_epsilon": CLAIM.epsilon + 1.5}, "above"),
        ({"own_width": OWN | {"canary_epsilon": 40.0}}, "own_width.canary_epsilon"),
        ({"noise_p": 0.0}, "below 1e-06"),
        ({"noise_p": 9e-7}, "below 1e-06"),
        ({"sampling_p": 9e-7}, "below 1e-06"),
        ({"own_width": OWN | {"noise_p": 9e-7}}, "own_width.noise_p"),
        ({"sampling_p": None}, "exactly where sampling is `all`"),
        ({"canaries": 1}, "1,000 canaries"),
        ({"dimension": 1}, "8,192 numbers"),
        ({"own_width": OWN | {"dimension": 0}}, "own_width.dimension"),
        ({"own_width": None}, "own_width"),
        ({"schema": "embhub.selftest/3"}, "schema"),
    ],
)
def test_a_self_test_that_cannot_have_passed_is_refused(members: dict[str, Any], reason: str) -> None:
    assert reason in raised(CLAIM, self_test={**SELF_TEST.model_dump(by_alias=True), **members})
    assert "sampling" in raised(AGG, self_test=SELF_TEST.model_dump(by_alias=True))


def test_no_claim_is_built_on_such_a_self_test() -> None:
    with pytest.raises(UnsupportedClaimError, match=r"self_test\.noise_p is 0"):
        make_claim(self_test=SELF_TEST.model_copy(update={"noise_p": 0.0}))


@pytest.mark.parametrize("epsilon", [0.05, 1.0, 2.0, 3.0])
def test_a_block_may_show_what_the_self_test_lets_pass_and_no_more(epsilon: float) -> None:
    right = next(right for right in range(251) if certain(1000, 250, right, delta=1e-5) > epsilon)
    most = most_shown(1000, epsilon=epsilon, delta=1e-5)
    assert most == bound(1000, 250, right - 1, delta=1e-5) < bound(1000, 250, right, delta=1e-5)
    assert 0.35 < most < epsilon + 1


def test_another_version_of_the_self_test_is_not_read() -> None:
    for version in ("embhub.selftest/1", "embhub.selftest/3"):
        assert "self_test" in raised(
            CLAIM, self_test={**json.loads(write_claim(CLAIM))["self_test"], "schema": version}
        )


@given(st.sampled_from(["sigma", "steps", "epsilon"]), st.floats(1e-3, 0.9))
def test_no_parameter_can_be_bent_towards_more_privacy(name: str, by: float) -> None:
    value = json.loads(CLAIM.to_text())[name]
    bent = {"sigma": value * (1 + by), "steps": max(1, int(value * (1 - by))), "epsilon": value * (1 - by)}[name]
    raised(CLAIM, **{name: bent})


def test_even_with_curve_and_epsilon_recomputed_the_parameters_must_fit_each_other() -> None:
    """Who lowers q has to raise n_public, and who raises n_public meets the bound on delta."""
    curve = gaussian_curve(q=0.05, sigma=4.578, steps=500)
    lower = make_claim(n_public=200)
    assert lower.curve == curve and lower.epsilon < CLAIM.epsilon
    assert "is not denominator" in raised(lower, n_public=100)
    with pytest.raises(UnsupportedClaimError, match="delta 1e-05 is above"):
        make_claim(n_public=20_000)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither"),
        ("None", "neither"),
        ("{}", "neither"),
        ('{"epsilon":2}', "cannot recompute"),
        ("[]", "neither"),
        ("true", "neither"),
        ('{"schema":"embhub.privacy/3"}', "cannot recompute"),
        (CLAIM.to_text() + " ", "canonically"),
        (json.dumps(json.loads(CLAIM.to_text())), "canonically"),
        (CLAIM.to_text()[:-1] + ',"epsilon":2}', "twice"),
        (CLAIM.to_text().replace('"epsilon":2', '"epsilon":NaN'), "NaN"),
        ("x" * 20_000, "bytes"),
        ("\ud800", "neither"),
    ],
)
def test_what_is_no_claim_is_not_read(text: str, reason: str) -> None:
    with pytest.raises(UncheckableClaimError, match=reason):
        read_claim(text)


@pytest.mark.parametrize("value", [None, 2, 2.0, [], {}, {"epsilon": 2}, "dp", {"schema": "embhub.privacy/1"}, {1: 2}])
def test_what_is_no_claim_in_a_card_is_not_read(value: Any) -> None:
    with pytest.raises((UncheckableClaimError, UnsupportedClaimError)):
        parse_claim(value)


@given(st.text(max_size=40) | st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=5), max_size=4))
def test_nonsense_is_refused_in_our_own_words(value: Any) -> None:
    if value == "none":
        return
    with pytest.raises((UncheckableClaimError, UnsupportedClaimError)):
        parse_claim(value)
    with pytest.raises((UncheckableClaimError, UnsupportedClaimError)):
        read_claim(value if isinstance(value, str) else json.dumps(value))


@pytest.mark.parametrize(
    "change",
    [
        {"sigma": math.nan},
        {"sigma": math.inf},
        {"steps": 0},
        {"batch": 0},
        {"batch": 200},
        {"delta": 2.0},
        {"n_public": 0},
    ],
)
def test_no_claim_is_built_from_nonsense(change: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedClaimError):
        make_claim(**change)


def test_the_lineage_is_checked_against_its_own_curve() -> None:
    claim = make_claim(tuning_runs=1, composition=site_total(CLAIM.curve))
    assert claim.composition is not None and claim.composition.epsilon == pytest.approx(3.189, abs=0.01)
    assert read_claim(claim.to_text()) == claim
    stated = json.loads(claim.to_text())["composition"]
    assert "composition.epsilon" in raised(claim, composition={**stated, "epsilon": 2.0})
    assert "below the curve" in raised(
        claim, composition={**stated, "rdp": [value / 4 for value in CLAIM.rdp if value], "epsilon": 1.0}
    )
    assert "composition" in raised(claim, composition={**stated, "epsilon": None})
    assert "counted by the ledger" in raised(claim, tuning_runs=2)


@pytest.mark.parametrize("version", ["embhub.privacy/1", "embhub.privacy/3"])
def test_another_version_of_the_claim_is_not_read(version: str) -> None:
    with pytest.raises(UncheckableClaimError, match=r"nor a claim embhub\.privacy/2"):
        read_claim(altered(CLAIM, schema=version))


def test_no_delta_above_that_of_every_claim() -> None:
    with pytest.raises(UnsupportedClaimError, match=r"delta 0\.01 is above 1e-05"):
        make_claim(n_public=10, batch=4, sigma=1.7, steps=20, delta=0.01)


def test_no_choice_of_delta_changes_whether_a_claim_is_weak() -> None:
    assert {make_claim(delta=delta).is_weak for delta in (1e-5, 1e-7, 1e-9)} == {False}
    strict, usual = make_claim(sigma=2.35, delta=1e-9), make_claim(sigma=2.35)
    assert wording.is_large(strict.epsilon, delta=1e-5) and not wording.is_large(usual.epsilon, delta=1e-5)
    assert not strict.is_weak and not usual.is_weak


def test_where_losses_give_no_bound_rdp_stands() -> None:
    claim = make_claim(delta=1e-13)
    assert claim.epsilon_pld is None and claim.epsilon == claim.epsilon_rdp and claim.accountant.name == "rdp"
    assert read_claim(claim.to_text()) == claim


def test_round_numbers_tell_no_exact_count() -> None:
    assert all(map(is_round, (10, 15, 70, 95, 100, 120, 990, 1200, 50_000)))
    assert not any(map(is_round, (0, 5, 9, 11, 76, 101, 123, 1234, 1001)))


def test_the_words_say_what_holds_and_what_does_not() -> None:
    words = " ".join(CLAIM.words())
    assert (
        "whoever would have named a given patient with probability 1 % had she not taken part, names her with at most"
        " 7.4 % if she did" in words
    )
    assert "What finding, hospital and years give away by themselves is not bounded." in words
    assert "a chance of at most 1 in 100,000, for each patient, for which nothing is promised" in words
    assert "on average over the chance in training" in words and "the decision to release" in words
    assert "each patient's whole contribution, of which at most 4 images" in words
    assert "no ledger says" in words and "Not covered: the base model" in words and "choice of settings" in words
    assert "anonymous" not in words and "safe" not in words


def test_image_claims_are_never_put_to_patients_without_the_factor() -> None:
    claim = make_claim(unit="image", max_images_per_unit=1)
    words = " ".join(claim.words())
    assert "each image, not each patient" in words
    assert "epsilon at most 4.4 for 2, at most 10.1 for 4, at most 24.6 for 8 images of one patient" in words


def test_a_large_epsilon_is_called_large() -> None:
    assert "rules out hardly any attack" in " ".join(make_claim(sigma=1.1).words())
    assert "rules out hardly any attack" not in " ".join(CLAIM.words())


def with_lineage(*curves: Curve, plain: int = 0) -> PrivacyClaim:
    return make_claim(composition=site_total(*curves, plain=plain))


@pytest.mark.parametrize(("sigma", "weak"), [(2.35, False), (2.2, True), (1.6, True)])
def test_weak_is_what_lets_an_attacker_find_all_but_one_in_a_hundred(sigma: float, weak: bool) -> None:
    claim = make_claim(sigma=sigma)
    assert (largest_tpr(claim.epsilon, delta=claim.delta, fpr=0.01) >= 0.99) is weak
    assert claim.is_weak is weak
    assert ("rules out hardly any attack" in " ".join(claim.words())) is weak


def test_one_line_tells_what_the_ledger_adds() -> None:
    alone = "claimed by the publisher: epsilon 2 with delta 1e-05 for each patient, by dp-sgd"
    assert wording.short(CLAIM) == wording.short(with_lineage()) == alone
    both = with_lineage(CLAIM.curve)
    assert both.composition is not None
    with_two = f"{alone}; {both.composition.epsilon:g} with all 2 of this site's private trainings"
    assert wording.short(both) == f"{with_two}, as of 2026-11-20"
    assert wording.short(with_lineage(CLAIM.curve, plain=3)) == (
        f"{with_two} and 3 others without any bound, as of 2026-11-20"
    )


def test_trainings_that_led_to_no_release_are_not_called_tuning() -> None:
    both = with_lineage(CLAIM.curve)
    words = " ".join(make_claim(tuning_runs=1, composition=both.composition).words())
    assert "1 of them led to no file" in words and "to choose settings" not in words


def test_weak_is_what_is_large_together() -> None:
    assert not CLAIM.is_weak and make_claim(sigma=1.1).is_weak
    assert not with_lineage(CLAIM.curve).is_weak and not with_lineage(plain=1).is_weak
    assert with_lineage(*[CLAIM.curve] * 20).is_weak
    assert "That is large" in " ".join(with_lineage(*[CLAIM.curve] * 20).words())


def test_figures_in_words_are_rounded_against_the_publisher() -> None:
    claim = build_claim(
        mechanism="dp-agg", unit="patient", max_images_per_unit=1, n_public=100, batch=100, sigma=3.0, clip=1.0,
        steps=1, self_test=SELF_TEST_OF_ALL,
    )  # fmt: skip
    rate = 100 * largest_tpr(claim.epsilon, delta=claim.delta, fpr=0.01)
    said = float(" ".join(claim.words()).split("names her with at most ")[1].split(" %")[0])
    assert rate <= said < rate + 0.11
