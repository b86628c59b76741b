"""The evidence pack prints what opacus said of the claim, from the training's record, or that there is none."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from embhub.artifact import embedding
from embhub.errors import ConfigError
from embhub.evidence.document import Evidence
from embhub.evidence.pack import write_pack
from embhub.privacy.claim import PrivacyClaim
from embhub.privacy.second_opinion import Bounds, SecondOpinion, compare
from embhub.site.memory import runs
from tests.support.claims import make_claim
from tests.support.packs import NOW, make_site

BOUNDS = Bounds(lower=1.9802, upper=2.0196, eps_error=0.02, delta_error=1e-8)


def remember(file: Path, found: Bounds | str) -> SecondOpinion:
    """The record that a training of this file would have left."""
    made = embedding.read(file)
    claim = made.privacy
    assert isinstance(claim, PrivacyClaim)
    opinion = compare(
        version="1.6.0", delta=claim.delta, epsilon=claim.epsilon, epsilon_rdp=claim.epsilon_rdp, rdp=2.1789,
        found=found,
    )  # fmt: skip
    record = {"embedding_digest": made.digest, "base": "b", "caption": "c {}", "token": "<x>", "vectors": 1}
    runs.save(runs.Run(**record, members=(), second_opinion=opinion))
    return opinion


def read_page(folder: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", (folder / "index.html").read_text()))


def test_both_figures_and_the_bounds_are_printed(tmp_path: Path) -> None:
    file = make_site(tmp_path, "mechanism", claim=make_claim())
    opinion = remember(file, BOUNDS)
    made = write_pack(file, tmp_path / "pack", now=NOW)
    assert made.privacy.second_opinion == opinion
    assert Evidence.parse((tmp_path / "pack/evidence.json").read_bytes()).privacy.second_opinion == opinion
    page = read_page(tmp_path / "pack")
    assert opinion.sentence in page and "opacus 1.6.0 agrees" in page
    assert all(figure in page for figure in ("1.9802", "2.0196", "2.1791", "2.1789", "1e-08"))


def test_a_failure_is_printed_as_no_second_opinion(tmp_path: Path) -> None:
    file = make_site(tmp_path, "mechanism", claim=make_claim())
    remember(file, "the arithmetic of opacus failed: <Discrete> mean differs")
    write_pack(file, tmp_path / "pack", now=NOW)
    page = read_page(tmp_path / "pack")
    assert "no second opinion, because the arithmetic of opacus failed: <Discrete> mean differs" in page
    assert "agrees" not in page and "<Discrete>" not in (tmp_path / "pack/index.html").read_text()


@pytest.mark.parametrize("claimed", [True, False])
def test_without_a_record_it_says_so_beside_a_claim_and_nowhere_else(tmp_path: Path, claimed: bool) -> None:
    file = make_site(tmp_path, "mechanism" if claimed else "quick", claim=make_claim() if claimed else "none")
    made = write_pack(file, tmp_path / "pack", now=NOW)
    assert made.privacy.second_opinion is None
    assert ("no second opinion, because this site has no record of one" in read_page(tmp_path / "pack")) is claimed


def test_a_record_edited_to_agree_is_refused(tmp_path: Path, home: Path) -> None:
    file = make_site(tmp_path, "mechanism", claim=make_claim())
    remember(file, "it failed")
    (record,) = (home / "state" / "runs").iterdir()
    record.write_text(record.read_text().replace('"agreement": "none"', '"agreement": "agrees"'))
    with pytest.raises(ConfigError, match="damaged"):
        write_pack(file, tmp_path / "pack", now=NOW)
