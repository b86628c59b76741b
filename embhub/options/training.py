"""The options of a training, written once: `embhub.train`, the command line, shadows and tests take these classes.

None means that nothing was chosen; the training then takes what suits the base (`embhub.diffusion.training.recipes`)
or the privacy mechanism (`embhub.diffusion.dp.settings`). Nothing here imports torch, so that `--help` stays fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from embhub.errors import UsageError
from embhub.options.fields import check_ranges, option, required
from embhub.options.precision import MEANING, Precision
from embhub.privacy.choices import CANDIDATES, Mechanism, Unit

Norm = Literal["free", "directional"]
Dtype = Literal["float16", "float32"]

_BY_BASE = "[default: depends on the base]"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How token embeddings are learned; a field that is None takes what suits the base.

    Attributes:
        num_vectors: token embeddings behind the placeholder token.
        steps: optimization steps.
        learning_rate: peak learning rate of AdamW, in units of the base's token embeddings: at 0.1, a step changes each
            number by at most a tenth of the root mean square of that text encoder's token table.
        batch_size: images of a step; in a private training, patients.
        micro_batch_size: images computed at a time. It saves memory and changes the result by rounding only.
        gradient_checkpointing: recompute activations in the backward pass to save memory.
        snr_gamma: min-SNR loss weighting (Hang et al. 2023, arXiv 2303.09556).
        high_noise: share of each batch from the noisiest 30 % of the timesteps, where layout is decided.
        warm_up: steps in which the learning rate rises to its peak.
        norm: `free`, or `directional` (Kim et al. 2025, arXiv 2512.13672).
        per_layer: token embeddings for each cross-attention layer (P+, Voynov et al. 2023, arXiv 2303.09522).
        initializer_text: the text whose token embeddings the training starts from; it is published.
        precision: number format of the computation; the embedding vectors and the optimizer stay float32.
        dtype: number format of the embedding file.

    Raises:
        UsageError: a value out of its range.

    Example:
        >>> import embhub
        >>> embhub.Recipe(num_vectors=4, steps=100).num_vectors
        4
    """

    num_vectors: int | None = option(
        f"Number of vectors: token embeddings behind the placeholder token  {_BY_BASE}", low=1, high=64
    )
    steps: int | None = option(f"Optimization steps  {_BY_BASE}", low=1, high=10**6)
    learning_rate: float | None = option(
        f"Peak learning rate, relative to the size of each text encoder's token embeddings  {_BY_BASE}",
        above=0,
        high=10,
    )
    batch_size: int | None = option(
        f"Batch size: images per step; with --epsilon, expected patients per step  {_BY_BASE}", low=1, high=4096
    )
    micro_batch_size: int | None = option(
        "Microbatch size: images computed at a time; lower it if you run out of memory  [default: whole batch]",
        low=1,
        high=4096,
    )
    gradient_checkpointing: bool = option("Enable gradient checkpointing (slower, less memory).", default=False)
    snr_gamma: float | None = option(
        f"Min-SNR loss weighting: gamma, such as 5  {_BY_BASE}", above=0, high=1000, metavar="X"
    )
    high_noise: float | None = option(
        f"High-noise share: fraction of each batch from the noisiest 30 % of the timesteps  {_BY_BASE}",
        low=0, high=1, metavar="SHARE",
    )  # fmt: skip
    warm_up: int | None = option(f"Warm-up steps of the learning rate  {_BY_BASE}", low=0, high=10**6)
    norm: Norm | None = option(
        "Norm of the token embeddings; directional keeps the base's mean norm and learns the direction only"
        "  [default: free]"
    )
    per_layer: bool = option(
        "Learn token embeddings for each cross-attention layer (P+); only embhub reads the larger file.", default=False
    )
    initializer_text: str | None = option(
        "Initializer text: training starts from its token embeddings; published  [default: the caption]",
        metavar="TEXT",
    )
    precision: Precision | None = option(f"Number format of the computation; {MEANING}  [default: auto]")
    dtype: Dtype | None = option("Number format of the embedding file  [default: float16]")

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class PrivacySettings:
    """Differential privacy of a training. Every number here is public.

    Attributes:
        epsilon: privacy budget that the training may spend.
        n_public: declared number of patients: round, and no larger than there are.
        delta: failure probability.
        unit: whose data one epsilon protects.
        mechanism: `dp-sgd` (Abadi et al. 2016, arXiv 1607.00133), `dp-agg`, one noisy mean of an embedding for each
            patient, or `votes`, noisy counts of one vote a patient and round (arXiv 2305.15560).
        max_images_per_patient: further images of a patient are left out.
        subspace_dim: dimension of the public subspace in which token embeddings move; 0 is the whole space.
        noise_draws: pairs of noise and timestep behind each patient's gradient or vote.
        max_grad_norm: clipping norm of a patient's gradient; for dp-agg, of how far the patient's embedding moves.
            A vote is 1.
        num_candidates: for votes, how many candidates a round has.

    Raises:
        UsageError: a value out of its range.

    Example:
        >>> import embhub
        >>> embhub.PrivacySettings(epsilon=2, n_public=100).epsilon
        2
    """

    epsilon: float = required(
        "Train with differential privacy: DP epsilon, the privacy budget to spend  [default: no privacy]",
        above=0,
        metavar="E",
    )
    n_public: int | None = option(
        "Declared number of patients, required with --epsilon: round, published, at most the true number.", low=1
    )
    delta: float | None = option("DP delta (failure probability), at most 1e-5  [default: 1e-5]", above=0, below=1)
    unit: Unit | None = option("Privacy unit; image only if patients are unknown  [default: patient]")
    mechanism: Mechanism | None = option(
        "DP mechanism: noise on clipped gradients (DP-SGD), on the mean of per-patient embeddings, or on counts of one"
        " vote per patient and step  [default: dp-sgd]"
    )
    max_images_per_patient: int | None = option(
        "Maximum images per patient with --epsilon  [default: 8]", low=1, high=100_000
    )
    subspace_dim: int | None = option(
        "Subspace dimension: directions from the base's token table to learn in, 0 for all  [default: 128]",
        low=0,
        high=8192,
    )
    noise_draws: int | None = option(
        "Noise samples (augmentation multiplicity) per patient's gradient or vote  [default: 1; 2 for dp-agg, 4 for"
        " votes]",
        low=1,
        high=1024,
    )
    max_grad_norm: float | None = option(
        "Maximum gradient norm (clipping) per patient with --epsilon  [default: 0.001; 1 for dp-agg and votes]",
        above=0,
        below=10**6,
    )
    num_candidates: int | None = option(
        "Candidates per round, for votes  [default: 16]", low=CANDIDATES[0], high=CANDIDATES[1]
    )

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which images are trained on.

    Attributes:
        manifest: CSV or Excel file with the columns path, patient_id and maybe label, split.
        where: `COLUMN=VALUE`: rows of the manifest to use.
        holdout: share of the patients to hold out. Rows with split `holdout` are held out, too.

    Raises:
        UsageError: a share out of its range.

    Example:
        >>> import embhub
        >>> embhub.Selection(where="label=csPCa", holdout=0.3).holdout
        0.3
    """

    manifest: str | Path | None = option("Columns path,patient_id and maybe label,split.", metavar="CSV")
    where: str | None = option("Train on these rows of the manifest only.", metavar="COLUMN=VALUE")
    holdout: float = option("Held-out share of the patients.", default=0.0, low=0, high=0.9)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Preview images of a training.

    Attributes:
        every: steps between two preview sheets; None for no previews.
        folder: where to write them; `NAME-previews` beside the embedding by default.

    Raises:
        UsageError: a number of steps below 1.

    Example:
        >>> import embhub
        >>> embhub.Preview(every=50).every
        50
    """

    every: int | None = option("Generate preview images every N steps.", low=1, flags=("--preview",))
    folder: str | Path | None = option(
        "Folder for previews  [default: NAME-previews beside --out]", metavar="DIR", flags=("--preview-dir",)
    )

    def __post_init__(self) -> None:
        check_ranges(self)


def choose_privacy(epsilon: float | None = None, **chosen: Any) -> PrivacySettings | None:
    """Privacy settings from options that may all be None; None for a training without privacy.

    Raises:
        UsageError: settings of a private training without an epsilon, or one out of its range.
    """
    if epsilon is not None:
        return PrivacySettings(epsilon, **chosen)
    if said := sorted(name for name, value in chosen.items() if value is not None):
        raise UsageError(
            f"{', '.join(said)}: settings of private training, without an epsilon",
            "set a privacy budget, such as --epsilon 2 (whoever would have named a given patient with probability 1 %"
            " had she not taken part, names her with at most 7.4 % if she did); without it there is no bound on what"
            " the file leaks",
        )
    return None
