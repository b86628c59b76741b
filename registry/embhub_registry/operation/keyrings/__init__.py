"""The keyring: ceremonies of root keys, changes, publication in the log."""
