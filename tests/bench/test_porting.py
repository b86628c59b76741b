"""The table of ports: intervals for shares of images, the reach of each seed, and the page has what was kept."""

from __future__ import annotations

import json
from pathlib import Path

from bench import marked, porting

ROW = {
    "seed": 1, "words": {"P(pneumonia)": 0.2, "called pneumonia": 0.188, "loss": 0.45},
    "direct": {"P(pneumonia)": 0.6, "called pneumonia": 0.562, "loss": 0.44},
    "port": {"P(pneumonia)": 0.5, "called pneumonia": 1.0, "loss": 0.46},
}  # fmt: skip


def test_a_share_of_images_has_its_interval() -> None:
    """Clopper and Pearson, for 3, 9 and 16 of 16 images."""
    (line,) = (line for line in porting.table([ROW]).splitlines() if line.startswith("| 1 | called"))
    assert "| 19% [4%, 46%] | 56% [30%, 80%] | 100% [79%, 100%] | 217% |" in line


def test_reach_is_negative_where_a_port_is_worse_than_the_words() -> None:
    assert "| 1 | loss on held-out X-rays | 0.45 | 0.44 | 0.46 | -100% |" in porting.table([ROW])
    assert "| mean of 2 | mean probability of pneumonia | 0.2 | 0.6 | 0.5 | 75% |" in porting.table([ROW, ROW])


def test_the_page_has_a_place_for_the_table(tmp_path: Path) -> None:
    kept = json.loads(porting.RESULTS.read_text(encoding="utf-8"))
    page = porting.PAGE.read_text(encoding="utf-8")
    assert marked.put(page, porting.table(kept)) == page
