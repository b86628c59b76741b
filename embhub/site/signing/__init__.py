"""Signing keys: files, agents, tokens."""
