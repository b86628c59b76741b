"""A sheet of samples goes with the card that records it and the embedding that drew it, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PIL import PngImagePlugin

from embhub.cards import card
from embhub.errors import ArtifactError
from embhub.refusals import CardMismatchError, SamplesMismatchError
from embhub.release import files as release_files
from embhub.release import signing, verification
from embhub.release.files import Release
from tests.support import claims, releases

SHEET = releases.make_sheet()


@pytest.fixture(scope="module")
def release() -> Release:
    return releases.make_release(sheet=SHEET)


def verify(release: Release) -> verification.Verified:
    return verification.verify(release, trust=releases.make_trust(), now=releases.NOW)


def recorded(release: Release, sheet: bytes, **changes: Any) -> Release:
    """Signed by a publisher who checks nothing: the card records the sheet, but for these changes."""
    samples = releases.record_of(sheet, release.embedding, **changes)
    return releases.resigned(
        releases.replaced(release, samples=sheet, card=releases.edited_card(release, samples=samples))
    )


def test_what_goes_together_is_told_as_the_publishers_word(release: Release) -> None:
    (found,) = [finding for finding in verify(release).findings if finding.check == "samples"]
    assert found.outcome == "note" and "according to the publisher" in found.text and "no copies found" in found.text
    assert not [f for f in verify(releases.make_release()).findings if f.check == "samples"]


def with_text() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("PatientName", "somebody")
    return releases.make_sheet(pnginfo=info)


CASES: dict[str, tuple[Callable[[Release], Release], str]] = {
    "no sheet": (lambda r: releases.replaced(r, samples=None), "it is not there"),
    "no record": (lambda r: releases.replaced(releases.make_release(), samples=SHEET), "the card records none"),
    "another sheet": (lambda r: releases.replaced(r, samples=releases.make_sheet(seed=1)), "not the sheet"),
    "a bit": (lambda r: releases.replaced(r, samples=SHEET[:-1] + b"\0"), "not the sheet"),
    "another embedding": (lambda r: recorded(r, SHEET, embedding="ab" * 32), "another embedding drew"),
    "text inside": (lambda r: recorded(r, with_text()), "not a plain picture"),
    "a tail": (lambda r: recorded(r, SHEET + b"PK\3\4"), "not a plain picture"),
    "no picture": (lambda r: recorded(r, b"<svg onload=alert(1)>"), "not a plain picture"),
    "too wide": (lambda r: recorded(r, releases.make_sheet(size=(2049, 16))), "2049 x 16"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_go_together_is_refused(release: Release, case: str) -> None:
    make, reason = CASES[case]
    with pytest.raises(SamplesMismatchError, match=reason) as caught:
        verify(make(release))
    assert caught.value.hint and caught.value.findings[-1].check == "samples"


@pytest.mark.parametrize("case", [name for name in CASES if name != "a bit"])
def test_and_is_not_signed_in_the_first_place(release: Release, case: str) -> None:
    make, reason = CASES[case]
    with pytest.raises(ArtifactError, match=reason):
        signing.sign(
            make(release), registry=releases.ORIGIN, repository=releases.REPOSITORY, key=releases.SITE, now=releases.NOW
        )


def test_signed_anew_it_keeps_its_sheet(release: Release) -> None:
    again = signing.sign_anew(release, key=releases.SITE, now=releases.NOW)
    assert again.files[release_files.SAMPLES] == SHEET and verify(again).card.samples is not None


@pytest.mark.parametrize("word", ["copies-suspected", "insufficient-evidence", "not-run", ""])
def test_without_a_claim_only_the_copy_check_lets_samples_out(release: Release, word: str) -> None:
    with pytest.raises(card.BadCardError, match="samples"):
        releases.edited_card(release, samples=releases.record_of(SHEET, release.embedding, copy_check=word))


def test_beside_a_claim_samples_go_without_a_verdict_and_none_may_be_told() -> None:
    files = claims.private_files()
    plain = card.from_readme(files[release_files.CARD]).to_dict()
    digest = {"embedding": release_files.digest(files[release_files.EMBEDDING]), "sha256": release_files.digest(SHEET)}
    record = {**releases.record_of(SHEET, releases.make_embedding()), **digest}
    with pytest.raises(card.BadCardError, match="not covered by the privacy claim"):
        card.parse({**plain, "samples": record})
    told = card.parse({**plain, "samples": {**record, "copy_check": "not-run"}})
    signed = claims.sign({**files, release_files.CARD: card.to_readme(told), release_files.SAMPLES: SHEET})
    (found,) = [finding for finding in verify(signed).findings if finding.check == "samples"]
    assert "no copy check" in found.text
    assert "No copy check was made" in card.to_readme(told).decode()


def test_a_verdict_of_another_claim_is_no_way_round(release: Release) -> None:
    """A card that drops the claim of its header, so as to carry the verdict, is refused for the claim."""
    files = claims.private_files()
    bare = {**card.from_readme(files[release_files.CARD]).to_dict(), "privacy": "none"}
    record = {
        **releases.record_of(SHEET, releases.make_embedding()),
        "embedding": release_files.digest(files[release_files.EMBEDDING]),
    }
    changed = card.to_readme(card.parse({**bare, "samples": record}))
    with pytest.raises((ArtifactError, CardMismatchError), match=r"privacy|claim"):
        claims.sign({**files, release_files.CARD: changed, release_files.SAMPLES: SHEET})
