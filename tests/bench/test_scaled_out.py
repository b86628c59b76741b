"""The benchmark of downloads from several servers runs at its smallest size; its page is of a whole run."""

from __future__ import annotations

import pytest

from bench import scaled_out


@pytest.mark.slow
@pytest.mark.thorough
def test_each_way_and_a_plain_file_are_measured_turn_by_turn() -> None:
    found = scaled_out.measure(turns=1, seconds=0.1)
    if found is None:
        pytest.skip("nginx or PostgreSQL's programs are not installed")
    assert found.size > 100_000 and found.redirects > 0 and 0 < found.redirected_share.median < 1
    assert found.cached > 0 and found.cached_share.median > 0
    assert scaled_out.render(found).count("| 0.95: ") == 2


def test_the_page_is_of_a_whole_run() -> None:
    page = scaled_out.PAGE.read_text()
    assert page.startswith(scaled_out.OPENING.split("{size", maxsplit=1)[0])
    assert f"{scaled_out.TURNS} turns of {scaled_out.SECONDS:g} s" in page
