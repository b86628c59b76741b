"""docs/how-to/load-with-diffusers.md: its lines, unmodified, against a registry, give the same image both ways."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi

from embhub.artifact import embedding
from embhub.artifact.embedding import LAYOUTS
from embhub.diffusion.bases import live_fingerprint
from tests.conformance.diffusers_page import HEADINGS
from tests.conformance.environments import surroundings
from tests.support import families, releases
from tests.support.servers import running_registry

WIDTHS = {"emb_params": families.CLIP_L, "clip_l": families.CLIP_L, "clip_g": families.CLIP_G, "t5xxl": families.T5}
ROOT = Path(__file__).parents[2]


@pytest.mark.thorough
def test_the_pages_lines_give_the_images_of_its_three_lines_with_embhub(tmp_path: Path) -> None:
    with running_registry(tmp_path) as registry:
        registry.add_key(releases.SITE, namespace="radboud")
        api = HfApi(endpoint=registry.url, token=registry.add_user("alice", namespace="radboud"))
        kinds = {kind: publish(api, kind, tmp_path) for kind in HEADINGS}
        (tmp_path / "played").mkdir()
        told = {"kinds": kinds, "fingerprint": registry.root_fingerprint}
        (tmp_path / "played/told.json").write_text(json.dumps(told))
        site = {"EMBHUB_HOME": str(tmp_path / "home"), "EMBHUB_REGISTRY": registry.url, "OMP_NUM_THREADS": "1"}
        environment = surroundings(registry.url, tmp_path) | site
        words = [sys.executable, "-m", "tests.conformance.diffusers_page", str(tmp_path / "played")]
        done = subprocess.run(
            words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.partition("FOUND ")[2])
    assert found["differences"] == dict.fromkeys(HEADINGS, 0.0)
    assert "emb_params" in found["without a token"], "what the page says of a call without token="
    assert not any("cspca" in word for word in found["without a token"])


def publish(api: HfApi, kind: str, folder: Path) -> str:
    """A release for this kind of base; its repository."""
    layout, name = {"sd1": "sd"}.get(kind, kind), f"radboud/{kind}"
    rng = np.random.default_rng(0)
    artifact = embedding.build(
        {part: rng.normal(size=(3, WIDTHS[part])) * 0.05 for part in LAYOUTS[layout]}, token="<cspca>",
        base=live_fingerprint.take(families.build(kind)), base_name="tiny", training={"steps": 1}, privacy="none",
        dtype="float32",
    )  # fmt: skip
    base = {"revision": "1", "family": kind, "licence": "Apache-2.0"}
    release = releases.make_release(artifact=artifact, repository=name, audited=False, base_model=base)
    release.to_folder(folder / kind)
    api.create_repo(name)
    api.upload_folder(repo_id=name, folder_path=folder / kind)
    return name
