"""Commands under "Generate"."""
