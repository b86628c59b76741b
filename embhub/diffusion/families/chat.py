"""Chat templates round a prompt: text encoders that are chat models read it as a message of a user."""

from __future__ import annotations

from embhub.diffusion.families.pipeline import Pipeline


def template_tokens(pipe: Pipeline, *, enable_thinking: bool) -> int:
    """How many tokens the template of the pipeline's tokenizer adds to a prompt."""
    empty = pipe.tokenizer.apply_chat_template(
        [{"role": "user", "content": ""}], tokenize=False, add_generation_prompt=True, enable_thinking=enable_thinking
    )
    return len(pipe.tokenizer(empty).input_ids)
