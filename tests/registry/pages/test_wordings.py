"""What a release page says of an embedding: what only its card states is said to be the card's word."""

from __future__ import annotations

import pytest

from embhub_registry.pages import wordings
from tests.support.releases import make_release


@pytest.mark.parametrize("kind", ["embedding", "adapter"])
def test_what_only_the_card_states_is_said_to_be_its_word(kind: str) -> None:
    said = wordings.describe(make_release().card.model_copy(update={"kind": kind}))
    facts, by_the_card, claimed = said.partition(", by the card: ")
    assert by_the_card and "prostate" in claimed and "prostate" not in facts
