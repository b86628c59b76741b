"""The registry's own address in what it answers: never one that a stranger put into a Host header."""

from __future__ import annotations

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from tests.registry.conftest import House

NAME = "radboud/addressed"
PATHS = ("/", f"/{NAME}", "/api/models?limit=1", f"/api/models/{NAME}/commits/main?limit=1")


@pytest.fixture(scope="module")
def own(house: House) -> str:
    """The url given at `init`, of a registry with two repositories and two commits."""
    api = HfApi(endpoint=house.registry.url, token=house.alice)
    api.create_repo(NAME)
    api.create_repo("radboud/addressed-too")
    for number in range(2):
        api.create_commit(NAME, [CommitOperationAdd("README.md", f"# {number}\n".encode())], commit_message="One")
    with house.registry.opened() as registry:
        return registry.setting("url")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8642", "127.0.0.1@evil.example", "evil.example/127.0.0.1", "127.0.0.1.evil.example"],
)
@pytest.mark.parametrize("path", PATHS)
def test_a_strangers_host_is_refused_and_not_repeated(house: House, own: str, host: str, path: str) -> None:
    for accept in ("text/html", "*/*"):
        answer = house.registry.get(path, headers={"Host": host, "Accept": accept})
        assert answer.status == (400 if "@" in host or "/" in host else 421)
        assert "evil.example" not in answer.body.decode() + str(answer.headers)


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "127.0.0.2:{port}", "[::1]:{port}"])
def test_a_caller_on_this_machine_gets_the_address_it_used(house: House, own: str, host: str) -> None:
    host = host.format(port=house.registry.url.rpartition(":")[2])
    answer = house.registry.get("/api/models?limit=1", headers={"Host": host})
    assert f"<http://{host}/api/models" in str(answer.headers)


def test_a_new_repository_has_the_registrys_address(house: House, own: str) -> None:
    fields = {"name": "addressed-new", "organization": "radboud", "type": "model"}
    headers = {"Host": "LOCALHOST:1"}
    made = house.registry.request("POST", "/api/repos/create", token=house.alice, json_body=fields, headers=headers)
    assert made.json()["url"] == "http://localhost:1/radboud/addressed-new"
