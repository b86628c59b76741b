"""Generating images with embeddings: plugging in, prompts, interpolation, redrawing. Start with `generation`.

May import `families`, `bases`, `training` and the core.
"""
