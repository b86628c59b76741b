"""The published network as judge, and a comparison's ceiling."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

import embhub
from embhub.__main__ import main
from embhub.cards import evaluation as document
from embhub.diffusion.evaluation import extractors, networks, page, pretrained
from embhub.diffusion.evaluation.cells import Labelled
from embhub.diffusion.evaluation.regimes import Lesson
from embhub.errors import PrivacyError, UsageError

PUBLISHED = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE = 32


def squares(count: int, *, seed: int, strength: int = 60) -> Labelled:
    """Noise, every second image with a brighter square."""
    rng = np.random.default_rng(seed)
    images = rng.normal(110, 25, (count, SIDE, SIDE, 1)).repeat(3, 3)
    for number in range(1, count, 2):
        y, x = rng.integers(2, SIDE - 14, 2)
        images[number, y : y + 12, x : x + 12] += strength
    labels = np.arange(count) % 2
    return Labelled(np.clip(images, 0, 255).astype(np.uint8), labels, tuple(f"p{n}" for n in range(count)))


def write(folder: Path, images: Labelled, *, patients: str = "", positives_alone: bool = False) -> Path:
    folder.mkdir(parents=True)
    lines = ["path,patient_id,label" if patients else "path,label"]
    for number, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
        if positives_alone and not label:
            continue
        Image.fromarray(image).save(folder / f"{number:03d}.png")
        person = f"{patients}{number}," if patients else ""
        lines.append(f"{number:03d}.png,{person}{'sick' if label else 'normal'}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


class Counting(torch.nn.Module):
    """Means of colours as a network's last maps, counting the images that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def extract_features(self, pixels: torch.Tensor) -> torch.Tensor:
        self.seen += len(pixels)
        return torch.cat([pixels, pixels.square()], 1)


def test_an_image_is_looked_at_once() -> None:
    counting = Counting()
    frozen = pretrained.FrozenNetwork(counting, "0" * 64)
    images = squares(6, seed=0).images
    first = frozen(images)
    again = frozen(images[[5, 0, 0]])
    assert counting.seen == 6 and first.shape == (6, 6)
    assert torch.equal(again, first[[5, 0, 0]])


def test_a_regression_leaves_out_what_has_no_chance() -> None:
    frozen = pretrained.FrozenNetwork(Counting(), "0" * 64)
    known, others = squares(20, seed=1), squares(10, seed=2).images
    wrong = Labelled(known.images, 1 - known.labels, known.patients)
    both = Labelled(
        np.concatenate([known.images, wrong.images]),
        np.concatenate([known.labels, wrong.labels]),
        known.patients + wrong.patients,
    )
    chances = np.repeat([0.05, 0.0], 20)
    alone = pretrained.Ridge(frozen, [Lesson(known, 0)]).probabilities(others)
    weighted = pretrained.Ridge(frozen, [Lesson(both, 0, chances=chances)]).probabilities(others)
    # the penalty is the same; rows of weight nothing are twice as many in the sum of weights
    assert np.corrcoef(alone[:, 1], weighted[:, 1])[0, 1] > 0.999
    assert np.allclose(alone.sum(1), 1)


def test_a_regression_finds_the_squares() -> None:
    frozen = pretrained.FrozenNetwork(Counting(), "0" * 64)
    test = squares(40, seed=4)
    scores = pretrained.Ridge(frozen, [Lesson(squares(40, seed=3), 0)]).probabilities(test.images)[:, 1]
    assert ((scores > 0.5) == (test.labels == 1)).mean() > 0.9


def test_nothing_that_takes_steps_is_for_the_published_network() -> None:
    with pytest.raises(UsageError, match="no steps"):
        networks.find("pretrained", steps=10)
    with pytest.raises(ValueError, match="one lesson"):
        pretrained.Ridge(pretrained.FrozenNetwork(Counting(), ""), [Lesson(squares(4, seed=0), 0)] * 2)


def test_without_its_packages_it_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_PACKAGES", ("no_such_layers", "no_such_weights"))
    pretrained.network.cache_clear()
    with pytest.raises(UsageError, match="not installed") as caught:
        networks.find("pretrained")
    assert "[judge]" in str(caught.value.hint)
    pretrained.network.cache_clear()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[document.EvaluationReport, Path]:
    """Ten real images, generated ones that show nothing of the finding, and the real ones behind the embedding."""
    root = tmp_path_factory.mktemp("ceiling")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBHUB_HOME", str(root / "home"))
        found = embhub.evaluate(
            write(root / "real", squares(10, seed=1), patients="r"),
            write(root / "test", squares(30, seed=2), patients="t"),
            write(root / "drawn", squares(60, seed=3, strength=0)),
            ceiling=write(root / "ceiling", squares(40, seed=4), patients="c", positives_alone=True),
            classifier="pretrained", seeds=2, real_counts=[10], synthetic_counts=[0, 40], resolution=SIDE,
            dataset="squares", device="cpu", report=root / "report",
        )  # fmt: skip
    return found.report, root


def test_the_published_network_is_named_with_the_digest_of_its_weights(
    compared: tuple[document.EvaluationReport, Path],
) -> None:
    report, _ = compared
    assert report.classifier.name == "pretrained" and report.classifier.steps == 0 and not report.classifier.mirrored
    assert report.features.endswith(PUBLISHED)
    assert extractors.find("pretrained", SIDE)(squares(2, seed=0).images).shape == (2, 1280)


def test_the_ceiling_is_no_control_and_every_gain_knows_it(compared: tuple[document.EvaluationReport, Path]) -> None:
    report, root = compared
    best = report.ceiling
    assert best is not None and best.drawn == 40 and best.real == 10
    assert all(one.over != document.CEILING for one in report.differences)
    mine = [one for one in report.differences if one.arm != document.CEILING]
    assert mine and all(one.ceiling is not None for one in mine)
    over_real = next(one for one in mine if one.over == document.REAL_ALONE)
    assert over_real.ceiling == pytest.approx(best.gain, abs=2e-4)
    assert not [row for row in report.fidelity if row.arm == document.CEILING]
    assert "The ceiling, 20 real images" in report.words()
    assert report.worth is not None and report.worth.drawn == 40 and report.worth.most == 5
    assert (
        "Alone they are worth" in report.words() and "real patients a class" in (root / "report/index.html").read_text()
    )


def test_what_is_too_wide_for_the_ceiling_cannot_be_decided(compared: tuple[document.EvaluationReport, Path]) -> None:
    report, root = compared
    row = report.headline
    assert row is not None
    nothing = next(word for word in get_args(document.Outcome) if word.startswith("made no difference"))
    wide = row.model_copy(update={"interval": (-0.02, 0.03), "outcome": nothing, "ceiling": 0.04})
    narrow = wide.model_copy(update={"interval": (-0.005, 0.008)})
    assert wide.half_width == pytest.approx(0.025) and wide.undecided and not narrow.undecided
    assert page.outcome(wide, report.tested) == "cannot be decided with 30 test patients"
    assert not wide.model_copy(update={"ceiling": None}).undecided
    shown = (root / "report" / "index.html").read_text()
    assert "20 real images of the finding" in shown and "± " in shown


def test_a_patient_behind_the_embedding_is_no_test_patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    known = squares(10, seed=1)
    with pytest.raises(PrivacyError, match="ceiling"):
        embhub.evaluate(
            write(tmp_path / "real", known, patients="r"), write(tmp_path / "test", squares(10, seed=2), patients="t"),
            write(tmp_path / "drawn", squares(20, seed=3)),
            ceiling=write(tmp_path / "ceiling", squares(10, seed=4), patients="t"),
            seeds=2, steps=1, resolution=SIDE, features=None, device="cpu",
        )  # fmt: skip


def test_pretraining_a_network_that_stays_as_it_is_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    names = ("real", "test", "drawn")
    folders = [str(write(tmp_path / name, squares(10, seed=seed))) for seed, name in enumerate(names)]
    words = ["evaluate", "--real", folders[0], "--test", folders[1], "--synthetic", folders[2], "--json"]
    words += ["--classifier", "pretrained", "--regime", "pretrained", "--report", str(tmp_path / "report")]
    assert main(words) == 2
    said = capsys.readouterr()
    assert "published network" in said.out + said.err
