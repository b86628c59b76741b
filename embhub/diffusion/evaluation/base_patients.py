"""No test on images that the base was trained on: it knows its own, and would be measured too well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from embhub.artifact import fingerprint
from embhub.builtin_bases import NAMES
from embhub.diffusion.bases.pipelines import find_base
from embhub.diffusion.evaluation.material import Drawn, Source
from embhub.errors import ConfigError, PrivacyError
from embhub.images import seen
from embhub.site.memory import runs

Known = dict[str, tuple[str, seen.Seen | None]]
"""Bases by fingerprint: name, and whom one was trained on, if a list says so."""


def check(test: Source, arms: Mapping[str, Drawn]) -> tuple[str, ...]:
    """Refuse test patients of a base that drew an arm; what could not be checked, as remarks.

    Bases are known that come with embhub, and those with a `seen.json` on which this site trained the arms' embeddings.

    Raises:
        PrivacyError: a test image is one that the base was trained on, or carries an id of its patients.
    """
    known = _known() | dict(_of_runs(arms))
    named = {base for one in arms.values() for base in one.bases}
    names = {name for name, _ in known.values()}
    unknown = bool(named - set(known) - names) or any(not one.bases for one in arms.values())
    remarks = []
    for digest, (name, found) in known.items():
        drew = not named.isdisjoint((digest, name))
        if found is None or not (drew or unknown):
            continue
        pictures = sum(found.has_picture(one) for one in test.sketches)
        people = sum(map(found.has_patient, set(test.names) if test.has_patients else test.known))
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
def _known() -> Known:
    return dict(_list(NAMES))


def _of_runs(arms: Mapping[str, Drawn]) -> Iterator[tuple[str, tuple[str, seen.Seen | None]]]:
    """The bases of the arms' embeddings that say whom they saw, where this site trained on them and still has them."""
    made = [runs.find(digest) for one in arms.values() for digest in one.embeddings]
    places = {run.base for run in made if run is not None} - set(NAMES)
    return _list(place for place in sorted(places) if (Path(place) / seen.NAME).is_file())


def _list(names: Iterable[str]) -> Iterator[tuple[str, tuple[str, seen.Seen | None]]]:
    for name in names:
        try:
            found = find_base(name)
        except ConfigError:  # not installed here: then it drew nothing here
            continue
        yield fingerprint.digest(fingerprint.take(found.folder)), (found.name, seen.read(found.folder))
