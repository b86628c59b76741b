"""Tracing a generated image back to its embedding."""
