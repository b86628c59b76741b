"""Base models: finding and loading them, telling them apart, replacing parts. Start with `pipelines`.

May import `families` and the core; nothing else of `embhub.diffusion`.
"""
