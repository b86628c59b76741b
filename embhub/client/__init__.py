"""What speaks to a registry: pull, push, countersign, pinned roots. Start with `pulling` or `publishing`.

`hub` is the only module that opens a connection. May import everything of the core.
"""
