"""Does an embedding help? A classifier taught with few real images, with and without drawn ones beside them.

Every arm sees the same real images, the same number of steps and the same test patients; only what is added differs.
An arm with drawn normals alone, and one with the nearest words that the base was taught, stand beside the embedding's:
without them more negatives, or the base's own knowledge, would pass for the embedding's merit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from embhub.diffusion.evaluation import classifier
from embhub.errors import UsageError
from embhub.progress import OnProgress, Progress

Pictures = NDArray[np.uint8]
Labelled = tuple[Pictures, NDArray[np.int64]]

REAL, SYNTHETIC, NORMALS, TAUGHT = "real", "real + synthetic", "real + drawn normals", "real + taught words"


@dataclass(frozen=True)
class Interval:
    """Mean of paired differences over the seeds, and its 95 % t interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Utility:
    """Test AUC of every arm, one figure a seed; `per_class` real images a class taught each classifier."""

    per_class: int
    drawn: int
    test_images: int
    aucs: Mapping[str, tuple[float, ...]]

    @property
    def auc_real(self) -> float:
        """Mean test AUC with real images alone."""
        return float(np.mean(self.aucs[REAL]))

    @property
    def auc_real_plus_synthetic(self) -> float:
        """Mean test AUC with real images and images drawn with the embedding."""
        return float(np.mean(self.aucs[SYNTHETIC]))

    @property
    def gain_interval(self) -> tuple[float, float]:
        """95 % interval of what the drawn images add to the real ones."""
        gain = self.gain()
        return gain.low, gain.high

    def gain(self, arm: str = SYNTHETIC, over: str = REAL) -> Interval:
        """What one arm has over another, paired by seed. With one seed the interval is endless."""
        differences = np.subtract(self.aucs[arm], self.aucs[over])
        mean = float(differences.mean())
        if len(differences) < 2:
            return Interval(mean, -1.0, 1.0)
        error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
        half = float(stats.t.ppf(0.975, len(differences) - 1)) * error
        return Interval(mean, mean - half, mean + half)

    def to_dict(self) -> dict[str, Any]:
        """Every figure, rounded to six digits: pages round once more, to three, as `words` does."""
        gains = {
            f"{arm} over {over}": self.gain(arm, over)
            for arm, over in ((SYNTHETIC, REAL), (SYNTHETIC, NORMALS), (SYNTHETIC, TAUGHT))
            if over in self.aucs
        }
        return {
            "auc_real": round(self.auc_real, 6),
            "auc_real_plus_synthetic": round(self.auc_real_plus_synthetic, 6),
            "gain": round(self.gain().mean, 6),
            "gain_interval": [round(value, 6) for value in self.gain_interval],
            "per_class": self.per_class,
            "drawn_per_class": self.drawn,
            "seeds": len(self.aucs[REAL]),
            "test_images": self.test_images,
            "arms": {name: [round(value, 6) for value in values] for name, values in self.aucs.items()},
            "gains": {name: [round(value, 6) for value in (g.mean, g.low, g.high)] for name, g in gains.items()},
            "words": self.words(),
        }

    def words(self) -> str:
        """The outcome in a sentence that claims no more than the interval."""
        low, high = self.gain_interval
        if low > 0:
            outcome = "helped"
        elif high < 0:
            outcome = "did harm"
        else:
            outcome = "made no difference that so few runs can show"
        real, both, seeds = self.auc_real, self.auc_real_plus_synthetic, len(self.aucs[REAL])
        return (
            f"With {self.per_class} real images a class, images drawn with the embedding {outcome}: AUC {real:.3f} "
            f"real, {both:.3f} real and drawn, difference {self.gain().mean:+.3f} [{low:+.3f}, {high:+.3f}] over "
            f"{seeds} draws of the real images, same test images. "
            "The interval covers the draw of the training images, not that of the test patients."
        )


def compare(
    pool: Labelled,
    test: Labelled,
    *,
    positives: Pictures,
    normals: Pictures,
    taught: Pictures | None = None,
    per_class: int = 10,
    seeds: int = 5,
    steps: int = 80,
    noise: float = 0.0,
    mirror: bool = True,
    on_progress: OnProgress | None = None,
) -> Utility:
    """Train a small classifier in every arm and seed, and measure it on the test images.

    Args:
        pool: real images, uint8 (N, H, W) or (N, H, W, 3), and labels (N,), 1 where the finding is. Each seed draws
            `per_class` of either kind.
        test: images and labels of other patients.
        positives: drawn with the embedding; `normals`: drawn without the finding.
        taught: drawn with the nearest words that the base was taught.
        noise: standard deviation, in half ranges, of Gaussian noise laid once on every image, real and drawn. Choose it
            so that real images alone leave room, before looking at any other arm.
        mirror: whether left and right may be exchanged.

    Raises:
        UsageError: fewer real images of a class than `per_class`, or no drawn ones.
    """
    images, labels = pool
    counts = [int((labels == value).sum()) for value in (0, 1)]
    if min(counts) < per_class or min(len(positives), len(normals)) == 0:
        raise UsageError(
            f"{min(counts)} real images of the rarer kind and {min(len(positives), len(normals))} drawn ones",
            f"{per_class} real ones of each kind are needed, and some drawn ones",
        )
    grain = np.random.default_rng(0)
    images, test_images, positives, normals = (
        _cover(part, noise, grain) for part in (images, test[0], positives, normals)
    )
    arms: dict[str, tuple[Pictures | None, Pictures | None]] = {
        REAL: (None, None),
        SYNTHETIC: (positives, normals),
        NORMALS: (None, normals),
    }
    if taught is not None:
        arms[TAUGHT] = (_cover(taught, noise, grain), normals)
    truth = np.asarray(test[1]) == 1
    found: dict[str, list[float]] = {name: [] for name in arms}
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        real = [images[generator.permutation(np.flatnonzero(labels == value))[:per_class]] for value in (0, 1)]
        for name, (finding, normal) in arms.items():
            learned = classifier.fit(
                *_balance(_join(real[0], normal), _join(real[1], finding)),
                classes=("normal", "finding"),
                steps=steps,
                seed=seed,
                mirror=mirror,
            )
            scores = learned.probabilities(test_images)[:, 1]
            found[name].append(classifier.area_under_curve(truth, scores))
            if on_progress:
                done = sum(map(len, found.values()))
                on_progress(Progress("teaching classifiers", done, seeds * len(arms), f"AUC {found[name][-1]:.3f}"))
    aucs = {name: tuple(values) for name, values in found.items()}
    return Utility(per_class, min(len(positives), len(normals)), len(truth), aucs)


def _join(real: Pictures, drawn: Pictures | None) -> Pictures:
    return real if drawn is None else np.concatenate([real, drawn])


def _balance(negative: Pictures, positive: Pictures) -> tuple[Pictures, NDArray[np.int64]]:
    """Both classes equally often: the rarer one repeated, so that no arm wins by its share of positives alone."""
    most = max(len(negative), len(positive))
    parts = [part[np.arange(most) % len(part)] for part in (negative, positive)]
    return np.concatenate(parts), np.repeat(np.array([0, 1]), most)


def _cover(images: Pictures, noise: float, generator: np.random.Generator) -> Pictures:
    """`images` under grey noise, clipped to 0-255."""
    if noise == 0:
        return images
    shape = (*images.shape[:3], *([1] if images.ndim == 4 else []))
    grain = generator.normal(0, noise * 127.5, shape)
    return np.clip(images + grain, 0, 255).astype(np.uint8)
