"""Findings by body region: what is offered and may be seen, and what nobody offers."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import pytest

from embhub_registry.pages.lists.findings_page import PATH, region_of
from embhub_registry.repositories import yanking
from tests.support import showroom
from tests.support.showroom import SECRET_WORDS, Showroom

WMH = "radboud/brain-wmh"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showroom]:
    furnished = showroom.furnish(tmp_path_factory.mktemp("showroom"))
    yield furnished
    furnished.registry.stop()


def ask(room: Showroom, path: str = PATH, *, token: str | None = None) -> Any:
    return room.registry.get(path, token=token, headers={"Accept": "application/json"}).json()


def regions(room: Showroom, *, token: str | None = None) -> dict[str, Any]:
    return {region["name"]: region for region in ask(room, token=token)["regions"]}


def offered(room: Showroom, *, token: str | None = None) -> set[tuple[str, str]]:
    return {(one["organ"], one["finding"]) for r in regions(room, token=token).values() for one in r["offered"]}


def test_a_private_finding_is_named_to_its_own_namespace_alone(room: Showroom) -> None:
    for token in (None, room.lea):
        for accept in ("text/html", "application/json"):
            told = html.unescape(room.registry.get(PATH, token=token, headers={"Accept": accept}).body.decode())
            assert "pneumonia" in told and not any(words in told.lower() for words in SECRET_WORDS)
    assert ("embargoed organ", "unheard-of lesion") in offered(room, token=room.alice)


def test_what_was_taken_back_is_offered_by_nobody(room: Showroom) -> None:
    assert ("brain", "white matter hyperintensity") in offered(room)
    with room.registry.opened() as registry:
        yanking.yank(registry, None, *WMH.split("/"), reason="tried by a test")
    try:
        assert ("brain", "white matter hyperintensity") not in offered(room)
    finally:
        with room.registry.opened() as registry:
            yanking.unyank(registry, None, *WMH.split("/"))


def test_each_finding_leads_to_its_embeddings_and_each_gap_to_publishing(room: Showroom) -> None:
    found = regions(room)
    for region in found.values():
        for one in region["offered"]:
            assert ask(room, one["address"])["total"] == one["count"] == 1
    assert "pneumonia" not in found["Chest"]["missing"] and "pneumothorax" in found["Chest"]["missing"]
    assert "prostate cancer" not in found["Pelvis"]["missing"], "a longer name says it too"
    assert "effusion" not in found["Arms and legs"]["missing"] and "effusion" in found["Chest"]["missing"]
    page = room.registry.get(PATH, headers={"Accept": "text/html"}).body.decode()
    assert 'href="#publish"' in page and 'id="publish"' in page and "embhub push" in page
    assert f'href="{PATH}"' in room.registry.get("/", headers={"Accept": "text/html"}).body.decode()


@pytest.mark.parametrize(
    ("organ", "region"),
    [
        ("left lung", "Chest"), ("Prostate", "Pelvis"), ("knees", "Arms and legs"), ("lumbar spine", "Spine"),
        ("skin of the face", "Skin"), ("rétina", "Head and neck"), ("mediastinum/heart", "Chest"),
        ("embargoed organ", "Other regions"),
    ],
)  # fmt: skip
def test_an_organ_belongs_to_a_region(organ: str, region: str) -> None:
    assert region_of(organ) == region
