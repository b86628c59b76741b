"""What a new repository is to others: the registry's default, or what was asked for; and who may hide a release."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from embhub_registry.storage import configuration
from tests.support import pushes, releases
from tests.support.servers import Answer, RunningRegistry, run_here, running_registry

STATED: dict[str, tuple[dict[str, Any], str]] = {
    "private": ({"private": True}, "private"),
    "open": ({"private": False}, "public"),
    "public": ({"visibility": "public"}, "public"),
    "hidden": ({"visibility": "private"}, "private"),
    "gated": ({"gated": "manual"}, "gated"),
    "ungated": ({"gated": False}, "public"),
    "both": ({"gated": "auto", "private": True}, "private"),
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("visibility")) as running:
        running.add_key(releases.SITE, namespace="radboud")
        yield running


@pytest.fixture(scope="module")
def alice(registry: RunningRegistry) -> str:
    return registry.add_user("alice", namespace="radboud")


def visibility(registry: RunningRegistry, name: str) -> str:
    """As an admin sees it."""
    info = registry.get(f"/api/models/{name}", token=registry.admin).json()
    return "private" if info["private"] else "gated" if info["gated"] else "public"


def events(registry: RunningRegistry, event: str, name: str) -> list[dict[str, Any]]:
    rows = map(json.loads, (registry.folder / "audit.jsonl").read_text().splitlines())
    return [row for row in rows if row["event"] == event and row.get("repository") == name]


@pytest.mark.parametrize("default", ["public", "private", "gated"])
def test_the_default_holds_where_nobody_states_a_visibility(
    registry: RunningRegistry, alice: str, default: str
) -> None:
    with registry.opened() as opened:
        configuration.write(opened, "repositories.default", default)
    unstated = f"radboud/{default}-unstated"
    HfApi(endpoint=registry.url, token=alice).create_repo(unstated)
    assert visibility(registry, unstated) == default
    (logged,) = events(registry, "repository-created", unstated)
    assert (logged["private"], logged["gated"]) == (default == "private", "manual" if default == "gated" else None)
    assert registry.get(f"/api/models/{unstated}").status == (404 if default == "private" else 200)
    for word, (body, expected) in STATED.items():
        name = f"{default}-{word}"
        made = registry.request("POST", "/api/repos/create", token=alice, json_body={"name": name, **body})
        assert made.status == 200 and visibility(registry, f"radboud/{name}") == expected, word
        assert made.json()["private"] == (expected == "private")
        assert bool(made.json()["gated"]) == ("gated" in body and bool(body["gated"]))


@pytest.mark.parametrize("value", ["", "secret", "Public", "no"])
def test_a_default_that_is_none(registry: RunningRegistry, value: str) -> None:
    done = registry.run("setting", "set", "repositories.default", value, check=False)
    assert done.returncode == 2 and "public, private or gated" in done.stderr and "Traceback" not in done.stderr


def test_a_registry_that_is_closed_from_its_first_moment(tmp_path: Path) -> None:
    said = json.loads(run_here("--dir", tmp_path / "hub", "init", "--closed", "--json").stdout)
    rows = json.loads(run_here("--dir", tmp_path / "hub", "setting", "show", "--json").stdout)["settings"]
    chosen = {row["name"]: row["value"] for row in rows if row["chosen"]}
    assert chosen == {"read.anonymous": "no", "repositories.default": "private"} and said["closed"] is True
    first = json.loads((tmp_path / "hub/audit.jsonl").read_text().splitlines()[0])
    assert first["event"] == "init" and first["closed"] is True


def test_without_closed_nothing_is_chosen(tmp_path: Path) -> None:
    run_here("--dir", tmp_path / "hub", "init")
    rows = json.loads(run_here("--dir", tmp_path / "hub", "setting", "show", "--json").stdout)["settings"]
    assert not [row for row in rows if row["chosen"]]
    assert {row["name"]: row["value"] for row in rows}["read.anonymous"] == "yes"


def put(registry: RunningRegistry, name: str, token: str, **body: Any) -> Answer:
    return registry.request("PUT", f"/api/models/{name}/settings", token=token, json_body=body)


@pytest.fixture
def released(registry: RunningRegistry, alice: str, request: pytest.FixtureRequest) -> str:
    """A public repository with a release that other sites may rely on."""
    name = f"radboud/r-{abs(hash(request.node.name)) % 10**6}"
    body = {"name": name.partition("/")[2], "private": False}
    assert registry.request("POST", "/api/repos/create", token=alice, json_body=body).status == 200
    files = dict(releases.make_release(repository=name, audited=False).files)
    assert pushes.commit(registry, name, files, token=alice).status == 200
    return name


@pytest.mark.parametrize(
    "wanted", [{"gated": "manual"}, {"gated": "auto"}, {"private": True}, {"visibility": "private"}], ids=str
)
def test_what_others_rely_on_is_hidden_or_gated_by_the_operator_alone(
    registry: RunningRegistry, alice: str, released: str, wanted: dict[str, Any]
) -> None:
    refused = put(registry, released, alice, **wanted)
    assert refused.status == 403 and "rely" in refused.json()["remedy"] and "operator" in refused.json()["remedy"]
    assert visibility(registry, released) == "public" and not events(registry, "settings", released)
    assert put(registry, released, registry.admin, **wanted).status == 200
    assert visibility(registry, released) == ("gated" if "gated" in wanted else "private")
    (logged,) = events(registry, "settings", released)
    assert logged["user"] == "admin" and logged["before"] == {"private": False, "gated": None, "disabled": False}


def test_a_publisher_opens_again_and_changes_the_kind_of_gate(
    registry: RunningRegistry, alice: str, released: str
) -> None:
    assert put(registry, released, registry.admin, gated="manual").status == 200
    assert put(registry, released, alice, gated="auto").status == 200
    assert put(registry, released, alice, gated="manual").status == 200, "who is in stays in"
    assert put(registry, released, alice, gated=False).status == 200
    assert put(registry, released, alice, gated="auto").status == 403
    assert put(registry, released, registry.admin, private=True).status == 200
    assert put(registry, released, alice, gated="manual", private=False).status == 200, "fewer than before lose nothing"


def test_before_the_first_release_it_is_the_publishers_to_choose(registry: RunningRegistry, alice: str) -> None:
    body = {"name": "draft", "private": False}
    assert registry.request("POST", "/api/repos/create", token=alice, json_body=body).status == 200
    for wanted in ({"gated": "manual"}, {"gated": False}, {"private": True}, {"private": False}):
        assert put(registry, "radboud/draft", alice, **wanted).status == 200


def test_the_operators_command_gates_and_opens_and_is_in_the_audit_log(
    registry: RunningRegistry, alice: str, released: str
) -> None:
    for word in ("gated", "private", "public"):
        registry.ask("repo", "visibility", released, word)
        assert visibility(registry, released) == word
        assert word in registry.run("repo", "list").stdout
    assert [row["user"] for row in events(registry, "settings", released)] == ["operator"] * 3
    for words in (("absent/x", "gated"), (released, "secret"), ("noslash", "gated")):
        done = registry.run("repo", "visibility", *words, check=False)
        assert done.returncode in (2, 5) and "Traceback" not in done.stderr
