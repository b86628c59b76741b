"""How rows are learned: the settings of a training, and those that suit a base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from embhub.artifact.header import PER_IMAGE
from embhub.diffusion.families import encoders, prediction_type, resolution
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.precision import in_bfloat16
from embhub.errors import UsageError
from embhub.options.fields import check_ranges, given
from embhub.options.precision import Precision
from embhub.options.preprocessing import Preprocessing
from embhub.options.training import Dtype, Norm, Recipe


@dataclass(frozen=True)
class ResolvedRecipe:
    """How token embeddings are learned, with everything filled in; its options are described at `Recipe`.

    `learning_rate` is AdamW's after `warm_up` steps, falling on half a cosine to a twentieth; there is no weight
    decay. With `relative_rate` it is in units of each encoder's own token table (`table_units.token_units`), else what
    AdamW adds to a number; a private training has units of its own (`embhub.diffusion.dp.subspace`). `high_noise` is
    the share of a batch drawn from the noisiest 30 % of the schedule, where layout is decided; the others are drawn
    evenly from above `lowest`. `mixed_precision` computes in bfloat16, where the rows stay float32; by default where
    this processor has instructions for it. With `norm` `directional` every row keeps the mean length of the base's own
    token rows and only turns (AdamW with gradients along the sphere, without the paper's prior). `per_layer` learns
    `num_vectors` for each place where a denoiser of Stable Diffusion's shape reads text (see
    `embhub.diffusion.training.per_layer`).

    Raises:
        UsageError: a value out of its range.
    """

    num_vectors: int = 8
    steps: int = 200
    learning_rate: float = 0.1
    relative_rate: bool = True
    batch_size: int = 16
    warm_up: int = 20
    high_noise: float = 0.4
    lowest: float = 0.1
    snr_gamma: float | None = None
    initializer_text: str = ""
    mixed_precision: bool = field(default_factory=lambda: in_bfloat16("cpu"))
    norm: Norm = "free"
    per_layer: bool = False
    micro_batch_size: int | None = None
    gradient_checkpointing: bool = False
    dtype: Dtype = "float16"

    def __post_init__(self) -> None:
        check_ranges(self, Recipe)
        if not 0 <= self.lowest < 1:
            raise UsageError(f"lowest is {self.lowest}, out of its range", "choose at least 0, below 1")

    @property
    def at_once(self) -> int:
        """How many images of a batch are computed at a time."""
        return self.batch_size if self.micro_batch_size is None else min(self.micro_batch_size, self.batch_size)


COMPACT = ResolvedRecipe()
"""For the built-in bases and others of at most 128 pixels: plain loss, as min-SNR would starve layout."""

LARGE = ResolvedRecipe(steps=3000, learning_rate=0.35, batch_size=4, high_noise=0.0, lowest=0.0, snr_gamma=5.0)
"""For bases of Stable Diffusion's size: on SD 1.5's own table, whose rows are about 0.39 long, 0.005 a number."""

_WITHOUT_WORDS, _COMPACT_WITHOUT_WORDS = 5e-3, 3e-2
"""The rates for an image embedding, for which there is no table: what AdamW adds to a number."""


RELATIVE = "root mean square of the base's token embeddings"
"""The unit of a learning rate, in the words of the file's header."""


def default_recipe(pipe: Pipeline) -> ResolvedRecipe:
    """The recipe that suits a base of this size on the device where it is."""
    recipe = COMPACT if resolution(pipe) <= 128 else LARGE
    recipe = replace(recipe, mixed_precision=in_bfloat16(pipe.device.type))
    if encoders(pipe):
        return recipe
    rate = _COMPACT_WITHOUT_WORDS if resolution(pipe) <= 128 else _WITHOUT_WORDS
    return replace(recipe, num_vectors=1, learning_rate=rate, relative_rate=False)


def resolve(recipe: Recipe, default: ResolvedRecipe, *, device: str) -> ResolvedRecipe:
    """The recipe that a person chose, with what suits base and device where nothing was chosen.

    Raises:
        UsageError: a precision that the device has not.
    """
    chosen = given(recipe)
    mixed = in_bfloat16(device, chosen.pop("precision", "auto"))
    return replace(default, **chosen, mixed_precision=mixed)


def recorded_recipe(recorded: Mapping[str, Any], precision: Precision | None = None, *, device: str) -> ResolvedRecipe:
    """The recipe that a private record holds (`dataclasses.asdict`), in another precision where one is chosen.

    Raises:
        UsageError: a precision that the device has not.
    """
    recipe = ResolvedRecipe(**{"relative_rate": False, **recorded})  # records of old have no unit: it was 1
    return recipe if precision is None else replace(recipe, mixed_precision=in_bfloat16(device, precision))


def settings_by_name(*parts: Any) -> dict[str, str]:
    """The fields of settings (dataclasses) under the names of their options."""
    named = {name: str(value) for part in parts for name, value in asdict(part).items()}
    if (mixed := named.pop("mixed_precision", None)) is not None:
        named["precision"] = "bfloat16" if mixed == "True" else "float32"
    return named


def describe(
    pipe: Pipeline,
    caption: str,
    recipe: ResolvedRecipe,
    preprocessing: Preprocessing = Preprocessing(),  # noqa: B008  # frozen
    captioned: bool = False,
) -> dict[str, str | int | float]:
    """What the file's header tells of the training; nothing of the images or the seed."""
    kind = prediction_type(pipe)
    snr_gamma = None if kind == "flow" else recipe.snr_gamma  # which weighs all times of a flow alike
    facts: dict[str, str | int | float] = {
        "caption": caption,
        "initial_word": recipe.initializer_text or caption.replace("{}", " ").strip(),
        "vectors": recipe.num_vectors,
        "steps": recipe.steps,
        "learning_rate": recipe.learning_rate,
        "learning_rate_unit": RELATIVE if recipe.relative_rate else "1",
        "batch_size": recipe.batch_size,
        "optimizer": "AdamW" if recipe.norm == "free" else "AdamW on directions",
        "weight_decay": 0,
        "schedule": f"cosine, {recipe.warm_up} steps of warm-up",
        "timestep_bias": f"{recipe.high_noise:g} of each batch from the noisiest 30 %",
        "loss": "mean squared error" if snr_gamma is None else "min-SNR",
        "precision": "bfloat16" if recipe.mixed_precision else "float32",
        "prediction_type": kind,
        "resolution": preprocessing.resolution or resolution(pipe),
        "tool": "embhub",
    }
    if captioned:  # which ones, and how many differ, is known to the site alone
        facts["captions"] = PER_IMAGE
    if preprocessing.fit != "crop":  # which is what a file without the word was made with
        facts["fit"] = preprocessing.fit
    if snr_gamma is not None:
        facts["snr_gamma"] = snr_gamma
    return facts
