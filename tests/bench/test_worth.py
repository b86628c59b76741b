"""The study of worth: seeds that are there, shares and gains from them, and the tables of the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bases.workshop.generated import NORMAL, PLAIN, WORDS, generated
from bases.workshop.public_images import SETS, rows_of
from bench import marked, worth
from bench import worth_material as material
from embhub.cards.evaluation import HELPED, NORMALS, NOTHING, REAL_ALONE, Difference
from embhub.diffusion.evaluation import fidelity, pretrained
from embhub.diffusion.evaluation.cells import Labelled, of_class
from embhub.privacy.claim import is_round
from tests.support.tools import DATA, needs_films


def write(folder: Path, arm: str, seed: int, grey: int) -> None:
    noise = np.random.default_rng([seed, grey]).integers(0, 60, (6, 128, 128, 3))
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{arm.replace(' ', '-')}-{seed}.npy", (noise + grey).astype(np.uint8))


def patients(grey: dict[int, int], count: int, first: int) -> Labelled:
    rng = np.random.default_rng(first)
    labels = np.repeat(np.array(list(grey)), count)
    images = np.stack([rng.integers(0, 60, (128, 128, 3)) + grey[int(label)] for label in labels]).astype(np.uint8)
    return Labelled(images, labels.astype(np.int64), tuple(f"p{first + place}" for place in range(len(labels))))


def test_seeds_count_once_both_classes_are_there(tmp_path: Path) -> None:
    write(tmp_path, PLAIN, 0, 150)
    assert generated(PLAIN, tmp_path) == []
    write(tmp_path, NORMAL, 0, 20)
    write(tmp_path, PLAIN, 2, 150)  # the one between is missing
    (made,) = generated(PLAIN, tmp_path)
    assert made.labels.tolist() == [0] * 6 + [1] * 6
    assert made.images[0].mean() < made.images[-1].mean()


@pytest.mark.slow
@pytest.mark.skipif(not pretrained.is_installed(), reason="the published network is not installed")
def test_images_that_show_the_finding_are_called_so_and_worth_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"judge": patients({0: 20, 1: 150}, 12, 0), "test": patients({0: 20, 1: 150}, 12, 100)}
    monkeypatch.setattr(material, "real", lambda data, one, part: parts[part])
    monkeypatch.setattr(material, "site", lambda data, one: patients({1: 150}, 6, 200))
    for seed in range(2):
        for arm, grey in ((NORMAL, 20), (PLAIN, 150), (WORDS, 22)):
            write(tmp_path, arm, seed, grey)
    found = worth.judge(tmp_path, material.Modality("x", "x", "a finding", ("none",), "x"), tmp_path, (8.0,))
    shares = {(row["images"], row["seed"]): row["share"] for row in found["recognised"]}
    assert shares["real, with the finding", 0] == shares[PLAIN, 1] == 1
    assert shares["real, without", 0] == shares[WORDS, 0] == shares[NORMAL, 1] == 0
    assert found["judge_auc"] == 1
    kids = {(row["images"], row["seed"]): row["kid"] for row in found["recognised"]}
    others = fidelity.compare(
        fidelity.Features(pretrained.network("cpu"), parts["judge"].images),
        {"judge": of_class(parts["judge"], 1).images},
        of_class(parts["test"], 1).images,
    )
    assert kids["real, with the finding", 0] == round(others["judge"].kid, 4)  # not of test images against themselves
    assert [arm["arm"] for arm in found["arms"]] == [WORDS, PLAIN]  # nothing was generated at epsilon 8
    words, plain = found["arms"]
    assert words["worth"]["value"] < 1 and plain["worth"]["value"] > 4
    assert {row["over"] for row in words["differences"] if row["arm"] == WORDS} == {REAL_ALONE, NORMALS}
    text = worth.table([found])
    assert "| x | 1.0 | embedding | 100%, 100% |" in text
    assert text.count("| x | embedding |") == 3  # what it is worth alone, and with 5 and 10 real images a class


def difference(**changed: Any) -> Difference:
    row = Difference(
        real=20, arm=PLAIN, drawn=200, gain=0.089, p=0.045, p_holm=0.59, interval=(0.003, 0.17), delong=(0, 0.2),
        delong_p=0.01, patients=(0.01, 0.16), seeds=(0.01, 0.16), each_seed=(0.08, 0.1), outcome=HELPED,
    )  # fmt: skip
    return row.model_copy(update=changed)


@pytest.mark.parametrize(("changed", "mark"), [({}, "†"), ({"p_holm": 0.04}, ""), ({"outcome": NOTHING}, "")])
def test_a_gain_that_does_not_stand_after_adjustment_is_marked(changed: dict[str, Any], mark: str) -> None:
    rows = [difference(**changed).model_dump(mode="json")]
    one = {"modality": "x", "arms": [{"arm": PLAIN, "differences": rows}]}
    text = worth._gains_table([one])
    assert f"| +0.089 [+0.003, +0.170]{mark} |" in text
    assert ("† not after adjustment" in text) == bool(mark)


def test_the_page_shows_the_results_as_they_are_printed() -> None:
    results = json.loads(worth.RESULTS.read_bytes())["modalities"]
    page = worth.PAGE.read_text(encoding="utf-8")
    assert marked.put(page, worth.table(results)) == page
    rows = [row for one in results for arm in one["arms"] for row in arm["differences"] if row["arm"] == arm["arm"]]
    above = [row for row in rows if row["interval"][0] > 0]
    assert (len(rows), len(above)) == (315, 9) and min(row["p_holm"] for row in above) > 0.05
    assert "Of 315 comparisons nine intervals lie above zero" in " ".join(page.split())


@pytest.mark.parametrize(("count", "said"), [(17, 15), (33, 30), (44, 40), (75, 75), (100, 100)])
def test_private_arms_declare_what_a_training_accepts(count: int, said: int) -> None:
    assert material.declared(count) == said and is_round(said)


@needs_films
def test_no_patient_serves_two_parts() -> None:
    for one in worth.modalities():
        rows = (rows_of(DATA, SETS[one.set], (part,)) for part in ("site", "judge", "test"))
        people = [{row["patient_id"] for source, row in part if source.folder == one.source} for part in rows]
        assert all(people)
        assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]
