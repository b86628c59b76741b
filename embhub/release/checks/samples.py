"""Is the contact sheet the one that the card records, of this embedding, and pixels alone? Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from embhub.refusals import Finding, SamplesMismatchError
from embhub.release import files as release_files

if TYPE_CHECKING:
    from embhub.cards.card_schema import Card
    from embhub.release.files import Release

_HINT = "it was changed after signing: fetch the release again"


def check_samples(release: Release, card: Card, *, digest: str) -> Iterator[Finding]:
    """The sheet of a release against its card; `digest` is the embedding's SHA-256. Nothing where neither has one.

    Raises:
        SamplesMismatchError: a sheet without a record or a record without its sheet, other bytes, another
        embedding's, or no
            plain PNG.
    """
    sheet, record = release.files.get(release_files.SAMPLES), card.samples
    if record is None:
        if sheet is not None:
            raise SamplesMismatchError(
                f"there is a {release_files.SAMPLES}, and the card records none",
                "nothing vouches for it: remove it; a publisher has the card record it: embhub card init --samples",
            )
        return
    from embhub.cards.samples import count  # where there is a sheet
    from embhub.formats import plain_png

    if sheet is None:
        raise SamplesMismatchError(f"the card records a {release_files.SAMPLES}, and it is not there", _HINT)
    if release_files.digest(sheet) != record.sha256:
        raise SamplesMismatchError(f"{release_files.SAMPLES} is not the sheet that the card records", _HINT)
    if record.embedding != digest:
        raise SamplesMismatchError(
            f"another embedding drew the {release_files.SAMPLES} of the card",
            "the publisher must generate it anew: embhub copy-check --sheet, then card init --samples, then sign",
        )
    try:
        plain_png.check(sheet)
    except plain_png.NotPlainPngError as error:
        raise SamplesMismatchError(
            f"{release_files.SAMPLES} is not a plain picture: {error}", "a sheet of `embhub copy-check --sheet` is one"
        ) from error
    checked = "no copy check, as beside a privacy claim" if record.copy_check == "not-run" else "no copies found"
    text = f"{count(record)} generated with this embedding, according to the publisher; its copy check: {checked}"
    yield Finding("samples", "note", text)
