"""What a registry that keeps a keyring would be asked to take, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from embhub.release.files import Release
from embhub_registry.admission import rules as admission
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.repositories.proposal import Proposal
from tests.support import releases


def propose(files: Mapping[str, bytes], **changes: Any) -> Proposal:
    """Files for a repository without any, unless `changes` say otherwise."""
    whole = Proposal(
        repository=releases.REPOSITORY,
        files=files,
        before={},
        versions=(),
        audit_required=False,
        trust=releases.make_trust(),
        now=releases.NOW,
    )
    return replace(whole, **changes)


def refusal(files: Mapping[str, bytes], **changes: object) -> RequestDeniedError:
    """The refusal of a proposal; that it is admitted fails the test."""
    with pytest.raises(RequestDeniedError) as caught:
        admission.admit(propose(files, **changes))
    assert caught.value.status == 422
    assert caught.value.hint, "a refusal carries its remedy"
    return caught.value


def resigned(release: Release, **changes: Any) -> dict[str, bytes]:
    """Edited, then signed again by the publisher: only the rule in question can refuse."""
    return dict(releases.resigned(releases.replaced(release, **changes)).files)
