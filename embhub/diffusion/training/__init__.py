"""Textual inversion without privacy: the loop, the learned rows, recipes, checkpoints. Start with `inversion`.

`embhub.diffusion.train` is the verb that a site calls. May import `families`, `bases` and the core.
"""
