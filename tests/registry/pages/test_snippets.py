"""What a page offers to copy runs as it stands, on a machine that knows nothing of embhub's registries yet."""

from __future__ import annotations

import ast
import json
import os
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from hypothesis import given
from hypothesis import strategies as st

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.embedding import LAYOUTS, Embedding
from embhub.builtin_bases import NAMES, info
from embhub.cards import card, samples
from embhub.diffusion.foreign.programs import PROGRAMS
from embhub.release import files as release_files
from embhub.release import signing
from embhub.release.files import Release
from embhub_registry.pages.release import snippets
from embhub_registry.pages.release.page_facts import Use
from embhub_registry.pages.release.snippets import Loading, Place
from tests.conformance.environments import surroundings
from tests.support import families, releases
from tests.support.quick import others_thorough
from tests.support.servers import RunningRegistry, running_registry

PLACE = Place("radboud/cspca", "https://hub.example.org", "SHA256:abc")
RUN = """
import json, os, pathlib, shlex, sys, warnings
warnings.simplefilter("ignore")
from embhub.__main__ import main

def play(kind, code):
    if kind == "python":
        exec(compile(code, "snippet", "exec"), {})
        return
    for line in code.replace("\\\\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            assert words[0] == "embhub"
            assert main(words[1:]) == 0, line

for home, kind, code in json.loads(sys.argv[1]):
    folder = pathlib.Path(home).absolute()
    folder.mkdir()
    os.environ["EMBHUB_HOME"] = str(folder / "home")
    for base in pathlib.Path("bases").iterdir():
        (folder / base.name).symlink_to(base.absolute())
    os.chdir(folder)
    play(kind, code)
    os.chdir("..")
"""


def embed(base: Path, name: str, **facts: Any) -> Embedding:
    """An embedding of three vectors for the encoders of a base."""
    taken = fingerprint.take(base)
    widths = {encoder: int(part["dim"]) for encoder, part in taken["encoders"].items()}
    kinds = {encoder: str(part["kind"]) for encoder, part in taken["encoders"].items()}
    tensors = LAYOUTS[{1: "sd", 2: "flux" if kinds.get("text_encoder_2") == "t5" else "sdxl", 3: "sd3"}[len(kinds)]]
    rows = {part: np.random.default_rng(1).normal(size=(3, widths[encoder])) for part, encoder in tensors.items()}
    return artifact.build(rows, token="<finding>", base=taken, base_name=name, training=facts)


def publish(registry: RunningRegistry, token: str, repository: str, made: Embedding, **changes: Any) -> None:
    name = repository.rpartition("/")[2]
    base = {"revision": "1", "family": "sd1", "licence": "Apache-2.0"}
    fields = releases.make_card(made, name=name, base_model=base, **changes)
    files = {release_files.EMBEDDING: made.data, release_files.CARD: card.to_readme(card.parse(fields))}
    release = signing.sign(
        Release.from_files(files), registry=releases.ORIGIN, repository=repository, key=releases.SITE, now=releases.NOW
    )
    api = HfApi(endpoint=registry.url, token=token)
    api.create_repo(repository)
    additions = [CommitOperationAdd(path, data) for path, data in release.files.items()]
    api.create_commit(repository, additions, commit_message="Publish")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("snippets")) as running:
        running.add_key(releases.SITE, namespace="radboud")
        yield running


def read_use(registry: RunningRegistry, repository: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{registry.url}/{repository}?format=json") as answer:
        page = json.loads(answer.read())
    use: dict[str, Any] = page["use"]
    return use


def play(registry: RunningRegistry, folder: Path, scenes: list[tuple[str, str, str]]) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = {**surroundings(registry.url, folder), **kept, "OMP_NUM_THREADS": "1"}
    environment.pop("HF_ENDPOINT")  # the snippets say where the files are
    for name in ("EMBHUB_REGISTRY", "EMBHUB_TOKEN"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(scenes)], env=environment, cwd=folder, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.exhaustive
def test_every_snippet_of_every_built_in_base_and_family_runs(registry: RunningRegistry, tmp_path: Path) -> None:
    token = registry.add_user("alice", namespace="radboud")
    (tmp_path / "bases").mkdir()
    bases = {name: info(name).path for name in NAMES}
    for kind in ("sdxl", "sd3"):
        bases[f"tiny-{kind}"] = families.write(tmp_path / "bases" / f"tiny-{kind}", kind)
    scenes = []
    for name, folder in bases.items():
        made = embed(folder, name, caption="a caption, {}")
        publish(registry, token, f"radboud/{name}-finding", made)
        use = read_use(registry, f"radboud/{name}-finding")
        assert use["prompt"] == "a caption, <finding>"
        scenes += [
            (f"{name}-command", "shell", use["command"]),
            (f"{name}-python", "python", use["python"]),
            (f"{name}-diffusers", "python", use["diffusers"]),
        ]
        scenes += [(f"{name}-{found['program']}", "shell", found["command"]) for found in use["programs"]]
    assert {name for name, _, _ in scenes} >= {"builtin-diffusers", "tiny-sdxl-comfyui", "tiny-sd3-comfyui"}

    play(registry, tmp_path, scenes)

    for name in bases:
        assert len(list((tmp_path / f"{name}-command" / "images").glob("*.png"))) == 4
        assert (tmp_path / f"{name}-python" / "image.png").exists()
        assert (tmp_path / f"{name}-diffusers" / "image.png").exists()
    there = tmp_path / "tiny-sdxl-comfyui" / "ComfyUI" / "models" / "embeddings" / "finding.safetensors"
    assert artifact.read(there).token == "<finding>"
    assert (tmp_path / "tiny-sdxl-a1111" / "stable-diffusion-webui" / "embeddings" / "finding.safetensors").exists()


def loaded(kind: str, folder: Path) -> tuple[Any, Any]:
    """The pipeline after the page's calls for diffusers, and after embhub's own loader."""
    from embhub.diffusion.bases.pipelines import load_pipeline
    from embhub.diffusion.generation.loading import load_into

    base = families.write(folder / kind, kind)
    made = embed(base, kind)
    file = folder / "learned_embeds.safetensors"
    file.write_bytes(made.data)
    described = card.parse(releases.make_card(made, base_model={"revision": "1", "family": kind, "licence": "MIT"}))
    code = snippets.write(described, Loading.of(made), PLACE).diffusers
    assert code is not None
    calls = code.partition("\n)\nrows = ")[2].partition("\nimage = ")[0]
    from safetensors.torch import load_file

    names: dict[str, Any] = {"pipe": load_pipeline(str(base), device="cpu"), "file": file, "load_file": load_file}
    exec(f"rows = {calls}", names)  # what the page shows
    ours = load_pipeline(str(base), device="cpu")
    load_into(ours, made)
    words = names.get("words", ["<finding>"])
    return names["pipe"].encode_prompt(prompt="mri <finding>".replace("<finding>", " ".join(words)), **SAID[kind]), (
        ours.encode_prompt(prompt="mri <finding>", **SAID[kind])
    )


SAID: Mapping[str, dict[str, Any]] = {
    "sdxl": {},
    "sd3": {"prompt_2": None, "prompt_3": None},
    "flux": {"prompt_2": None},
}


@pytest.mark.parametrize("kind", others_thorough(SAID, ("sdxl",)))
def test_the_calls_for_diffusers_give_what_embhub_gives(kind: str, tmp_path: Path) -> None:
    """Conditions of the denoiser and the pooled text, for each encoder."""
    theirs, ours = loaded(kind, tmp_path)
    for one, other in zip(theirs, ours, strict=True):
        if one is not None:
            assert one.detach().numpy() == pytest.approx(other.detach().numpy(), abs=1e-6)


@pytest.mark.parametrize("to", ["comfyui", "a1111", "forge"])
def test_programs_are_those_that_export_writes_for(to: str) -> None:
    program = PROGRAMS[to]
    _, folder, prompt, layouts = snippets._PROGRAMS[to]
    assert set(layouts) == set(program.forms) and prompt == program.prompt
    assert folder.endswith(program.put.removeprefix("put it into ").rstrip("/"))
    assert program.clip_widths == snippets._CLIP_WIDTHS


@pytest.mark.parametrize(
    ("loading", "programs"),
    [
        (Loading("sd", None, 768, clip=True), ("comfyui", "a1111", "forge")),
        (Loading("sd", None, 768, clip=False), ()),
        (Loading("sd", None, 128, clip=True), ()),
        (Loading("sdxl", None, 768, clip=True), ("comfyui", "a1111", "forge")),
        (Loading("sd3", None, 768, clip=True), ("comfyui",)),
        (Loading("kandinsky22-prior", None, 1280, clip=True), ()),
        (Loading("t5", None, 4096, clip=False), ()),
        (Loading("components", None, 2560, clip=False), ()),
    ],
)
def test_programs_by_base(loading: Loading, programs: tuple[str, ...]) -> None:
    assert snippets.programs_for(loading) == programs


def describe(**changes: Any) -> card.Card:
    return card.parse(releases.make_card(releases.make_embedding(), **changes))


SD = Loading("sd", "prostate mri, {}", 768, clip=True)


def test_the_prompt_of_the_sheet_then_the_caption_then_a_plain_one() -> None:
    made = releases.make_embedding()
    sheet = releases.record_of(releases.make_sheet(size=(514, 256)), made, copy_check="no-copies-found")
    with_sheet = describe(samples={**sheet, "prompt": "t2 mri with {}"})
    assert samples.usual_prompt(with_sheet, SD.caption) == "t2 mri with <cspca>"
    assert samples.usual_prompt(describe(), SD.caption) == "prostate mri, <cspca>"
    assert samples.usual_prompt(describe(), None) == "a scan with <cspca>"


def test_an_older_commit_and_a_closed_repository() -> None:
    use = snippets.write(describe(), SD, replace(PLACE, revision="0" * 40, closed=True))
    assert f"radboud/cspca@{'0' * 40}" in use.command and f"radboud/cspca@{'0' * 40}" in use.python
    assert use.diffusers is not None and f'revision="{"0" * 40}"' in use.diffusers
    assert "embhub login --registry https://hub.example.org" in use.command


def test_no_call_of_diffusers_for_what_it_cannot_load() -> None:
    assert snippets.write(describe(), replace(SD, layout="sd-per-layer"), PLACE).diffusers is None


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=30))
def test_what_a_publisher_wrote_stays_a_text(said: str) -> None:
    use: Use = snippets.write(describe(), replace(SD, caption=f"{said} '\"`$(id); {{}}"), PLACE)
    line = use.command.replace("\\\n", " ").splitlines()[-1]
    assert shlex.split(line)[:3] == ["embhub", "generate", use.prompt]
    for code in (use.python, use.diffusers or ""):
        texts = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
        assert use.prompt in texts
