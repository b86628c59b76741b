"""A port with a privacy claim goes through a real registry into a stock pipeline at another home."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embhub.artifact import embedding, fingerprint
from embhub.client import publishing, pulling
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.drawing.loading import load_into
from embhub.diffusion.outputs import port_to_file
from embhub.errors import PolicyError
from embhub.formats import safe_yaml
from embhub.options.training import Recipe
from embhub.privacy.claim import PrivacyClaim
from embhub.refusals import SourceMismatchError
from embhub.release import demands, verification
from embhub.release import files as release_files
from embhub.trust import advisories
from tests.support import pipelines, releases
from tests.support.claims import make_claim, make_private_release
from tests.support.ports import PORT, make_ported_release
from tests.support.proposals import propose, refusal
from tests.support.releases import NOW, REPOSITORY, make_card
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site, new_key, open_site

PRIVATE = make_private_release()
DECLARED: dict[str, Any] = {"n_patients": 100, "n_images": "100-500", "max_images_per_patient": 4}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path / "registry") as started:
        yield started


@pytest.mark.thorough
def test_a_claim_travels_with_a_port(registry: RunningRegistry, tmp_path: Path) -> None:
    old, new = pipelines.write(tmp_path / "old"), pipelines.write(tmp_path / "new", seed=1)
    with pytest.MonkeyPatch.context() as patch:
        site = open_site(registry, tmp_path / "publisher", namespace="umc", user="umc").enter(patch)
        site.trust(registry)
        new_key(registry, namespace="umc")
        source = embedding.build(
            {"emb_params": np.random.default_rng(2).normal(size=(4, 32)) * 0.02}, token="<cspca>",
            base=fingerprint.take(old), base_name="old", training={"caption": "mri, {}", "resolution": 32},
            privacy=make_claim(),
        )  # fmt: skip
        first, moved = site.folder / "first.safetensors", site.folder / "moved.safetensors"
        _publish(first, source)
        facts = port_to_file(
            first, out=moved, to=str(new), base=str(old), images=2, recipe=Recipe(steps=2, batch_size=2, num_vectors=2)
        )
        assert facts["privacy"] == source.privacy.to_dict()  # type: ignore[union-attr]
        begun = safe_yaml.load((site.folder / "moved.card.yaml").read_bytes())
        assert begun["n_patients"] == 100 and "publisher" not in begun and "audit" not in begun
        pushed = _publish(moved, embedding.read(moved))
        assert release_files.SOURCE_BUNDLE in pushed.files
    with pytest.MonkeyPatch.context() as patch:
        reader = Site(tmp_path / "reader", registry.url).enter(patch)
        reader.trust(registry)
        got = pulling.pull("umc/moved")
        assert isinstance(got.embedding.privacy, PrivacyClaim)
        said = [finding.text for finding in got.findings if finding.check == "source"]
        assert "umc/first 1.0.0" in said[-1] and "post-processing" in said[-1]
        assert pulling.verify_path("moved").digest == got.digest
        pipe = load_pipeline(new)
        token = load_into(pipe, got)
        assert len(pipe(f"mri, {token}", num_inference_steps=1, output_type="latent").images) == 1


def _publish(file: Path, made: embedding.Embedding) -> publishing.Pushed:
    file.write_bytes(made.data)
    fields = make_card(made, name=file.stem, **DECLARED)
    file.with_name(f"{file.stem}.card.yaml").write_bytes(safe_yaml.dump(fields))
    return publishing.push(file)


def test_a_registry_takes_a_claim_with_its_source_alone() -> None:
    whole = make_ported_release(PRIVATE)
    assert propose(whole.files, repository=PORT).verified.digest == whole.embedding.digest
    files = {name: data for name, data in whole.files.items() if name != release_files.SOURCE_BUNDLE}
    refused = refusal(files, repository=PORT)
    assert refused.rule == "source-mismatch" and "embhub port" in refused.hint


def test_a_withdrawn_source_withdraws_its_port() -> None:
    key = releases.make_key("advisories")
    named = {"fingerprint": key.fingerprint, "public_key_pem": key.public_pem}
    ring = releases.make_trust(releases.make_keyring(online={"advisories": named}))
    entry = advisories.new(
        scope="bytes", by="publisher", namespace="radboud", repository=REPOSITORY, version="1.0.0",
        digest=PRIVATE.embedding.digest, reason="consent withdrawn", published="2026-11-20T10:00:00Z",
    )  # fmt: skip
    issued = advisories.build(ring.origin, number=1, issued="2026-11-20T10:00:00Z", entries=(entry,))
    trust = replace(ring, advisories=issued.sign(key))
    release = make_ported_release(PRIVATE)
    verified = verification.verify(release, trust=trust, now=NOW, repository=PORT)
    assert verified.withdrawn == (entry,)
    assert any("of the source: withdrawn" in finding.text for finding in verified.findings)
    with pytest.raises(PolicyError):
        demands.refuse_unpinned(verified, commit="0" * 40)  # as `pull` does
    with pytest.raises(SourceMismatchError):
        verification.verify(release, trust=trust, now=NOW, repository=PORT, source_trust=[])
