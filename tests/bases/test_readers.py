"""Readers of taught words: what they read off phantoms that they never saw, and which base they are for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bases.workshop import readers, varied_judges
from embhub import builtin_bases
from embhub.errors import UsageError
from embhub.phantoms.findings import MODALITIES, Finding

BASE = builtin_bases.info("builtin").path


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_trained_reader_reads_phantoms_that_it_never_saw(modality: str) -> None:
    rng = np.random.default_rng([91, 4])
    shown = [varied_judges.single_or_misfit(number, modality, rng) for number in range(40)]
    read = readers.reader_for(modality, BASE)(varied_judges.pictures(modality, shown, rng))
    truth = [varied_judges.told(findings) for findings in shown]
    alone = [said == words for said, words in zip(read, truth, strict=True) if "misfit" not in words]
    assert np.mean(alone) > 0.9


@pytest.mark.parametrize("tone", ["dark", "bright"])
def test_a_small_oval_of_the_prostate_is_read_as_one(tone: str) -> None:
    oval = Finding("oval", tone, "small", "sharp", "upper", "left")
    seen = varied_judges.pictures("prostate", [(oval,)] * 30, np.random.default_rng(92))
    read = readers.reader_for("prostate", BASE)(seen)
    assert sum({"oval", tone} <= words for words in read) >= 27


def test_a_reader_for_another_autoencoder_is_refused() -> None:
    with pytest.raises(UsageError, match="another autoencoder"):
        readers.reader_for("cxr", builtin_bases.info("builtin-xray").path)


def test_without_a_trained_reader_the_command_that_trains_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no reader of cxr") as refused:
        readers.load("cxr", BASE, tmp_path)
    assert "bases.workshop.readers" in str(refused.value.hint)


def test_a_reader_that_is_written_reads_as_before(tmp_path: Path) -> None:
    plan = readers.Plan(phantoms=24, steps=2, batch=8, width=8)
    model = readers.train("histology", BASE, plan)
    readers.write(model, "histology", BASE, tmp_path)
    seen = varied_judges.pictures("histology", [()] * 3, np.random.default_rng(1))
    again = readers.load("histology", BASE, tmp_path).probabilities(seen)
    assert np.allclose(model.probabilities(seen), again, atol=0.02)
    assert all(words <= set(varied_judges.WORDS) for words in readers.reader_for("histology", BASE, tmp_path)(seen))


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_phantoms_do_not_depend_on_how_many_processes_render_them() -> None:
    plan = readers.Plan(phantoms=120)
    alone, shared = readers.render("cxr", plan, 0), readers.render("cxr", plan, 2)
    assert np.array_equal(alone[0], shared[0]) and np.array_equal(alone[1], shared[1])
