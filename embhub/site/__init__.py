"""What a hospital (a site) keeps on its own disk: settings, keys, runs, pinned registries, embhub itself.

Start with `config`.

May import `trust`, `formats` and the ground modules.
"""
