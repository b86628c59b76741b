"""The heads of a privacy ledger on its publisher's page: of public releases alone, with their places in the log."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

import pytest
from huggingface_hub import HfApi

from embhub.release.files import EMBEDDING, PUBLISH_BUNDLE
from embhub.trust import bundle, logged
from embhub_registry.database.logs import log_rows
from embhub_registry.database.releases import repositories
from tests.registry.conftest import House
from tests.support import pushes, releases, showroom

KEY = releases.make_key("a publisher with a ledger")


@dataclass(frozen=True)
class Publisher:
    house: House
    name: str
    token: str

    def push(self, short: str, *, seed: int, version: str = "1.0.0", number: int | None, ledger: str = "own") -> None:
        heads = showroom.heads(number, ledger=ledger) if number else None
        release = showroom.make_release(
            f"{self.name}/{short}", seed=seed, version=version, name=short, key=KEY, audited=False, heads=heads
        )
        done = pushes.commit(self.house.registry, f"{self.name}/{short}", release.files, token=self.token)
        assert done.status == 200, done.body

    def heads(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.house.registry.get(f"/{self.name}?format=json").json()["ledger_heads"]
        return found


@pytest.fixture(scope="module")
def publisher(house: House) -> Publisher:
    house.registry.add_key(KEY, namespace="booked")
    return Publisher(house, "booked", house.registry.add_user("lex", namespace="booked"))


def test_heads_of_public_releases_are_shown_with_their_entries(publisher: Publisher) -> None:
    registry, token = publisher.house.registry, publisher.token
    for short in ("knee", "hip"):
        pushes.create(registry, short, token=token)
    publisher.push("hip", seed=80, number=None)
    assert publisher.heads() == [], "a namespace whose releases show no ledger has no such section"
    publisher.push("knee", seed=81, number=1)
    api = HfApi(endpoint=registry.url, token=token)
    api.create_repo("booked/quiet", private=True)
    api.create_repo("booked/gated")
    api.update_repo_settings("booked/gated", gated="manual")
    publisher.push("quiet", seed=82, number=2)
    publisher.push("gated", seed=83, number=3)
    publisher.push("knee", seed=84, version="1.1.0", number=4)
    newest, oldest = publisher.heads()
    own = showroom.heads(4, ledger="own")
    assert (newest["number"], newest["head"], newest["ledger"]) == (4, own.heads[3], own.id)
    assert (oldest["number"], oldest["head"], oldest["version"]) == (1, own.heads[0], "1.0.0")
    assert newest["warning"] is None and oldest["warning"] is None
    with registry.opened() as opened:
        db = opened.database.connection()
        for shown in (newest, oldest):
            [(entry, _)] = log_rows.entries(db, shown["entry"], shown["entry"] + 1)
            signed = bundle.parse(opened.blobs.get(_publish_digest(db, shown)))
            assert entry == logged.leaf_of(signed.envelope, KEY.public).to_bytes()
    page = registry.get("/booked", headers={"Accept": "text/html"}).body.decode()
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert f"entry {newest['entry']} of the log" in text and "embhub verify booked/knee --require" in text
    assert "quiet" not in text and own.heads[1] not in page and own.heads[2] not in page


def test_a_release_in_quarantine_shows_no_head(publisher: Publisher) -> None:
    registry = publisher.house.registry
    pushes.create(registry, "looked-at", token=publisher.token)
    publisher.push("looked-at", seed=85, number=5)
    assert publisher.heads()[0]["number"] == 5
    with registry.opened() as opened:
        db = opened.database.connection()
        repository = repositories.find(db, "booked", "looked-at")
        assert repository is not None
        revision = repositories.find_ref(db, repository.id, "main")
        digest = repositories.find_entry(db, repository.id, str(revision), EMBEDDING)
    registry.run("curate", "quarantine", "set", "booked/looked-at", "--version", "1.0.0", "--reason", "a question")
    assert digest is not None and all(shown["number"] != 5 for shown in publisher.heads())


def test_an_older_ledger_that_was_put_back_is_named_and_so_is_a_release_without_one(publisher: Publisher) -> None:
    registry = publisher.house.registry
    pushes.create(registry, "back", token=publisher.token)
    publisher.push("back", seed=86, number=9, ledger="own")
    publisher.push("back", seed=87, version="1.1.0", number=2, ledger="another")
    publisher.push("back", seed=88, version="1.2.0", number=None)
    without, second, before = publisher.heads()[:3]
    assert before["warning"] is None
    assert "another privacy ledger of booked" in second["warning"]
    assert without["head"] is None and "shows no privacy ledger" in without["warning"]
    page = html.unescape(registry.get("/booked", headers={"Accept": "text/html"}).body.decode())
    assert "No head, with" in page and "! Another privacy ledger of booked" in page


def _publish_digest(db: Any, shown: dict[str, Any]) -> str:
    repository = repositories.find(db, "booked", "knee")
    assert repository is not None
    entry = repositories.find_entry(db, repository.id, shown["address"].rpartition("/")[2], PUBLISH_BUNDLE)
    assert entry is not None
    return entry.digest
