"""Whose images the published figures are of: those who were trained on, not all who could have been."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embhub.cards.published_evaluation import coarsen
from embhub.diffusion.evaluation.cohorts import gather
from embhub.diffusion.evaluation.material import Source
from embhub.errors import PrivacyError
from embhub.site.memory import evaluated_patients
from tests.support.evaluations import EMBEDDING, report


def source(*parts: tuple[str, str, int, int]) -> Source:
    """Of each part: prefix of the ids, label, number of patients, images of each."""
    rows = [
        (label, f"{prefix}{patient}", f"{prefix}{patient} {number}".encode())
        for prefix, label, patients, images in parts
        for patient in range(patients)
        for number in range(images)
    ]
    labels, names, digests = zip(*rows, strict=True)
    return Source(np.zeros((len(rows), 1, 1, 3), np.uint8), labels, names, digests, True)


TEST = source(("t", "csPCa", 40, 1), ("u", "normal", 60, 1))


def test_a_training_on_one_patients_slices_is_one_of_one_patient() -> None:
    """Ten patients with thirty slices each are there, and twenty slices are chosen: all of one patient."""
    real = source(("p", "csPCa", 10, 30), ("n", "normal", 20, 1))
    found = gather(real, TEST, "csPCa", count=40, seeds=3)
    assert found is not None and found.fewest == 1 and len(found.training[0]) <= 3
    with pytest.raises(PrivacyError, match="1 patients of one class are in one training"):
        coarsen(report(), found, embedding=EMBEDDING)


def test_one_patient_with_most_of_the_images_counts_as_most_of_the_patients() -> None:
    real = source(("p", "csPCa", 1, 30), ("q", "csPCa", 30, 1), ("n", "normal", 60, 1))
    found = gather(real, TEST, "csPCa", count=120, seeds=2)
    assert found is not None and found.fewest == 2


def test_all_who_were_trained_on_are_counted_and_no_others() -> None:
    found = gather(source(("p", "csPCa", 100, 1), ("n", "normal", 100, 1)), TEST, "csPCa", count=40, seeds=2)
    assert found is not None and found.fewest == 20
    assert all(20 <= len(group) <= 40 for group in found.training)
    assert coarsen(report(), found, embedding=EMBEDDING).patients.training <= 80


def test_two_more_images_are_nearly_the_same_patients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool is the same, but each repetition was trained on one patient more of each class."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    real = source(("p", "csPCa", 100, 1), ("n", "normal", 100, 1))
    first, second = (gather(real, TEST, "csPCa", count=count, seeds=2) for count in (40, 42))
    assert first is not None and second is not None
    evaluated_patients.remember(first, registry="r", repository="a/b", digest="a" * 64)
    evaluated_patients.check(first)
    with pytest.raises(PrivacyError, match="the training positive patients are nearly those"):
        evaluated_patients.check(second)
