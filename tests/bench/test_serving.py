"""What a server costs is measured at the smallest size; the figures are not looked at."""

from __future__ import annotations

import pytest

from bench import serving, start, storing
from bench.measurement import Ratio
from bench.start import Started
from tests.support import tools


@pytest.mark.slow
@pytest.mark.thorough
def test_every_request_is_measured_on_every_way() -> None:
    rows = serving.measure(turns=1, seconds=0.1)
    assert len(rows) == (7 if tools.which("nginx") is None else 14)
    table = serving.render(rows).splitlines()
    assert len(table) == 2 + len(rows) and all(line.count("|") == 5 for line in table)
    assert all(figure > 0 for row in rows for figure in (*row.clock, *row.cpu))


@pytest.mark.thorough
def test_a_push_costs_the_server_something() -> None:
    assert storing.measure(turns=1, pushes=2) > 0


@pytest.mark.thorough
def test_the_command_is_measured_in_processes_of_its_own() -> None:
    found = start.measure(turns=1)
    assert min(found.bare, found.help, found.verify, found.private, found.decision) > 0


@pytest.mark.parametrize(("ratio", "decision", "missed"), [(2.5, 0.05, 0), (2.6, 0.05, 1), (2.6, 0.06, 2)])
def test_a_miss_is_called_a_miss(ratio: float, decision: float, missed: int) -> None:
    table = start.render(Started(0.1, 0.04, 0.3, 0.5, decision, Ratio(ratio, ratio, ratio)))
    assert table.count("**missed**") == missed and table.count(": ") == 2
