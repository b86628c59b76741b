"""One digest of every number of a base, whatever files it lies in."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from embhub.artifact import base_weights
from embhub.formats.slices import BadWeightsError, SliceReader

NAMES = ("a.weight", "b.bias", "c", "d.weight")


def write(folder: Path, parts: dict[str, list[dict[str, NDArray[np.float32]]]]) -> Path:
    """A pipeline's folder; of each part, the tensors of each file."""
    for part, files in parts.items():
        (folder / part).mkdir(parents=True)
        for number, tensors in enumerate(files, start=1):
            save_file(tensors, folder / part / f"model-{number:05}-of-{len(files):05}.safetensors")
    return folder


def tensors() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    shapes: tuple[tuple[int, ...], ...] = ((3, 4), (5,), (), (2, 3, 1, 1))
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in zip(NAMES, shapes, strict=True)}


def test_files_do_not_matter(tmp_path: Path) -> None:
    whole = base_weights.digest(write(tmp_path / "one", {"unet": [tensors()]}))
    split = [{name: values} for name, values in reversed(tensors().items())]
    assert base_weights.digest(write(tmp_path / "four", {"unet": split})) == whole
    save_file(tensors(), tmp_path / "one/unet/model-00001-of-00001.safetensors", metadata={"by": "another program"})
    assert base_weights.digest(tmp_path / "one") == whole
    write(tmp_path / "one", {"safety_checker": [tensors()]})
    assert base_weights.digest(tmp_path / "one") == whole, "it has no say in what is generated"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", ["number", "type", "shape", "name", "gone"])
def test_any_change_of_a_tensor_does(tmp_path: Path, name: str, change: str) -> None:
    before = write(tmp_path / "before", {"unet": [tensors()], "vae": [tensors()]})
    moved = tensors()
    value = moved.pop(name)
    if change == "number":
        moved[name] = np.asarray(np.nextafter(value, np.float32(9)))
    elif change == "type":
        moved[name] = value.astype(np.float16)
    elif change == "shape":
        moved[name] = value[None]
    elif change == "name":
        moved[f"{name}x"] = value
    after = write(tmp_path / "after", {"unet": [moved], "vae": [tensors()]})
    assert base_weights.digest(after) != base_weights.digest(before)


def test_the_part_that_a_tensor_belongs_to_counts(tmp_path: Path) -> None:
    before = write(tmp_path / "before", {"unet": [tensors()]})
    assert base_weights.digest(write(tmp_path / "after", {"transformer": [tensors()]})) != base_weights.digest(before)


def test_what_is_damaged_is_refused(tmp_path: Path) -> None:
    twice = write(tmp_path / "twice", {"unet": [tensors(), {"c": tensors()["c"]}]})
    with pytest.raises(BadWeightsError, match="twice"):
        base_weights.digest(twice)
    short = write(tmp_path / "short", {"unet": [tensors()]})
    (file,) = (short / "unet").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BadWeightsError, match="too early"):
        base_weights.digest(short)
    file.rename(file.with_name("model.bin"))
    with pytest.raises(BadWeightsError, match="pickled"):
        base_weights.digest(short)


@settings(max_examples=200)
@given(st.binary(max_size=300), st.booleans())
def test_bytes_of_others_are_read_or_refused(data: bytes, framed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes((len(data).to_bytes(8, "little") if framed else b"") + data)
        try:
            with SliceReader([path]) as weights:
                for name, extent in weights.extents.items():
                    assert sum(map(len, weights.read_pieces(name))) == extent.length
        except BadWeightsError:
            pass
