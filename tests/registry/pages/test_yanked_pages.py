"""A yanked release: its page and the client name who yanked it, and hide how to use it behind a fold."""

from __future__ import annotations

import html
import re

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from embhub.client.wire.hub import Hub
from embhub.release.checks import yanks
from tests.registry.conftest import House
from tests.support import releases


def publish(house: House, name: str) -> None:
    release = releases.make_release(repository=name, name=name.partition("/")[2])
    api = HfApi(endpoint=house.registry.url, token=house.alice)
    api.create_repo(name)
    files = [CommitOperationAdd(path, data) for path, data in release.files.items()]
    api.create_commit(name, files, commit_message="Publish")


@pytest.mark.parametrize(
    ("who", "by", "words", "warned"),
    [
        ("operator", "operator", "The operator of this registry yanked this release", "by the registry's operator"),
        ("admin", "operator", "The operator of this registry yanked this release", "by the registry's operator"),
        ("publisher", "publisher", "radboud yanked this release", "by its publisher"),
    ],
)
def test_who_yanked_is_named(house: House, who: str, by: str, words: str, warned: str) -> None:
    name = f"radboud/yanked-by-{who}"
    publish(house, name)
    path = f"/{name}"
    before = house.registry.get(path, headers={"Accept": "text/html"}).body.decode()
    assert "Show the commands anyway" not in before
    if who == "operator":
        house.registry.run("curate", "yank", name, "--reason", "labels of one centre were swapped")
    else:
        token = house.registry.admin if who == "admin" else house.alice
        asked = {"reason": "labels of one centre were swapped"}
        assert house.registry.request("POST", f"/embhub/v1/yank/{name}", token=token, json_body=asked).status == 200

    page = house.registry.get(path, headers={"Accept": "text/html"}).body.decode()
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert words in text and "Labels of one centre were swapped" in text
    assert house.registry.get(f"{path}?format=json").json()["yanked"]["by"] == by
    folded = re.search(r'<h2 id="use">.*?</section>', page, re.S)
    assert folded is not None
    commands = folded[0].index("embhub generate")
    assert folded[0].index("<details>") < folded[0].index("Show the commands anyway") < commands
    assert folded[0].count("<details>") == folded[0].count("</details>")

    said = Hub(house.registry.url).status(name)
    assert said is not None and b"alice" not in said, "no person is named"
    (yank,) = yanks.parse(said, repository=name)
    assert warned in yank.as_finding("https://hub.example.org").text


def test_a_word_that_a_registry_invents_is_not_repeated() -> None:
    yank = yanks.Yank(revision="0" * 40, reason="r", date="2026-11-21", by="the police")
    assert "police" not in yank.as_finding("https://hub.example.org").text


def test_a_title_keeps_the_case_of_a_name(house: House) -> None:
    publish(house, "radboud/lower-case")
    page = house.registry.get("/radboud/lower-case/tree/9.9.9", headers={"Accept": "text/html"}).body.decode()
    assert "of radboud/lower-case" in page and "Radboud/lower-case" not in page
