"""From a study to the figures on a card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embhub.cards.reader_study import card_figures, parse_result
from embhub.errors import ArtifactError, PrivacyError, UsageError
from embhub.reader_study import ratings
from embhub.reader_study.ratings import Rating, Reader
from embhub.reader_study.result import compute, describe
from embhub.reader_study.study import Study, read_study
from embhub.release.checks.claims import OF_GENERATED
from tests.embhub.reader_study.conftest import EMBEDDING, NUMBER
from tests.support.quick import quick


def read_all(folder: Path, study: Study, reader: str, role: str, *, fooled: int) -> None:
    """A reader who is right but for the first `fooled` generated images, and sees the finding in each generated one."""
    ratings.add(folder, study, Reader.model_validate({"reader": reader, "role": role}))
    wrong = set(study.names("generated")[:fooled])
    for case in study.cases:
        taken_for_real = case.kind == "real" or case.name in wrong
        ratings.add(
            folder, study,
            Rating(
                reader=reader, case=case.name, origin=2 if taken_for_real else 5,
                finding="no" if case.kind == "real" else "yes",
            ),
        )  # fmt: skip


@pytest.fixture
def finished(prepared: tuple[Path, Study]) -> Path:
    folder, study = prepared
    read_all(folder, study, "a" * 16, "radiologist", fooled=4)
    read_all(folder, study, "b" * 16, "researcher", fooled=2)
    ratings.add(folder, study, Reader(reader="c" * 16, role="other"))
    return folder


def test_the_figures_are_those_of_the_answers(finished: Path) -> None:
    found, unfinished = compute(finished)
    assert unfinished == 1 and found.readers == {"radiologist": 1, "researcher": 1}
    assert (found.real_images, found.generated_images) == (NUMBER, NUMBER)
    assert found.taken_for_real.value == pytest.approx(0.3) and found.taken_for_generated.value == 0
    assert found.separation.value == pytest.approx(1 - 0.3 / 2), "a tie counts one half"
    assert found.finding_in_generated is not None and found.finding_in_generated.value == 1
    assert found.finding_in_real is not None and found.finding_in_real.high == pytest.approx(0.3085, abs=1e-4)
    assert parse_result(found.to_json().encode()) == found
    assert describe(found)["readers"] == "2 readers: 1 radiologist, 1 researcher"


def test_the_document_names_no_reader_and_no_image(finished: Path) -> None:
    text = compute(finished)[0].to_json()
    assert "a" * 16 not in text.replace(EMBEDDING, "") and str(finished) not in text
    assert not any(case.name in text for case in read_study(finished).cases)


def test_a_study_that_nobody_finished_has_no_result(prepared: tuple[Path, Study]) -> None:
    with pytest.raises(UsageError, match="no reader has rated all 20 images"):
        compute(prepared[0])


def test_a_private_embedding_shows_no_figure_of_real_images(finished: Path) -> None:
    found, _ = compute(finished)
    plain, private = (card_figures(found, EMBEDDING, private=private) for private in (False, True))
    assert private == [one for one in plain if OF_GENERATED.fullmatch(one["metric"])], "what `sign` takes"
    assert [item["metric"][:28] for item in plain] == [
        "share of generated images ta", "share of generated images th", "separation of generated from",
        "share of real images taken f",
    ]  # fmt: skip
    assert private == plain[:2]
    assert plain[0]["dataset"].endswith("(10 generated and 10 real images, 2 readers: 1 radiologist, 1 researcher)")
    assert plain[0]["interval"][0] <= plain[0]["value"] == 0.3 <= plain[0]["interval"][1]


def test_figures_of_another_embedding_are_refused(finished: Path) -> None:
    found, _ = compute(finished)
    with pytest.raises(ArtifactError, match="another embedding"):
        card_figures(found, "cd" * 32, private=False)
    both = found.model_copy(update={"embeddings": [EMBEDDING, "cd" * 32]})
    for private in (False, True):  # the other one may have been learned from the same patients without a claim
        with pytest.raises(ArtifactError, match="of several"):
            card_figures(both, EMBEDDING, private=private)
    with pytest.raises(PrivacyError):
        card_figures(found.model_copy(update={"dataset": "patient 12345678, 1954-02-03"}), EMBEDDING, private=False)


@pytest.mark.parametrize(
    ("field", "value"),
    quick(
        [("separation", {"value": 0.9, "low": 0.95, "high": 1.0})],
        thorough=[("real_images", 9), ("readers", {}), ("schema", "x")],
    ),
)
def test_a_document_that_cannot_be_is_refused(finished: Path, field: str, value: object) -> None:
    data = json.loads(compute(finished)[0].to_json()) | {field: value}
    with pytest.raises(ArtifactError):
        parse_result(json.dumps(data).encode())
    with pytest.raises(ArtifactError):
        parse_result(b"[" * 100_000)
