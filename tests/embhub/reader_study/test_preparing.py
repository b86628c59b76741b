"""What is in a study's folder, and what its images reveal."""

from __future__ import annotations

import errno
import io
import shutil
import stat
from pathlib import Path

import pytest
from PIL import Image

from embhub.errors import ConfigError, PrivacyError, UsageError
from embhub.formats import synthetic_mark
from embhub.formats.synthetic_mark import COMPOSITE, mark_png
from embhub.reader_study.preparing import prepare
from embhub.reader_study.study import CASES, FILE, Study, case_file, read_study
from embhub.site.memory import runs
from tests.embhub.reader_study.conftest import EMBEDDING, NUMBER, write_images


def test_images_differ_in_their_pixels_alone(prepared: tuple[Path, Study]) -> None:
    folder, study = prepared
    assert len(study.names("real")) == len(study.names("generated")) == NUMBER and study.embeddings == (EMBEDDING,)
    for case in study.cases:
        data = case_file(folder, case.name).read_bytes()
        with Image.open(case_file(folder, case.name)) as image:
            assert (image.size, image.mode, image.info) == ((64, 64), "L", {}), "of one size, without metadata"
        assert synthetic_mark.read(data) == synthetic_mark.Declared()
        assert sum(data.count(kind) for kind in (b"tEXt", b"iTXt", b"eXIf", b"tIME", b"pHYs")) == 0
    assert {file.name for file in folder.iterdir()} == {FILE, CASES}
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / CASES, folder / FILE)]
    assert modes == [0o700, 0o700, 0o600]


def test_names_and_times_do_not_follow_the_kind(prepared: tuple[Path, Study]) -> None:
    """Sorted by name, as a folder lists them, kinds are mixed."""
    kinds = [case.kind for case in sorted(prepared[1].cases, key=lambda case: case.name)]
    assert kinds != sorted(kinds) and kinds != sorted(kinds, reverse=True)


def test_one_image_of_each_patient(sources: tuple[Path, Path], tmp_path: Path) -> None:
    real, drawn = sources
    with pytest.raises(UsageError, match="there are 12 patients in the real images, the study asks for 13"):
        prepare(real, drawn, tmp_path / "study", dataset="noise", number=13)
    assert not (tmp_path / "study").exists()


def test_patients_whom_the_embedding_was_trained_on_are_left_out(
    sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers judge each generated image beside the real ones: a privacy claim covers that for other patients alone."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    real, digest = sources[0], "cd" * 32
    drawn = write_images(tmp_path / "drawn", 12, side=64, generated=True, embedding=digest)
    members = (  # one by its id, another by an identical picture under another id
        runs.Sample(path=str(tmp_path / "gone.png"), patient_id="p3"),
        runs.Sample(path=str(real / "010.png"), patient_id="someone"),
    )
    runs.save(runs.Run(embedding_digest=digest, base="b", caption="{}", token="<a>", vectors=1, members=members))
    with pytest.raises(UsageError, match="there are 10 patients in the real images without the 2 that the embedding"):
        prepare(real, drawn, tmp_path / "study", dataset="noise", number=11)
    prepare(real, drawn, tmp_path / "study", dataset="noise", number=10)


def test_who_is_left_out_decides_nothing(
    sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a training patient's image in the folder, and without it, readers see the same."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    with_one = shutil.copytree(sources[0], tmp_path / "real")
    shutil.copy(write_images(tmp_path / "small", 1, side=40) / "000.png", with_one / "trained.png")
    with (with_one / "manifest.csv").open("a") as rows:
        rows.write("trained.png,X1\n")
    digest = "cd" * 32
    drawn = write_images(tmp_path / "drawn", 30, side=64, generated=True, embedding=digest)
    member = runs.Sample(path=str(with_one / "trained.png"), patient_id="X1")
    runs.save(runs.Run(embedding_digest=digest, base="b", caption="{}", token="<a>", vectors=1, members=(member,)))

    def seen(name: str, real: Path) -> list[bytes]:
        study = prepare(real, drawn, tmp_path / name, dataset="noise", number=NUMBER)
        return sorted(case_file(tmp_path / name, case.name).read_bytes() for case in study.cases)

    assert seen("a", with_one) == seen("b", sources[0])


def test_what_a_site_cannot_tell_of_the_patients_is_said(sources: tuple[Path, Path], tmp_path: Path) -> None:
    said: list[str] = []
    prepare(*sources, tmp_path / "study", dataset="noise", number=NUMBER, on_note=said.append)
    assert any("cannot tell whether the embedding was trained on" in one for one in said)


def test_the_same_seed_chooses_the_same_images(sources: tuple[Path, Path], tmp_path: Path) -> None:
    def pixels(name: str, seed: int) -> list[bytes]:
        study = prepare(*sources, tmp_path / name, dataset="noise", number=NUMBER, seed=seed)
        return [case_file(tmp_path / name, case.name).read_bytes() for case in study.cases]

    first = pixels("a", 1)
    assert first == pixels("b", 1) != pixels("c", 2)


def test_kinds_are_not_mixed_up(sources: tuple[Path, Path], tmp_path: Path) -> None:
    real, drawn = sources
    with pytest.raises(PrivacyError, match="12 of the real images say that they are synthetic"):
        prepare(drawn, drawn, tmp_path / "a", dataset="noise", number=NUMBER)
    with pytest.raises(UsageError, match="do not say that they are synthetic"):
        prepare(real, real, tmp_path / "b", dataset="noise", number=NUMBER)


def test_patients_images_that_were_drawn_anew_in_part_are_no_generated_ones(
    sources: tuple[Path, Path], tmp_path: Path
) -> None:
    """Beside a privacy claim, a card would state what readers say of them as if it were of the embedding alone."""
    real, drawn = sources
    mixed = tmp_path / "drawn"
    shutil.copytree(drawn, mixed)
    buffer = io.BytesIO()
    Image.new("L", (64, 64), 7).save(buffer, "PNG")
    (mixed / "x.png").write_bytes(mark_png(buffer.getvalue(), COMPOSITE, embeddings=[EMBEDDING]))
    with pytest.raises(PrivacyError, match="1 of the generated images are patients' images"):
        prepare(real, mixed, tmp_path / "a", dataset="noise", number=NUMBER)


def test_a_full_disk_leaves_no_image(
    sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    save = Image.Image.save

    def full(image: Image.Image, path: Path, *args: str) -> None:
        if len(written) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        save(image, path, *args)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(ConfigError, match="No space left"):
        prepare(*sources, tmp_path / "study", dataset="noise", number=NUMBER)
    assert len(written) == 5 and not (tmp_path / "study").exists()


def test_colour_stays_where_real_images_have_it(sources: tuple[Path, Path], tmp_path: Path) -> None:
    real = write_images(tmp_path / "colour", 24, side=64, colour=True)
    study = prepare(real, sources[1], tmp_path / "study", dataset="noise", number=NUMBER)
    modes = {Image.open(case_file(tmp_path / "study", case.name)).mode for case in study.cases}
    assert modes == {"RGB"}, "generated ones too"


def test_a_study_is_not_overwritten_and_damage_is_noticed(
    sources: tuple[Path, Path], prepared: tuple[Path, Study]
) -> None:
    folder, study = prepared
    with pytest.raises(UsageError, match="is there already"):
        prepare(*sources, folder, dataset="noise", number=NUMBER)
    case_file(folder, study.cases[0].name).unlink()
    with pytest.raises(ConfigError, match="missing"):
        read_study(folder)
    (folder / FILE).write_text("{}")
    with pytest.raises(ConfigError, match="damaged"):
        read_study(folder)
    with pytest.raises(UsageError, match="no reader study"):
        read_study(folder / "nothing")
