"""Images with their labels, from manifests and folders, and nobody on both sides."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embhub.diffusion.evaluation.evaluating import remarks
from embhub.diffusion.evaluation.material import (
    Drawn,
    Source,
    check_apart,
    check_labels,
    learned_from,
    read_drawn,
    read_real,
)
from embhub.errors import EmbhubError, PrivacyError, UsageError
from embhub.images import pixels
from embhub.site.memory import runs
from embhub.site.memory.patients import key_patient
from tests.support import medical
from tests.support.sites import Site

DIGEST = "ab" * 32


def write(folder: Path, rows: list[tuple[str, str, str]], *, seed: int, columns: str = "path,patient_id,label") -> Path:
    """Noise under these names, and a manifest."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for name, *_ in rows:
        Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(folder / name)
    lines = [columns, *(",".join(row[: columns.count(",") + 1]) for row in rows)]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def some(labels: str = "ab", start: int = 0) -> list[tuple[str, str, str]]:
    return [(f"{n}.png", f"P{start + n // 2}", label) for n, label in enumerate(labels * 2)]


def source(labels: tuple[str, ...], *, patients: bool = True, seed: int = 0) -> Source:
    count = len(labels)
    names = tuple(f"P{seed}-{n}" for n in range(count))
    return Source(np.zeros((count, 4, 4, 3), np.uint8), labels, names, tuple(f"{seed}{n}".encode() for n in
                  range(count)), patients)  # fmt: skip


def test_a_manifest_gives_labels_and_patients(tmp_path: Path) -> None:
    found = read_real(write(tmp_path / "a", some(), seed=1), "real images", 16)
    assert found.images.shape == (4, 16, 16, 3) and found.images.dtype == np.uint8
    assert found.labels == ("a", "b", "a", "b")
    assert found.names == ("P0", "P0", "P1", "P1") and found.has_patients
    assert found.labelled("b").labels.tolist() == [0, 1, 0, 1]


def test_folders_give_labels_too_and_each_image_is_a_person(tmp_path: Path) -> None:
    for label in ("normal", "sick"):
        write(tmp_path / "a" / label, some(), seed=len(label))
        (tmp_path / "a" / label / "manifest.csv").unlink()
    found = read_drawn(tmp_path / "a", "arm x", 16)
    assert found.source.labels == ("normal",) * 4 + ("sick",) * 4
    assert len(set(found.source.names)) == 8 and not found.source.has_patients
    assert found.embeddings == () and found.source.notes == ()


def test_the_embeddings_that_drew_are_read_from_a_data_set_and_from_generated_images(tmp_path: Path) -> None:
    rows = [(f"{n}.png", "ab"[n % 2], f"{DIGEST} {'cd' * 32}" if n % 2 else "") for n in range(4)]
    folder = write(tmp_path / "set", rows, seed=1, columns="path,label,embedding")
    assert read_drawn(folder, "arm x", 16).embeddings == (DIGEST, "cd" * 32)
    for label in ("normal", "sick"):
        write(tmp_path / "b" / label, some(), seed=len(label))
        (tmp_path / "b" / label / "manifest.csv").unlink()
    listed = {"embeddings": [{"token": "<x>", "sha256": DIGEST}]}
    (tmp_path / "b" / "sick" / "manifest.json").write_text(json.dumps(listed))
    (tmp_path / "b" / "normal" / "manifest.json").write_text("{not json")
    assert read_drawn(tmp_path / "b", "arm x", 16).embeddings == (DIGEST,)


@pytest.mark.parametrize(
    ("arrange", "reason"),
    [
        (lambda folder: (folder / "manifest.csv").unlink(), "nothing says what the images show"),
        (lambda folder: (folder / "manifest.csv").write_text("path,patient_id\n0.png,P1\n"), "has no label"),
    ],
)
def test_images_without_labels_are_refused(tmp_path: Path, arrange: Callable[[Path], object], reason: str) -> None:
    folder = write(tmp_path / "a", some(), seed=1)
    arrange(folder)
    with pytest.raises(UsageError, match=reason):
        read_real(folder, "real images", 16)


def test_no_file_name_and_no_patient_is_in_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path / "secret-place", [("secret.png", "SecretPatient", ""), ("b.png", "X", "a")], seed=1)
    with pytest.raises(EmbhubError) as refused:
        read_real(folder, "real images", 16)
    assert "ecret" not in str(refused.value)


def test_the_positive_label_is_guessed_only_where_there_is_one() -> None:
    both = source(("normal", "cspca") * 2)
    assert check_labels(both, both, {}, None) == ("cspca", ["normal"])
    three = source(("normal", "cspca", "cyst") * 2)
    with pytest.raises(UsageError, match="which of"):
        check_labels(three, three, {}, None)
    assert check_labels(three, three, {}, "cyst") == ("cyst", ["cspca", "normal"])
    with pytest.raises(UsageError, match="no real image has the label"):
        check_labels(both, both, {}, "cyst")


@pytest.mark.parametrize(
    ("real", "test", "drawn", "reason"),
    [
        ("aa", "ab", "ab", "one label only"),
        ("ab", "acc", "ab", "test images: 2 images have labels"),
        ("ab", "ab", "az", "the arm x: 1 image has a label"),
        ("ab", "ab", "aa", "the arm x: images of one class only"),
        ("ab", "bb", "ab", "test images: images of one class only"),
        ("ab", "abb", "ab", "1 test images with the finding and 2 without"),
    ],
)
def test_labels_that_do_not_fit_are_refused(real: str, test: str, drawn: str, reason: str) -> None:
    arms = {"x": Drawn(source(tuple(drawn)), ())}
    with pytest.raises(UsageError, match=reason):
        check_labels(source(tuple(real)), source(tuple(test)), arms, "a")


def test_a_patient_on_both_sides_is_refused(site: Site, tmp_path: Path) -> None:
    real = read_real(write(tmp_path / "a", some(), seed=1), "real images", 16)
    test = read_real(write(tmp_path / "b", some(start=1), seed=2), "test images", 16)
    with pytest.raises(PrivacyError, match="1 patients are in the training and in the test"):
        check_apart(real, test, {})
    check_apart(real, read_real(write(tmp_path / "c", some(start=2), seed=2), "test images", 16), {})


def test_one_image_without_an_id_hides_no_patient(site: Site, tmp_path: Path) -> None:
    """A folder of DICOM files, and one PNG among them."""
    real = read_real(write(tmp_path / "a", some(), seed=1), "real images", 16)
    grey = np.random.default_rng(3).integers(0, 255, (20, 20), dtype=np.uint8)
    for number, label in enumerate("ab"):
        dicom = medical.dataset(grey + number, PatientID=f"P{number + 1}", SeriesInstanceUID=f"1.2.{number}")
        medical.write(tmp_path / "b" / label / "0.dcm", dicom)
    Image.fromarray(grey).save(tmp_path / "b" / "a" / "x.png")
    test = read_real(tmp_path / "b", "test images", 16)
    assert not test.has_patients and len(set(test.names)) == 3, "each image is a unit of its own"
    for one, other in ((real, test), (test, real)):
        with pytest.raises(PrivacyError, match="1 patients are in the training and in the test"):
            check_apart(one, other, {})


def test_a_test_picture_among_the_drawn_or_real_ones_is_refused(site: Site) -> None:
    test = source(("a", "b"), seed=1)
    copied = Source(test.images, test.labels, ("x", "y"), test.digests, False)
    with pytest.raises(PrivacyError, match="2 test images are identical to images of the real training images"):
        check_apart(copied, test, {})
    with pytest.raises(PrivacyError, match="2 test images are identical to images of the arm x"):
        check_apart(source(("a", "b")), test, {"x": Drawn(copied, ())})


def test_only_the_identical_picture_is_recognised_as_the_page_says(site: Site, tmp_path: Path) -> None:
    """In another file format too, but not where its grey values changed by one."""

    def read(name: str, file: str, more: int) -> Source:
        folder = tmp_path / name
        folder.mkdir()
        grey = np.arange(400, dtype=np.uint8).reshape(20, 20) // 2 + np.uint8(more)
        Image.fromarray(grey).save(folder / file)
        (folder / "manifest.csv").write_text(f"path,patient_id,label\n{file},{name},a\n")
        return read_real(folder, "images", 16)

    test = read("T", "0.png", 0)
    with pytest.raises(PrivacyError, match="1 test images are identical to images of the real training images"):
        check_apart(read("R", "0.tif", 0), test, {})
    check_apart(read("S", "0.png", 1), test, {})
    page = (Path(__file__).parents[4] / "docs/how-to/evaluate.md").read_text()
    assert "the identical test image, pixel for pixel" in page and "A copy with other pixels is accepted" in page


def remember(folder: Path, *patients: str) -> None:
    """A training of this site, on one picture of each patient."""
    folder.mkdir(exist_ok=True)
    members = []
    for number, patient in enumerate(patients):
        path = folder / f"{patient}.png"
        Image.fromarray(np.full((8, 8, 3), 10 * number, np.uint8)).save(path)
        members.append(runs.Sample(path=str(path), patient_id=patient))
    run = runs.Run(
        embedding_digest=DIGEST, base="b", caption="c {}", token="<x>", vectors=1, members=tuple(members)
    )  # fmt: skip
    runs.save(run)


def test_an_embedding_learned_from_test_patients_is_refused(site: Site) -> None:
    real, test = source(("a", "b"), seed=1), source(("a", "b"), seed=2)
    drawn = Drawn(source(("a", "b"), patients=False, seed=3), (DIGEST,))
    assert learned_from(drawn, test) is None
    check_apart(real, test, {"x": drawn})  # this site remembers nothing of it
    remember(site.folder / "learned", "P1-0", "P9")
    check_apart(real, test, {"x": drawn})
    assert learned_from(drawn, real) is True and learned_from(drawn, test) is False
    remember(site.folder / "learned", "P2-1")
    with pytest.raises(PrivacyError, match="learned from patients of the test images"):
        check_apart(real, test, {"x": drawn})


def test_a_picture_that_was_learned_from_is_known_under_any_name(site: Site) -> None:
    remember(site.folder / "learned", "P1", "P2")
    picture = pixels.digest(Image.fromarray(np.full((8, 8, 3), 10, np.uint8)))
    drawn = Drawn(source(("a", "b"), patients=False, seed=3), (DIGEST,))
    renamed = replace(source(("a", "b"), seed=2), digests=(b"x", picture))
    assert learned_from(drawn, renamed) is True
    assert learned_from(drawn, replace(renamed, has_patients=False)) is True
    with pytest.raises(PrivacyError, match="learned from patients of the test images"):
        check_apart(source(("a", "b"), seed=1), renamed, {"x": drawn})
    (site.folder / "learned" / "P1.png").unlink()
    assert learned_from(drawn, source(("a", "b"), seed=2)) is None  # it might have been this one


def test_ids_from_headers_are_the_patients_of_a_manifest(site: Site) -> None:
    remember(site.folder / "learned", "Secret  7")
    drawn = Drawn(source(("a", "b"), patients=False, seed=3), (DIGEST,))
    keyed = replace(source(("a", "b"), seed=2), names=("x", key_patient("Secret 7")))
    assert learned_from(drawn, keyed) is True


def test_without_patients_or_with_an_unknown_embedding_nothing_is_claimed(site: Site) -> None:
    remember(site.folder / "learned", "P1-0")
    drawn = Drawn(source(("a", "b"), patients=False, seed=3), (DIGEST, "cd" * 32))
    assert learned_from(drawn, source(("a", "b"), seed=2)) is None
    assert learned_from(drawn, source(("a", "b"), seed=1)) is True
    nameless = source(("a", "b"), patients=False, seed=2)
    assert learned_from(Drawn(drawn.source, (DIGEST,)), nameless) is None
    assert learned_from(Drawn(drawn.source, ()), nameless) is None


def test_a_training_without_patients_cannot_say_that_a_test_patient_was_not_in_it(site: Site) -> None:
    remember(site.folder / "learned", "image 1", "image 2")
    drawn = Drawn(source(("a", "b"), patients=False, seed=3), (DIGEST,))
    test = source(("a", "b"), seed=2)
    assert learned_from(drawn, test) is None
    picture = pixels.digest(Image.fromarray(np.full((8, 8, 3), 10, np.uint8)))
    assert learned_from(drawn, replace(test, digests=(b"x", picture))) is True


def classes(root: Path, **manifests: object) -> Path:
    """A folder for each label, with the manifest.json that is given for it."""
    for label, said in manifests.items():
        (write(root / label, some(), seed=len(label)) / "manifest.csv").unlink()
        if said is not None:
            (root / label / "manifest.json").write_text(json.dumps(said))
    return root


def test_images_are_of_an_embedding_only_where_every_folder_says_which_drew_it(site: Site, tmp_path: Path) -> None:
    remember(site.folder / "learned", "P9")
    test, listed = source(("a", "b"), seed=2), {"embeddings": [{"token": "<x>", "sha256": DIGEST}]}
    whole = read_drawn(classes(tmp_path / "whole", sick=listed, normal={"embeddings": []}), "arm x", 16)
    assert learned_from(whole, test) is False
    half = read_drawn(classes(tmp_path / "half", sick=listed, normal=None), "arm x", 16)
    assert half.embeddings == (DIGEST,) and learned_from(half, test) is None
    redrawn = {"schema": "embhub.redrawn/1", **listed}
    parts = read_drawn(classes(tmp_path / "parts", sick=listed, normal=redrawn), "arm x", 16)
    assert learned_from(parts, test) is None and parts.redrawn and not half.redrawn


def test_both_ends_of_a_turned_series_drew_it(tmp_path: Path) -> None:
    turned = {"embeddings": [], "slerp_to": {"token": "<y>", "sha256": "cd" * 32}}
    folder = classes(tmp_path / "a", sick=turned, normal={"embeddings": []})
    assert read_drawn(folder, "arm x", 16).embeddings == ("cd" * 32,)


def test_a_manifest_that_was_named_is_the_one_that_is_asked_who_drew(tmp_path: Path) -> None:
    rows = [(f"{n}.png", "ab"[n % 2], DIGEST) for n in range(4)]
    folder = write(tmp_path / "set", rows, seed=1, columns="path,label,embedding")
    (folder / "some.csv").write_text((folder / "manifest.csv").read_text().replace(DIGEST, "cd" * 32))
    assert read_drawn(folder / "some.csv", "arm x", 16).embeddings == ("cd" * 32,)
    (folder / "bare.csv").write_text("path,label\n0.png,a\n1.png,b\n")
    bare = read_drawn(folder / "bare.csv", "arm x", 16)
    assert bare.embeddings == () and not bare.told


@pytest.mark.parametrize("place", ["real", "test", "arm"])
@pytest.mark.parametrize("name", ["Smith^John", "Dr. Smith"])
def test_a_label_that_names_a_person_is_refused_without_repeating_it(place: str, name: str) -> None:
    """Whichever set has it: a message may end in a log that others read."""
    plain, named = source(("normal", "sick") * 2), source(("normal", "sick", name) * 2)
    real, test, drawn = (named if place == one else plain for one in ("real", "test", "arm"))
    with pytest.raises(PrivacyError, match="a label looks like it names a person") as refused:
        check_labels(real, test, {"x": Drawn(drawn, ())}, None)
    assert "mith" not in f"{refused.value} {refused.value.hint}"


def test_a_label_that_does_not_fit_is_not_repeated() -> None:
    """No list of names has all names."""
    plain, named = source(("normal", "sick")), source(("normal", "sick", "Jan Jansen 12-03-1961"))
    for test, drawn in ((named, plain), (plain, named)):
        with pytest.raises(UsageError) as refused:
            check_labels(plain, test, {"x": Drawn(drawn, ())}, None)
        assert "Jan" not in f"{refused.value} {refused.value.hint}"
        assert refused.value.hint == "use the same labels throughout: normal, sick"


def test_a_finding_that_names_a_person_is_not_repeated() -> None:
    both = source(("normal", "sick") * 2)
    with pytest.raises(PrivacyError) as refused:
        check_labels(both, both, {}, "Dr. Smith")
    assert "mith" not in str(refused.value)


def test_what_could_not_be_checked_is_remarked(site: Site) -> None:
    real, test = source(("a", "b"), seed=1), source(("a", "b"), seed=2)
    images = source(("a", "b"), patients=False, seed=3)
    remember(site.folder / "learned", "P9")
    assert remarks(real, test, {"x": Drawn(images, (DIGEST,))}) == ()
    for drawn, said in (
        (Drawn(images, ("cd" * 32,)), "cannot tell from whom"),  # another site trained it
        (Drawn(images, (DIGEST,), told=False), "Nothing says which embeddings"),
        (Drawn(images, (DIGEST,), redrawn=True), "with a part drawn anew"),
    ):
        assert said in remarks(real, test, {"x": drawn})[0]
    assert "name no patients" in remarks(real, replace(test, has_patients=False), {"x": Drawn(images, (DIGEST,))})[0]


def test_the_base_that_drew_is_read_from_a_data_set_and_from_generated_images(tmp_path: Path) -> None:
    rows = [(f"{n}.png", "ab"[n % 2], DIGEST) for n in range(4)]
    folder = write(tmp_path / "set", rows, seed=1, columns="path,label,base")
    assert read_drawn(folder, "arm x", 16).bases == (DIGEST,)
    rows[0] = ("0.png", "a", "")
    assert read_drawn(write(tmp_path / "half", rows, seed=1, columns="path,label,base"), "arm x", 16).bases == ()
    told = {"base": "builtin-xray", "base_fingerprint": "cd" * 32, "embeddings": []}
    other = {"base": "/some/folder", "base_fingerprint": "cd" * 32, "embeddings": []}
    assert read_drawn(classes(tmp_path / "a", sick=told, normal=other), "arm x", 16).bases == tuple(
        sorted(("builtin-xray", "cd" * 32))
    )
    assert read_drawn(classes(tmp_path / "b", sick=told, normal=None), "arm x", 16).bases == ()
