"""Rows that take something back: yanks, withdrawals, quarantine, tombstones, stolen keys."""
