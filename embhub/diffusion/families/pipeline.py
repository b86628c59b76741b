"""What this package uses of a diffusers pipeline, written down as a type.

diffusers has no type for it: pipelines of different families share a base class that knows none of their components.
Only the names are checked. The values are `Any`, as diffusers' own types are not read here.
"""

from __future__ import annotations

from typing import Any, Protocol


class Pipeline(Protocol):
    """A loaded diffusers pipeline, of any family.

    No pipeline has all of these. Families differ in their components: use `getattr` with a default, or
    `families.denoiser`, where the family is not known. For the same reason no class of diffusers matches this type, and
    public functions that take a caller's own pipeline, such as `embhub.load_into`, take `Any`.
    """

    # Every pipeline
    components: Any
    device: Any
    scheduler: Any
    register_modules: Any
    save_pretrained: Any

    # Components, by family
    unet: Any
    transformer: Any
    prior: Any
    vae: Any
    movq: Any
    image_encoder: Any
    image_processor: Any
    text_encoder: Any
    tokenizer: Any
    vae_scale_factor: Any

    # Two pipelines in one (Kandinsky 2.2)
    prior_pipe: Any
    prior_prior: Any
    decoder_pipe: Any

    # Methods of some families; diffusers counts those with an underscore as its own
    encode_prompt: Any
    maybe_convert_prompt: Any
    do_classifier_free_guidance: Any
    _encode_prompt: Any
    _pack_latents: Any
    _unpack_latents: Any
    _prepare_latent_image_ids: Any
    _prepare_latent_ids: Any
    _prepare_text_ids: Any
    prompt_template_encode: Any
    prompt_template_encode_start_idx: Any

    # Embeddings and LoRAs
    load_textual_inversion: Any
    load_lora_weights: Any
    save_lora_weights: Any
    unload_lora_weights: Any
    fuse_lora: Any
    get_list_adapters: Any

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Generate images."""

    def to(self, *arguments: Any, **options: Any) -> Any:
        """Move the components to a device or number format."""

    def set_progress_bar_config(self, **options: Any) -> None:
        """Set the options of the progress bar."""
