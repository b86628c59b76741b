"""Requests to a registry, and what its answers say: `hub` first; `http_client` opens connections."""
