"""One base on the bench: its folder of states, its stages in order, and what is exported of them."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from embhub.diffusion.adaptation.base_training import denoising, latent_pictures, rebuilding, running
from embhub.diffusion.adaptation.base_training.export import export
from embhub.diffusion.adaptation.base_training.material import Material
from embhub.diffusion.adaptation.base_training.text_encoder import CaptionEncoder, make_encoder, make_tokenizer
from embhub.errors import UsageError

_BANDS, _CRITIC, _FEATURES = 0.1, 0.05, 0.5
_DECODERS_CRITIC, _DECODERS_SHRINK = 0.15, 0.9
_WHITENED_OVER = 512
_UNFINISHED = "autoencoder.safetensors"
_PROGRESS = "progress.json"


class Workbench:
    """States lie in `work`: `autoencoder/`, then the fixed `autoencoder.safetensors`, `tokenizer/`, `denoiser/`,
    `decoder/`."""

    def __init__(
        self, material: Material, work: Path, seed: int = 0, device: str = "cpu", precision: str = "auto"
    ) -> None:
        self.peak = 1.0e-3
        self.material, self.work, self.seed, self.device, self.precision = material, work, seed, device, precision

    @cached_property
    def encoder(self) -> CaptionEncoder:
        """The frozen text encoder, drawn from the seed, and its tokenizer."""
        tokenizer = make_tokenizer(self.work / "tokenizer", self.material.vocabulary)
        return CaptionEncoder(tokenizer, make_encoder(tokenizer, self.seed))

    @property
    def is_fixed(self) -> bool:
        """Whether the latents are fixed: the denoiser has begun."""
        return self._fixed.exists()

    @property
    def _fixed(self) -> Path:
        return self.work / "autoencoder.safetensors"

    def train_autoencoder(
        self, limits: running.Limits, *, batch: int = 8, crop: int = 64, decoder_only: bool = False
    ) -> running.Progress:
        """Train the autoencoder, or go on with its decoder once it is fixed.

        Raises:
            UsageError: the autoencoder is fixed already, or is not fixed yet.
        """
        if decoder_only != self._fixed.exists():
            hint = "train its decoder" if self._fixed.exists() else "train the autoencoder and the denoiser first"
            raise UsageError("latents are fixed with the denoiser's first step", hint)
        course = self._rebuilding(batch, crop, decoder_only, limits.cool)
        return running.run(course, self.work / ("decoder" if decoder_only else "autoencoder"), limits)

    def _rebuilding(
        self, batch: int = 8, crop: int = 64, decoder_only: bool = False, cool: tuple[int, int] | None = None
    ) -> rebuilding.Rebuilding:
        settings = rebuilding.Settings(
            batch=batch,
            seed=self.seed,
            crop=crop,
            decoder_only=decoder_only,
            device=self.device,
            precision=self.precision,
            bands=_BANDS,
            critic=_DECODERS_CRITIC if decoder_only else _CRITIC,
            shrink=_DECODERS_SHRINK if decoder_only else 1.0,
            features=_FEATURES,
            colours=self.material.colours,
            cool=cool,
        )
        model = self.fixed_autoencoder() if decoder_only else latent_pictures.build(self.seed)
        return rebuilding.Rebuilding(model, self.material.draw, self.material.held_out.images, settings)

    def train_denoiser(self, limits: running.Limits, *, batch: int = 16, compiled: bool = False) -> running.Progress:
        """Train the denoiser; with its first step the autoencoder is fixed."""
        return running.run(self._denoising(batch, compiled, limits.cool), self.work / "denoiser", limits)

    def _denoising(
        self, batch: int = 16, compiled: bool = False, cool: tuple[int, int] | None = None
    ) -> denoising.Denoising:
        autoencoder = self.fixed_autoencoder().to(self.device)
        pools = denoising.Pools(self.material.pool, autoencoder, self.work / "denoiser")
        held_out = latent_pictures.encode(autoencoder, self.material.held_out.images), self.material.held_out
        settings = denoising.Settings(
            batch=batch,
            seed=self.seed,
            times=self.material.times,
            pool_steps=self.material.pool_steps,
            peak=self.peak,
            device=self.device,
            precision=self.precision,
            compiled=compiled,
            cool=cool,
            zero_terminal_snr=self.material.zero_terminal_snr,
        )
        encode = denoising.frozen(self.encoder)
        return denoising.Denoising(denoising.build(self.seed, self.material.widths), pools, held_out, encode, settings)

    def fixed_autoencoder(self) -> AutoencoderKL:
        """The whitened autoencoder; made of the best averaged weights the first time."""
        if not self._fixed.exists():
            averaged = self._averaged_autoencoder()
            images = self.material.draw(_WHITENED_OVER, torch.Generator().manual_seed(self.seed))[:, :3]
            latent_pictures.whiten(averaged, images)
            self.work.mkdir(parents=True, exist_ok=True)
            partial = self._fixed.with_suffix(".part")
            save_file(averaged.state_dict(), partial)
            partial.replace(self._fixed)
        model = latent_pictures.build(self.seed)
        model.load_state_dict(load_file(self._fixed))
        return model.eval().requires_grad_(False)

    def _averaged_autoencoder(self) -> AutoencoderKL:
        course, state = self._rebuilding(), running.read_course(self.work / "autoencoder")
        if state is None:
            raise UsageError("there is no autoencoder yet", "train it first, or name a folder with --begin")
        course.load(state)
        model: AutoencoderKL = course.averages.averaged(0).cpu()
        if course.best:
            model.load_state_dict(course.best)
        return model

    def export(self, folder: Path) -> Path:
        """Write averaged weights in half precision to `folder`: a pipeline once there is a denoiser, before that the
        autoencoder and its critic alone. `base.json` says of which data, `progress.json` how long, and a log of
        each stage what was measured on the way."""
        if running.read_progress(self.work / "denoiser") is None:
            self._export_unfinished(folder)
        else:
            self._export_pipeline(folder)
        stages = {name: running.read_progress(self.work / name) for name in ("autoencoder", "denoiser", "decoder")}
        told = {name: asdict(progress) for name, progress in stages.items() if progress}
        for name in told:
            running.copy_log(self.work / name, folder / f"{name}-log.jsonl")
        (folder / "base.json").write_text(json.dumps(self.material.facts, indent=2) + "\n", encoding="utf-8")
        (folder / _PROGRESS).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        return folder

    def _export_unfinished(self, folder: Path) -> None:
        averaged, state = self._averaged_autoencoder(), running.read_course(self.work / "autoencoder")
        assert state is not None  # noqa: S101  # there was one a line ago
        critic = {f"critic.{name}": value for name, value in state["critic"].items()}
        tensors = {**{f"model.{name}": value for name, value in averaged.state_dict().items()}, **critic}
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.half().contiguous() for name, value in tensors.items()}, folder / _UNFINISHED)

    def _export_pipeline(self, folder: Path) -> None:
        course = self._denoising()
        state = running.read_course(self.work / "denoiser")
        assert state is not None  # noqa: S101  # the caller looked
        course.load(state)
        shown = course.averages.averaged(1)
        if course.best:
            shown.load_state_dict(course.best)
        export(
            folder,
            tokenizer=self.encoder.tokenizer,
            encoder=self.encoder.encoder,
            autoencoder=self._autoencoder_to_show(),
            denoiser=course.model,
            average=[value.detach() for value in shown.parameters()],
            facts=self.material.facts,
            zero_terminal_snr=self.material.zero_terminal_snr,
        )

    def _autoencoder_to_show(self) -> AutoencoderKL:
        """The fixed autoencoder, with what its decoder has learned since."""
        model, state = self.fixed_autoencoder(), running.read_course(self.work / "decoder")
        if state is not None:
            course = self._rebuilding(decoder_only=True)
            course.load(state)
            model.load_state_dict(course.averages.averaged(0).state_dict())
        return model

    def begin(self, folder: Path) -> None:
        """Begin from the averaged weights in `folder`, exported before, where there is no state yet.

        What is lost is the optimizers' memory of some hundred steps; the learning rate goes on where it was.
        """
        if self._fixed.exists() or running.read_progress(self.work / "autoencoder"):
            return
        told = json.loads((folder / _PROGRESS).read_text(encoding="utf-8"))
        if (folder / _UNFINISHED).exists():
            course = self._rebuilding()
            tensors = {name: value.float() for name, value in load_file(folder / _UNFINISHED).items()}
            course.model.load_state_dict(_under("model.", tensors))
            course.critic.load_state_dict(_under("critic.", tensors))
            course.averages = type(course.averages)(course.model, course.averages.decays)
            running.write(course, self.work / "autoencoder", running.Progress(**told["autoencoder"]))
            return
        self._begin_pipeline(folder, told)

    def begin_autoencoder(self, folder: Path, *, whitened: bool) -> None:
        """Begin with the autoencoder of an exported pipeline: as it is where it is `whitened` for these images, else
        as one that goes on learning, with a new critic."""
        loaded = AutoencoderKL.from_pretrained(str(folder), subfolder="vae", torch_dtype=torch.float32)
        if whitened:
            self.work.mkdir(parents=True, exist_ok=True)
            save_file(loaded.state_dict(), self._fixed)
            return
        course = self._rebuilding()
        course.model.load_state_dict(loaded.state_dict())
        course.averages = type(course.averages)(course.model, course.averages.decays)
        running.write(course, self.work / "autoencoder", running.Progress())

    def _begin_pipeline(self, folder: Path, told: dict[str, Any]) -> None:
        autoencoder = AutoencoderKL.from_pretrained(str(folder), subfolder="vae", torch_dtype=torch.float32)
        shutil.copytree(folder / "tokenizer", self.work / "tokenizer")
        save_file(autoencoder.state_dict(), self._fixed)
        unet = UNet2DConditionModel.from_pretrained(str(folder), subfolder="unet", torch_dtype=torch.float32)
        course = self._denoising()
        course.model.load_state_dict(unet.state_dict())
        course.averages = type(course.averages)(course.model, course.averages.decays)
        # the best so far may have been measured at other times, and its weights are the ones that are begun with
        progress = replace(running.Progress(**told["denoiser"]), best=math.inf, best_step=0, stale=0)
        running.write(course, self.work / "denoiser", progress)


def _under(prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
