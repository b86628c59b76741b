"""What a pack says of a port and of a compact adapter."""

from __future__ import annotations

from embhub.cards import card
from embhub.evidence.gathering import CARRIED, describe_privacy, say
from embhub.evidence.sections.guarantee import PORTED, guarantee
from embhub.evidence.sections.shipping import list_shipment
from embhub.release import files as release_files
from embhub.release.files import Release
from tests.support import designs
from tests.support.adapters import make_adapter
from tests.support.claims import make_claim, make_private_release
from tests.support.ports import make_ported_release
from tests.support.releases import make_card, make_embedding


def test_a_pack_says_whose_claim_a_port_makes() -> None:
    release = make_ported_release(make_private_release())
    assert describe_privacy(make_claim(), ported=True).words == (CARRIED, *make_claim().words())
    assert CARRIED not in describe_privacy(make_claim()).words
    assert PORTED in guarantee(describe_privacy(make_claim(), ported=True))[1].text
    assert PORTED not in guarantee(describe_privacy(make_claim()))[1].text
    origin = say(release.card)["Origin"]
    assert release.embedding.derived_from is not None and release.embedding.derived_from.source in origin
    shipped = {row.name: row for row in list_shipment(release).files}
    assert shipped[release_files.SOURCE_BUNDLE].bytes == len(release.files[release_files.SOURCE_BUNDLE])


def test_a_pack_lists_every_file_of_a_release() -> None:
    artifact = make_embedding()
    release = designs.make_release(designs.register(artifact), artifact)
    others = {release_files.audit_bundle_of("nki"): b"{}", "attestations/publish.tlog-proof": b"proof"}
    held = {**release.files, **others}
    assert {release_files.AUDIT_DESIGN, release_files.AUDIT_RESULT} < set(held)
    rows = list_shipment(Release.from_files(held)).files
    assert sorted(row.name for row in rows) == sorted(held)
    assert all(row.bytes == len(held[row.name]) and row.sha256 == release_files.digest(held[row.name]) for row in rows)
    told = {row.name: (row.holds, row.of_patients) for row in rows}
    assert "design of a registered audit" in told[release_files.AUDIT_DESIGN][0]
    assert "verdict" in told[release_files.AUDIT_RESULT][1]


def test_a_pack_says_that_a_cards_figures_are_of_patients() -> None:
    made, figure = make_embedding(), {"task": "Image classification", "dataset": "x", "metric": "AUC", "value": 0.8}
    for figures, said in (([], False), ([figure], True)):
        readme = card.to_readme(card.parse(make_card(made, evaluation=figures)))
        files = {release_files.EMBEDDING: made.data, release_files.CARD: readme}
        row = next(one for one in list_shipment(Release.from_files(files)).files if one.name == release_files.CARD)
        assert ("figures of an evaluation" in row.of_patients) is said


def test_a_pack_counts_all_numbers_of_an_adapter() -> None:
    made = make_adapter()
    readme = card.to_readme(card.parse(make_card(made)))
    files = {release_files.EMBEDDING: made.data, release_files.CARD: readme}
    first = list_shipment(Release.from_files(files)).files[0]
    assert f"{2 * 2 * (2 * 32 + 48 * 2):,} in all" in first.holds and "more than an embedding's" in first.of_patients
