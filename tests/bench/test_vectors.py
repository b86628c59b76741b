"""The grid of vectors and images: what images that show the finding come to, and a table that follows from its rows."""

from __future__ import annotations

import pytest

from bench import marked, vectors, worth
from bench.results_file import ResultsFile
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.evaluation import pretrained
from embhub.diffusion.evaluation.cells import of_class
from tests.bench.test_worth import patients


@pytest.mark.slow
@pytest.mark.skipif(not pretrained.is_installed(), reason="the published network is not installed")
def test_images_with_the_finding_are_called_so_are_nearer_and_teach_the_probe() -> None:
    greys = {0: 20, 1: 150}
    normals = of_class(patients(greys, 12, 300), 0).images
    measured = vectors.Measured(patients(greys, 12, 0), patients(greys, 12, 100), normals)
    right, wrong = (measured.row(of_class(patients(greys, 12, 400), value).images) for value in (1, 0))
    assert (right["called"]["share"], right["probe_auc"], right["compared"]) == (1, 1, 12)
    assert wrong["called"]["share"] == 0 and wrong["probe_auc"] < 0.9
    assert right["fd"] < wrong["fd"] / 4 and right["kid"] < wrong["kid"]


def test_no_more_vectors_than_a_prompt_has_room_for() -> None:
    one = next(one for one in worth.modalities() if one.source == "chest-xray")
    assert vectors.fitting_vectors(load_pipeline(find_base("builtin-xray")), one) == [1, 4, 16, 32]


def test_the_table_has_the_figures_of_every_seed() -> None:
    row = {
        "modality": "x", "images of": "embedding", "vectors": 4, "images": 10, "seed": 0, "generated": 96,
        "compared": 50, "called": {"share": 0.5}, "fd": 120.4, "kid": 1.234, "probe_auc": 0.812, "cpu_seconds": 9,
    }  # fmt: skip
    other = {**row, "seed": 1, "called": {"share": 0.25}, "fd": 99.6, "kid": 2.0, "probe_auc": 0.5}
    alone = {**row, "images of": vectors.WORDS, "vectors": 0, "images": 0}
    lines = vectors.table([row, other, alone]).splitlines()
    assert lines[2] == f"| x | {vectors.WORDS} | - | - | 50% | 120 | 1.23 | 0.81 |"
    assert lines[3] == "| x | embedding | 10 | 4 | 50%, 25% | 120, 100 | 1.23, 2.00 | 0.81, 0.50 |"


def test_the_page_shows_what_the_results_file_holds() -> None:
    rows, page = ResultsFile(vectors.RESULTS).rows, vectors.PAGE.read_text()
    assert rows and marked.put(page, vectors.table(rows)) == page
