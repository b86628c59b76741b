"""Training the shadows of an audit: here, in several processes, or on a cluster; interrupted, it goes on.

Shadows that share batches travel together as an `Order`. Who carries it out needs the base at the same place and
nothing else; what comes back are losses. A finished order is kept in this site's state, under a name that only its key
can derive, until the audit is done: the same command goes on after them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from embhub.diffusion.attacks.adapter_losses import measure_matrices
from embhub.diffusion.attacks.evidence import Draws, measure_losses
from embhub.diffusion.attacks.shadows import Flips, Private, Setting, Shadows
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.dp import private_training
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import adapter_fit, batched
from embhub.diffusion.training.inversion import ResolvedRecipe
from embhub.diffusion.training.prompts import Prompts
from embhub.diffusion.training.result import Task
from embhub.durable import write_atomic
from embhub.errors import ConfigError, EmbhubError, UsageError
from embhub.options.adapter import AdapterRecipe
from embhub.progress import OnProgress, Progress
from embhub.site import config

_KEPT = "losses"


class LostWorkerError(EmbhubError):
    """Who trained shadow embeddings is gone."""


@dataclass(frozen=True)
class Order:
    """Shadows to train together: arrays and words, so that it can travel.

    `latents` (N, C, h, w), `inside` bool (S, N), `noise` (D, C, h, w), `timesteps` (D,); `base` is a folder. `units`
    (N,) number the patients: nobody's id travels.
    """

    base: str
    latents: NDArray[np.float32]
    inside: NDArray[np.bool_]
    seeds: tuple[int, ...]
    noise: NDArray[np.float32]
    timesteps: NDArray[np.int64]
    caption: str
    token: str
    recipe: ResolvedRecipe
    units: NDArray[np.int64]
    private: Private | None = None
    prompts: Prompts | None = None
    adapter: AdapterRecipe | None = None

    @property
    def name(self) -> str:
        """A digest of all that was asked for."""
        words = (self.seeds, self.caption, self.token, self.recipe, self.private, self.prompts, self.adapter)
        digest = hashlib.sha256(repr(words).encode())
        for part in (self.latents, self.inside, self.noise, self.timesteps, self.units):
            digest.update(repr(part.shape).encode() + part.tobytes())
        return digest.hexdigest()


class Carried(NamedTuple):
    """What an order gives: losses (S, N, D), float64, and the vectors (S, K, d) of each encoder; none of adapters."""

    losses: NDArray[np.float64]
    rows: dict[str, NDArray[np.float32]]


class ShadowLossCache:
    """What finished orders gave, private to this site; `clear` it when the audit is done.

    `purpose` tells audits apart, and must not be guessable from outside: `embhub.site.memory.secret.derive_seed`
    gives one.
    """

    def __init__(self, purpose: str) -> None:
        self._folder = config.paths().state / "audits" / hashlib.sha256(purpose.encode()).hexdigest()

    def find(self, order: Order) -> Carried | None:
        """What was kept of this very order; None where there is nothing, or nothing whole."""
        try:
            rows = safetensors.numpy.load((self._folder / order.name).read_bytes())
            found = rows.pop(_KEPT)
        except (OSError, SafetensorError, KeyError):
            return None
        fits = found.shape == (len(order.inside), len(order.latents), len(order.timesteps))
        fits = fits and all(len(values) == len(order.inside) for values in rows.values())
        return Carried(found, rows) if fits and found.dtype == np.float64 and np.isfinite(found).all() else None

    def keep(self, order: Order, carried: Carried) -> None:
        """Keep a result, mode 0600 in a folder of mode 0700.

        Raises:
            ConfigError: the folder cannot be written, or the disk is full.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(f"cannot write in {self._folder}: {error.strerror}", "check EMBHUB_HOME") from error
        write_atomic(
            self._folder / order.name, safetensors.numpy.save({_KEPT: carried.losses, **carried.rows}), mode=0o600
        )

    def clear(self) -> None:
        """Forget everything."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)
            self._folder.rmdir()


def train(
    setting: Setting,
    flips: Flips,
    *,
    seed: int,
    stage: str,
    base: Path | None = None,
    executor: Executor | None = None,
    loss_cache: ShadowLossCache | None = None,
    on_progress: OnProgress | None = None,
) -> Shadows:
    """Train one shadow a row of `flips` (S, U) and measure all images with each.

    With an `executor`, any of `concurrent.futures`' shape, orders are carried out there, each loading the base from the
    folder `base`; without one they are carried out here, one after the other.

    Raises:
        UsageError: fewer than two images in some half, or a training whose loss is not a number.
        LostWorkerError: a process of the executor died; what others finished is kept.
    """
    inside = setting.expand(flips)
    if int(inside.sum(1).min()) < 2:
        raise UsageError("too few patients for shadow embeddings", "give more patients, or use the quick suite")
    orders = _write_orders(setting, inside.numpy(), seed, str(base or ""))
    found = {
        number: kept
        for number, order in enumerate(orders)
        if loss_cache and (kept := loss_cache.find(order)) is not None
    }
    waiting = {number: order for number, order in enumerate(orders) if number not in found}
    tell = _Teller(on_progress, stage, setting.recipe.steps, [len(order.seeds) for order in orders], list(found))

    def finish(number: int, carried: Carried) -> None:
        found[number] = carried
        if loss_cache:
            loss_cache.keep(orders[number], carried)
        tell.finished(number)

    if executor is None:
        for number, order in waiting.items():
            finish(number, carry_out(order, setting.pipe, tell.steps_of(number)))
    else:
        _delegate(executor, waiting, finish)
    carried = [found[number] for number in range(len(orders))]
    learned = tuple(
        {name: torch.from_numpy(values[place]) for name, values in one.rows.items()}
        for one in carried
        for place in range(len(one.losses))
    )
    return Shadows(torch.from_numpy(np.concatenate([one.losses for one in carried])), inside, learned)


def carry_out(
    order: Order, pipe: Pipeline | None = None, on_step: Callable[[int, float], None] | None = None
) -> Carried:
    """Train the shadows of an order and measure every image with each."""
    pipe = pipe or _load(order.base)
    latents = torch.from_numpy(order.latents)
    draws = Draws(torch.from_numpy(order.noise), torch.from_numpy(order.timesteps))
    if order.adapter is not None:
        adapters = _fit_adapters(order, order.adapter, pipe, latents, on_step)
        return Carried(np.stack([
            measure_matrices(pipe, one, latents, draws, caption=order.caption, token=order.token).numpy()
            for one in adapters
        ]), {})  # fmt: skip
    learned = (
        _fit_privately(order, order.private, pipe, latents) if order.private else _fit(order, pipe, latents, on_step)
    )
    measured = [
        measure_losses(pipe, latents, draws, caption=order.caption, token=order.token, rows=rows, prompts=order.prompts)
        for rows in learned
    ]
    rows = {name: np.stack([one[name].float().cpu().numpy() for one in learned]) for name in learned[0]}
    return Carried(np.asarray(torch.stack(measured).numpy(), np.float64), rows)


def _fit(
    order: Order, pipe: Pipeline, latents: Tensor, on_step: Callable[[int, float], None] | None
) -> list[Mapping[str, Tensor]]:
    jobs = [(latents[torch.from_numpy(chosen)], seed) for chosen, seed in zip(order.inside, order.seeds, strict=True)]
    prompts = [order.prompts.subset(np.flatnonzero(one).tolist()) for one in order.inside] if order.prompts else None
    fits = batched.fit_many(
        pipe, jobs, token=order.token, caption=order.caption, recipe=order.recipe, prompts=prompts, on_step=on_step
    )
    return [fit.rows for fit in fits]


def _fit_adapters(
    order: Order, recipe: AdapterRecipe, pipe: Pipeline, latents: Tensor,
    on_step: Callable[[int, float], None] | None,
) -> Iterator[Mapping[str, NDArray[Any]]]:  # fmt: skip
    """The matrices of one adapter after the other. While nobody asks for the next one, the pipeline has none."""
    text = order.caption.replace("{}", order.token)
    for chosen, seed in zip(order.inside, order.seeds, strict=True):
        try:
            adapter_fit.learn(pipe, latents[torch.from_numpy(chosen)], text, recipe, seed, on_step)
            matrices = adapter_fit.read_matrices(pipe.unet)
        finally:
            adapter_fit.remove(pipe.unet)
        yield matrices


def _fit_privately(order: Order, private: Private, pipe: Pipeline, latents: Tensor) -> list[Mapping[str, Tensor]]:
    """By the mechanism of the audited file. Nobody's budget is touched: shadows stay here, and nothing is claimed."""
    task, known = Task(pipe, "", order.token, order.caption, order.recipe), order.prompts
    return [
        private_training.fit(
            replace(task, prompts=known.subset(np.flatnonzero(chosen).tolist()) if known else None),
            private.protection,
            latents[torch.from_numpy(chosen)],
            [str(unit) for unit in order.units[chosen]],
            private.mechanism,
        )
        for chosen in order.inside
    ]


@lru_cache(maxsize=1)
def _load(folder: str) -> Pipeline:
    return load_pipeline(folder)


def _write_orders(setting: Setting, inside: NDArray[np.bool_], seed: int, base: str) -> list[Order]:
    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(setting.units))}
    alone = [range(number, number + 1) for number in range(len(inside))]
    shared = alone if setting.private or setting.adapter else batched.group(len(inside), setting.recipe)
    return [
        Order(
            base=base,
            latents=setting.latents.cpu().numpy(),
            inside=inside[list(chosen)],
            seeds=tuple(seed + number for number in chosen),
            noise=setting.draws.noise.numpy(),
            timesteps=setting.draws.timesteps.numpy(),
            caption=setting.caption,
            token=setting.token,
            recipe=setting.recipe,
            units=np.array([numbers[unit] for unit in setting.units]),
            private=setting.private,
            prompts=setting.prompts,
            adapter=setting.adapter,
        )
        for chosen in shared
    ]


def _delegate(executor: Executor, orders: Mapping[int, Order], finish: Callable[[int, Carried], None]) -> None:
    """Carry the orders out elsewhere, in whatever sequence they end."""
    sent = {executor.submit(carry_out, order): number for number, order in orders.items()}
    try:
        for future in as_completed(sent):
            try:
                carried = future.result()
            except EmbhubError:
                raise
            except Exception as error:  # processes and Dask raise errors of no common kind when a worker is gone
                raise LostWorkerError(
                    f"a worker that trained shadow embeddings failed: {type(error).__name__}",
                    "it may have run out of memory; the same command resumes after those that are finished",
                ) from error
            finish(sent[future], carried)
    finally:
        for future in sent:
            future.cancel()


class _Teller:
    """Progress over all shadows of a stage, in training steps."""

    def __init__(
        self, on_progress: OnProgress | None, stage: str, steps: int, sizes: Sequence[int], done: Sequence[int]
    ) -> None:
        self._on_progress, self._stage, self._steps, self._sizes = on_progress, stage, steps, sizes
        self._done = sum(sizes[number] for number in done) * steps
        self._say(self._done, "")  # other processes say nothing before the first of them has finished

    def steps_of(self, number: int) -> Callable[[int, float], None] | None:
        """Hears of the steps of one order while it is carried out here."""
        if self._on_progress is None:
            return None
        return lambda step, loss: self._say(self._done + step * self._sizes[number], f"loss {loss:.3f}")

    def finished(self, number: int) -> None:
        """One order is done."""
        self._done += self._sizes[number] * self._steps
        self._say(self._done, "")

    def _say(self, done: int, note: str) -> None:
        if self._on_progress:
            self._on_progress(Progress(self._stage, done, sum(self._sizes) * self._steps, note))
