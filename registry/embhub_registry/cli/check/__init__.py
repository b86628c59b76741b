"""Commands under "Check"."""
