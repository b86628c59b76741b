"""What was published is taken back with a reason; what is deleted leaves a tombstone and no bytes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from embhub.release.files import EMBEDDING
from embhub_registry.operation.backups import checking
from embhub_registry.repositories import deletion
from embhub_registry.storage import configuration
from tests.registry.conftest import House
from tests.support import pushes, releases, stored_objects
from tests.support.servers import Answer


def release(house: House, name: str, **changes: Any) -> str:
    """A repository of radboud's with one release; returns its commit."""
    if house.registry.get(f"/api/models/radboud/{name}").status == 404:
        assert pushes.create(house.registry, name, token=house.alice).status == 200
    files = dict(releases.make_release(repository=f"radboud/{name}", **changes).files)
    sent = pushes.commit(house.registry, f"radboud/{name}", files, token=house.alice)
    assert sent.status == 200, sent.body
    return str(sent.json()["commitOid"])


def yank(house: House, name: str, token: str | None, method: str = "POST", **body: Any) -> Answer:
    return house.registry.request(method, f"/embhub/v1/yank/radboud/{name}", token=token, json_body=body)


def status(house: House, name: str, token: str | None = None) -> Answer:
    return house.registry.get(f"/embhub/v1/status/radboud/{name}", token=token)


def listed(house: House, name: str) -> bool:
    found = house.registry.get(f"/api/models?search={name}").json()
    return f"radboud/{name}" in [row["id"] for row in found]


def test_a_yanked_release_is_hidden_and_says_why(house: House) -> None:
    commit = release(house, "taken")
    assert listed(house, "taken")
    assert status(house, "taken").json() == {
        "repository": "radboud/taken",
        "yanked": [],
        "quarantined": [],
        "tombstone": None,
    }
    done = yank(house, "taken", house.alice, reason="the labels\nof one centre were swapped")
    assert done.status == 200
    found = status(house, "taken").json()
    assert done.json() == found
    (row,) = found["yanked"]
    assert row["revision"] == commit and row["version"] == "1.0.0" and row["date"].endswith("Z")
    assert row["reason"] == "the labels of one centre were swapped"
    assert not listed(house, "taken")
    assert house.registry.get(f"/radboud/taken/resolve/{commit}/{EMBEDDING}").status == 200, "its bytes stay"
    assert house.registry.get("/api/models/radboud/taken").json()["embhub"]["yanked"]["reason"] == row["reason"]
    again = yank(house, "taken", house.alice, "DELETE", version="1.0.0")
    assert again.status == 200 and again.json()["yanked"] == [] and listed(house, "taken")
    assert yank(house, "taken", house.alice, "DELETE", version="1.0.0").status == 404


def test_a_newer_release_is_listed_again_and_an_older_one_stays_yanked(house: House) -> None:
    first = release(house, "moves")
    assert yank(house, "moves", house.alice, revision=first, reason="wrong base").status == 200
    assert not listed(house, "moves")
    release(house, "moves", version="1.1.0")
    assert listed(house, "moves")
    assert [row["revision"] for row in status(house, "moves").json()["yanked"]] == [first]


def test_who_may_yank(house: House) -> None:
    release(house, "guarded")
    approver = house.registry.add_user("ada", namespace="radboud", role="approver")
    reader = house.registry.add_user("rob", namespace="radboud", role="reader")
    for token, expected in ((None, 401), (reader, 403), (house.lea, 403), (house.nora, 403), (approver, 200)):
        assert yank(house, "guarded", token, reason="x").status == expected
    wrong: tuple[tuple[dict[str, Any], int], ...] = (
        ({}, 400),
        ({"reason": " "}, 400),
        ({"reason": "x" * 501}, 400),
        ({"reason": "x", "version": "9.9.9"}, 404),
        ({"reason": "x", "revision": "0" * 40}, 404),
        ({"reason": "x", "revision": "main"}, 404),
        ({"reason": "x", "version": "1.0.0", "revision": "0" * 40}, 400),
        ({"reason": 7}, 400),
    )
    for body, expected in wrong:
        assert yank(house, "guarded", house.alice, **body).status == expected, body


def test_the_operator_yanks_by_command(house: House) -> None:
    release(house, "byhand")
    done = house.registry.ask("curate", "yank", "radboud/byhand", "--reason", "asked by the ethics board")
    assert [row["version"] for row in done["yanked"]] == ["1.0.0"] and not listed(house, "byhand")
    rows = {row["repository"]: row for row in house.registry.ask("repo", "list")["repositories"]}
    assert rows["radboud/byhand"]["state"] == "yanked"
    assert house.registry.ask("curate", "unyank", "radboud/byhand")["yanked"] == [] and listed(house, "byhand")
    refused = house.registry.run("curate", "yank", "radboud/nothing", "--reason", "x", check=False)
    assert refused.returncode != 0 and "not found" in refused.stderr and "Traceback" not in refused.stderr


def test_a_private_repositorys_fate_is_its_own(house: House) -> None:
    body = {"name": "secret", "type": "model", "private": True}
    assert house.registry.request("POST", "/api/repos/create", token=house.alice, json_body=body).status == 200
    assert status(house, "secret").status == 404 and status(house, "secret", house.lea).status == 404
    assert status(house, "secret", house.alice).status == 200 and status(house, "nowhere").status == 404


def test_a_deleted_repository_leaves_a_tombstone_and_no_bytes(house: House) -> None:
    release(house, "gone")
    body = {"name": "gone", "organization": "radboud"}
    refused = house.registry.request("DELETE", "/api/repos/delete", token=house.alice, json_body=body)
    assert refused.status == 403 and "yank" in refused.json()["remedy"]
    with house.registry.opened() as opened:
        held = set(opened.blobs.stored())
    deleted = house.registry.ask(
        "repo", "delete", "radboud/gone", "--scope", "release", "--reason", "a patient withdrew consent"
    )
    assert deleted["releases"] == ["1.0.0"] and deleted["purged"] is None, "a server runs: the bytes are its to remove"
    answer = house.registry.get("/api/models/radboud/gone")
    assert answer.status == 410 and answer.header("X-Error-Code") == "RepoNotFound"
    assert (
        "consent" in answer.json()["error"]
        and house.registry.get(f"/radboud/gone/resolve/main/{EMBEDDING}").status == 410
    )
    assert status(house, "gone").json()["tombstone"]["reason"] == "a patient withdrew consent"
    for name in ("gone", "GONE"):
        again = pushes.create(house.registry, name, token=house.alice)
        assert again.status == 410 and "free" in again.json()["remedy"]
    deadline = time.monotonic() + 30
    with house.registry.opened() as opened:
        db = opened.database.connection()
        while db.execute("SELECT count(*) FROM purge WHERE purged IS NULL").fetchone()[0]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        gone = {row[0] for row in db.execute("SELECT digest FROM purge WHERE repository = 'radboud/gone'")}
        assert gone and gone <= held and not gone & set(opened.blobs.stored())
        report = checking.check(opened)
        assert report.clean and report.purged >= len(gone)
        stored_objects.write_over(opened.blobs, next(iter(gone)), b"somebody brought it back")
        assert any("deleted with radboud/gone and still there" in line for line in checking.check(opened).orphaned)
        opened.blobs.delete(next(iter(gone)))
    assert house.registry.ask("repo", "free", "radboud/gone") == {"repository": "radboud/gone"}
    assert pushes.create(house.registry, "gone", token=house.alice).status == 200
    release(house, "gone")  # the same bytes, published anew
    with house.registry.opened() as opened:
        assert checking.check(opened).clean


def test_huggingface_hub_takes_a_deleted_repository_for_none(house: House) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    release(house, "lost")
    house.registry.ask("repo", "delete", "radboud/lost", "--scope", "release", "--reason", "wrong images")
    api = HfApi(endpoint=house.registry.url, token=house.alice)
    assert not api.repo_exists("radboud/lost")
    with pytest.raises(RepositoryNotFoundError, match="wrong images"):
        api.model_info("radboud/lost")


def test_bytes_may_be_kept_for_a_while(house: House) -> None:
    release(house, "kept")
    with house.registry.opened() as opened:
        configuration.write(opened, "retention.deleted_days", "30")
        deletion.delete_as_operator(opened, "radboud/kept", reason="under dispute", scope="release")
        deletion.purge(opened)  # what other tests deleted goes, this does not
        rows = opened.database.connection().execute("SELECT digest FROM purge WHERE repository = 'radboud/kept'")
        kept = {row[0] for row in rows}
        assert kept and kept <= set(opened.blobs.stored())
        assert checking.check(opened).clean, "kept bytes are no orphans"
        configuration.write(opened, "retention.deleted_days", "0")


def test_what_was_never_released_goes_without_a_trace(house: House) -> None:
    assert pushes.create(house.registry, "draft", token=house.alice).status == 200
    body = {"name": "draft", "organization": "radboud"}
    assert house.registry.request("DELETE", "/api/repos/delete", token=house.alice, json_body=body).status == 200
    assert house.registry.get("/api/models/radboud/draft").status == 404
    assert pushes.create(house.registry, "draft", token=house.alice).status == 200


def test_the_log_tells_of_all_this(house: House) -> None:
    release(house, "told")
    yank(house, "told", house.alice, reason="x"), yank(house, "told", house.alice, "DELETE")
    house.registry.ask("repo", "delete", "radboud/told", "--scope", "release", "--reason", "x")
    house.registry.ask("repo", "free", "radboud/told")
    lines = [json.loads(line) for line in house.registry.run("audit", "export").stdout.splitlines()]
    events = {line["event"] for line in lines}
    assert {"yanked", "unyanked", "repository-deleted", "name-freed"} <= events
    assert house.registry.ask("audit", "verify")["whole"]
