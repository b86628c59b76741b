"""Edges of the Hub's wire that stock clients meet: names, filters, large commits, folders, ids, short answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError
from starlette.applications import Starlette

from embhub.client.wire.hub import Hub
from embhub.errors import RegistryError
from embhub.release.files import AUDIT_BUNDLE, PUBLISH_BUNDLE, Release
from embhub_registry import app
from embhub_registry.wire import request_ids
from embhub_registry.wire.hub_api import list_parameters
from tests.registry.conftest import House
from tests.support import postgres, releases
from tests.support.servers import Answer
from tests.support.tools import needs

NAME = "radboud/Edges-v1.0_x"
OTHER_CASES = ["radboud/edges-v1.0_x", "RADBOUD/EDGES-V1.0_X"]


@pytest.fixture(scope="module")
def api(house: House) -> HfApi:
    """Alice, with a repository that holds a draft."""
    found = HfApi(endpoint=house.registry.url, token=house.alice)
    found.create_repo(NAME)
    found.upload_file(repo_id=NAME, path_in_repo="README.md", path_or_fileobj=b"---\nlicense: mit\n---\n# Edges\n")
    return found


# ids


LONELY = [
    ("GET", "/api/models/gpt2"),
    ("GET", "/api/models/gpt2/revision/main"),
    ("GET", "/api/models/gpt2/tree/main?recursive=true"),
    ("GET", "/api/models/gpt2/refs"),
    ("GET", "/api/models/gpt2/commits/main"),
    ("POST", "/api/models/gpt2/paths-info/main"),
    ("POST", "/api/models/gpt2/commit/main"),
    ("POST", "/api/models/gpt2/preupload/main"),
    ("PUT", "/api/models/gpt2/settings"),
    ("DELETE", "/api/models/gpt2/tag/v1"),
    ("GET", "/gpt2/resolve/main/config.json"),
    ("HEAD", "/gpt2/resolve/main/onnx/model.onnx"),
]


@pytest.mark.parametrize(("method", "path"), LONELY, ids=lambda text: text.replace("/", "-"))
def test_an_id_without_namespace_is_a_repository_that_is_not_there(house: House, method: str, path: str) -> None:
    answer = house.registry.request(method, path, token=house.alice)
    assert (answer.status, answer.header("x-error-code")) == (404, "RepoNotFound")
    assert "NAMESPACE/NAME" in str(answer.header("x-error-message")) or path.endswith("/refs")


# what else names a commit or a file


def test_head_is_the_branch_main_and_nothing_else_has_that_name(house: House, api: HfApi) -> None:
    newest = api.model_info(NAME).sha
    assert api.model_info(NAME, revision="HEAD").sha == newest
    head = house.registry.request("HEAD", f"/{NAME}/resolve/HEAD/README.md")
    assert (head.status, head.header("location")) == (307, f"/{NAME}/resolve/{newest}/README.md")
    for make in (lambda: api.create_branch(NAME, branch="HEAD"), lambda: api.create_tag(NAME, tag="HEAD")):
        with pytest.raises(HfHubHTTPError, match="not a name"):
            make()
    with pytest.raises(HfHubHTTPError) as refused:
        api.upload_file(repo_id=NAME, path_in_repo="README.md", path_or_fileobj=b"# x", revision="HEAD")
    assert refused.value.response.status_code == 404, "a commit goes to a branch"


def test_links_that_stock_clients_print_lead_somewhere(house: House, api: HfApi) -> None:
    file = house.registry.get(f"/{NAME}/resolve/main/README.md")
    for kind in ("blob", "raw"):
        answer = house.registry.get(f"/{NAME}/{kind}/main/README.md")
        assert (answer.status, answer.body, answer.headers["etag"]) == (200, file.body, file.headers["etag"])
        missing = house.registry.get(f"/{NAME}/{kind}/main/absent")
        assert (missing.status, missing.header("x-error-code")) == (404, "EntryNotFound")
    for page in ("tree/main", "tree/main/attestations", "commits/main"):
        assert NAME in house.registry.get(f"/{NAME}/{page}", headers={"Accept": "text/html"}).body.decode(), page
        assert house.registry.get(f"/{NAME}/{page.replace('main', 'absent')}").status == 404


def test_a_history_says_how_many_commits_it_is_of(house: House, api: HfApi) -> None:
    listed = api.list_repo_commits(NAME)
    address = f"/api/models/{NAME}/commits"
    for first, commit in enumerate(listed):
        for limit in (1, len(listed)):
            answer = house.registry.get(f"{address}/{commit.commit_id}?limit={limit}")
            assert answer.header("x-total-count") == str(len(listed) - first)


def test_stock_clients_say_so(api: HfApi) -> None:
    for ask in (
        lambda: api.model_info("gpt2"),
        lambda: api.hf_hub_download("gpt2", "config.json"),
        lambda: list(api.list_repo_tree("gpt2")),
        lambda: api.list_repo_refs("gpt2"),
    ):
        with pytest.raises(RepositoryNotFoundError):
            ask()
    assert api.repo_exists("gpt2") is False and api.file_exists("gpt2", "config.json") is False


def test_the_id_of_a_repository_counts_nothing(house: House, released: Release) -> None:
    """A number would count the private repositories beside it."""
    found = house.registry.get(f"/api/models/{NAME}").json()["_id"]
    assert found == hashlib.sha256(NAME.encode()).hexdigest()[:24]


@pytest.mark.parametrize("character", ["%00", "%1b", "%08", "%7f"])
def test_a_refusal_that_repeats_a_control_character_is_sent(house: House, released: Release, character: str) -> None:
    answer = house.registry.get(f"/compare?with={NAME}&with={NAME}@{character}")
    cannot_be_asked = postgres.CHOSEN and character == "%00"
    assert answer.status == (400 if cannot_be_asked else 404)
    said = answer.header("x-error-message")
    assert said and said.isascii() and said.isprintable()


@pytest.mark.parametrize("path", ["/api/models/radboud/x/nonsense/main", "/api/nonsense", "/api/models"])
def test_other_addresses_are_no_repository(house: House, path: str) -> None:
    answer = house.registry.request("PATCH", path, token=house.alice)
    assert (answer.status, answer.header("x-error-code")) == (404, None)


@needs("git")
@pytest.mark.parametrize("name", [NAME, "radboud/absent"])
def test_git_is_told_that_there_is_none(house: House, api: HfApi, tmp_path: Path, name: str) -> None:
    address = f"{house.registry.url}/{name}"
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "NO_PROXY": "127.0.0.1", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["git", "clone", address], cwd=tmp_path, env=quiet, capture_output=True, text=True, check=False
    )
    assert done.returncode and "no git and no LFS" in done.stderr and "embhub pull" in done.stderr
    for method, path in (("POST", "lfs/objects/batch"), ("GET", "lfs/locks")):
        answer = house.registry.request(method, f"/{name}.git/info/{path}", token=house.alice)
        assert answer.status == 404 and "no LFS" in answer.json()["message"]
        assert "no LFS" in str(answer.header("x-error-message"))


def test_ones_own_repositories_are_listed_page_after_page(house: House, api: HfApi) -> None:
    def listed(address: str, token: str | None) -> dict[str, dict[str, Any]]:
        found = dict[str, dict[str, Any]]()
        while address:
            answer = house.registry.get(address, token=token)
            assert answer.status == 200 and len(answer.json()) <= 1000
            found |= {row["id"]: row for row in answer.json()}
            address = str(answer.header("link") or "").partition(">")[0].removeprefix(f"<{house.registry.url}")
        return found

    own, one = "/api/settings/repositories", "/api/organizations/{}/settings/repositories"
    api.create_repo("radboud/own-secret", private=True)
    found = listed(own, house.alice)
    assert {NAME, "radboud/own-secret"} <= found.keys() and {name.partition("/")[0] for name in found} == {"radboud"}
    public, secret = found[NAME], found["radboud/own-secret"]
    assert (public["visibility"], secret["visibility"], public["type"]) == ("public", "private", "model")
    files = api.model_info(NAME, files_metadata=True).siblings or []
    assert public["storage"] >= sum(file.size or 0 for file in files) > 0 == secret["storage"]
    assert sum(row["storagePercent"] for row in found.values()) > 99
    assert listed(f"{own}?limit=1", house.alice) == found == listed(one.format("Radboud"), house.alice)
    assert not listed(own, house.lea).keys() & found.keys()
    assert house.registry.get(own).status == 401
    assert house.registry.get(one.format("radboud"), token=house.lea).status == 403


@pytest.mark.parametrize("alike", OTHER_CASES)
def test_a_name_in_another_case_is_the_same_for_create_and_for_every_other_call(api: HfApi, alike: str) -> None:
    with pytest.raises(HfHubHTTPError, match="exists already") as caught:
        api.create_repo(alike)
    assert caught.value.response.status_code == 409
    api.create_repo(alike, exist_ok=True)
    assert api.model_info(alike).id == NAME and api.repo_exists(alike)
    text = f"---\nlicense: mit\n---\n# {alike}\n".encode()
    made = api.upload_file(repo_id=alike, path_in_repo="README.md", path_or_fileobj=text)
    assert api.model_info(NAME).sha == made.oid == api.list_repo_commits(alike)[0].commit_id
    api.create_tag(alike, tag="here")
    assert [tag.name for tag in api.list_repo_refs(NAME).tags] == ["here"]
    api.delete_tag(alike, tag="here")
    api.update_repo_settings(alike, private=True)
    assert api.model_info(NAME).private
    api.update_repo_settings(alike, private=False)


def test_a_private_name_in_another_case_is_not_given_away(house: House, api: HfApi) -> None:
    api.create_repo("radboud/Hidden-Name", private=True)
    answers = [
        house.registry.get(f"{start}radboud/{name}{end}", token=token)
        for name in ("hidden-name", "absent-name")
        for token in (None, house.lea)
        for start, end in (("/api/models/", ""), ("/embhub/v1/status/", ""), ("/", "/resolve/main/README.md"))
    ]
    assert {answer.status for answer in answers} == {404}
    assert not any(b"Hidden" in answer.body + json.dumps(answer.headers).encode() for answer in answers)


def test_a_name_in_another_case_can_be_deleted(api: HfApi) -> None:
    api.create_repo("radboud/Gone-Soon")
    api.delete_repo("RADBOUD/gone-soon")
    assert not api.repo_exists("radboud/Gone-Soon")


def test_a_namespace_in_another_case_is_the_same_in_create(api: HfApi) -> None:
    assert api.create_repo("Radboud/made-so").repo_id == "radboud/made-so"
    assert api.model_info("RADBOUD/made-so").author == "radboud"


def test_embhubs_own_client_names_the_other_spelling(house: House, released: Release) -> None:
    """What is signed is signed for one spelling, so another one is no forgery, and no repository either."""
    hub = Hub(house.registry.url, token=house.alice)
    for ask in (lambda: hub.fetch("radboud/Foldered"), lambda: hub.push(released, "radboud/Foldered")):
        with pytest.raises(RegistryError, match="has no radboud/Foldered, it has radboud/foldered") as caught:
            ask()
        assert caught.value.exit_code == 5 and "radboud/foldered" in caught.value.hint


# lists


@pytest.mark.parametrize(
    "query",
    [
        "inference=warm", "inference_provider=all", "apps=llama.cpp", "num_parameters=min:6B", "colour=red",
        "trained_dataset=x", "gated=perhaps", "search=" + "x" * 201, "&".join(["filter=a"] * 21),
    ],
)  # fmt: skip
def test_what_lists_cannot_be_filtered_by_is_refused(house: House, query: str) -> None:
    answer = house.registry.get(f"/api/models?{query}")
    assert answer.status == 400 and answer.json()["remedy"]


def test_stock_clients_are_told_which_filter(api: HfApi) -> None:
    with pytest.raises(HfHubHTTPError, match="inference_provider"):
        list(api.list_models(inference_provider="all"))
    with pytest.raises(HfHubHTTPError, match="apps"):
        list(api.list_models(apps="llama.cpp"))


def test_every_parameter_that_is_known_is_taken(house: House, api: HfApi) -> None:
    assert isinstance(list(api.list_models(fetch_config=True, cardData=True, gated=False, limit=1)), list)
    values = {"direction": "-1", "limit": "1", "gated": "true", "expand": "sha", "expand[]": "sha"}
    for name in list_parameters.KNOWN - {"cursor", "sort"}:
        assert house.registry.get(f"/api/models?{name}={values.get(name, 'x')}").status == 200, name


# commits


def test_more_files_than_any_release_has(api: HfApi) -> None:
    many = [CommitOperationAdd(f"attestations/{number}.json", b"{}") for number in range(101)]
    with pytest.raises(HfHubHTTPError, match="more than 100 files") as caught:
        api.create_commit(NAME, many, commit_message="too many")
    assert caught.value.response.status_code == 413
    gone = [CommitOperationDelete(f"attestations/{number}.json") for number in range(101)]
    with pytest.raises(HfHubHTTPError, match="more than 100 files") as caught:
        api.create_commit(NAME, gone, commit_message="too many")
    assert caught.value.response.status_code == 413


def commit(house: House, *operations: dict[str, Any], name: str = NAME) -> Answer:
    lines = [{"key": "header", "value": {"summary": "x"}}, *operations]
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    return house.registry.request("POST", f"/api/models/{name}/commit/main", token=house.alice, body=body)


FOLDER = [
    {"key": "deletedFolder", "value": {"path": "attestations"}},
    {"key": "deletedFolder", "value": {"path": "attestations/"}},
    {"key": "deletedFile", "value": {"path": "attestations"}},
    {"key": "deletedFile", "value": {"path": "attestations/"}},
    {"key": "deletedEntry", "value": {"path": "attestations"}},
    {"key": "deletedEntry", "value": {"path": "attestations/"}},
]


@pytest.fixture(scope="module")
def released(api: HfApi, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A published release, whose attestations are a folder."""
    release = releases.make_release(repository="radboud/foldered")
    api.create_repo("radboud/foldered")
    release.to_folder(folder := tmp_path_factory.mktemp("foldered"))
    api.upload_folder(repo_id="radboud/foldered", folder_path=folder)
    return release


@pytest.mark.parametrize("operation", FOLDER, ids=lambda line: f"{line['key']} {line['value']['path']}")
def test_a_folder_goes_with_a_slash_and_without(house: House, released: Release, operation: dict[str, Any]) -> None:
    """Alone it is admission that refuses; with the same files put in its place the commit is taken."""
    name = "radboud/foldered"
    alone = commit(house, operation, name=name)
    assert (alone.status, alone.json()["rule"]) == (422, "unsigned")
    again = [
        {"key": "file", "value": {"path": path, "content": released.files[path].decode(), "encoding": "utf-8"}}
        for path in (PUBLISH_BUNDLE, AUDIT_BUNDLE)
    ]
    assert commit(house, operation, *again, name=name).status == 200
    absent = {"key": operation["key"], "value": {"path": operation["value"]["path"].replace("attestations", "absent")}}
    missing = commit(house, absent, name=name)
    assert (missing.status, missing.header("x-error-code")) == (404, "EntryNotFound")


@pytest.mark.parametrize("path", ["attestations", "attestations/"])
def test_stock_clients_delete_a_folder(api: HfApi, released: Release, path: str) -> None:
    with pytest.raises(HfHubHTTPError, match="unsigned"):
        api.delete_folder(path, repo_id="radboud/foldered")
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationDelete(path, is_folder=True),
        *(CommitOperationAdd(bundle, released.files[bundle]) for bundle in (PUBLISH_BUNDLE, AUDIT_BUNDLE)),
    ]
    assert api.create_commit("radboud/foldered", operations, commit_message="anew").oid
    with pytest.raises(EntryNotFoundError):
        api.delete_folder(path.replace("attestations", "absent"), repo_id="radboud/foldered")


def test_an_entry_may_be_a_file(house: House, api: HfApi) -> None:
    added = {"key": "file", "value": {"path": ".gitattributes", "content": "*.json text\n"}}
    assert commit(house, added).status == 200
    assert commit(house, {"key": "deletedEntry", "value": {"path": ".gitattributes"}}).status == 200
    assert api.list_repo_files(NAME) == ["README.md"]


# short answers


def test_what_was_done_is_answered_as_the_hub_answers(house: House, api: HfApi) -> None:
    """Checked against the Hub's recorded answers: `OK` in plain text, and settings that repeat what was sent."""
    ask = house.registry.request
    api.create_repo("radboud/short")
    api.create_branch("radboud/short", branch="b")
    api.create_tag("radboud/short", tag="t")
    done = [
        ask("DELETE", "/api/models/radboud/short/branch/b", token=house.alice),
        ask("DELETE", "/api/models/radboud/short/tag/t", token=house.alice),
        ask("GET", "/api/models/radboud/short/auth-check", token=house.alice),
        ask("DELETE", "/api/repos/delete", token=house.alice, json_body={"name": "short", "organization": "radboud"}),
    ]
    assert {(answer.status, answer.body, answer.header("content-type")) for answer in done} == {
        (200, b"OK", "text/plain; charset=utf-8")
    }
    path = f"/api/models/{NAME}/settings"
    for sent in ({"gated": "auto"}, {"gated": False}, {"private": False}, {"visibility": "public", "private": False}):
        assert ask("PUT", path, token=house.alice, json_body=sent).json() == sent


@pytest.mark.parametrize(("method", "path"), [("PUT", f"/{NAME}/resolve/main/README.md"), ("DELETE", f"/{NAME}")])
def test_another_method_names_those_that_are_possible(house: House, method: str, path: str) -> None:
    answer = house.registry.request(method, path, token=house.alice)
    assert answer.status == 405 and "GET" in str(answer.header("allow"))


# request ids

ANSWERS = [
    ("GET", "/healthz", 200), ("GET", "/", 200), ("GET", "/absent", 404), ("GET", "/api/models", 200),
    ("GET", f"/api/models/{NAME}", 200), ("GET", "/api/models/radboud/absent", 404), ("POST", "/api/repos/create", 401),
    ("PATCH", "/", 405), ("GET", f"/{NAME}/resolve/main/README.md", 200), ("GET", "/%00", 400),
    ("HEAD", f"/{NAME}/resolve/main/README.md", 307), ("GET", "/embhub/v1/trust", 200),
    ("GET", "/api/models?limit=0", 400),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_every_answer_has_an_id_of_its_own(house: House, api: HfApi, method: str, path: str, status: int) -> None:
    twice = [house.registry.request(method, path) for _ in range(2)]  # the second may come from memory
    ids = [str(answer.header("x-request-id")) for answer in twice]
    assert [answer.status for answer in twice] == [status, status]
    assert len(set(ids)) == 2 and all(re.fullmatch("[0-9a-f-]{36}", found) for found in ids)


def test_the_callers_id_is_kept_and_is_in_the_log(house: House, api: HfApi) -> None:
    answer = house.registry.get("/api/models/radboud/absent", headers={"X-Amzn-Trace-Id": "trace-1"})
    assert answer.header("x-request-id") == "trace-1"
    line = wait_for_line(house, '"trace-1"')
    assert (line["path"], line["id"]) == ("/api/models/radboud/absent", "trace-1")
    with pytest.raises(RepositoryNotFoundError) as caught:
        api.model_info("radboud/absent")
    assert caught.value.request_id and caught.value.request_id in str(caught.value)


def wait_for_line(house: House, text: str) -> dict[str, Any]:
    """The log's line with this text; it is written just after the answer went."""
    for _ in range(200):
        for line in house.registry.log.read_text().splitlines():
            if text in line:
                found: dict[str, Any] = json.loads(line)
                return found
        time.sleep(0.05)
    raise AssertionError(text)


def test_a_fault_of_the_registry_has_an_id_too(house: House) -> None:
    with house.registry.opened() as registry:
        broken = app.build(registry)
        del broken.state.pace  # what no client can do
        status, headers, body = asyncio.run(ask_in_process(broken, "/api/models"))
    assert status == 500 and json.loads(body)["rule"] == "fault"
    assert re.fullmatch("[0-9a-f-]{36}", headers["x-request-id"]) and headers["x-frame-options"] == "DENY"


async def ask_in_process(application: Starlette, path: str) -> tuple[int, dict[str, str], bytes]:
    """A GET without a server: status, headers and body."""
    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
        "scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "http_version": "1.1",
    }  # fmt: skip
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await application(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("sent", [b"", b"x" * 101, b"a b", b"a\tb", b"<x>", b"\xff", b'"', b"-x"])
def test_an_odd_id_is_not_repeated(sent: bytes) -> None:
    assert re.fullmatch("[0-9a-f-]{36}", request_ids.choose({b"x-request-id": sent}))
    assert request_ids.choose({b"x-request-id": sent, b"x-amzn-trace-id": b"good"}) == "good"
