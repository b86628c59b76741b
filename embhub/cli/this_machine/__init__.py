"""Commands under "This machine"."""
