"""Its owner is told what became of an access token; to everybody else it is one among those that are not known."""

from __future__ import annotations

import pytest

from embhub.client.wire.errors import NotAllowedError
from embhub.client.wire.hub import Hub
from embhub_registry.operation import administration
from tests.registry.conftest import House

HUB = "Invalid credentials in Authorization header"


def tokens(house: House) -> dict[str, str]:
    """An access token of each fate, and one that nobody ever had."""
    with house.registry.opened() as registry:
        made = {
            name: administration.add_user(registry, name, namespace="ended", role="reader", days=days)
            for name, days in (("lapsed", 0), ("withdrawn", None), ("shut-out", None))
        }
        administration.revoke_token(registry, made["withdrawn"]["token_id"])
    house.registry.run("user", "disable", "shut-out")
    return {name: str(row["token"]) for name, row in made.items()} | {"unknown": "hf_emb_" + "A" * 43}


@pytest.fixture(scope="module")
def ended(house: House) -> dict[str, str]:
    return tokens(house)


WORDS = {
    "lapsed": "the access token expired on",
    "withdrawn": "the access token was revoked on",
    "shut-out": "the account of this access token is disabled",
    "unknown": "this registry does not know the token",
}


@pytest.mark.parametrize("fate", WORDS)
def test_the_owner_is_told_by_the_registry_and_the_client(house: House, ended: dict[str, str], fate: str) -> None:
    answer = house.registry.get("/api/whoami-v2", token=ended[fate])
    assert answer.status == 401 and WORDS[fate] in answer.json()["error"]
    assert answer.header("X-Error-Message") == HUB, "the Hub's clients take any other sentence for a missing repository"
    with pytest.raises(NotAllowedError) as caught:
        Hub(house.registry.url, token=ended[fate]).whoami()
    assert WORDS[fate] in caught.value.message and HUB not in caught.value.message
    assert "embhub login" in caught.value.hint


def test_nothing_is_told_of_a_part_or_an_id_of_a_token(house: House, ended: dict[str, str]) -> None:
    for secret in (ended["lapsed"][:-1], ended["lapsed"] + "x", "lapsed", ended["lapsed"].upper()):
        said = house.registry.get("/api/whoami-v2", token=secret).json()
        assert "expired" not in str(said) and "does not know" in said["error"]
