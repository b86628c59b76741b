"""A registry as files: what `export --static` writes, and what a mirror serves. Start with `layout` and `writing`.

May import `repositories`, `admission`, `wire` and what is below them. It never asks a network.
"""
