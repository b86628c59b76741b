"""No test on images that the base was trained on: it knows its own, and would be measured too well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from embhub.artifact import fingerprint
from embhub.builtin_bases import NAMES, resolve
from embhub.diffusion.evaluation.material import Drawn, Source
from embhub.errors import ConfigError, PrivacyError
from embhub.images import seen


def check(test: Source, arms: Mapping[str, Drawn]) -> tuple[str, ...]:
    """Refuse test patients of a built-in base that drew an arm; what could not be checked, as remarks.

    Raises:
        PrivacyError: a test image is one that the base was trained on, or carries an id of its patients.
    """
    known = _known()
    named = {base for one in arms.values() for base in one.bases}
    names = {name for name, _ in known.values()}
    unknown = bool(named - set(known) - names) or any(not one.bases for one in arms.values())
    remarks = []
    for digest, (name, found) in known.items():
        drew = not named.isdisjoint((digest, name))
        if found is None or not (drew or unknown):
            continue
        pictures = sum(found.has_picture(one) for one in test.sketches)
        people = len({one for one in test.names if found.has_patient(one)}) if test.has_patients else 0
        if not (pictures or people):
            continue
        told = (
            f"{pictures} test images are among those that {name} was trained on, and {people} test patients have ids of"
            " its patients"
        )
        if drew:
            raise PrivacyError(
                told, "test on patients that the base never saw; if ids are alike by chance, put a prefix before yours"
            )
        remarks.append(f"{told}. Nothing says whether this base generated the images: if so, nothing was measured.")
    if unknown and not remarks:
        remarks.append(
            "Which patients a base was trained on is not known here: whether test patients are among them could not be"
            " checked."
        )
    return tuple(remarks)


@cache
def _known() -> dict[str, tuple[str, seen.Seen | None]]:
    """Built-in bases by fingerprint: name, and whom one was trained on, if on anybody."""
    return dict(_list())


def _list() -> Iterator[tuple[str, tuple[str, seen.Seen | None]]]:
    for name in NAMES:
        try:
            folder = resolve(name)
        except ConfigError:  # not installed here: then it drew nothing here
            continue
        if folder is not None:
            yield fingerprint.digest(fingerprint.take(folder)), (name, seen.read(folder))
