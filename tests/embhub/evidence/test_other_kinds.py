"""What a pack says of a port and of a compact adapter."""

from __future__ import annotations

from embhub.cards import card
from embhub.evidence.gathering import CARRIED, describe_privacy, say
from embhub.evidence.sections.shipping import list_shipment
from embhub.release import files as release_files
from embhub.release.files import Release
from tests.support.adapters import make_adapter
from tests.support.claims import make_claim, make_private_release
from tests.support.ports import make_ported_release
from tests.support.releases import make_card


def test_a_pack_says_whose_claim_a_port_makes() -> None:
    release = make_ported_release(make_private_release())
    assert describe_privacy(make_claim(), ported=True).words == (CARRIED, *make_claim().words())
    assert CARRIED not in describe_privacy(make_claim()).words
    origin = say(release.card)["Origin"]
    assert release.embedding.derived_from is not None and release.embedding.derived_from.source in origin
    shipped = {row.name: row for row in list_shipment(release).files}
    assert shipped[release_files.SOURCE_BUNDLE].bytes == len(release.files[release_files.SOURCE_BUNDLE])


def test_a_pack_counts_all_numbers_of_an_adapter() -> None:
    made = make_adapter()
    readme = card.to_readme(card.parse(make_card(made)))
    files = {release_files.EMBEDDING: made.data, release_files.CARD: readme}
    first = list_shipment(Release.from_files(files)).files[0]
    assert f"{2 * 2 * (2 * 32 + 48 * 2):,} in all" in first.holds and "more than an embedding's" in first.of_patients
