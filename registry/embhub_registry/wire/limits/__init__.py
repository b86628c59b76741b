"""Limits on requests: sizes, rates, connections, slow clients."""
