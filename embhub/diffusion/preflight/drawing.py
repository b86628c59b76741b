"""What `dataset` and `evaluate` are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embhub import destinations
from embhub.client.pulling.opening import open_path
from embhub.diffusion.bases.naming import check_base
from embhub.diffusion.bases.sizes import check_resolution
from embhub.diffusion.datasets import asking as dataset_asking
from embhub.diffusion.datasets import parquet_copy
from embhub.diffusion.evaluation import asking as evaluation_asking
from embhub.formats.names import repository_fault
from embhub.images.inspections.early_check import check_labelled


def check_dataset(
    out: Path, *, config: Path | None, classes: Sequence[str], embeddings: Sequence[str], base: str | None,
    per_class: int | None, seed: int | None, steps: int | None, guidance_scale: float | None, resolution: int | None,
    negative: str | None, negative_embeddings: Sequence[str], device: str, parquet: bool = False,
    **others: Any,  # noqa: ARG001  # what needs no check
) -> None:  # fmt: skip
    """Refuse a data set that cannot be begun; repositories are pulled later.

    Raises:
        UsageError: a malformed request, or no base, device, library or file of that name.
        ArtifactError, VerificationError, PolicyError: a file that may not be used.
        PrivacyError: a label or a prompt that looks like a person's.
        ConfigError: the folder cannot be written.
    """
    asked = dataset_asking.read(
        config, classes=classes, embeddings=embeddings, base=base, per_class=per_class, seed=seed, steps=steps,
        guidance=guidance_scale, resolution=resolution, negative=negative,
        negative_embeddings=tuple(negative_embeddings) or None,
    )  # fmt: skip
    destinations.check_folder(out)
    if parquet:
        parquet_copy.check()
    check_base(asked.base, device)
    check_resolution(asked.base, asked.resolution)
    for target in asked.targets:
        if Path(target).exists() or repository_fault(target.partition("@")[0]):
            open_path(target)


def check_evaluation(
    report: Path, *, real: Path, test: Path, synthetic: Sequence[Path], arms: Mapping[str, Sequence[Path]], seeds: int,
    dataset: str, real_where: str | None, test_where: str | None, device: str, regimes: Sequence[str],
    real_share: float | None, **others: Any,  # noqa: ARG001  # what needs no check
) -> None:  # fmt: skip
    """Refuse an evaluation that cannot begin.

    Raises:
        UsageError: no images of that name, a malformed manifest, or nothing to compare.
        PrivacyError: a name that looks like a person's.
        ConfigError: the report cannot be written.
    """
    _, folders = evaluation_asking.check(
        synthetic, arms, seeds=seeds, dataset=dataset, report=report, regimes=regimes, real_share=real_share
    )
    check_base(None, device)
    check_labelled(real, real_where)
    check_labelled(test, test_where)
    for folder in (one for places in folders.values() for one in places):
        check_labelled(folder)
