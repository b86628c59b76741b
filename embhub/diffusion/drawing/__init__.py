"""Generating images with embeddings: plugging in, prompts, interpolation, inpainting. Start with `generation`.

May import `families`, `bases`, `training` and the core.
"""
