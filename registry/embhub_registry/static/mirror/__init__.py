"""A mirror: follows another registry, keeps only what verifies, cosigns its log, and serves it read-only.

Start with `following`. May import the static layout, the core's client, and how a server is run.
"""
