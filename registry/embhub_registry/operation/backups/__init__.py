"""Backups, restoring, checking, and moving a registry."""
