"""A second publication on nearly the same patients is refused, whatever release it is of; exactly the same is not."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from embhub.cards.published_evaluation import Cohort, Group, Images
from embhub.errors import ConfigError, PrivacyError
from embhub.site import config
from embhub.site.memory import evaluated_patients
from tests.support.evaluations import cohort

WHERE = {"registry": "https://hub.example.org", "repository": "radboud/prostate-cspca", "digest": "a" * 64}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))


def without(number: int, made: Cohort | None = None) -> Cohort:
    """The same without the first patients with the finding under test."""
    made = made or cohort()
    return Cohort(made.training, (dict(list(made.test[0].items())[number:]), made.test[1]), made.fewest)


def test_one_patient_more_or_less_is_refused_for_another_release_too() -> None:
    evaluated_patients.remember(cohort(), **WHERE)
    for number in (1, 19):
        with pytest.raises(PrivacyError, match=f"{number} differ"):
            evaluated_patients.remember(without(number), **{**WHERE, "repository": "lumc/another", "digest": "b" * 64})
    more = cohort(test=(41, 60))
    with pytest.raises(PrivacyError, match="1 differ"):
        evaluated_patients.check(more)
    with pytest.raises(PrivacyError, match="training positive"):
        evaluated_patients.check(cohort(training=(62, 63)))


def test_a_patient_whose_images_changed_is_another_entry() -> None:
    evaluated_patients.remember(cohort(), **WHERE)
    made = cohort()
    changed = {**made.test[0], "c0": Images(1, "other images")}
    with pytest.raises(PrivacyError, match="1 differ"):
        evaluated_patients.check(Cohort(made.training, (changed, made.test[1]), made.fewest))


def relabelled(made: Cohort, patients: str = "", images: str = "") -> Cohort:
    """The same people with their ids, their images, or both written anew."""

    def anew(group: Group) -> Group:
        return {patients + name: Images(one.count, images or one.digest) for name, one in group.items()}

    return Cohort(
        (anew(made.training[0]), anew(made.training[1])), (anew(made.test[0]), anew(made.test[1])), made.fewest
    )


def test_images_exported_anew_or_ids_given_anew_hide_nobody() -> None:
    """One patient took back their consent, and the rest is exported again with another window, or under other ids."""
    made = cohort()
    evaluated_patients.remember(made, **WHERE)
    for again in (relabelled(made, images="another window"), relabelled(made, patients="new ")):
        evaluated_patients.check(again)
        with pytest.raises(PrivacyError, match="1 differ"):
            evaluated_patients.check(without(1, again))


def test_labels_exchanged_hide_nobody() -> None:
    """With `--positive` the other label, the same figures are those of the other class."""
    made = cohort()
    evaluated_patients.remember(made, **WHERE)
    fewer = without(1, made)
    with pytest.raises(PrivacyError, match="1 differ"):
        evaluated_patients.check(Cohort(fewer.training[::-1], fewer.test[::-1], fewer.fewest))


def test_a_patient_with_images_of_both_labels_hides_nobody() -> None:
    """Then groups of the same name share somebody too, and it is the others that differ by one."""
    made = cohort()
    both = {"both": Images(1, "of both")}
    made = Cohort(made.training, ({**made.test[0], **both}, {**made.test[1], **both}), made.fewest)
    evaluated_patients.remember(made, **WHERE)
    fewer = relabelled(without(1, made), images="new")
    with pytest.raises(PrivacyError, match="1 differ"):
        evaluated_patients.check(Cohort(fewer.training[::-1], fewer.test[::-1], fewer.fewest))


def test_publications_of_the_same_people_are_counted_however_they_are_written() -> None:
    made = cohort()
    for number in range(evaluated_patients.MOST_OF_ONE_PATIENT):
        evaluated_patients.remember(relabelled(made, images=f"window {number}"), **WHERE)
    with pytest.raises(PrivacyError, match="10 published"):
        evaluated_patients.check(made)


def test_the_same_patients_or_many_others_are_not_refused() -> None:
    evaluated_patients.remember(cohort(), **WHERE)
    evaluated_patients.check(cohort())
    evaluated_patients.check(cohort(prefix="other"))
    evaluated_patients.check(without(20))
    for _ in range(evaluated_patients.MOST_OF_ONE_PATIENT - 1):
        evaluated_patients.remember(cohort(), **WHERE)
    with pytest.raises(PrivacyError, match="10 published"):
        evaluated_patients.check(cohort())
    evaluated_patients.check(cohort(prefix="other"))


def test_the_memory_names_nobody_and_is_never_started_afresh_in_silence() -> None:
    evaluated_patients.remember(cohort(prefix="Jansen"), **WHERE)
    path = config.paths().state / "evaluations.json"
    assert "Jansen" not in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text('{"published": [{}]}')
    with pytest.raises(ConfigError, match="cannot be read"):
        evaluated_patients.check(cohort(prefix="other"))
