"""Commands under "People and keys"."""
