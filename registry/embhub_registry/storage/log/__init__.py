"""The transparency log: its files, signing and witnesses."""
