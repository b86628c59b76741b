"""Commands under "Releases"."""
