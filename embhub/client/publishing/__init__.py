"""Releases out, checked and signed before anything is sent: `push` first."""
