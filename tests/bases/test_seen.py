"""Whom `builtin-xray` was trained on: the shipped list is what the split says, and recognises films, not people."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from bases.workshop import seen as workshop
from bases.workshop import xray
from embhub.__main__ import main
from embhub.artifact import fingerprint
from embhub.builtin_bases import info
from embhub.diffusion.bases import own_images
from embhub.diffusion.bases.pipelines import find_base
from embhub.diffusion.evaluation import base_patients
from embhub.diffusion.evaluation.material import Drawn, Source
from embhub.errors import ConfigError, PrivacyError
from embhub.images import seen
from embhub.images.images import read_images
from embhub.images.sketch import SAME, distance, sketch, sketches
from embhub.site.memory import runs
from embhub.site.memory.patients import key_patient
from tests.support.tools import DATA, needs_films

FOLDER = info("builtin-xray").path


def films(part: str, label: str, most: int) -> list[tuple[str, Image.Image]]:
    split = xray.split()
    with (DATA / "chest-xray" / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if split[row["patient_id"]] == part and row["label"] == label]
    found = []
    for row in rows[:: max(1, len(rows) // most)][:most]:
        with Image.open(DATA / "chest-xray" / row["path"]) as image:
            found.append((row["patient_id"], image.convert("L")))
    return found


@needs_films
@pytest.mark.thorough
def test_the_shipped_list_is_that_of_the_split() -> None:
    assert (FOLDER / seen.NAME).read_bytes() == workshop.seen(DATA).to_bytes()


def test_the_list_names_as_many_as_the_card() -> None:
    found = seen.read(FOLDER)
    copies = info("builtin-xray").figures["copies"]
    assert found is not None
    assert (len(found.sketches), len(found.patients)) == (copies["films"], copies["patients"])


def encode(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer)


@needs_films
@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: image.resize((64, 64), Image.Resampling.LANCZOS),
        lambda image: image.resize((900, 700), Image.Resampling.BICUBIC),
        encode,
        lambda image: image.filter(ImageFilter.GaussianBlur(2)),
        lambda image: image.point(lambda value: int(255 * (value / 255) ** 1.4)),
        lambda image: image.convert("RGB"),
    ],
    ids=["as it is", "smaller", "stretched", "encoded again", "blurred", "re-lit", "in colour"],
)
def test_a_film_of_the_base_is_known_however_it_was_saved(change: Callable[[Image.Image], Image.Image]) -> None:
    found = seen.read(FOLDER)
    assert found is not None
    assert all(found.has_picture(sketches(change(image))) for _, image in films("base", "normal", 8))


@needs_films
def test_films_of_others_are_not_taken_for_them() -> None:
    found = seen.read(FOLDER)
    assert found is not None
    for part, label in (("test", "normal"), ("judge", "normal"), ("site", "bacterial pneumonia")):
        for patient, image in films(part, label, 15):
            assert not found.has_picture(sketches(image)) and not found.has_patient(patient)


def test_noise_is_far_from_noise() -> None:
    rng = np.random.default_rng(0)
    one, two = (sketch(Image.fromarray(rng.integers(0, 255, (64, 64), dtype=np.uint8))) for _ in range(2))
    assert distance(one, one) == 0 and distance(one, two) > 3 * SAME


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "embhub.seen/2"}', '{"schema": "embhub.seen/1"}'])
def test_a_damaged_list_is_said_to_be_so(tmp_path: Path, text: str) -> None:
    assert seen.read(tmp_path) is None
    (tmp_path / seen.NAME).write_text(text)
    with pytest.raises(ConfigError, match="cannot be read"):
        seen.read(tmp_path)


def source(*names: str, film: Image.Image | None = None) -> Source:
    images = np.zeros((len(names), 4, 4, 3), np.uint8)
    shown = film or Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8))
    digests = tuple(f"{place}".encode() for place in range(len(names)))
    return Source(images, ("a",) * len(names), names, digests, True, (), (sketches(shown),) * len(names))


@pytest.fixture(scope="module")
def digest() -> str:
    return fingerprint.digest(fingerprint.take(FOLDER))


def test_test_patients_with_ids_of_the_base_are_refused(digest: str) -> None:
    known = seen.read(FOLDER)
    assert known is not None
    images = Drawn(source("x"), (), bases=(digest,))
    assert base_patients.check(source("mine-1"), {"a": images}) == ()
    with pytest.raises(PrivacyError, match="1 test patients have ids of its patients"):
        base_patients.check(source("mine-1", sorted(known.patients)[0]), {"a": images})
    nameless = replace(source(sorted(known.patients)[0]), has_patients=False)
    assert base_patients.check(nameless, {"a": images}) == ()
    for one in (sorted(known.patients)[0], key_patient(sorted(known.patients)[0])):  # a header's id is keyed
        with pytest.raises(PrivacyError, match="1 test patients"):
            base_patients.check(replace(nameless, known=frozenset({one})), {"a": images})


def test_test_patients_of_a_base_of_ones_own_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`embhub base train` writes the list, and this site's record of the training says which base it was."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    folder = tmp_path / "ultrasound-base" / "pipeline"
    shutil.copytree(info("builtin").path, folder)
    (folder / seen.NAME).write_bytes(seen.Seen("made up", frozenset({"P7"}), ()).to_bytes())
    made = runs.Run(embedding_digest="ef" * 32, base=str(folder), caption="x, {}", token="<x>", vectors=1, members=())
    runs.save(made)
    digest = fingerprint.digest(fingerprint.take(folder))
    images = Drawn(source("x"), ("ef" * 32,), bases=(digest,))
    with pytest.raises(PrivacyError, match="1 test patients have ids of its patients"):
        base_patients.check(source("P7", "P8"), {"a": images})
    assert base_patients.check(source("P8"), {"a": images}) == ()


@needs_films
def test_films_of_the_base_are_refused_under_any_name(digest: str) -> None:
    ((_, film),) = films("base", "normal", 1)
    test = source("mine-1", "mine-2", film=film)
    with pytest.raises(PrivacyError, match="2 test images are among those that builtin-xray was trained on"):
        base_patients.check(test, {"a": Drawn(source("x"), (), bases=(digest,))})
    with pytest.raises(PrivacyError, match="2 test images"):
        base_patients.check(test, {"a": Drawn(source("x"), (), bases=("builtin-xray",))})
    phantoms = fingerprint.digest(fingerprint.take(info("builtin").path))
    assert base_patients.check(test, {"a": Drawn(source("x"), (), bases=(phantoms,))}) == ()
    (remark,) = base_patients.check(test, {"a": Drawn(source("x"), ())})
    assert "2 test images" in remark and "if so, nothing was measured" in remark


def test_an_unknown_base_is_remarked(digest: str) -> None:
    for bases in ((), ("ab" * 32,), (digest, "ab" * 32)):
        (remark,) = base_patients.check(source("mine-1"), {"a": Drawn(source("x"), (), bases=bases)})
        assert "could not be checked" in remark


@needs_films
def test_no_claim_is_trained_on_films_that_the_base_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found before anything is reserved in the ledger; films of others are trained on."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    for name, part in (("own", "base"), ("others", "site")):
        (tmp_path / name).mkdir()
        label = "normal" if part == "base" else "bacterial pneumonia"
        for number, (_, film) in enumerate(films(part, label, 12)):
            film.resize((200, 180)).save(tmp_path / name / f"{number}.jpg", quality=60)
    found = find_base("builtin-xray")
    own_images.refuse(found, read_images(tmp_path / "others"))
    own_images.refuse(find_base("builtin"), read_images(tmp_path / "own"))
    words = ["train", str(tmp_path / "own"), "--base", "builtin-xray", "--token", "<x>", "--caption", "x-ray, {}"]
    private = ["--epsilon", "4", "--n-public", "10", "--unit", "image", "--out", str(tmp_path / "x.safetensors")]
    assert main([*words, *private]) == PrivacyError.exit_code
    assert not list((tmp_path / "home").rglob("*ledger*")) and not (tmp_path / "x.safetensors").exists()


def test_no_claim_is_trained_on_other_images_of_patients_that_the_base_saw(tmp_path: Path) -> None:
    known = seen.read(FOLDER)
    assert known is not None
    images = np.random.default_rng(0).integers(0, 255, (3, 150, 150), dtype=np.uint8)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")

    def refuse(name: str) -> None:
        rows = ["path,patient_id", *(f"{number}.png,{name if number else 'mine-1'}" for number in range(3))]
        (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
        own_images.refuse(find_base("builtin-xray"), read_images(tmp_path))

    refuse("mine-2")
    with pytest.raises(PrivacyError, match="1 patients have ids of patients that builtin-xray was trained on"):
        refuse(min(known.patients))
