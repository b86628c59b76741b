"""Signed images of sites whose keys a keyring knows, and of a stranger."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embhub.formats.synthetic_mark import mark_png
from embhub.images.c2pa_manifests import certificate
from embhub.images.c2pa_manifests.signing import ManifestSigner
from embhub.images.c2pa_manifests.statement import Statement
from embhub.site.signing.keys import SigningKey
from tests.support.releases import SITE

EMBEDDING, BASE = "ab" * 32, "cd" * 32
SAID = Statement(
    {
        "base": {"name": "builtin", "fingerprint": BASE},
        "prompt": "prostate mri, <cspca>",
        "embeddings": [{"token": "<cspca>", "sha256": EMBEDDING, "claim": {"epsilon": 1.5}}],
    }
)
Signed = Callable[..., Path]


def plain_png(side: int = 64, seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    values = np.random.default_rng(seed).integers(0, 255, (side, side), dtype=np.uint8)
    Image.fromarray(values).save(buffer, "PNG")
    return mark_png(buffer.getvalue(), embeddings=[EMBEDDING], base=BASE)


def signer_of(key: SigningKey = SITE) -> ManifestSigner:
    return ManifestSigner(key, certificate.issue(key, organisation="radboud"))


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    """Write a signed image; `change` edits its bytes."""

    def write(
        key: SigningKey = SITE, *, name: str = "signed.png", change: Callable[[bytes], bytes] = bytes,
        statement: Statement = SAID,
    ) -> Path:  # fmt: skip
        path = tmp_path / name
        path.write_bytes(change(signer_of(key).sign_image(plain_png(), statement)))
        return path

    return write
