"""Every call, in the order in which they are played: each module builds on those before it."""

from __future__ import annotations

from importlib import import_module

from .stage import CALLS

GROUPS = ("repositories", "commits", "files", "lists", "refs", "cards", "gates", "commands", "edges", "refusals")
for _group in GROUPS:
    import_module(f".{_group}", __package__)

__all__ = ["CALLS", "GROUPS"]
