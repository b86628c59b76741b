"""Training an embedding of this site again without one patient, by the recipe that its record kept."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from embhub.diffusion.train import TrainResult, train
from embhub.errors import UsageError
from embhub.images.images import ImageSet, read_sample, recall
from embhub.ledger import concerned
from embhub.options.preprocessing import Preprocessing
from embhub.options.training import PrivacySettings, Recipe, Selection
from embhub.progress import OnProgress
from embhub.site.memory import runs
from embhub.site.memory.patients import key_patient, tidy


def retrain_without(
    digest: str, patient_id: str, *, issuer: str = "", out: Path, on_progress: OnProgress | None = None
) -> TrainResult:
    """Train the embedding with this SHA-256 again, on the same images but for one patient's.

    Held-out patients stay held out. A training without privacy draws a new random seed, so that the two files differ by
    more than the patient. A private one is charged to the ledger as any other.

    Raises:
        UsageError: there is no record of the training, or none of its recipe (a study, a port, an adapter) or of its
            privacy; the patient is not in it; or too few images are left.
        PrivacyError: as `embhub.train`, a cap of the ledger among them.
        LedgerTamperedError, ConfigError: the ledger was changed or cannot be read, or `out` cannot be written.
    """
    run = runs.find(digest)
    if run is None:
        raise UsageError(
            f"this site has no record of a training of {digest[:12]}…", "train without the patient by hand"
        )
    protection = run.settings.get("protection")
    if "recipe" not in run.settings or (not protection and concerned.is_private(digest)):  # never plain by default
        what = "privacy settings" if "recipe" in run.settings else "recipe (a study, a port or an adapter)"
        raise UsageError(
            f"{digest[:12]}… cannot be trained again here: its record holds no {what}",
            "withdraw it; for a study, propose a new one with the other sites",
        )
    names = {tidy(patient_id), key_patient(patient_id, issuer=issuer)}
    members = [sample for sample in run.members if sample.patient_id not in names]
    holdout = [sample for sample in run.holdout if sample.patient_id not in names]
    if len(members) + len(holdout) == len(run.members) + len(run.holdout):
        raise UsageError("the patient is not in the record of this training", "nothing has to be trained again")
    kept = [*recall(members), *(replace(sample, split="holdout") for sample in recall(holdout))]
    images = ImageSet(tuple(kept), tuple(read_sample(sample, "image").size for sample in kept))
    return train(
        images,
        token=run.token,
        caption=run.caption,
        base=run.base,
        recipe=Recipe(**_known(Recipe, run.settings.get("recipe", {}))),
        privacy=PrivacySettings(**_known(PrivacySettings, protection)) if protection else None,
        selection=Selection(holdout=0.0),
        preprocessing=Preprocessing(**_known(Preprocessing, run.settings.get("preprocessing", {}))),
        out=out,
        on_progress=on_progress,
    )


def _known(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Those values that this version's options have."""
    names = {item.name for item in fields(kind)}
    return {name: value for name, value in values.items() if name in names}
