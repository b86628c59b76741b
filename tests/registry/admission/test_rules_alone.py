"""Rules asked one at a time, where a later one would refuse the same proposal in other words."""

from __future__ import annotations

import pytest

from embhub.errors import EmbhubError
from embhub.refusals import ReleaseRefusedError
from embhub.release.files import CARD, Release
from embhub_registry.admission import rules as admission
from embhub_registry.repositories.proposal import GIT_ATTRIBUTES, MAX_GIT_ATTRIBUTES
from tests.support import releases
from tests.support.proposals import propose, refusal

RULE = {rule.name: rule.check for rule in reversed(admission.RULES)}


def test_a_file_may_have_the_bytes_of_its_limit_and_no_more() -> None:
    assert RULE["file-size"](propose({GIT_ATTRIBUTES: b"x" * MAX_GIT_ATTRIBUTES})) is None
    assert RULE["file-size"](propose({GIT_ATTRIBUTES: b"x" * (MAX_GIT_ATTRIBUTES + 1)})) is not None


def test_header_and_card_each_name_the_base() -> None:
    release = releases.make_release()
    assert RULE["base-model"](propose(release.files)) is None
    card = release.card.to_dict()
    card["base_model"]["fingerprint"] = "unknown"
    silent = releases.replaced(release, card=releases.edited_card(release, base_model=card["base_model"]))
    assert RULE["base-model"](propose(silent.files)) is not None
    header = releases.make_embedding(base=None).data
    assert RULE["base-model"](propose(releases.replaced(release, embedding=header).files)) is not None


def test_samples_without_a_record_are_refused() -> None:
    extra = releases.replaced(releases.make_release(), samples=releases.make_sheet())
    with pytest.raises(ReleaseRefusedError):
        RULE["samples"](propose(extra.files))


def test_a_refusal_has_the_hint_of_its_error() -> None:
    broken = Release.from_files({**releases.make_release().files, CARD: b"# Only words\n"})
    with pytest.raises(EmbhubError) as caught:
        _ = broken.card
    assert caught.value.hint and refusal(broken.files).hint == caught.value.hint
