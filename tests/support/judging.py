"""Releases as they should be, and the verdict on another one under the same trust."""

from __future__ import annotations

from typing import Any

from embhub.release import verification
from embhub.release.files import Release
from embhub.release.verification import Verified
from tests.support.releases import NOW, REPOSITORY, make_embedding, make_release, make_sheet, make_trust

GOOD = make_release(sheet=make_sheet())
OTHER = make_release(artifact=make_embedding(seed=5))
UNAUDITED = make_release(audited=False)
TRUST = make_trust()


def judge(release: Release, **arguments: Any) -> Verified:
    """What `verification.verify` says, at NOW and for REPOSITORY unless told otherwise."""
    given: dict[str, Any] = {"trust": TRUST, "now": NOW, "repository": REPOSITORY, **arguments}
    return verification.verify(Release.from_files(release.files), **given)
