"""A sheet of samples is written where the copy check passed it or a privacy claim covers it, and nowhere else."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from embhub.__main__ import main
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.cards import card, card_draft
from embhub.cards.card import parse_yaml
from embhub.copies.report import Report
from embhub.diffusion.bases.adapted import MARK
from embhub.diffusion.copying import outcome, sheets
from embhub.errors import PrivacyError, UsageError
from embhub.formats import plain_png
from embhub.release import at_the_site
from embhub.release import files as release_files
from tests.support import cards, claims, pipelines
from tests.support.quick import quick

Write = Callable[..., Path]


@pytest.fixture
def write(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write an embedding of the tiny base with a complete card; `claim` is its privacy claim."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))

    def make(claim: Any = "none") -> Path:
        rows = np.random.default_rng(0).normal(size=(2, pipelines.WIDTH))
        made = artifact.build(
            {"emb_params": rows}, token="<a>", base=fingerprint.take(base), base_name="tiny",
            training={"caption": "mri, {}"}, privacy=claim, dtype="float16",
        )  # fmt: skip
        path = tmp_path / "a.safetensors"
        path.write_bytes(made.data)
        said = {"token": "<a>", "vectors": [{"encoder": "text_encoder", "count": 2, "dim": pipelines.WIDTH}]}
        values = card.parse(cards.complete(**said)).to_dict()
        at_the_site.beside(path, at_the_site.CARD).write_bytes(card_draft.write_draft(values, []))
        return path

    return make


@pytest.fixture
def check(base: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Report | None, dict[str, Any]]]:
    """The whole command but for the comparison, whose verdict is given: who may be compared is tested elsewhere."""

    def run(file: Path, verdict: str, **choices: Any) -> tuple[Report | None, dict[str, Any]]:
        unchecked: dict[str, Any] = {
            "members": SimpleNamespace(images=1, units=1), "controls": SimpleNamespace(units=1), "verdict": verdict,
        }  # fmt: skip
        report = Report.model_construct(
            embhub="0", embedding="ab" * 32, base="tiny", unit="patient", alpha=0.05, threshold=0.01, scores={},
            samples=(), planted=(), **unchecked,
        )  # fmt: skip
        monkeypatch.setattr(outcome, "check_copies", lambda *_, **__: SimpleNamespace(report=report))
        usual = {"members": "x", "nonmembers": "y", "base": str(base), "device": "cpu", "n": 3, "sheet": True}
        return outcome.check_to_file(file, **{**usual, **choices})

    return run


Check = Callable[..., tuple[Report | None, dict[str, Any]]]


def test_what_passed_becomes_a_sheet_that_the_card_takes(write: Write, check: Check) -> None:
    file = write()
    _, facts = check(file, "no-copies-found")
    sheet, record = file.with_name("a.samples.png"), file.with_name("a.samples.json")
    assert str(sheet) in facts["sheet"] and str(record) in facts["record"]
    plain_png.check(sheet.read_bytes())
    said = json.loads(record.read_text())
    assert said == {
        "schema": "embhub.sheet/1", "sha256": release_files.digest(sheet.read_bytes()),
        "embedding": artifact.read(file).digest, "images": 3, "prompt": "mri, <a>", "drawn_from": 0,
        "steps": said["steps"], "guidance": said["guidance"], "copy_check": "no-copies-found",
    }  # fmt: skip
    assert main(["card", "init", str(file), "--samples", str(record)]) == 0
    answers = file.with_name("a.card.yaml")
    found = parse_yaml(answers.read_bytes())
    assert found.samples is not None and found.samples.sha256 == said["sha256"]
    assert at_the_site.read(file).files[release_files.SAMPLES] == sheet.read_bytes()
    assert main(["card", "init", str(file)]) == 0
    assert parse_yaml(answers.read_bytes()).samples == found.samples, "a later `card init` keeps it"
    file.write_bytes(artifact.read(write(claims.make_claim())).data)  # another embedding under the same name
    assert main(["card", "init", str(file)]) == 0
    assert b"samples" not in answers.read_bytes()
    write()
    sheet.write_bytes(sheets.compose([Image.new("RGB", (32, 32))]))
    assert main(["card", "init", str(file), "--samples", str(record)]) == 3


@pytest.mark.thorough
def test_a_sheet_that_no_card_records_stays_at_the_site(write: Write, check: Check) -> None:
    file = write()
    check(file, "no-copies-found")
    assert release_files.SAMPLES not in at_the_site.read(file).files


@pytest.mark.parametrize("verdict", quick(["copies-suspected"], thorough=["insufficient-evidence"]))
def test_what_did_not_pass_leaves_none_and_takes_an_earlier_one_away(write: Write, check: Check, verdict: str) -> None:
    file = write()
    check(file, "no-copies-found")
    _, facts = check(file, verdict, seed=9)
    assert not list(file.parent.glob("a.samples.*")) and "no generated image is published" in facts["sheet"]


def test_beside_a_claim_it_is_drawn_and_nothing_is_compared(write: Write, check: Check, base: Path) -> None:
    file = write(claims.make_claim())
    report, _ = check(file, "copies-suspected")  # nobody asks
    assert report is None and json.loads(file.with_name("a.samples.json").read_text())["copy_check"] == "not-run"
    first = file.with_name("a.samples.png").read_bytes()
    assert not list(file.parent.glob("a.copies.*")) and not (file.parent / "a.samples").exists()
    words = ["copy-check", str(file), "--sheet", "-n", "3", "--base", str(base), "--device", "cpu"]
    assert main(words) == 0, "it needs no patient, neither trained on nor kept back"
    assert file.with_name("a.samples.png").read_bytes() == first


def test_what_cannot_become_a_sheet_is_refused_before_anything_is_drawn(write: Write, check: Check, base: Path) -> None:
    file = write()
    for choices, reason in (
        ({"samples": file.parent}, "generates itself"),
        ({"n": 17}, "17 images"),
        ({"alpha": 0.001}, "alpha is 0.001"),
    ):
        with pytest.raises(UsageError, match=reason):
            check(file, "no-copies-found", **choices)
    with pytest.raises(PrivacyError, match="the prompt looks like personal data"):
        check(file, "no-copies-found", prompt="mri of patient no 12345678, {}")
    with pytest.raises(PrivacyError, match="fine-tuned"):
        check(file, "no-copies-found", base=f"{base} + vae={base / 'vae'}")
    assert not list(file.parent.glob("a.samples*"))


@pytest.mark.parametrize(
    ("claimed", "place"), quick([(True, "unet"), (False, ".")], thorough=[(True, "."), (False, "unet")])
)
def test_a_base_that_learned_from_images_of_the_site_draws_no_sheet(
    write: Write, check: Check, base: Path, tmp_path: Path, claimed: bool, place: str
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    shutil.copytree(base, own, dirs_exist_ok=True)
    (own / place / MARK).write_text("{}")
    with pytest.raises(PrivacyError, match="fine-tuned"):
        check(write(claims.make_claim() if claimed else "none"), "no-copies-found", base=str(own))


def pictures(count: int, side: int, mode: str = "RGB") -> list[Image.Image]:
    rng = np.random.default_rng(0)
    shape = (side, side, 3) if mode == "RGB" else (side, side)
    return [Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)) for _ in range(count)]


def test_a_sheet_has_every_picture_and_nothing_else_of_it() -> None:
    marked = []
    for image in pictures(6, 64):
        info = PngImagePlugin.PngInfo()
        info.add_text("Comment", "patient 7")
        buffer = io.BytesIO()
        image.save(buffer, "PNG", pnginfo=info, dpi=(72, 72))
        marked.append(Image.open(buffer))
    data = sheets.compose(marked)
    assert plain_png.check(data) == plain_png.Size(4 * 66 - 2, 2 * 66 - 2) and b"patient" not in data
    shown = np.asarray(Image.open(io.BytesIO(data)))
    assert (shown[:64, 66:130] == np.asarray(marked[1])).all() and (shown[66:130, :64] == np.asarray(marked[4])).all()


@pytest.mark.parametrize(("count", "side"), quick([(1, 64), (3, 1024)], thorough=[(16, 64), (16, 512)]))
def test_the_largest_sheet_is_within_its_limit(count: int, side: int) -> None:
    """Noise is what packs worst."""
    data = sheets.compose(pictures(count, side))
    plain_png.check(data)
    assert len(data) <= release_files.LIMITS[release_files.SAMPLES]


def test_grey_pictures_make_a_grey_sheet() -> None:
    assert Image.open(io.BytesIO(sheets.compose(pictures(1, 32, "L")))).mode == "L"
