"""The registry's own API under `/embhub/v1`."""
