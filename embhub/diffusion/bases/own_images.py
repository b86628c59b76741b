"""No privacy claim over images that the base learned from: its weights hold traces of them that no noise hides."""

from __future__ import annotations

from embhub.diffusion.bases.found import FoundBase
from embhub.errors import PrivacyError
from embhub.images import seen
from embhub.images.images import ImageSet, read_sample
from embhub.images.sketch import sketches


def refuse(found: FoundBase, images: ImageSet) -> None:
    """Refuse a training with a privacy claim on images that stand in the base's own list of what it was trained on.

    Only a base of public images has such a list. Copies are found by a sketch of the whole picture or of its middle
    square (`embhub.images.sketch`), not where they were turned, mirrored or cropped. Other images of the same patients
    are found where they carry the id that the list has.

    Raises:
        PrivacyError: some are. ConfigError: the list is damaged.
    """
    known = seen.read(found.folder)
    if known is None:
        return
    names = {sample.patient_id for sample in images.samples if sample.patient_id is not None}
    if people := sum(map(known.has_patient, names)):
        raise PrivacyError(
            f"{people} patients have ids of patients that {found.name} was trained on, and no claim would cover them",
            "leave them out, use a base that never saw them, or train without --epsilon; if ids are alike by chance,"
            " put a prefix before yours",
        )
    count = sum(known.has_picture(sketches(read_sample(sample, images.kind))) for sample in images.samples)
    if count:
        raise PrivacyError(
            f"{found.name} was trained on {count} of these images, and no claim would cover what it learned from them",
            "leave them out, use a base that never saw them, or train without --epsilon",
        )
