"""A node for ComfyUI that verifies an embedding before ComfyUI loads it. README.md says how to install it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import embhub
from embhub.artifact.embedding import Embedding
from embhub.diffusion.foreign.exporting import export_file
from embhub.errors import ArtifactError, UsageError


class VerifiedEmbedding:
    """A verified release for the CLIP of a model: the CLIP, and the prompt that calls the embedding as ComfyUI does."""

    CATEGORY = "embhub"
    FUNCTION = "load"
    RETURN_TYPES = ("CLIP", "STRING")
    RETURN_NAMES = ("clip", "prompt")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """What the node asks for."""
        release = {"default": "", "tooltip": "A folder that `embhub pull` wrote, or NAMESPACE/NAME"}
        prompt = {"default": "", "multiline": True, "tooltip": "With the placeholder token, such as <cspca>"}
        return {"required": {"clip": ("CLIP",), "release": ("STRING", release), "prompt": ("STRING", prompt)}}

    @classmethod
    def IS_CHANGED(cls, **_inputs: Any) -> float:
        """Equal to nothing, so nothing is taken from a cache: a release may be withdrawn, or a file changed."""
        return float("nan")

    def load(self, clip: Any, release: str, prompt: str) -> tuple[Any, str]:
        """Verify the release, write its bytes among ComfyUI's embeddings, and see that ComfyUI reads these numbers.

        Raises:
            EmbhubError: It does not verify, was taken back, is of another base, or the prompt lacks its token.
        """
        import folder_paths  # type: ignore[import-not-found]  # ComfyUI's own

        verified = embhub.verify(release.strip(), require="not-yanked")
        token = verified.embedding.token
        if token not in prompt:
            raise UsageError(f"the prompt has no {token}", f"write it with {token} where the embedding belongs")
        folder = Path(folder_paths.get_folder_paths("embeddings")[0], f"embhub-{verified.digest[:16]}")
        made = export_file(verified.embedding, folder, to="comfyui", overwrite=True)
        name = made.prompt.replace("embedding:", f"embedding:{folder.name}/")
        _check(clip, name, verified.embedding)
        return clip, prompt.replace(token, f" {name} ")


def _check(clip: Any, name: str, embedding: Embedding) -> None:
    """Refuse what ComfyUI would not use: it ignores rows of another width, and takes one encoder's rows for another."""
    wanted = [torch.tensor(rows).float() for rows in embedding.tensors.values()]
    encoders = clip.tokenize(name)
    for encoder, batches in encoders.items():
        tokenizer = getattr(clip.tokenizer, f"clip_{encoder}", None) or getattr(clip.tokenizer, encoder)
        read = [token.float() for batch in batches for token, *_ in batch if isinstance(token, torch.Tensor)]
        fits = read and len(read[0]) == tokenizer.embedding_size and len(wanted) == len(encoders)
        if not fits or not any(torch.equal(torch.stack(read), rows) for rows in wanted):
            raise ArtifactError(f"{name} was learned for {embedding.base_name}", "load that base, or one of its kind")


NODE_CLASS_MAPPINGS = {"EmbhubVerifiedEmbedding": VerifiedEmbedding}
NODE_DISPLAY_NAME_MAPPINGS = {"EmbhubVerifiedEmbedding": "Verified embedding (embhub)"}
