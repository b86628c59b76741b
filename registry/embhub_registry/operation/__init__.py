"""Running a registry: serving, health, metrics, backup, checks, background tasks. Start with `serving`.

May import everything else of the package.
"""
