"""Commands under "Find and verify"."""
