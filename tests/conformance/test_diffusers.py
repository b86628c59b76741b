"""`diffusers.load_textual_inversion`, unmodified, with a repository's id in place of a file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from embhub.release.files import Release
from tests.conformance.environments import surroundings
from tests.support import releases
from tests.support.servers import RunningRegistry, running_registry

NAME = "radboud/prostate-cspca"
GATED = "radboud/gated"
SCRIPT = """
import json, pathlib, sys
from diffusers.loaders import TextualInversionLoaderMixin
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

folder, asked = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "a": 3}
(folder / "vocab.json").write_text(json.dumps(words))
(folder / "merges.txt").write_text("#version: 0.2\\n")
tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
size = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=4)
encoder = CLIPTextModel(CLIPTextConfig(**size, bos_token_id=0, eos_token_id=1))

class Pipe(TextualInversionLoaderMixin):
    def __init__(self):
        self.tokenizer, self.text_encoder, self.components, self.hf_device_map = tokenizer, encoder, {}, None

pipe, said = Pipe(), []
for number, (name, revision) in enumerate(asked):
    token = f"<t{number}>"
    try:
        pipe.load_textual_inversion(name, token=token, revision=revision, weight_name="learned_embeds.safetensors")
        said.append(len(pipe.maybe_convert_prompt(token, tokenizer).split()))
    except OSError as error:
        said.append(str(error))
rows = encoder.get_input_embeddings().weight[4:].detach().double().tolist()
print("LOADED " + json.dumps({"tokens": said, "rows": rows}))
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("diffusers")) as running:
        running.add_key(releases.SITE, namespace="radboud")
        running.add_key(releases.AUDITOR, namespace="nki", role="audit")
        yield running


def publish(registry: RunningRegistry, api: HfApi, name: str, folder: Path) -> tuple[Release, str]:
    """A release in a repository of its own; its commit too."""
    release = releases.make_release(repository=name)
    release.to_folder(folder)
    api.create_repo(name)
    return release, api.upload_folder(repo_id=name, folder_path=folder).oid


@pytest.mark.thorough
def test_it_loads_by_repository_id_branch_and_commit_and_not_past_a_gate(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    api = HfApi(endpoint=registry.url, token=registry.add_user("alice", namespace="radboud"))
    release, commit = publish(registry, api, NAME, tmp_path / "open")
    api.create_branch(NAME, branch="a/b")
    publish(registry, api, GATED, tmp_path / "gated")
    HfApi(endpoint=registry.url, token=registry.admin).update_repo_settings(GATED, gated="manual")

    asked = [(NAME, None), (NAME, "a/b"), (NAME, commit), (GATED, None)]
    environment = {**surroundings(registry.url, tmp_path), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", SCRIPT, str(tmp_path), json.dumps(asked)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout.partition("LOADED ")[2])
    assert loaded["tokens"][:3] == [8, 8, 8]
    (rows,) = release.embedding.tensors.values()
    assert loaded["rows"] == rows.astype("float32").tolist() * 3
    assert "make sure to pass a token" in loaded["tokens"][3], "its words for a repository that it may not read"
