"""What holds for every test."""

from __future__ import annotations

import os

from hypothesis import settings

from embhub import own_process

own_process.settle()  # trainings of several workers share this machine

# A busy machine is no failure (timings belong to bench/), and one commit gives one answer: the same examples each time.
settings.register_profile("steady", deadline=None, derandomize=True)
# For those who look for more: HYPOTHESIS_PROFILE=explore draws new examples each time.
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
