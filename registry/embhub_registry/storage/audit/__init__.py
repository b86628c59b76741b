"""The audit log: its lines, its files, its places."""
