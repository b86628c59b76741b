"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure: timings belong to bench/
settings.load_profile("unhurried")
