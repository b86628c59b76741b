"""Foreign embeddings: their numbers come over exactly, their code never runs."""

from __future__ import annotations

import os
import pickle
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from embhub.artifact import embedding, fingerprint
from embhub.artifact.embedding import Embedding
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.foreign.importing import FAMILIES, import_file, read_foreign
from embhub.diffusion.generation.loading import BaseWarning, load_into
from embhub.errors import ArtifactError, UsageError
from embhub.formats.tensors import FileTooLargeError
from tests.support import families, kandinsky, pipelines
from tests.support.quick import others_thorough
from tests.support.tools import DATA

SEEDS = DATA / "seed-embeddings"

rows = torch.randn(3, 1024, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["prostate_pos", "chexpert_healthy"])
def test_published_embeddings_come_over_exactly(name: str, tmp_path: Path) -> None:
    """Of "Medical diffusion on a budget": AUTOMATIC1111 files for Stable Diffusion 2."""
    path = SEEDS / f"{name}.pt"
    if not path.is_file():
        pytest.skip("seed embeddings are absent (set EMBHUB_TEST_DATA)")
    out = tmp_path / "x.safetensors"
    made = import_file(path, base_family="sd2", token="<cspca>", out=out)
    original = torch.load(path, weights_only=True, map_location="cpu")["string_to_param"]["*"].detach().numpy()
    assert out.read_bytes() == made.data and len(made.data) <= embedding.MAX_BYTES
    stored = embedding.read(out).tensors["emb_params"]
    assert stored.shape == (64, 1024) and stored.dtype == np.float32
    assert np.array_equal(stored, original)
    assert made.metadata["modelspec.architecture"].startswith("stable-diffusion-v2")
    assert made.training["source_format"] == "AUTOMATIC1111" and made.training["source_steps"] in (49999, 100000)
    assert made.base is None and made.token == "<cspca>"
    assert name not in made.data[: 8 + int.from_bytes(made.data[:8], "little")].decode("latin-1")


def test_a_published_embedding_goes_into_a_pipeline_of_its_width(tmp_path: Path) -> None:
    path = SEEDS / "prostate_pos.pt"
    if not path.is_file():
        pytest.skip("seed embeddings are absent (set EMBHUB_TEST_DATA)")
    made = import_file(path, base_family="sd2", token="<cspca>")
    pipe = load_pipeline(pipelines.write(tmp_path, width=1024))
    with pytest.warns(BaseWarning, match="only widths"):
        assert load_into(pipe, made) == "<cspca>"
    table = pipe.text_encoder.get_input_embeddings().weight
    assert np.array_equal(table[-64:].numpy(), made.tensors["emb_params"])


def write_a1111(path: Path) -> None:
    content = {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": torch.nn.Parameter(rows)},
        "name": "x",
        "step": 7,
    }
    torch.save({**content, "sd_checkpoint": None}, path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.pt", write_a1111),
        ("old.pt", lambda path: torch.save({"<x>": rows}, path, _use_new_zipfile_serialization=False)),
        ("learned_embeds.bin", lambda path: torch.save({"<x>": rows}, path)),
        ("kohya.safetensors", lambda path: save_file({"emb_params": rows}, path)),
        ("diffusers.safetensors", lambda path: save_file({"<Some Token>": rows}, path, metadata={"author": "x"})),
        ("tensor.pt", lambda path: torch.save(rows, path)),
        ("list.pt", lambda path: torch.save([rows[0], rows[1:]], path)),
        ("dictionaries.pt", lambda path: torch.save([{"a": rows[:2]}, {"b": rows[2]}], path)),
        ("bundle.safetensors", lambda path: save_file({"bundle_emb.x.clip_l": rows}, path)),
        ("half.safetensors", lambda path: save_file({"emb_params": rows.half()}, path)),
    ],
)
def test_formats(tmp_path: Path, name: str, write: Any) -> None:
    write(tmp_path / name)
    made = import_file(tmp_path / name, base_family="sd2", token="<x>")
    expected = rows.half().float() if name.startswith("half") else rows
    assert np.array_equal(made.tensors["emb_params"], expected.numpy())


def test_one_vector_alone(tmp_path: Path) -> None:
    torch.save({"<x>": rows[0]}, tmp_path / "x.bin")
    made = import_file(tmp_path / "x.bin", base_family="sd2", token="<x>")
    assert made.tensors["emb_params"].shape == (1, 1024)


WIDTHS = {"clip_l": 768, "clip_g": 1280, "t5xxl": 4096}
PARTS = {name: torch.randn(2, width, generator=torch.Generator().manual_seed(1)) for name, width in WIDTHS.items()}


@pytest.mark.parametrize(
    ("family", "content"),
    [
        ("sdxl", {name: PARTS[name] for name in ("clip_g", "clip_l")}),
        ("sdxl", [{"*": PARTS["clip_l"]}, {"*": PARTS["clip_g"]}]),
        ("sdxl", {"bundle_emb.x.clip_l": PARTS["clip_l"], "bundle_emb.x.clip_g": PARTS["clip_g"]}),
        ("sdxl", {"first": PARTS["clip_l"], "second": PARTS["clip_g"]}),
        ("sd3", PARTS),
        ("sd3", {"clip_l": PARTS["clip_l"], "clip_g": PARTS["clip_g"], "t5": PARTS["t5xxl"]}),
        ("flux", {"clip_l": PARTS["clip_l"], "t5": PARTS["t5xxl"]}),
        ("kandinsky3", {"t5": PARTS["t5xxl"]}),
        ("kandinsky3", PARTS["t5xxl"]),
    ],
)
def test_several_encoders(tmp_path: Path, family: str, content: Any) -> None:
    torch.save(content, tmp_path / "x.pt")
    made = import_file(tmp_path / "x.pt", base_family=family, token="<x>")
    assert made.tensors.keys() == FAMILIES[family][1].keys()
    for name, values in made.tensors.items():
        assert values.dtype == np.float32 and np.array_equal(values, PARTS[name].numpy())


def test_a_file_for_each_encoder(tmp_path: Path) -> None:
    for name in ("clip_g", "clip_l"):
        torch.save({"<x>": PARTS[name]}, tmp_path / f"{name}.bin")
    paths = [tmp_path / "clip_g.bin", tmp_path / "clip_l.bin"]
    made = import_file(paths, base_family="sdxl", token="<x>")
    assert made.layout == "sdxl" and np.array_equal(made.tensors["clip_g"], PARTS["clip_g"].numpy())
    with pytest.raises(ArtifactError, match="1 matrices of rows where sdxl has 2"):
        import_file(paths[0], base_family="sdxl", token="<x>")
    with pytest.raises(ArtifactError, match="1280 wide; sdxl needs 768 for clip_l"):
        import_file([paths[0], paths[0]], base_family="sdxl", token="<x>")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"bundle_emb.x.clip_l": PARTS["clip_l"], "lora_te.weight": rows}, "more than rows"),
        ({"bundle_emb.x.clip_l": PARTS["clip_l"], "bundle_emb.y.clip_g": PARTS["clip_g"]}, "2 embeddings"),
        ({"bundle_emb.x.clip_l_out": PARTS["clip_l"]}, "more than rows"),
        ({"clip_l": PARTS["clip_l"], "t5xxl": PARTS["t5xxl"]}, "t5xxl, which sdxl does not have"),
        ({"string_to_param": {"a": PARTS["clip_l"], "b": PARTS["clip_g"], "c": PARTS["clip_l"]}}, "3 matrices"),
    ],
)
def test_what_is_no_embedding_of_two_encoders(tmp_path: Path, content: Any, reason: str) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ArtifactError, match=reason):
        import_file(tmp_path / "x.pt", base_family="sdxl", token="<x>")


def test_the_number_type_is_as_asked_or_refused_with_the_size(tmp_path: Path) -> None:
    many = {name: torch.randn(64, width, generator=torch.Generator().manual_seed(2)) for name, width in WIDTHS.items()}
    torch.save({"clip_l": many["clip_l"], "t5": many["t5xxl"]}, tmp_path / "flux.pt")
    with pytest.raises(FileTooLargeError, match="1,245,184 bytes as float32"):
        import_file(tmp_path / "flux.pt", base_family="flux", token="<x>", dtype="float32")
    assert list(tmp_path.iterdir()) == [tmp_path / "flux.pt"]
    made = read_foreign([tmp_path / "flux.pt"], base_family="flux", token="<x>")
    assert made.embedding.vectors[0].dtype == "float16" and 0 < made.rounding < 2e-3
    torch.save({"<x>": rows}, tmp_path / "x.bin")
    kept = read_foreign([tmp_path / "x.bin"], base_family="sd2", token="<x>", dtype="float32")
    assert kept.rounding == 0 and kept.embedding.vectors[0].dtype == "float32"
    torch.save({"<x>": rows * 1e6}, tmp_path / "large.bin")
    for kind in ("float16", "float32", None):
        with pytest.raises(ArtifactError, match="do not fit float16"):
            import_file(tmp_path / "large.bin", base_family="sd2", token="<x>", dtype=kind, out=tmp_path / "no")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("stored", "becomes"),
    [
        (torch.float16, "float16"),
        (torch.float8_e4m3fn, "float16"),
        (torch.bfloat16, "float32"),
        (torch.float64, "float32"),
    ],
)
def test_no_number_type_loses_anything_that_float32_holds(tmp_path: Path, stored: torch.dtype, becomes: str) -> None:
    save_file({"emb_params": rows.to(stored)}, tmp_path / "x.safetensors")
    made = import_file(tmp_path / "x.safetensors", base_family="sd2", token="<x>")
    assert made.vectors[0].dtype == becomes
    assert np.array_equal(made.tensors["emb_params"].astype(np.float32), rows.to(stored).float().numpy())


def test_a_base_at_hand_gives_its_fingerprint_and_its_widths(tmp_path: Path) -> None:
    folder = pipelines.write(tmp_path / "base", width=32)
    torch.save({"<x>": torch.randn(2, 32)}, tmp_path / "x.bin")
    made = import_file(tmp_path / "x.bin", base=folder, token="<x>")
    assert made.base == fingerprint.take(folder) and made.base_name == "base"
    assert load_quietly(folder, made) == "<x>"
    torch.save({"<x>": rows}, tmp_path / "y.bin")
    with pytest.raises(ArtifactError, match="1024 wide; base needs 32"):
        import_file(tmp_path / "y.bin", base=folder, token="<x>")


def load_quietly(folder: Path, made: Embedding) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", BaseWarning)
        return load_into(load_pipeline(folder), made)


LAYOUTS = {
    **{kind: kind for kind in ("sdxl", "sd3", "flux")},
    "sd35": "sd3",
    "pixart": "t5",
    **dict.fromkeys(("sana", "zimage", "klein", "qwen-image"), "components"),
    "kandinsky3": "t5",
    "prior": "kandinsky22-prior",
}
WRITERS = {"kandinsky3": kandinsky.write_kandinsky3, "prior": kandinsky.write_prior}


@pytest.mark.parametrize(("kind", "layout"), others_thorough(LAYOUTS.items(), (("sdxl", "sdxl"),)))
def test_a_base_at_hand_of_each_kind_tells_which_rows_are_whose(tmp_path: Path, kind: str, layout: str) -> None:
    folder = WRITERS.get(kind, partial(families.write, kind=kind))(tmp_path / "base")
    taken = fingerprint.take(folder)
    names = embedding.LAYOUTS[layout].items()
    parts = {name: torch.randn(2, taken["encoders"][encoder]["dim"]) for name, encoder in names}
    torch.save(parts, tmp_path / "x.pt")
    made = import_file(tmp_path / "x.pt", base=folder, token="<x>")
    assert made.layout == layout and made.base == taken
    assert load_quietly(folder, made) == "<x>"


@pytest.mark.parametrize("kind", ["sd35", "pixart", "sana", "zimage", "klein", "qwen-image"])
def test_families_since_2024_are_named_by_their_base(tmp_path: Path, kind: str) -> None:
    """Their text encoders have no widths that a family is known by."""
    torch.save({"<x>": rows}, tmp_path / "x.bin")
    with pytest.raises(UsageError, match=f"no base family '{kind}'") as refusal:
        import_file(tmp_path / "x.bin", base_family=kind, token="<x>")
    assert "sd3, flux" in refusal.value.hint and "--base" in refusal.value.hint


class Touch:
    """A pickle that creates a file when it is loaded without care."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.target}",))


@pytest.mark.parametrize("style", ["torch", "old torch", "plain"])
def test_a_malicious_pickle_is_refused_and_does_nothing(tmp_path: Path, style: str) -> None:
    target, path = tmp_path / "touched", tmp_path / "x.pt"
    content = {"string_to_param": {"*": Touch(target)}}
    if style == "plain":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=style == "torch")
    with pytest.raises(ArtifactError, match=r"more than tensors|damaged"):
        import_file(path, base_family="sd2", token="<x>", out=tmp_path / "x.safetensors")
    assert not target.exists() and not (tmp_path / "x.safetensors").exists()
    if style != "plain":
        torch.load(path, weights_only=False)
        assert target.exists()  # the trap was armed


def test_numbers_of_any_precision_become_float32(tmp_path: Path) -> None:
    torch.save({"<x>": rows.double()}, tmp_path / "x.bin")
    made = import_file(tmp_path / "x.bin", base_family="sd2", token="<x>")
    assert made.vectors[0].dtype == "float32" and np.array_equal(made.tensors["emb_params"], rows.numpy())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"<x>": torch.randn(2, 768)}, "768 wide; sd2 needs 1024"),
        ({"<x>": rows, "<y>": rows}, "2 matrices"),
        ({"clip_l": torch.randn(2, 768), "clip_g": torch.randn(2, 1280)}, "2 matrices"),
        ({"clip_g": torch.randn(2, 1280)}, "1280 wide; sd2 needs 1024"),
        ({}, "0 matrices"),
        ({"<x>": torch.full((2, 1024), float("nan"))}, "NaN|finite|infinit"),
        ({"<x>": torch.ones(2, 1024, dtype=torch.long)}, "0 matrices"),
        ({"<x>": torch.randn(65, 1024)}, "65|64"),
        ([1, 2], "0 matrices"),
    ],
)
def test_what_is_no_embedding(tmp_path: Path, content: Any, reason: str) -> None:
    torch.save(content, tmp_path / "x.bin")
    with pytest.raises(ArtifactError, match=reason):
        import_file(tmp_path / "x.bin", base_family="sd2", token="<x>")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04junk", b"\x80\x02junk", b"<html>", b"\x10" + b"\0" * 30])
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(ArtifactError):
        import_file(tmp_path / "x.pt", base_family="sd2", token="<x>")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.pt").open("wb") as file:
        file.truncate(2_000_000_000)
    with pytest.raises(ArtifactError, match="2,000,000,000 bytes"):
        import_file(tmp_path / "x.pt", base_family="sd2", token="<x>")


def test_misuse(tmp_path: Path) -> None:
    write_a1111(tmp_path / "a.pt")
    with pytest.raises(UsageError, match="no base family"):
        import_file(tmp_path / "a.pt", base_family="sd9", token="<x>")
    with pytest.raises(UsageError, match="one of --base-family and --base"):
        import_file(tmp_path / "a.pt", token="<x>")
    with pytest.raises(UsageError, match="one of --base-family and --base"):
        import_file(tmp_path / "a.pt", token="<x>", base="builtin", base_family="sd2")
    with pytest.raises(UsageError, match="no number type"):
        import_file(tmp_path / "a.pt", token="<x>", base_family="sd2", dtype="bfloat16")
    with pytest.raises(UsageError, match="is not a file"):
        import_file(tmp_path, token="<x>", base_family="sd2")
    with pytest.raises(UsageError, match="cannot read"):
        import_file(tmp_path / "absent.pt", base_family="sd2", token="<x>")
    with pytest.raises(ArtifactError):
        import_file(tmp_path / "a.pt", base_family="sd2", token="<X>")
    (tmp_path / "x.safetensors").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        import_file(tmp_path / "a.pt", base_family="sd2", token="<x>", out=tmp_path / "x.safetensors")
    assert (tmp_path / "x.safetensors").read_text() == "mine"
