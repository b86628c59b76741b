"""A whole evaluation, small: what it finds where the truth is known, what it writes, and how it goes on."""

from __future__ import annotations

import html.parser
import importlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import embhub
from embhub.__main__ import main
from embhub.artifact import embedding
from embhub.cards import evaluation as document
from embhub.diffusion.evaluation import classifier, curve_png, evaluating, fitting, networks, page, pretrained
from embhub.diffusion.evaluation.cells import Cell, Labelled
from embhub.errors import EmbhubError, UsageError
from embhub.progress import Progress
from embhub.site.memory import runs
from tests.support.sites import Site

SIDE = 24


def pictures(folder: Path, count: int, *, seed: int, mislabelled: bool = False, patients: str = "") -> Path:
    """Noise, with a faint bright square where the label says sick; two images a patient."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    lines = ["path,patient_id,label" if patients else "path,label"]
    for number in range(2 * count):
        sick = number % 2 == 1
        image = rng.normal(110, 30, (SIDE, SIDE))
        if sick != mislabelled:
            y, x = rng.integers(1, 14), rng.integers(1, 5)
            image[y : y + 8, x : x + 6] += 15
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")
        person = f"{patients}{number // 2}," if patients else ""
        lines.append(f"{number:03d}.png,{person}{'sick' if sick else 'normal'}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home for the site's key, so that nobody's own is used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBHUB_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(pretrained, "is_installed", lambda: False)  # features of the classifiers that are tried here
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    pictures(root / "secret-real", 10, seed=1, patients="SecretReal")
    pictures(root / "test", 60, seed=2, patients="SecretTest")
    pictures(root / "good", 60, seed=3)
    pictures(root / "bad", 60, seed=4, mislabelled=True)
    return root


@pytest.fixture(scope="module")
def evaluated(images: Path) -> tuple[evaluating.Evaluated, Path, list[Progress]]:
    seen: list[Progress] = []
    folder = images.parent / "report"
    found = embhub.evaluate(
        images / "secret-real", images / "test", images / "good", arms={"swapped": images / "bad"},
        seeds=2, real_counts=[6, 20], synthetic_counts=[0, 100], steps=40, resolution=SIDE, mirror=False,
        dataset="squares", device="cpu", report=folder, on_progress=seen.append,
    )  # fmt: skip
    return found, folder, seen


Run = tuple[evaluating.Evaluated, Path, list[Progress]]


@pytest.mark.thorough
def test_good_images_help_and_mislabelled_ones_do_harm(evaluated: Run) -> None:
    rows = evaluated[0].report.differences
    gains = {(one.arm, one.real): one for one in rows if one.over == document.REAL_ALONE}
    assert gains["synthetic", 6].gain > 0.03
    assert gains["swapped", 6].gain < -0.5
    report = evaluated[0].report
    alone, both = report.auc(6), report.auc(6, "synthetic", 100)
    assert alone is not None and both is not None
    assert gains["synthetic", 6].gain == pytest.approx(both.auc - alone.auc, abs=2e-4)
    only = report.auc(0, "swapped", 100)
    assert only is not None and only.auc < 0.3
    assert all(len(one.each_seed) == 2 and one.interval[0] <= one.auc <= one.interval[1] for one in report.aucs)


@pytest.mark.thorough
def test_counts_and_groups_are_told_and_nobody_is_named(evaluated: Run) -> None:
    found, folder, _ = evaluated
    report = found.report
    assert report.unit == "patient" and (report.positive, report.negative) == ("sick", ("normal",))
    assert (report.real.images, report.real.positives, report.real.patients) == (20, 10, 10)
    assert (report.test.images, report.test.patients) == (120, 60)
    assert {arm.name: arm.learned_from_real for arm in report.arms} == {"synthetic": None, "swapped": None}
    assert any("whether these were learned from test patients" in line for line in report.remarks)
    for name in (evaluating.REPORT, evaluating.PAGE):
        text = (folder / name).read_text()
        assert "ecret" not in text and str(folder.parent) not in text
    assert document.parse((folder / evaluating.REPORT).read_bytes()) == report


@pytest.mark.thorough
def test_likeness_stands_beside_that_of_the_real_training_images(evaluated: Run) -> None:
    rows = {(row.arm, row.label): row for row in evaluated[0].report.fidelity}
    assert {arm for arm, _ in rows} == {"", "synthetic", "swapped"} and len(rows) == 6
    assert all(rows["synthetic", label].agreement > rows["swapped", label].agreement for label in ("sick", "normal"))  # type: ignore[operator]
    assert all(row.kid is not None and row.subset < row.images for row in rows.values())
    assert all(row.recall is not None and 0 <= row.recall <= 1 for row in rows.values())
    assert rows["synthetic", "sick"].kid < rows["swapped", "sick"].kid  # type: ignore[operator]  # None was excluded


class Strict(html.parser.HTMLParser):
    """Counts tags and keeps whatever would fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "onload", "onclick")]
        self.fetched += [tag] if tag in ("script", "link", "iframe") else []
        if tag not in ("meta", "circle", "polyline", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("circle", "polyline"):
            assert self.open.pop() == tag


@pytest.mark.thorough
def test_the_page_is_whole_fetches_nothing_and_says_what_it_cannot_show(evaluated: Run) -> None:
    found, folder, _ = evaluated
    text = (folder / evaluating.PAGE).read_text()
    parser = Strict()
    parser.feed(text)
    assert not parser.open and not parser.fetched
    smallest = found.report.smallest()
    assert f"true difference of {smallest:.3f}" in text
    assert "[-0.025, +0.057]" in text and "not Inception" in text
    assert found.report.words()[:40] in text


@pytest.mark.thorough
def test_a_comparison_that_could_show_nothing_says_so(evaluated: Run) -> None:
    report = evaluated[0].report
    wide = [one.model_copy(update={"interval": (-0.5, 0.6)}) for one in report.differences]
    assert page.remarks(report.model_copy(update={"differences": tuple(wide)}))[0].startswith("This comparison is too")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("known", "words"),
    [
        (None, "not known here whether from test patients"),
        (True, "and from test patients"),
        (False, "from no test patient"),
    ],
)
def test_the_page_claims_no_more_of_test_patients_than_is_known(evaluated: Run, known: bool | None, words: str) -> None:
    report = evaluated[0].report
    arms = [arm.model_copy(update={"learned_from_test": known}) for arm in report.arms]
    text = page.render(report.model_copy(update={"arms": tuple(arms)}))
    assert text.count(words) == len(arms)
    assert "no classifier was trained on them" in text and "none of them learned from" not in text


@pytest.mark.thorough
def test_words_from_outside_are_escaped(evaluated: Run) -> None:
    text = page.render(evaluated[0].report.model_copy(update={"dataset": "<script>alert(1)</script>"}))
    assert "<script>" not in text and "&lt;script&gt;" in text


@pytest.mark.thorough
def test_the_curve_is_a_picture_with_every_series_in_it(evaluated: Run) -> None:
    picture = Image.open(io.BytesIO((evaluated[1] / evaluating.CURVE).read_bytes()))
    assert picture.size == (1720, 760)
    colours = {pixel for _, pixel in picture.convert("RGB").getcolors(1 << 20) or []}
    assert {(0x7A, 0x7A, 0x7A), (0xD0, 0x38, 0x4F), (0x4A, 0x82, 0xC9)} <= colours


@pytest.mark.thorough
def test_the_same_report_gives_the_same_picture_and_names_are_no_markup(evaluated: Run) -> None:
    """Matplotlib would read a dollar as mathematics, and would leave out a series whose name starts with _."""
    report = evaluated[0].report
    assert curve_png.to_png(report) == (evaluated[1] / evaluating.CURVE).read_bytes()
    pictures = set()
    for name in ("_hidden", "_other", r"$\frac{$"):
        arms = [report.arms[0].model_copy(update={"name": name}), *report.arms[1:]]
        aucs = [
            one.model_copy(update={"arm": name if one.arm == report.arms[0].name else one.arm}) for one in report.aucs
        ]
        pictures.add(curve_png.to_png(report.model_copy(update={"arms": tuple(arms), "aucs": tuple(aucs)})))
    assert len(pictures) == 3


@pytest.mark.thorough
def test_what_was_taught_is_not_taught_again(evaluated: Run, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, folder, seen = evaluated
    kept = sorted((folder / evaluating.KEPT).iterdir())
    assert len(kept) == 2 * (2 * 3 + 2 * 3) and all(path.stat().st_mode & 0o077 == 0 for path in kept)
    assert [(one.done, one.total) for one in seen if one.stage == "teaching classifiers"][-1] == (24, 24)
    before = {path: path.stat().st_mtime_ns for path in kept}
    kept[0].write_bytes(b"half a file")
    fitted: list[int] = []
    fit = classifier.fit

    def counted(*words: Any, **choices: Any) -> Any:
        fitted.append(1)
        return fit(*words, **choices)

    monkeypatch.setattr(classifier, "fit", counted)
    again = embhub.evaluate(
        images / "secret-real", images / "test", images / "good", arms={"swapped": images / "bad"},
        seeds=2, real_counts=[6, 20], synthetic_counts=[0, 100], steps=40, resolution=SIDE, mirror=False,
        dataset="squares", device="cpu", report=folder,
    )  # fmt: skip
    assert again.report == found.report
    assert len(fitted) == 2  # the damaged one, and the one whose features tell likeness
    assert [path for path in kept if path.stat().st_mtime_ns != before[path]] == [kept[0]]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"real_counts": [40]}, "40 real images are asked for; 20 are available"),
        ({"synthetic_counts": [500]}, "500 images of arm synthetic are asked for; 120"),
        ({"real_counts": [1]}, "counts of real images are 0, or 2 and more"),
        ({"seeds": 1}, "1 seed"),
        ({"classifier": "resnet50"}, "no classifier"),
        ({"synthetic": None}, "nothing to compare"),
        ({"dataset": "Dr. Smith"}, "looks like a person"),
        ({"arms": {"Dr. Smith": "x"}}, "looks like a person"),
        ({"arms": {"synthetic": "x"}}, "another name"),
        ({"positive": "cyst"}, "no real image has the label cyst"),
        ({"resolution": 200}, "under half"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_taught(
    images: Path, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    asked = {"synthetic": images / "good", "report": tmp_path / "out", "device": "cpu", "resolution": SIDE, **changes}
    with pytest.raises(EmbhubError, match=reason):
        embhub.evaluate(images / "secret-real", images / "test", **asked)
    assert not (tmp_path / "out").exists()


NETWORKS = """
import torch
from torch import nn
def convolutions(classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, classes, 1), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten())
class Exploding(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.last = nn.Linear(3 * 24 * 24, classes)
        nn.init.zeros_(self.last.weight)
    def forward(self, images): return torch.exp(1000 * self.last(images.flatten(1)))
def exploding(classes): return Exploding(classes)
def only_ones(): return lambda images: torch.ones(len(images), 3)
def means(): return lambda images: images.mean((2, 3))
def bright(): return lambda images: (images.mean((1, 2, 3), keepdim=True) > 0.3).float().flatten(1)
"""
FEW: dict[str, Any] = {
    "seeds": 2, "real_counts": [20], "synthetic_counts": [0, 24], "steps": 12, "resolution": SIDE, "device": "cpu",
}  # fmt: skip


@pytest.fixture
def networks_of_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site_classifiers.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)


def taught_before(images: Path, **choices: Any) -> tuple[str, list[str]]:
    """What an evaluation is refused with, and its stages until then."""
    seen: list[Progress] = []
    asked = {**FEW, "on_progress": seen.append, **choices}
    with pytest.raises(UsageError) as refused:
        embhub.evaluate(images / "secret-real", images / "test", images / "good", **asked)
    return refused.value.message, [one.stage for one in seen]


@pytest.mark.usefixtures("networks_of_the_site")
def test_without_features_nothing_is_taught(images: Path) -> None:
    said, stages = taught_before(images, classifier="site_classifiers:convolutions")
    assert "no linear layer" in said and "teaching classifiers" not in stages
    said, stages = taught_before(images, features="site_classifiers:only_ones")
    assert "the same features for different images" in said and "teaching classifiers" not in stages


@pytest.mark.usefixtures("networks_of_the_site")
def test_a_classifier_needs_no_linear_layer_beside_features_of_another(images: Path) -> None:
    choices = {**FEW, "classifier": "site_classifiers:convolutions", "features": "site_classifiers:means"}
    found = embhub.evaluate(images / "secret-real", images / "test", images / "good", **choices).report
    assert all(row.diversity for row in found.fidelity) and found.fidelity


@pytest.mark.usefixtures("networks_of_the_site")
def test_a_classifier_that_diverges_is_told_in_words(images: Path) -> None:
    said, stages = taught_before(images, classifier="site_classifiers:exploding")
    assert "site_classifiers:exploding diverged" in said and "teaching classifiers" not in stages


LINE = """
from torch import nn
class Line(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.last = nn.Linear(3 * 24 * 24, classes)
    def forward(self, images): return self.last(images.flatten(1)) * SIGN
def line(classes): return Line(classes)
"""


@pytest.mark.thorough
@pytest.mark.usefixtures("networks_of_the_site")
def test_an_edited_classifier_is_taught_anew(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(sign: int, folder: str) -> list[float]:
        Path("edited_line.py").write_text(LINE.replace("SIGN", f"{sign}"))
        monkeypatch.delitem(sys.modules, "edited_line", raising=False)
        importlib.invalidate_caches()
        choices = {**FEW, "classifier": "edited_line:line", "report": tmp_path / folder}
        found = embhub.evaluate(images / "secret-real", images / "test", images / "good", **choices)
        return [one.auc for one in found.report.aucs]

    first = evaluate(1, "a")
    edited = evaluate(-2, "a")
    assert edited != first and edited == evaluate(-2, "b")
    kept = len(list((tmp_path / "a" / evaluating.KEPT).iterdir()))
    assert evaluate(1, "a") == first and len(list((tmp_path / "a" / evaluating.KEPT).iterdir())) == kept


def test_another_version_teaches_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shades = np.random.default_rng(0).integers(0, 255, (8, SIDE, SIDE, 3)).astype(np.uint8)
    some = Labelled(shades, np.arange(8) % 2, tuple("abcdefgh"))

    def kept() -> int:
        choices = fitting.Choices(networks.find("small", steps=1), SIDE)
        fitting.teach([Cell(4)], some, {}, some, choices=choices, seeds=2, keep=tmp_path / "fits")
        return len(list((tmp_path / "fits").iterdir()))

    assert (kept(), kept()) == (2, 2)
    monkeypatch.setattr(fitting, "__version__", "99.0.0")
    assert kept() == 4


@pytest.mark.usefixtures("networks_of_the_site")
def test_where_features_of_real_images_do_not_differ_likeness_is_not_measured(images: Path) -> None:
    """They would be as real as can be: no distance, and every image within reach."""
    choices = {**FEW, "features": "site_classifiers:bright", "controls": False}
    found = embhub.evaluate(images / "secret-real", images / "test", images / "good", **choices).report
    for row in found.fidelity:
        figures = (row.kid, row.kid_sd, row.cmmd, row.fd, row.density, row.coverage)
        assert {*figures, row.precision, row.recall, row.diversity} == {None}
        assert row.spacing is None and row.agreement is not None
    assert found.fidelity and page.render(found)
    assert document.parse(found.to_bytes()) == found


def test_default_counts_end_with_all_there_is() -> None:
    assert evaluating._counts(None, (10, 20, 50, 200), 80, "x") == [10, 20, 50, 80]
    assert evaluating._counts(None, (10, 20, 50, 200), 220, "x") == [10, 20, 50, 200]
    assert evaluating._counts(None, (0, 100, 500), 60, "x") == [0, 60]
    with pytest.raises(UsageError):
        evaluating._counts([0], (1,), 9, "x")


def test_from_the_command_line_to_the_card(site: Site, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = site.make()
    digest = embedding.read(file).digest
    drawn = site.folder / "drawn"
    pictures(drawn, 20, seed=9)
    lines = (drawn / "manifest.csv").read_text().split()
    (drawn / "manifest.csv").write_text(
        "\n".join([f"{lines[0]},embedding"] + [f"{line},{digest}" for line in lines[1:]])
    )
    members = (runs.Sample(path="/x.png", patient_id="SecretReal1"),)
    runs.save(runs.Run(embedding_digest=digest, base="b", caption="c {}", token="<x>", vectors=1, members=members))
    words = [
        *("evaluate", "--real", str(images / "secret-real"), "--test", str(images / "test"), "--synthetic", str(drawn)),
        *("--real-counts", "20", "--synthetic-counts", "0,40", "--steps", "2", "--seeds", "2", "--dataset", "squares"),
        *("--resolution", "32", "--report", "out"),
    ]
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((site.folder / "out/evaluation.json").read_text())
    assert printed["arms"][0]["embeddings"] == [digest] and printed["arms"][0]["learned_from_real"] is True
    assert main(words) == 0
    said = capsys.readouterr()
    assert "generated images" in said.out and ("anything smaller" in said.out or "too small to show" in said.out)
    assert "ecret" not in said.out + said.err
    assert main(["card", "init", str(file), "--evaluation", "out/evaluation.json"]) == 0
    text = file.with_name("prostate-cspca.card.yaml").read_text()
    assert "squares (60 test patients)" in text and "AUC gained by 40 drawn images beside 20 real ones" in text
    assert main(["card", "check", str(file.with_name("prostate-cspca.card.yaml"))]) == 0
    assert "kept:" not in capsys.readouterr().err
    assert main(["card", "init", str(file)]) == 0
    assert "kept: the evaluation of the earlier card" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--real-counts", "ten"], "is not a list such as 10,50,200"),
        (["--arm", "drawn"], "not of the kind NAME=DIR"),
        (["--arm", "synthetic=x"], "what --synthetic is called"),
        (["--arm", "real images alone=x"], "the name of a control"),
        (["--arm", "a=x", "--arm", "a=y", "--arm", "a=z"], "5 seeds cannot take them equally often"),
        (["--regime", "blended"], "is not one of"),
        (["--real-share", "1"], "not in the range"),
        (["--features", "nowhere:none"], "cannot find the feature extractor"),
        (["--seeds", "1"], "not in the range"),
        (["--real", "nowhere"], "no folder or manifest"),
    ],
)
def test_wrong_words_are_refused(
    site: Site, images: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    known = ["--real", str(images / "secret-real"), "--test", str(images / "test"), "--synthetic", str(images / "good")]
    assert main(["evaluate", *known, "--report", "out", *words]) == 2
    said = capsys.readouterr()
    assert reason in said.err and not said.out
