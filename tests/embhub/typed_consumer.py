"""A program that uses every public name of embhub, with types; mypy reads it, nobody runs it."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

from PIL import Image

import embhub


def make(images: Path) -> embhub.Embedding:
    """At the hospital that has the images."""
    found = embhub.inspect(images)
    trained = embhub.train(
        images, token="<cspca>", caption="prostate mri, {}", base="builtin", out=images / "prostate.safetensors",
        recipe=embhub.Recipe(steps=100), privacy=embhub.PrivacySettings(epsilon=2, n_public=50),
        selection=embhub.Selection(where="label=csPCa", holdout=0.3), preview=embhub.Preview(every=50),
        preprocessing=embhub.Preprocessing(fit="pad", resolution=96),
    )  # fmt: skip
    adapted = embhub.adapt(
        images, token="<cspca>", caption="axial mri, {}", recipe=embhub.AdapterRecipe(rank=2, steps=50),
        out=images / "adapter.safetensors",
    )  # fmt: skip
    assert_type(adapted.adapter, embhub.Embedding)
    report = embhub.audit(trained)
    summary: tuple[object, str, tuple[str, ...]] = (found, report.verdict, trained.notes)
    print(*summary)
    assert_type(trained.losses, tuple[float, ...])
    return assert_type(trained.embedding, embhub.Embedding)


def publish(file: Path, registry: str) -> str:
    """Sign, send, and ask the registry."""
    signed = embhub.sign(file, repository="hospital-a/prostate")
    release = assert_type(signed.release, embhub.Release)
    card = assert_type(release.card, embhub.Card)
    done = embhub.push(file, "hospital-a/prostate", registry=registry, on_note=print)
    hub = embhub.Hub(registry, token=None)
    fetched, commit = hub.fetch(done.repository)
    assert_type(fetched, embhub.Release)
    return f"{card.version} {assert_type(commit, str)}"


def use(reference: str, pipe: object) -> list[Image.Image]:
    """At the other hospital."""
    print(*(found.repository for found in embhub.search("prostate", limit=3)), embhub.show(reference)["verified"])
    try:
        got = assert_type(embhub.pull(reference, policy="strict"), embhub.Verified)
        assert_type(embhub.trust_registry("https://hub.example.org", fingerprint="SHA256:x"), str)
        again = assert_type(embhub.verify(reference), embhub.Verified)
    except embhub.EmbhubError as error:
        raise SystemExit(f"{assert_type(error.message, str)} {assert_type(error.hint, str)}") from error
    token = assert_type(embhub.load_into(pipe, got), str)
    drawn = assert_type(embhub.generate(f"prostate mri, {token}", embeddings=[again], n=2), list[Image.Image])
    series = embhub.interpolate("prostate mri", f"prostate mri, {token}", embeddings=[got])
    painted = embhub.redraw(drawn[0], f"prostate mri, {token}", box=(0, 0, 16, 16), embeddings=[got])
    print(series, embhub.evaluate("real", "test", "synthetic"))
    assert_type(embhub.dataset("drawn", config="set.yaml").images, int)
    print(embhub.copy_check("cspca.safetensors", "drawn").report, embhub.detect("drawn").files)
    return painted


def take_over(file: Path) -> bytes:
    """A file of another program."""
    moved = embhub.port(file, to="builtin-xray", images=8)
    print(assert_type(moved.embedding, embhub.Embedding).digest, assert_type(moved.source, bytes | None))
    return embhub.import_file(file, token="<cspca>", base_family="sd15").data
