"""Pinned registries and their keyrings."""
