"""Accounts, roles, access tokens, names, rate limits: who may do what, how often. Start with `auth`.

May import `storage`, `database` and the ground modules (`clock`, `logs`, `http_errors`).
"""
