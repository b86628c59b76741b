"""The C2PA manifest of a data set, `manifest.c2pa`: one signature over `manifest.csv`, whose rows name every image by
its SHA-256."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embhub.diffusion.datasets.plan import PlannedClass
from embhub.diffusion.datasets.sources import Origin
from embhub.diffusion.generation.signed_files import describe_base
from embhub.durable import write_atomic
from embhub.images.c2pa_manifests.signing import ManifestSigner
from embhub.images.c2pa_manifests.statement import Statement, describe_embedding
from embhub.images.c2pa_manifests.tables import SIDECAR
from embhub.images.manifests.manifest import NAME as TABLE


def sign(
    signer: ManifestSigner | None, folder: Path, classes: Sequence[PlannedClass], plan: Mapping[str, Any], *,
    images: int,
) -> None:  # fmt: skip
    """Write the manifest, where a key is named. Each call gives other bytes: a signature has a random part.

    Raises:
        ConfigError: the key does not sign, or the file cannot be written.
    """
    if signer is not None:
        said = _describe(classes, plan, images)
        write_atomic(folder / SIDECAR, signer.sign_file((folder / TABLE).read_bytes(), "text/csv", said))


def _describe(classes: Sequence[PlannedClass], plan: Mapping[str, Any], images: int) -> Statement:
    used = {origin.embedding.digest: origin for item in classes for origin in (*item.origins, *item.against)}
    return Statement(
        {
            "images": images,
            "base": describe_base(plan["base"]["name"], plan["base"]["fingerprint"]),
            "embeddings": [describe_embedding(one.embedding, _release(one)) for one in used.values()],
            "classes": [
                {"label": c.label, "prompt": c.prompt, "embeddings": [o.embedding.digest for o in c.origins]}
                for c in classes
            ],
            **({"negative": plan["negative"]} if plan.get("negative") else {}),
        }
    )


def _release(origin: Origin) -> str | None:
    return origin.name if origin.signed else None
