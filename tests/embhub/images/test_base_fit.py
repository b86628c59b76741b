"""Which base generates such images: the caption chooses, a header only stops, and nothing is written before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import keyword_dict

from embhub.__main__ import main
from embhub.builtin_bases import GENERATES, NAMES, shipped
from embhub.errors import UsageError
from embhub.images.checks import base_fit
from embhub.images.checks.base_fit import Shown, choose_base
from embhub.images.inspections.inspection import inspect
from tests.support import medical, without_torch
from tests.support.quick import examples

FILM = "frontal chest x-ray, {}"
FILMS = (Shown(1, "CR", "CHEST"), Shown(2, "DX", "CHEST"), Shown(3, "DX", ""))
SCANS = (Shown(1, "MR", "PROSTATE"), Shown(2, "MR", "PROSTATE"))
XRAYS = (FILM, "Chest X-ray of a child, {}", "CXR with {}", "thorax radiograph, {}")
OTHERS = (
    "prostate mri, {}", "an image of {}", "chest ct, {}", "lateral chest x-ray, {}", "x-ray of a hand, {}",
    "phantom chest x-ray, {}",
)  # fmt: skip
ELSEWHERE = (Shown(9, "CT", "CHEST"), Shown(9, "DX", "HAND"), Shown(9, "", "SKULL"), Shown(9, "MR", ""))


def film(number: int, **fields: Any) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 4096, (128, 128), dtype=np.uint16)
    said = {"PatientID": f"P{number}", "BodyPartExamined": "CHEST", "BitsStored": 12, **fields}
    return medical.to_bytes(medical.dataset(pixels, **said))


def folder(place: Path, *files: bytes) -> Path:
    place.mkdir()
    for number, data in enumerate(files):
        (place / f"{number:03d}.dcm").write_bytes(data)
    return place


def test_each_built_in_base_says_what_it_generates_by_codes_that_dicom_has() -> None:
    assert set(GENERATES) == set(NAMES)
    for base in shipped():
        assert base.generates is GENERATES[base.name]
        card = (base.path / "README.md").read_text(encoding="utf-8")
        assert f"Generates: {base.generates.what}." in card
        assert all(f"`{code}`" in card for code in (*base.generates.modalities, *base.generates.body_parts))
    assert "BodyPartExamined" in keyword_dict


@pytest.mark.parametrize("caption", XRAYS)
def test_the_caption_chooses_the_base_that_generates_such_images(caption: str) -> None:
    assert choose_base(caption, ()) == choose_base(caption, FILMS) == "builtin-xray"


@pytest.mark.parametrize("caption", OTHERS)
def test_a_caption_of_other_images_chooses_none_and_the_base_that_fits_the_headers_is_named(caption: str) -> None:
    with pytest.raises(UsageError, match="no base was named") as refused:
        choose_base(caption, FILMS)
    assert "--base builtin-xray" in refused.value.hint
    for shown in ((), SCANS):
        with pytest.raises(UsageError, match="no base was named") as refused:
            choose_base(caption, shown)
        assert "builtin-xray" not in refused.value.hint and "base-families" in refused.value.hint


@pytest.mark.parametrize("other", ELSEWHERE)
def test_one_header_of_other_images_stops_what_the_caption_chose(other: Shown) -> None:
    with pytest.raises(UsageError, match="1 DICOM files are of another modality or body part") as refused:
        choose_base(FILM, (*FILMS, other), "row")
    assert "row 9" in refused.value.message


SAYS = st.builds(
    Shown, st.integers(1, 99), st.sampled_from(["CR", "DX", "MR", "CT", "", "OT", "JANSEN"]),
    st.sampled_from(["CHEST", "PROSTATE", "", "ANNA JANSEN"]),
)  # fmt: skip


@given(caption=st.sampled_from(XRAYS + OTHERS), shown=st.lists(SAYS, max_size=4), one=SAYS)
@settings(max_examples=examples(200))
def test_no_patient_decides_which_base_a_release_names(caption: str, shown: list[Shown], one: Shown) -> None:
    """The base's name is published. With and without any one patient it is the same, or there is no training."""

    def outcome(of: list[Shown]) -> str:
        try:
            return choose_base(caption, of)
        except UsageError as error:
            assert "JANSEN" not in f"{error.message} {error.hint}"
            return "refused"

    assert len({outcome(shown), outcome([*shown, one])} - {"refused"}) <= 1
    assert "JANSEN" not in base_fit.doubt("builtin", [*shown, one])


def test_a_base_that_was_named_is_taken_with_a_warning() -> None:
    base, said = base_fit.settle("builtin", FILM, FILMS)
    assert base == "builtin"
    assert "phantoms" in said[0] and "builtin-xray fits" in said[0]
    assert base_fit.settle("builtin-xray", "an image, {}", FILMS) == ("builtin-xray", ())
    assert base_fit.settle("owner/name", FILM, SCANS) == ("owner/name", ())
    assert base_fit.settle("builtin", "prostate mri, {}", ()) == ("builtin", ()), "phantoms are PNG files"


def test_inspect_says_which_base_fits(tmp_path: Path) -> None:
    found = inspect(folder(tmp_path / "films", film(1), film(2, Modality="DX")))
    assert found.accepted
    assert any("fit the base builtin-xray" in remark for remark in found.remarks)
    found = inspect(folder(tmp_path / "scans", film(1, Modality="MR", BodyPartExamined="PROSTATE"), film(2)))
    assert [refusal.exit_code for refusal in found.refusals] == [2]
    assert "no built-in base generates" in found.refusals[0].message
    named = inspect(tmp_path / "scans", base="builtin")
    assert named.accepted and any("phantoms" in warning for warning in named.warnings)


def test_train_refuses_before_torch_is_imported_and_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    folder(tmp_path / "films", *(film(number) for number in range(12)))
    folder(tmp_path / "mixed", *(film(number) for number in range(11)), film(11, Modality="CT"))
    words = ("--epsilon", "4", "--n-public", "10", "--token", "<a>", "--out", "a.safetensors", "--caption")
    answers = without_torch.run(
        {
            "chosen": ("train", "films", *words, FILM),
            "other caption": ("train", "films", *words, "prostate mri, {}"),
            "other header": ("train", "mixed", *words, FILM),
            "named": ("train", "mixed", *words, FILM, "--base", "builtin"),
        },
        tmp_path,
    )
    assert answers["chosen"]["exit"] is None and "base: builtin-xray" in answers["chosen"]["err"]
    assert answers["other caption"]["exit"] == 2 and "--base builtin-xray" in answers["other caption"]["err"]
    assert answers["other header"]["exit"] == 2 and "image 12" in answers["other header"]["err"]
    assert answers["named"]["exit"] is None
    assert not list((tmp_path / "home").rglob("*ledger*")) and not list((tmp_path / "home").rglob("*budget*"))
    assert not (tmp_path / "a.safetensors").exists()


def test_the_list_of_bases_says_what_each_generates(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["base", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [
        name for name in NAMES if any(line.startswith(name) and GENERATES[name].what in line for line in lines)
    ] == [*NAMES]
