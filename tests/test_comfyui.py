"""The node for ComfyUI, by ComfyUI's own rules for embeddings: what it lets through is what was verified."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import embhub
from embhub.artifact import embedding
from embhub.artifact.embedding import Embedding
from embhub.client.wire.errors import UnreachableError
from embhub.diffusion.foreign.importing import FAMILIES
from embhub.errors import ArtifactError, PolicyError, UsageError, VerificationError
from embhub.release.files import EMBEDDING
from tests.support import pushes, releases
from tests.support.comfyui import Clip
from tests.support.servers import running_registry

NODE = Path(__file__).parents[1] / "examples/comfyui/__init__.py"


@dataclass(frozen=True)
class ComfyUI:
    """A ComfyUI with the node, for a person who trusts the registry of the tests."""

    node: Any
    embeddings: Path
    releases: Path

    def release(self, base: str) -> Path:
        """A folder with a signed release for this base."""
        folder = self.releases / base
        releases.make_release(artifact=make(base), audited=False).to_folder(folder)
        return folder

    def load(self, base: str, release: str | Path, prompt: str = "prostate mri, <cspca>") -> str:
        """Run the node with the CLIP of a base; the prompt."""
        clip = Clip(base, self.embeddings)
        same, said = self.node.load(clip, str(release), prompt)
        assert same is clip and isinstance(said, str)
        return said


@pytest.fixture
def comfyui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ComfyUI:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EMBHUB_REGISTRY", "http://127.0.0.1:9")  # nobody answers: folders need no registry
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trust.json").write_bytes(releases.make_export())
    embhub.trust_registry("trust.json", fingerprint=releases.ROOT.fingerprint)
    embeddings, known = tmp_path / "ComfyUI/models/embeddings", ModuleType("folder_paths")
    vars(known)["get_folder_paths"] = lambda kind: [str(embeddings)] if kind == "embeddings" else []
    monkeypatch.setitem(sys.modules, "folder_paths", known)
    return ComfyUI(load_node()["EmbhubVerifiedEmbedding"](), embeddings, tmp_path / "releases")


def load_node() -> Mapping[str, Any]:
    """As ComfyUI's load_custom_node reads a folder of custom_nodes/."""
    spec = importlib.util.spec_from_file_location("custom_nodes_embhub", NODE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.NODE_CLASS_MAPPINGS.keys() == module.NODE_DISPLAY_NAME_MAPPINGS.keys()
    found: Mapping[str, Any] = module.NODE_CLASS_MAPPINGS
    return found


def make(base: str) -> Embedding:
    """Three rows for each text encoder of a base."""
    rng = np.random.default_rng(len(base))
    parts = {name: rng.standard_normal((3, width)) for name, width in FAMILIES[base][1].items()}
    return embedding.build(parts, token="<cspca>", base=None, base_name=f"{base}-base", training={"steps": 70})


def rows(batches: list[list[tuple[Any, float]]]) -> torch.Tensor:
    return torch.stack([token for batch in batches for token, _ in batch if isinstance(token, torch.Tensor)])


@pytest.mark.parametrize("base", ["sd1", "sd2", "sdxl", "sd3", "flux"])
def test_what_verifies_is_what_a_prompt_gets(comfyui: ComfyUI, base: str) -> None:
    release = comfyui.release(base)
    prompt = comfyui.load(base, release, "mri,<cspca>(<cspca>)")
    expected = sorted(make(base).tensors.values(), key=lambda values: values.shape[1])
    said = Clip(base, comfyui.embeddings).tokenize(prompt)
    read = sorted((rows(batches) for batches in said.values()), key=lambda found: found.shape[1])
    for found, values in zip(read, expected, strict=True):
        assert np.array_equal(found.numpy(), np.concatenate([values, values]))
    for (batch,) in said.values():
        words = {token for token, _ in batch if isinstance(token, int)}
        assert words >= {4, 1}, "the words stay"


def test_at_each_run_the_verified_bytes_are_written_anew(comfyui: ComfyUI) -> None:
    release = comfyui.release("sd1")
    prompt = comfyui.load("sd1", release)
    (file,) = comfyui.embeddings.rglob("*.safetensors")
    file.write_bytes(make("sd2").data)
    assert comfyui.load("sd1", release) == prompt and file.read_bytes() == (release / EMBEDDING).read_bytes()
    assert comfyui.node.IS_CHANGED() != comfyui.node.IS_CHANGED(), "it is never taken from a cache"
    asked = comfyui.node.INPUT_TYPES()["required"]
    assert set(asked) == set(inspect.signature(comfyui.node.load).parameters)
    assert len(comfyui.node.RETURN_TYPES) == len(comfyui.node.RETURN_NAMES) == 2


@pytest.mark.parametrize(
    ("base", "into"),
    [("sd1", "sd2"), ("sd2", "sd1"), ("sd1", "sdxl"), ("sdxl", "sd1"), ("sdxl", "sd3"), ("flux", "sd3")],
)
def test_another_base_is_refused_where_comfyui_would_draw_without_the_embedding(
    comfyui: ComfyUI, base: str, into: str
) -> None:
    with pytest.raises(ArtifactError, match=f"learned for {base}-base"):
        comfyui.load(into, comfyui.release(base))


def test_what_does_not_verify_is_not_written(comfyui: ComfyUI) -> None:
    release = comfyui.release("sd1")
    for prompt, fault in (("mri", "no <cspca>"), ("mri <CSPCA>", "no <cspca>")):
        with pytest.raises(UsageError, match=fault):
            comfyui.load("sd1", release, prompt)
    (release / EMBEDDING).write_bytes(make("sd2").data)
    with pytest.raises(VerificationError):
        comfyui.load("sd1", release)
    with pytest.raises(UnreachableError):
        comfyui.load("sd1", "no/such-release")
    assert not comfyui.embeddings.exists()


def test_a_release_is_fetched_and_refused_once_it_is_yanked(
    comfyui: ComfyUI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_registry(tmp_path / "hub") as registry:
        registry.add_key(releases.SITE, namespace="radboud")
        alice = registry.add_user("alice", namespace="radboud")
        pushes.create(registry, "prostate-cspca", token=alice)
        learned = releases.make_embedding(rows=np.random.default_rng(0).normal(size=(3, 768)))
        made = releases.make_release(artifact=learned, audited=False)
        assert pushes.commit(registry, releases.REPOSITORY, dict(made.files), token=alice).status == 200
        monkeypatch.setenv("EMBHUB_REGISTRY", registry.url)
        monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "another"))
        embhub.trust_registry(registry.url, fingerprint=registry.root_fingerprint)
        assert "embedding:embhub-" in comfyui.load("sd1", releases.REPOSITORY)
        registry.run("curate", "yank", releases.REPOSITORY, "--reason", "wrong anatomy")
        with pytest.raises(PolicyError, match="wrong anatomy"):
            comfyui.load("sd1", releases.REPOSITORY)
