"""Questions to lists, models and histories as clients of several ages put them."""

from __future__ import annotations

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from tests.registry.conftest import House

NAME = "radboud/asked"
CARD = "---\nlicense: mit\nlibrary_name: diffusers\npipeline_tag: text-to-image\n---\n# {}\n"


@pytest.fixture(scope="module")
def asked(house: House) -> list[str]:
    """A repository with six commits, newest first."""
    api = HfApi(endpoint=house.registry.url, token=house.alice)
    api.create_repo(NAME)
    for number in range(5):
        operation = CommitOperationAdd("README.md", CARD.format(f"Number {number}").encode())
        api.create_commit(NAME, [operation], commit_message=f"Number {number}")
    return [commit.commit_id for commit in api.list_repo_commits(NAME)]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("search=asked&search=radboud", True),  # 0.36 sends `model_name` and `search` under one name
        ("search=asked&search=elsewhere", False),
        ("filter=diffusers&filter=license:mit", True),
        ("filter=diffusers,license:mit", True),
        ("filter=transformers", False),
        ("pipeline_tag=text-to-image", True),
        ("pipeline_tag=text-generation", False),
        ("gated=False", True),
        ("gated=true", False),
        ("direction=-1", True),
    ],
)
def test_lists(house: House, asked: list[str], query: str, found: bool) -> None:
    answer = house.registry.get(f"/api/models?author=radboud&limit=1000&{query}")
    assert answer.status == 200
    assert (NAME in [row["id"] for row in answer.json()]) is found


@pytest.mark.parametrize(
    "query", ["direction=1", "expand=nonsense", "expand[]=nonsense", "sort=size", "limit=0", "cursor=x"]
)
def test_what_cannot_be_answered_is_refused(house: House, query: str) -> None:
    answer = house.registry.get(f"/api/models?{query}")
    assert answer.status == 400 and answer.json()["remedy"]


def test_a_filtered_page_is_full_and_the_next_one_follows(house: House, asked: list[str]) -> None:
    """Filters are of the query, not of the page: a page is short only where the list ends."""
    api = HfApi(endpoint=house.registry.url, token=house.alice)
    for number in range(4):
        api.create_repo(f"radboud/between-{number}")  # newer, and without a task
    answer = house.registry.get("/api/models?pipeline_tag=text-to-image&limit=1")
    assert len(answer.json()) == 1


def test_expand(house: House, asked: list[str]) -> None:
    for query in ("expand=gated&expand=sha&expand=gguf", "expand[]=gated&expand[]=sha&expand[]=gguf"):
        found = house.registry.get(f"/api/models/{NAME}?{query}").json()
        identity = {"_id": found["_id"], "id": NAME, "modelId": NAME}
        assert found == identity | {"gated": False, "sha": asked[0], "gguf": None}
    listed = house.registry.get("/api/models?search=asked&expand=siblings").json()
    assert [file["rfilename"] for file in listed[0]["siblings"]] == ["README.md"]


def test_a_history_goes_on_in_pages(house: House, asked: list[str]) -> None:
    assert len(asked) == 6
    path, pages = f"/api/models/{NAME}/commits/main?limit=4", []
    while path:
        answer = house.registry.get(path)
        pages.append([row["id"] for row in answer.json()])
        link = str(answer.header("link") or "")
        path = link.partition("<")[2].partition(">")[0].removeprefix(house.registry.url)
    assert pages == [asked[:4], asked[4:]]


def test_refs_by_their_whole_name(house: House, asked: list[str]) -> None:
    def sha(revision: str) -> str | None:
        return house.registry.get(f"/api/models/{NAME}/revision/{revision.replace('/', '%2F')}").json().get("sha")

    assert sha("refs/heads/main") == asked[0]
    assert [sha(wrong) for wrong in ("refs/tags/main", "refs/heads/", "refs/heads", "refs/pr/1")] == [None] * 4
