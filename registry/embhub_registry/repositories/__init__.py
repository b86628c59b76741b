"""Repositories: create, read, access, listing, yank, delete. Start with `repos`.

May import `people`, `storage` and `database`.
"""
