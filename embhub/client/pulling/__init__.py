"""Releases and files in, verified before anything is written: `pull` first."""
