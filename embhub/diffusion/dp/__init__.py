"""Training with differential privacy: what a patient can change in the result is bounded, and hidden in noise.

`mechanism` is the part that a claim rests on, in numpy alone; `selftest` tries it. `dpsgd`, `aggregation` and `votes`
are the ways of learning with it; `private_training` is what `embhub.diffusion.train` calls.
"""
