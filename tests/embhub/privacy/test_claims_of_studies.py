"""Claims of studies of several sites: two figures, both recomputed, and nothing of the study that can be bent."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from embhub.errors import EmbhubError
from embhub.privacy import epsilon as epsilons
from embhub.privacy.claim import PrivacyClaim, UnsupportedClaimError, build_claim, parse_claim, read_claim
from embhub.privacy.contradictions import contradictions
from embhub.privacy.epsilon import LAST_DIGIT
from embhub.privacy.fields import MAX_DELTA
from embhub.privacy.studies import MOST_SITES, MOST_WIDTH, SMALLEST_SHARE, StudyTerms
from embhub.study.claims import check_claim, claim_of, terms
from embhub.study.plan import Study, StudyError, read_study
from embhub.study.wire import MAX_WIDTH
from tests.support.claims import SELF_TEST, altered, make_claim, make_study, make_study_claim, site_total

STUDY = make_study()
CLAIM = make_study_claim()
TERMS = terms(STUDY)
BLOCK: dict[str, Any] = json.loads(CLAIM.to_text())["study"]


def raised(**members: Any) -> str:
    with pytest.raises(UnsupportedClaimError) as caught:
        read_claim(altered(CLAIM, **members))
    return caught.value.message


def test_a_claim_states_both_figures_of_its_study() -> None:
    assert read_claim(CLAIM.to_text()) == CLAIM and CLAIM.study == TERMS
    assert (CLAIM.epsilon, TERMS.epsilon_against_sites) == (STUDY.epsilon, STUDY.epsilon_against_sites)
    assert CLAIM.epsilon <= 4.0 < TERMS.epsilon_against_sites == CLAIM.largest_epsilon < 4.6
    assert (CLAIM.sigma, CLAIM.steps) == (STUDY.noise.against_outsiders.sigma, STUDY.attempts)
    assert CLAIM.parameters == (STUDY.noise.against_outsiders,) and CLAIM.weakest == (STUDY.noise.against_sites,)


def test_a_claim_of_no_study_is_written_as_before() -> None:
    assert "study" not in json.loads(make_claim().to_text())
    with pytest.raises(EmbhubError, match="not written canonically"):
        read_claim(altered(make_claim(), study=None))


def test_a_claim_is_judged_by_its_larger_figure_at_one_delta() -> None:
    noise = STUDY.noise
    assert CLAIM.epsilon_to_judge_by == epsilons.compose([noise.against_sites], delta=MAX_DELTA)
    strict = make_study_claim(delta=1e-7, share_variance=STUDY.share_variance)
    assert strict.largest_epsilon > CLAIM.largest_epsilon and strict.epsilon_to_judge_by == CLAIM.epsilon_to_judge_by
    two = make_study_claim(sites=("a", "b"), dropouts=0)
    assert two.epsilon <= 4.0 and two.is_weak and not CLAIM.is_weak, "one of two sites takes half of the noise off"


def test_epsilon_is_that_of_the_studys_own_accountant() -> None:
    for changes in ({}, {"batch": 100}, {"colluders": 3, "dropouts": 2}, {"attempts": 400}, {"clip_units": 1 << 10}):
        study = make_study(**changes)
        noise, claim = study.noise, make_study_claim(**changes)
        assert claim.epsilon == noise.epsilon(noise.against_outsiders, delta=study.delta)
        assert min(claim.epsilon_rdp, claim.epsilon_pld or claim.epsilon_rdp) == claim.epsilon


@pytest.mark.parametrize("sites", [2, MOST_SITES])
def test_rounding_up_covers_how_close_whole_numbers_are_to_gaussian_noise(sites: int) -> None:
    """The most steps and numbers, on the coarsest grid: no claim of a study is further from what its figures count."""
    coarsest = TERMS.model_copy(
        update={"sites": sites, "dropouts": 0, "clip_units": 1, "share_variance": SMALLEST_SHARE, "width": MOST_WIDTH}
    )
    near = coarsest.noise(q=0.16, steps=10_000_000).closeness
    assert 0.0 < near < 1e-20 and MOST_WIDTH == MAX_WIDTH
    # An order of 1.1 moves epsilon the most with delta: by ten times as much as the logarithm of delta.
    assert 12 * near < 1e-7 * (epsilons.publish(0.0) * 1e-9), "each figure is raised by more before it is rounded up"
    assert 1e-5 * near < 1e-13, "and losses leave more of delta open for rounding"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"mechanism": "dp-agg"}, "dp-sgd, and its unit is the patient"),
        ({"unit": "image", "max_images_per_unit": 1}, "dp-sgd, and its unit is the patient"),
        ({"sigma": CLAIM.sigma * 2}, "sigma is"),
        ({"study": None, "epsilon": 1.0}, "the smaller of its two figures"),
        ({"study": BLOCK | {"digest": "x"}}, "digest"),
        ({"study": BLOCK | {"sites": 101}}, "sites"),
        ({"study": BLOCK | {"sites": 3}}, "too few"),
        ({"study": BLOCK | {"dropouts": 0}}, "sigma is"),
        ({"study": BLOCK | {"colluders": 2}}, "epsilon_against_sites"),
        ({"study": BLOCK | {"colluders": 7}}, "too few"),
        ({"study": BLOCK | {"clip_units": 1 << 15}}, "sigma is"),
        ({"study": BLOCK | {"clip_units": 0}}, "clip_units"),
        ({"study": BLOCK | {"share_variance": BLOCK["share_variance"] + 1}}, "sigma is"),
        ({"study": BLOCK | {"share_variance": 1}}, "share_variance"),
        ({"study": BLOCK | {"width": 0}}, "width"),
        ({"study": BLOCK | {"epsilon_against_sites": CLAIM.epsilon}}, "epsilon_against_sites is"),
        ({"study": BLOCK | {"epsilon_against_sites": 4.8}}, "epsilon_against_sites is"),
        ({"study": BLOCK | {"names": ["a"]}}, "names"),
        ({"study": BLOCK | {"width": "1024"}}, "width"),
        ({"study": BLOCK | {"colluders": True}}, "colluders"),
        ({"study": {}}, "study"),
        ({"study": []}, "study"),
    ],
)
def test_a_claim_whose_study_is_another_is_refused(members: dict[str, Any], reason: str) -> None:
    assert reason in raised(**members)


def test_no_ledger_is_that_of_all_sites() -> None:
    facts = {"sigma": CLAIM.sigma, "batch": 16, "steps": 50, "clip": 0.5}
    with pytest.raises(UnsupportedClaimError, match="no ledger holds what all sites trained"):
        make_claim(**facts, study=TERMS, composition=site_total(CLAIM.curve))


def test_noise_that_a_site_could_take_off_is_no_noise() -> None:
    """A study whose noise against its sites is next to none is refused before anything is computed of it."""
    with pytest.raises(UnsupportedClaimError, match="between"):
        make_claim(sigma=0.06, batch=16, steps=50, study=TERMS.model_copy(update={"clip_units": 1 << 21}))


NUMBERS = [name for name, value in BLOCK.items() if type(value) is int]


@given(st.sampled_from(NUMBERS), st.one_of(st.integers(-3, 3), st.integers(-(2**60), 2**60), st.integers(0, 200)))
def test_no_number_of_a_study_can_be_changed_for_other_figures(name: str, by: int) -> None:
    changed = BLOCK | {name: BLOCK[name] + by}
    try:
        claim = parse_claim(json.loads(CLAIM.to_text()) | {"study": changed})
    except EmbhubError:
        return
    assert isinstance(claim, PrivacyClaim)
    assert (claim.parameters, claim.weakest, claim.epsilon) == (CLAIM.parameters, CLAIM.weakest, CLAIM.epsilon)
    if by:
        with pytest.raises(StudyError, match=name):
            check_claim(claim, STUDY)


@given(st.floats(0.0, 100.0))
def test_no_second_figure_but_the_true_one_is_read(stated: float) -> None:
    try:
        parse_claim(json.loads(CLAIM.to_text()) | {"study": BLOCK | {"epsilon_against_sites": stated}})
    except EmbhubError:
        return
    true = epsilons.compose([STUDY.noise.against_sites], delta=STUDY.delta)
    assert true <= stated * (1 + 1e-6) and stated <= true + 2 * LAST_DIGIT


@given(st.fixed_dictionaries({}, optional={name: st.integers() | st.floats() | st.text() for name in BLOCK}))
def test_any_block_of_a_study_is_read_or_refused_in_our_own_words(block: dict[str, Any]) -> None:
    try:
        claim = parse_claim(json.loads(CLAIM.to_text()) | {"study": BLOCK | block})
    except EmbhubError:
        return
    assert isinstance(claim, PrivacyClaim) and contradictions(claim) == []


def test_a_claim_is_that_of_its_study() -> None:
    check_claim(CLAIM, STUDY)
    check_claim(parse_claim(json.loads(CLAIM.to_text())), STUDY)


@pytest.mark.parametrize(
    "other",
    [
        make_study(caption="another"),
        make_study(n_public=110),
        make_study(batch=15),
        make_study(attempts=49),
        make_study(clip=0.4),
        make_study(delta=1e-6),
        make_study(max_images_per_patient=5),
        make_study(width=1023),
        make_study(colluders=2),
        make_study(share_variance=STUDY.share_variance + 10**6),
    ],
)
def test_a_claim_is_that_of_no_other_study(other: Study) -> None:
    with pytest.raises(StudyError, match="claim and study differ in digest"):
        check_claim(CLAIM, other)
    bent = terms(other).model_copy(update={"digest": STUDY.digest})
    if other.caption == STUDY.caption:
        with pytest.raises(StudyError, match="claim and study differ"):
            check_claim(claim_of(other, self_test=SELF_TEST).model_copy(update={"study": bent}), STUDY)


@pytest.mark.parametrize("name", ["epsilon", "epsilon_against_sites"])
@pytest.mark.parametrize("by", [-1e-4, -1.0, 3e-4])
def test_no_study_states_a_figure_that_its_claim_could_not(name: str, by: float) -> None:
    """Otherwise sites would spend their budget on a study whose release nobody could claim anything for."""
    with pytest.raises(ValueError, match=f"{name} is .*, its numbers give"):
        make_study(**{name: getattr(STUDY, name) + by})


def test_a_release_without_a_claim_or_a_study_is_of_none() -> None:
    with pytest.raises(StudyError, match="no privacy claim of a study"):
        check_claim("none", STUDY)
    with pytest.raises(StudyError, match="no privacy claim of a study"):
        check_claim(make_claim(), STUDY)


def test_fewer_steps_than_attempts_are_claimed_by_nobody() -> None:
    """Attempts are what each ledger counted: a lost step may have been read."""
    fewer = terms(make_study(attempts=49, share_variance=STUDY.share_variance))
    claim = build_claim(
        mechanism="dp-sgd", unit="patient", max_images_per_unit=4, n_public=100, batch=16, sigma=CLAIM.sigma, clip=0.5,
        steps=49, self_test=SELF_TEST, study=fewer.model_copy(update={"digest": STUDY.digest}),
    )  # fmt: skip
    with pytest.raises(StudyError, match="attempts, epsilon: 4"):
        check_claim(claim, STUDY)


def test_terms_are_frozen_and_of_the_study() -> None:
    assert TERMS.digest == STUDY.digest and TERMS.noise(q=0.16, steps=50) == STUDY.noise
    assert StudyTerms.model_validate(TERMS.model_dump()) == TERMS
    with pytest.raises(ValidationError, match="frozen"):
        TERMS.__setattr__("sites", 9)


@pytest.mark.parametrize(
    "changes",
    [
        {"caption": "x-ray, {}\x1b[2J\x1b[1;1Hepsilon: 0.1"}, {"caption": "x-ray, {}\n  epsilon: 0.1"},
        {"token": "<a>\u202e"}, {"base_name": "builtin\r"}, {"repository": "radboud/a\x1b[1A"},
        {"repository": "radboud/.."}, {"recipe": {"initializer_text": "a\x07"}}, {"recipe": {"a\x1b": 1}},
        {"preprocessing": {"fit": "crop\n"}},
    ],
)  # fmt: skip
def test_what_an_officer_is_shown_moves_no_cursor(changes: dict[str, Any]) -> None:
    data = rfc8785.dumps(json.loads(STUDY.to_bytes()) | changes)
    with pytest.raises(StudyError, match=r"printed|repository"):
        read_study(data)
