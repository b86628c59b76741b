"""Commands under "Train and audit"."""
