"""Watching a log for everybody, and cosigning it: `watching`, `witness`."""
