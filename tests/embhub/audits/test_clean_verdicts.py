"""Simulated audits of 100 patients and 8 shadows: without a leak they are clean, at the bounds they are not.

`python -m tests.embhub.audits.test_clean_verdicts 200` prints the table of docs/explanation/audits.md.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from embhub.audits.report import recompute
from embhub.audits.verdict import FEWEST_PATIENTS, LEVEL, level_of
from tests.support.quick import quick
from tests.support.simulated_audits import PATIENTS, simulate

LEAKS = {
    "none": (0.0, 1.0),
    "all, weakly": (0.2, 1.0),
    "all, AUC 0.60": (0.38, 1.0),
    "a tenth, strongly": (2.0, 0.1),
    "a tenth, 10 % found at 1 %": (3.8, 0.1),
}


def count(leak: str, rounds: int) -> tuple[Counter[str], float, float]:
    """Verdicts; of the attacks on shadows the highest mean AUC, and the highest mean rate at 1 % false positives."""
    gain, exposed = LEAKS[leak]
    found = [simulate(seed, gain=gain, exposed=exposed) for seed in range(rounds)]
    assert recompute(found[0]) == []
    on_coins = [[result for result in report.attacks if result.on_coins] for report in found]
    areas = np.array([[result.auc for result in results] for results in on_coins])
    rates = np.array([[result.tpr_at_fpr[1].tpr or 0.0 for result in results] for results in on_coins])
    return Counter(report.verdict for report in found), float(areas.mean(0).max()), float(rates.mean(0).max())


@pytest.mark.parametrize("rounds", quick([20], exhaustive=[200]))
def test_nine_audits_in_ten_are_clean_where_nothing_leaks(rounds: int) -> None:
    assert PATIENTS == FEWEST_PATIENTS
    assert count("none", rounds)[0]["no-leak-detected"] >= 0.9 * rounds


@pytest.mark.parametrize("rounds", quick([10], exhaustive=[200]))
@pytest.mark.parametrize("leak", ["all, AUC 0.60", "a tenth, 10 % found at 1 %"])
def test_at_most_one_in_twenty_is_clean_at_a_bound(leak: str, rounds: int) -> None:
    verdicts = count(leak, rounds)[0]
    assert verdicts["no-leak-detected"] <= 0.05 * rounds
    assert verdicts["leak-detected"] >= 0.8 * rounds


def test_the_level_is_spent_over_all_attempts() -> None:
    assert level_of(1) == 0.025
    assert sum(map(level_of, range(1, 10_000))) == pytest.approx(LEVEL, rel=1e-3)
    first, third = simulate(1), simulate(1, attempt=3)
    limits = [report.headline_result.upper_limits for report in (first, third)]
    assert limits[0] is not None and limits[1] is not None and limits[0].auc < limits[1].auc
    assert "with a confidence of 95 %" in first.statement
    assert "by this recipe on half of these patients, with these attacks" in first.statement


def test_every_page_gives_the_same_number_of_patients() -> None:
    docs = Path(__file__).resolve().parents[3] / "docs"
    pages = {path: " ".join(path.read_text().split()) for path in docs.rglob("*.md")}
    said = f"clean verdict is within reach of {FEWEST_PATIENTS} patients, trained on and held out together"
    answering = ("explanation/audits.md", "explanation/faq.md", "how-to/eighty-images.md", "privacy-for-dpos.md")
    assert [name for name in answering if said not in pages[docs / name]] == []
    numbers = {
        number for text in pages.values() for number in re.findall(r"clean verdict is within reach of (\d+)", text)
    }
    assert numbers == {str(FEWEST_PATIENTS)}


if __name__ == "__main__":
    rounds = int(sys.argv[1])
    for leak in LEAKS:
        verdicts, area, rate = count(leak, rounds)
        shares = (f"{verdicts[name]} of {rounds}" for name in ("no-leak-detected", "leak-detected"))
        print(f"| {leak} | {area:.2f} | {rate:.1%} | {' | '.join(shares)} |", flush=True)
