"""Files for other programs: the rows come back bit for bit, and each program's own rules take the file."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from embhub.artifact import embedding
from embhub.artifact.embedding import Embedding
from embhub.cli import root
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.foreign.exporting import convert, export_file
from embhub.diffusion.foreign.importing import FAMILIES, import_file
from embhub.diffusion.foreign.programs import PROGRAMS
from embhub.errors import ArtifactError, UsageError
from embhub.formats import tensors
from tests.support import families, pipelines
from tests.support.foreign_loaders import LOADERS, Refused
from tests.support.releases import BASE
from tests.support.tools import DATA

SEEDS = DATA / "seed-embeddings"
LAYOUTS = {"sd1": "sd", "sd2": "sd", "sdxl": "sdxl", "sd3": "sd3", "flux": "flux"}
PAIR = ("text_encoder", "text_encoder_2")
LOADABLE = {
    "diffusers": {"sd1", "sd2", "sdxl", "flux"},
    "a1111": {"sd1", "sd2", "sdxl"},
    "forge": {"sd1", "sd2", "sdxl"},
    "comfyui": {"sd1", "sd2", "sdxl", "sd3", "flux"},
    "invokeai": {"sd1", "sd2", "sdxl"},
    "kohya": {"sd1", "sd2", "sdxl"},
}
CASES = [(program, family) for program in PROGRAMS for family in LAYOUTS]


def make(family: str, *, rows: int = 3, dtype: str = "float16", seed: int = 0, scale: float = 1.0) -> Embedding:
    random = np.random.default_rng(seed)
    parts = {name: random.standard_normal((rows, width)) * scale for name, width in FAMILIES[family][1].items()}
    training = {"steps": 70, "caption": "axial mri, {}", "vectors": rows}
    return embedding.build(parts, token="<cspca>", base=None, base_name="a/base", training=training, dtype=dtype)


def write(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


@given(
    case=st.sampled_from([case for case in CASES if case[1] in LOADABLE[case[0]]]),
    rows=st.integers(1, 20),
    stored=st.sampled_from(["float16", "float32"]),
    dtype=st.sampled_from([None, "float16", "float32"]),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-7, 1e-3, 1.0, 50.0]),
)
def test_what_goes_out_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    case: tuple[str, str],
    rows: int,
    stored: str,
    dtype: str | None,
    seed: int,
    scale: float,
) -> None:
    program, family = case
    made = make(family, rows=rows, dtype=stored, seed=seed, scale=scale)
    files = convert(made, to=program, dtype=dtype).files
    back = import_file(write(tmp_path_factory.mktemp("x"), files), base_family=family, token="<cspca>", dtype=dtype)
    assert back.tensors.keys() == made.tensors.keys()
    for name, values in back.tensors.items():
        wanted = made.tensors[name].astype(dtype or stored)
        assert values.dtype == wanted.dtype and values.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", ["prostate_pos", "chexpert_healthy"])
def test_published_embeddings_go_there_and_back_in_float32(name: str, program: str, tmp_path: Path) -> None:
    """Of "Medical diffusion on a budget": 64 rows for Stable Diffusion 2."""
    if not (path := SEEDS / f"{name}.pt").is_file():
        pytest.skip("seed embeddings are absent (set EMBHUB_TEST_DATA)")
    original = torch.load(path, weights_only=True, map_location="cpu")["string_to_param"]["*"].detach().numpy()
    made = import_file(path, base_family="sd2", token="<x>", dtype="float32")
    paths = write(tmp_path, convert(made, to=program).files)
    if program in LOADERS:
        [used] = LOADERS[program](paths[0], "sd2").values()
        assert np.array_equal(used.detach().numpy(), original)
    back = import_file(paths, base_family="sd2", token="<x>")
    assert back.tensors["emb_params"].dtype == np.float32
    assert np.array_equal(back.tensors["emb_params"], original)


@pytest.mark.parametrize(("program", "family"), CASES)
def test_each_program_takes_its_file_and_uses_these_rows(program: str, family: str, tmp_path: Path) -> None:
    made = make(family)
    if family not in LOADABLE[program]:
        with pytest.raises(UsageError, match="cannot load an embedding of layout"):
            convert(made, to=program)
        if program in LOADERS:  # and rightly so: given our file, it refuses it
            with pytest.raises(Refused):
                LOADERS[program](write(tmp_path, {"cspca.safetensors": made.data})[0], family)
        return
    exported = convert(made, to=program)
    paths = write(tmp_path, exported.files)
    if program not in LOADERS:
        return  # diffusers itself is below
    used = LOADERS[program](paths[0], family)
    assert len(used) == len(made.tensors)
    for name, rows in used.items():
        expected = made.tensors[name] if name in made.tensors else next(iter(made.tensors.values()))
        assert np.array_equal(rows.float().numpy(), expected.astype(np.float32))


NEWER = {
    "pixart": {"t5xxl": 4096},
    "sana": {"text_encoder": 2304},
    "zimage": {"text_encoder": 2560},
    "klein": {"text_encoder": 2560},
    "qwen-image": {"text_encoder": 3584},
}
"""Widths of the published models' text encoders."""


@pytest.mark.parametrize("kind", NEWER)
@pytest.mark.parametrize("program", PROGRAMS)
def test_no_program_is_given_a_file_of_a_family_since_2024(program: str, kind: str, tmp_path: Path) -> None:
    rows = {name: np.ones((2, width)) for name, width in NEWER[kind].items()}
    made = embedding.build(rows, token="<cspca>", base=None, base_name="a/base", training={})
    with pytest.raises(UsageError, match=f"cannot load an embedding of layout {made.layout}") as refusal:
        export_file(made, tmp_path / "out", to=program)
    assert "embhub generate" in refusal.value.hint and "load_into" in refusal.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("program", LOADERS)
def test_a_file_of_ours_is_taken_as_it_is(program: str, family: str, tmp_path: Path) -> None:
    made = make(family)
    used = LOADERS[program](write(tmp_path, {"cspca.safetensors": made.data})[0], family)
    assert sum(rows.numel() for rows in used.values()) == sum(values.size for values in made.tensors.values())
    if program != "a1111" or family == "sdxl":
        exported = convert(made, to=program)
        assert exported.unchanged and list(exported.files) == ["cspca.safetensors"]


@pytest.mark.parametrize(
    ("program", "family", "content"),
    [
        ("invokeai", "sd1", {"<cspca>": torch.zeros(2, 768)}),
        ("invokeai", "sd1", {"emb_params": torch.zeros(2, 128)}),
        ("invokeai", "sd2", {"emb_params": torch.zeros(2, 768)}),
        ("invokeai", "sd1", {f"lora{n}": torch.zeros(2) for n in range(12)}),
        ("forge", "sd1", {"emb_params": torch.zeros(2, 768), "more": torch.zeros(2)}),
        ("forge", "sdxl", {"clip_l": torch.zeros(2, 768)}),
        ("forge", "sd2", {"emb_params": torch.zeros(2, 768)}),
        ("a1111", "flux", {"clip_l": torch.zeros(2, 768), "t5xxl": torch.zeros(2, 4096)}),
        ("comfyui", "sdxl", {"emb_params": torch.zeros(2, 768)}),
        ("comfyui", "flux", {"clip_l": torch.zeros(2, 768), "t5": torch.zeros(2, 4096)}),
        ("kohya", "sdxl", {"emb_params": torch.zeros(2, 768)}),
        ("kohya", "sd3", {"emb_params": torch.zeros(2, 768)}),
    ],
)
def test_the_rules_refuse_what_the_programs_refuse(program: str, family: str, content: Any, tmp_path: Path) -> None:
    save_file(content, tmp_path / "x.safetensors")
    with pytest.raises(Refused):
        LOADERS[program](tmp_path / "x.safetensors", family)


@pytest.mark.parametrize("program", ["a1111", "forge"])
def test_the_web_uis_refuse_an_archive_of_newer_torch_and_take_ours(program: str, tmp_path: Path) -> None:
    torch.save({"string_to_param": {"*": torch.zeros(2, 768)}, "string_to_token": {}}, tmp_path / "x.pt")
    with pytest.raises(Refused, match="bad file inside"):
        LOADERS[program](tmp_path / "x.pt", "sd1")
    made = make("sd1")
    [path] = write(tmp_path, convert(made, to="a1111").files)
    assert path.name == "cspca.pt" and LOADERS[program](path, "sd1")[""].shape == (3, 768)
    content = torch.load(path, weights_only=True)
    assert (content["name"], content["step"], content["sd_checkpoint_name"]) == ("<cspca>", 70, "a/base")
    assert convert(made, to="a1111").files == convert(made, to="a1111").files


def test_t5_is_called_as_comfyui_looks_for_it(tmp_path: Path) -> None:
    made = make("flux", dtype="float32")
    arrays = {("t5" if name == "t5xxl" else name): values for name, values in made.tensors.items()}
    older = embedding.parse(tensors.serialize(arrays, made.metadata))
    exported = convert(older, to="comfyui")
    assert not exported.unchanged
    used = LOADERS["comfyui"](write(tmp_path, exported.files)[0], "flux")
    assert np.array_equal(used["t5xxl"].numpy(), made.tensors["t5xxl"])


def load(pipe: Any, path: Path, **more: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.load_textual_inversion(str(path), use_safetensors=True, **more)


@pytest.fixture(scope="module")
def small() -> Embedding:
    rows = np.random.default_rng(3).standard_normal((3, pipelines.WIDTH))
    return embedding.build(
        {"emb_params": rows}, token="<cspca>", base=None, base_name="b", training={}, dtype="float32"
    )


def test_stock_diffusers_loads_our_file_and_the_export(small: Embedding, tmp_path: Path) -> None:
    base = pipelines.write(tmp_path / "base")
    ours = write(tmp_path, {"ours.safetensors": small.data})[0]
    theirs = write(tmp_path, convert(small, to="diffusers").files)[0]
    for path, said in ((ours, {"token": "<cspca>"}), (theirs, {})):
        pipe = load_pipeline(base)
        load(pipe, path, **said)
        table = pipe.text_encoder.get_input_embeddings().weight
        assert np.array_equal(table[-3:].numpy(), small.tensors["emb_params"])
        assert pipe.maybe_convert_prompt("a <cspca>", pipe.tokenizer) == "a <cspca> <cspca>_1 <cspca>_2"


@pytest.mark.parametrize("kind", ["sdxl", "flux"])
def test_stock_diffusers_takes_one_call_for_each_encoder(kind: str, tmp_path: Path) -> None:
    pipe = families.build(kind)
    encoders = {name: (getattr(pipe, name), getattr(pipe, name.replace("text_encoder", "tokenizer"))) for name in PAIR}
    random = np.random.default_rng(4)
    parts = {
        name: random.standard_normal((2, encoders[encoder][0].get_input_embeddings().weight.shape[1]))
        for name, encoder in embedding.LAYOUTS[kind].items()
    }
    made = embedding.build(parts, token="<x>", base=None, base_name="b", training={}, dtype="float32")
    whole = write(tmp_path, {"ours.safetensors": made.data})[0]
    with pytest.raises(ValueError, match="state dictionary is incorrect"):
        load(pipe, whole, token="<x>")
    paths = write(tmp_path, convert(made, to="diffusers").files)
    assert {path.name for path in paths} == {"x.text_encoder.safetensors", "x.text_encoder_2.safetensors"}
    fresh = families.build(kind)
    for name, encoder in embedding.LAYOUTS[kind].items():
        for to, source in ((pipe, str(tmp_path / f"x.{encoder}.safetensors")), (fresh, load_file(whole)[name])):
            model, tokenizer = getattr(to, encoder), getattr(to, encoder.replace("text_encoder", "tokenizer"))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                to.load_textual_inversion(source, token="<x>", tokenizer=tokenizer, text_encoder=model)
            table = model.get_input_embeddings().weight
            ids = tokenizer.convert_tokens_to_ids(["<x>", "<x>_1"])
            assert np.array_equal(table[ids].detach().numpy(), made.tensors[name])


def test_header_facts_come_back_unless_the_rows_were_changed(tmp_path: Path) -> None:
    parts = {"emb_params": np.random.default_rng(5).standard_normal((2, 32))}
    training = {"steps": 70, "caption": "axial mri, {}"}
    made = embedding.build(parts, token="<x>", base=BASE, base_name="a/base", training=training)
    [path] = write(tmp_path, convert(made, to="diffusers").files)
    base = pipelines.write(tmp_path / "base")
    back = import_file(path, base=base, token="<y>", base_name="c/d")
    assert back.training["steps"] == 70 and back.training["caption"] == "axial mri, {}"
    assert back.privacy == "none" and back.base_name == "c/d"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "steps" not in import_file(path, base=base, token="<y>").training
    with pytest.raises(ArtifactError, match="no header"):
        embedding.read(path)  # an export never passes for a file of ours


def test_a_program_without_such_a_base_is_named(tmp_path: Path) -> None:
    narrow = embedding.build(
        {"emb_params": np.ones((1, 128))}, token="<x>", base=None, base_name="builtin", training={}
    )
    for program in ("a1111", "forge", "comfyui", "invokeai", "kohya"):
        with pytest.raises(UsageError, match="no base whose words are 128 wide"):
            convert(narrow, to=program)
    clinical = {**BASE, "encoders": {"text_encoder": {**BASE["encoders"]["text_encoder"], "kind": "bert"}}}
    rows = {"emb_params": np.ones((1, 768))}
    bert = embedding.build(rows, token="<x>", base=clinical, base_name="clinical", training={})
    with pytest.raises(UsageError, match="BERT"):
        convert(bert, to="forge")
    layers = {f"layer_{n:02}": np.ones((1, 32)) for n in range(3)}
    layered = embedding.build(layers, token="<x>", base=None, base_name="b", training={})
    with pytest.raises(UsageError, match="layout sd-per-layer"):
        convert(layered, to="diffusers")
    with pytest.raises(UsageError, match="no program"):
        convert(narrow, to="photoshop")
    with pytest.raises(UsageError, match="no number type"):
        convert(narrow, to="diffusers", dtype="int8")


def test_nothing_is_overwritten_or_half_written(tmp_path: Path) -> None:
    made = make("sd1", dtype="float32", scale=1e6)
    with pytest.raises(ArtifactError, match="do not fit float16"):
        export_file(made, tmp_path / "out", to="forge", dtype="float16")
    assert not (tmp_path / "out").exists()
    export_file(made, tmp_path / "out", to="forge")
    (tmp_path / "out" / "cspca.safetensors").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        export_file(made, tmp_path / "out", to="forge")
    assert (tmp_path / "out" / "cspca.safetensors").read_text() == "mine"
    export_file(made, tmp_path / "out", to="forge", overwrite=True)
    assert (tmp_path / "out" / "cspca.safetensors").read_bytes() == made.data


def test_the_command_says_what_was_written_and_that_the_signature_stays(tmp_path: Path) -> None:
    made = make("sdxl")
    (tmp_path / "x.safetensors").write_bytes(made.data)
    words = ["export", str(tmp_path / "x.safetensors"), "--to", "diffusers", "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(root, words)
    assert done.exit_code == 0 and "not signed" in done.stderr
    facts = json.loads(done.stdout)
    assert [Path(name).name for name in facts["wrote"]] == sorted(path.name for path in (tmp_path / "out").iterdir())[
        ::-1
    ]
    assert facts["prompt"] == "<cspca>" and "not exported" in facts["signature"] and "anew" in facts["bytes"]
    again = CliRunner().invoke(root, [*words[:-2], str(tmp_path / "out")])
    assert isinstance(again.exception, UsageError)
