"""The figures on accounting are computed, and what the reference says of noise stays true."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import pytest

from bench import accounting

PAGE = " ".join((Path(__file__).parents[2] / "docs/reference/privacy-claim.md").read_text().split())


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.exhaustive
def test_the_reference_says_how_much_noise_is_saved() -> None:
    shares = [share for *_, share in accounting.saved()]
    said = re.search(
        r"\(epsilon 0\.5 to 4, median ([\d.]+) %\)\. At a sampling rate of 0\.016 it is up to (\d+) %", PAGE
    )
    assert said and round(100 * max(shares)) == int(said[2])
    assert abs(100 * statistics.median(shares) - float(said[1])) < 0.1
    assert min(shares) > 0.06


def test_times_are_measured_without_memory_of_earlier_ones() -> None:
    assert all(second > 0 for second in accounting.seconds_of_losses(3))
    assert accounting.seconds_to_read() > 0
