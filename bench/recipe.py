"""The peer of training: the textual-inversion recipe of diffusers' examples, steps and settings carried over.

Told anew from `examples/textual_inversion/textual_inversion.py` of huggingface/diffusers, which is not part of the
package. Reproduced, in its order:

- The token and `token_1`, `token_2`, … are added to the tokenizer, the text encoder's table is resized, and each new
  row starts as a copy of one initial word's.
- Every weight is frozen but the token table, which is a parameter as a whole; the text encoder is in training mode.
- AdamW over the table (betas 0.9 and 0.999, weight decay 0.01, constant rate without warm-up).
- Each step: the autoencoder encodes the batch and samples from its posterior; noise and evenly drawn timesteps;
  DDPMScheduler's `add_noise`; the prompt of each image is tokenized and encoded; mean squared error against noise or
  velocity; after AdamW's step the rows of every other word are written back from a copy of the table.
- In bfloat16 the U-Net and the autoencoder hold bfloat16 weights, and the text encoder stays float32 under autocast,
  as accelerate prepares it. With an accelerator the models move there, the drawing follows.

Added for who tunes it: latents may be made once, from the middle of the posterior, and the rate may fall on a cosine,
which the example has as an option.

Left out, each in the peer's favour: accelerate's wrappers, logging, checkpoints, validation pictures, and reading,
resizing and decoding the files of a batch (images are in memory for both arms). Also left out: mirroring half of the
images (sides mean something here), and drawing one of 27 English sentences for each image (one caption for both arms).
"""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from diffusers.optimization import get_cosine_schedule_with_warmup
from torch import Tensor
from torch.nn import functional as F

from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.inversion import encode_images

DOCUMENTED_RATE = 5e-4
"""Of its README, for one image; `--scale_lr` multiplies it by the images of a step."""


class PeerRecipe:
    """One training run by the recipe; `step()` takes the next step and returns its loss.

    `pipe` is a loaded pipeline of the Stable Diffusion shape, which is changed for good; `images` (N, 3, H, W) float32
    in [-1, 1] at the pipeline's resolution; `first_word` one word that is one token. `cached` makes the latents once;
    `cosine_steps` is the length of the schedule, None for a constant rate. Raises ValueError where the word is not one
    token, or the base predicts neither noise nor velocity.
    """

    def __init__(
        self,
        pipe: Pipeline,
        images: Tensor,
        *,
        token: str,
        caption: str,
        first_word: str,
        vectors: int,
        batch_size: int,
        learning_rate: float | None = None,
        bfloat16: bool = True,
        cached: bool = False,
        cosine_steps: int | None = None,
        seed: int = 0,
    ) -> None:
        self._tokenizer, self._text, self._pipe = pipe.tokenizer, pipe.text_encoder, pipe
        self._images, self._batch_size = images, batch_size
        self._dtype = torch.bfloat16 if bfloat16 else torch.float32
        self._draws = torch.Generator().manual_seed(seed)
        self._scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
        placeholders = [token, *(f"{token}_{number}" for number in range(1, vectors))]
        self._ids = self._add(placeholders, first_word)
        self._prompt = caption.replace("{}", " ".join(placeholders))
        self._freeze()
        table = self._table()
        self._optimizer = torch.optim.AdamW(
            [table], lr=DOCUMENTED_RATE * batch_size if learning_rate is None else learning_rate, weight_decay=1e-2
        )
        self._pace = None if cosine_steps is None else get_cosine_schedule_with_warmup(self._optimizer, 0, cosine_steps)
        self._latents = encode_images(pipe, images).to(pipe.device, self._dtype) if cached else None
        pipe.unet.to(dtype=self._dtype)
        pipe.vae.to(dtype=self._dtype)
        self._original = table.detach().clone()
        self._text.train()

    @property
    def rows(self) -> dict[str, Tensor]:
        """The learned rows so far, (vectors, d) float32, as `embhub.diffusion.training.inversion.mean_loss` takes
        them."""
        return {"text_encoder": self._table().detach()[self._ids[0] : self._ids[-1] + 1].float().cpu().clone()}

    def step(self) -> float:
        """Take one step; the loss of its batch."""
        latents, noise, times = self._draw_batch()
        noisy = self._scheduler.add_noise(latents, noise, times)
        predicted = self._pipe.unet(noisy, times, encoder_hidden_states=self._encode_prompts()).sample
        loss = F.mse_loss(predicted.float(), self._target(latents, noise, times).float())
        torch.autograd.backward(loss)
        self._optimizer.step()
        if self._pace is not None:
            self._pace.step()
        self._optimizer.zero_grad()
        self._write_back()
        return loss.item()

    def _add(self, placeholders: list[str], first_word: str) -> list[int]:
        start = self._tokenizer.encode(first_word, add_special_tokens=False)
        if len(start) != 1:
            raise ValueError(f"{first_word!r} is not one token of this base")
        if self._tokenizer.add_tokens(placeholders) != len(placeholders):
            raise ValueError(f"this base knows {placeholders[0]!r} already")
        # The new rows are written below; their usual start, from the table's covariance, would cost the peer seconds.
        self._text.resize_token_embeddings(len(self._tokenizer), mean_resizing=False)
        ids: list[int] = self._tokenizer.convert_tokens_to_ids(placeholders)
        with torch.no_grad():
            self._table()[ids] = self._table()[start[0]].clone()
        return ids

    def _freeze(self) -> None:
        for model in (self._pipe.unet, self._pipe.vae, self._text):
            model.requires_grad_(False)
        self._table().requires_grad_(True)

    def _table(self) -> torch.nn.Parameter:
        weight: torch.nn.Parameter = self._text.get_input_embeddings().weight
        return weight

    def _draw_batch(self) -> tuple[Tensor, Tensor, Tensor]:
        chosen = torch.randint(len(self._images), (self._batch_size,), generator=self._draws)
        if self._latents is None:
            pixels = self._images[chosen].to(self._pipe.device, self._dtype)
            with torch.no_grad():
                encoded = self._pipe.vae.encode(pixels).latent_dist.sample()
            latents = encoded * self._pipe.vae.config.scaling_factor
        else:
            latents = self._latents[chosen]
        noise = torch.randn(latents.shape, generator=self._draws).to(latents)
        levels = int(self._scheduler.config.num_train_timesteps)
        times = torch.randint(levels, (len(latents),), generator=self._draws).to(latents.device)
        return latents, noise, times

    def _encode_prompts(self) -> Tensor:
        words = self._tokenizer(
            [self._prompt] * self._batch_size,
            padding="max_length",
            truncation=True,
            max_length=self._tokenizer.model_max_length,
            return_tensors="pt",
        ).input_ids.to(self._pipe.device)
        with torch.autocast(self._pipe.device.type, torch.bfloat16, enabled=self._dtype == torch.bfloat16):
            hidden: Tensor = self._text(words)[0]
        return hidden.to(self._dtype)

    def _target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        kind = self._scheduler.config.prediction_type
        if kind == "epsilon":
            return noise
        if kind == "v_prediction":
            velocity: Tensor = self._scheduler.get_velocity(latents, noise, times)
            return velocity
        raise ValueError(f"the recipe knows no prediction of the {kind}")

    def _write_back(self) -> None:
        untouched = torch.ones(len(self._tokenizer), dtype=torch.bool)
        untouched[self._ids[0] : self._ids[-1] + 1] = False
        with torch.no_grad():
            self._table()[untouched] = self._original[untouched]
