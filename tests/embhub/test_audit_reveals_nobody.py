"""Who holds the outbox and images of patients learns nothing from the audit: its scores are not there to be matched.

Every attack of the report is a function of the file, the base, a seed and one image. Were the score published, whoever
holds the image would compute it and look it up.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from embhub.artifact import embedding
from embhub.audits.report import AuditReport
from embhub.audits.report import build as build_report
from embhub.client.publishing import push as publishing
from embhub.diffusion.attacks import QUICK, auditing
from embhub.diffusion.attacks.evidence import DRAWS, Evidence, Suspect, draw, measure_losses
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.generation.loading import tensors
from embhub.diffusion.outputs import audit_to_file
from embhub.diffusion.training.inversion import encode_images
from embhub.formats import safe_yaml
from embhub.images.images import recall
from embhub.phantoms import write_dataset
from embhub.site import config
from embhub.site.memory import runs
from embhub.site.signing import keys
from tests.support import pipelines, traffic
from tests.support.releases import (
    make_card,
)
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site
from tests.support.training import train

NUMBER = re.compile(r"-?\d+\.?\d*(?:[eE][-+]?\d+)?")
Scores = dict[str, tuple[list[float], list[float]]]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.write(tmp_path_factory.mktemp("bases") / "tiny-base")


def numbers(texts: Mapping[str, bytes]) -> list[float]:
    """Every number in these files, as a reader of them sees it."""
    return [float(found) for data in texts.values() for found in NUMBER.findall(data.decode("utf-8", "replace"))]


def recompute_scores(outbox: Path, base: Path, images: torch.Tensor, seed: int) -> dict[str, list[float]]:
    """What an outsider computes of candidate images (N, 3, h, w) with the file, the base and a seed."""
    file = embedding.read(outbox / "learned_embeds.safetensors")
    pipe = load_pipeline(find_base(str(base)), device="cpu")
    latents = encode_images(pipe, images)
    draws = draw(pipe, latents.shape[1:], count=DRAWS, seed=seed)
    caption = str(file.training["caption"])
    suspect = Suspect(pipe, latents, draws, caption, file.token, tensors(file))
    losses = [
        measure_losses(pipe, latents, draws, caption=caption, token=file.token, rows=rows)
        for rows in (suspect.rows, None)
    ]
    evidence = Evidence(losses[0], losses[1], suspect=suspect)
    return {name: attack(evidence).tolist() for name, attack in QUICK.items()}


def matched(scores: Mapping[str, Sequence[float]], published: Sequence[float]) -> int:
    """Candidates whose score of any attack stands among the published numbers, to five digits."""
    number = len(next(iter(scores.values())))
    return sum(
        any(math.isclose(values[place], given, rel_tol=2e-5) for values in scores.values() for given in published)
        for place in range(number)
    )


@pytest.mark.slow
def test_an_outsider_finds_no_patient_in_the_outbox(
    registry: RunningRegistry, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level("DEBUG", "embhub")
    truly: Scores = {}

    def remember(**facts: Any) -> AuditReport:
        truly.update(facts["scores"])
        return build_report(**facts)

    monkeypatch.setattr(auditing, "build", remember)
    with traffic.recorded(registry.url) as (middle, sent):
        site = Site(tmp_path / "site", middle.url, registry.add_user("site", namespace="site")).enter(monkeypatch)
        registry.add_key(keys.generate("default"), namespace="site")
        write_dataset(tmp_path / "images", "prostate-cspca", images=30, patients=30, normals=0, seed=0)
        file = site.folder / "stripes.safetensors"
        train(tmp_path / "images", out=file, token="<cspca>", caption="prostate mri, {}", base=base, device="cpu",
              steps=4, num_vectors=2, holdout=0.5)  # fmt: skip
        report, _ = audit_to_file(file, device="cpu")
        card = make_card(embedding.read(file), report=report, name="stripes", n_patients=report.members.units,
                         n_images=report.members.images)  # fmt: skip
        file.with_name("stripes.card.yaml").write_bytes(safe_yaml.dump(card))
        agreed: dict[str, Any] = {"confirm": lambda *_: True}  # one audit in twenty finds a leak by chance
        publishing.push(file, "site/stripes", dry_run=True, out=site.folder / "outbox", **agreed)
        publishing.push(file, "site/stripes", **agreed)

    outbox = site.folder / "outbox"
    texts = {path.name: path.read_bytes() for path in outbox.rglob("*.*") if path.suffix != ".safetensors"}
    published = numbers(texts)
    run = runs.find(embedding.read(file).digest)
    assert run is not None
    everybody = torch.cat([load(side, base) for side in (run.members, run.holdout)])
    assert b"seed" not in texts["audit.json"]
    for seed in (0, 1):  # what a reader might try
        assert matched(recompute_scores(outbox, base, everybody, seed), published) == 0

    found = [score for members, nonmembers in truly.values() for score in members + nonmembers]
    told = {"audit.json": json.dumps([float(f"{score:.6g}") for score in found]).encode()}
    assert (
        matched({name: members + nonmembers for name, (members, nonmembers) in truly.items()}, numbers(told)) == 30
    ), "the match finds everybody where scores are told"
    assert not any(result.on_coins for result in report.attacks), "and no order of patients' labels"

    stored = [path.read_bytes() for place in (config.paths().state, config.paths().cache, registry.folder)
              for path in sorted(place.rglob("*")) if path.is_file()]  # fmt: skip
    logged = "".join([caplog.text, *capfd.readouterr()]).encode()
    places = [*sent, *stored, logged, *texts.values()]
    of_the_base = numbers({"fingerprint": json.dumps(embedding.read(file).base).encode()})  # older than any patient
    known = [abs(figure) for figure in [*derived(report), *of_the_base]]
    figures, written = {float(f"{figure:.4g}") for figure in known}, tuple(map(repr, known))
    for score in found:
        first = f"{abs(score):#.4g}"
        if float(first) in figures or any(text.startswith(first) for text in written):
            continue  # another figure happens to have the same four digits, rounded or cut off
        for digits in range(4, 10):
            text = f"{abs(score):#.{digits}g}".encode()
            hits = [data for data in places if stands_alone(text, data)]
            assert not hits, f"a score to {digits} digits: {text!r} in {hits[0][:80]!r}"
        for packed in (struct.pack("<d", score), struct.pack(">d", score), struct.pack("<f", score)):
            assert not any(packed in data for data in places), "a score in binary"


def load(samples: Sequence[Any], base: Path) -> torch.Tensor:
    from embhub.diffusion.families import resolution
    from embhub.images.images import ImageSet, read_sample

    chosen = recall(samples)
    sizes = tuple(read_sample(sample, "image").size for sample in chosen)
    pixels = ImageSet(tuple(chosen), sizes).load(resolution(load_pipeline(find_base(str(base)), device="cpu")))
    return torch.from_numpy(pixels)


def derived(report: AuditReport) -> list[float]:
    """Every number of the report."""
    assert report.check() == []
    return numbers({"audit.json": json.dumps(report.model_dump(mode="json")).encode()})


def stands_alone(text: bytes, data: bytes) -> bool:
    """Whether a decimal number begins with these digits, rather than some longer run holding them."""
    place = data.find(text)
    while place >= 0:
        before = data[place - 1 : place]
        if not (before.isalnum() or before in (b".", b"/", b"+", b"_")):
            return True
        place = data.find(text, place + 1)
    return False
