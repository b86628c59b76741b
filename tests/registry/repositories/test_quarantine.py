"""A release in quarantine on every route: absent for all but publishers, approvers and admins; then shown again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from starlette.routing import Route

from embhub.release.files import EMBEDDING
from embhub_registry.app import ROUTES
from tests.support import pushes, releases, reviews
from tests.support.people import Person
from tests.support.quick import quick
from tests.support.reviews import NAME, Reviewed
from tests.support.servers import Answer
from tests.support.statics import contents, publish

OUTSIDE, INSIDE = ("anonymous", "rita", "lea", "nora"), ("alice", "olga", "admin")
REASON = "Suspected copy of a scan"
TITLE = "Wolpertinger"
READERS = [
    "/", "/?q=wolpertinger", "/?sort=created", "/feed.atom", "/radboud", f"/{NAME}", f"/{NAME}?format=json",
    f"/{NAME}/tree/main", f"/compare?with={NAME}&with={NAME}@1.0.0", "/trust/advisories", "/embhub/v1/advisories",
    "/embhub/v1/advisories.atom", "/api/models?full=true", "/api/models?search=wolpertinger&full=true",
    f"/api/models/{NAME}?blobs=true", f"/api/models/{NAME}/tree/main?recursive=true&expand=true",
    f"/api/models/{NAME}/refs", f"/api/models/{NAME}/commits/main", f"/{NAME}/resolve/main/{EMBEDDING}",
    f"/{NAME}/resolve/main/README.md",
]  # fmt: skip
GIVEN = [  # every address that takes a revision
    route.path for route in ROUTES
    if isinstance(route, Route) and "{namespace}/{name}" in route.path and "{revision}" in route.path
    and (route.methods is None or "GET" in route.methods)
]  # fmt: skip


class Quarantined(NamedTuple):
    """1.0.0 is shown; 1.1.0 and 1.1.1 have the same embedding and are set aside. `marks` are in nothing but them."""

    house: Reviewed
    commits: tuple[str, str]
    digest: str
    marks: tuple[bytes, ...]
    warm: dict[str, Answer]


def token_of(house: Reviewed, who: str) -> str | None:
    return house.registry.admin if who == "admin" else None if who == "anonymous" else str(getattr(house, who))


def read(house: Reviewed, who: str, path: str, method: str = "GET", **headers: str) -> Answer:
    wanted = {"Accept": "text/html", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return house.registry.request(method, path, token=token_of(house, who), headers=wanted)


def push(house: Reviewed, version: str, **changes: object) -> str:
    """A release of its own description; returns its commit."""
    seed = int(version.split(".")[1])
    made = reviews.version(seed, version=version, description=f"{TITLE} of series {version}.", **changes)
    answer = pushes.commit(house.registry, NAME, made.files, token=house.alice, title=f"{TITLE} {version}")
    assert answer.status == 200, answer.body
    return str(answer.json()["commitOid"])


@pytest.fixture(scope="module")
def aside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quarantined]:
    with reviews.reviewed_registry(tmp_path_factory.mktemp("quarantine")) as house:
        house.registry.run("curate", "review", "set", "radboud", "--approvals", "0")
        commits = push(house, "1.1.0"), push(house, "1.1.1")
        house.registry.request(
            "POST", f"/api/models/{NAME}/tag/1.1.1", token=house.alice, json_body={"tag": "beta"}
        )  # fmt: skip
        digest = hashlib.sha256(reviews.version(1).files[EMBEDDING]).hexdigest()
        marks = (TITLE.encode(), digest.encode(), *(commit.encode() for commit in commits))
        warm = {path: read(house, "anonymous", path) for path in READERS for _ in range(2)}  # caches hold it
        assert all(any(mark in answer.body for mark in marks) for path, answer in warm.items() if "api" in path)
        done = house.registry.ask("curate", "quarantine", "set", NAME, "--version", "1.1.0", "--reason", REASON)
        assert {row["revision"] for row in done["quarantined"]} == set(commits) and done["also_held_by"] == []
        yield Quarantined(house, commits, digest, marks, warm)


@pytest.mark.parametrize("who", quick(["anonymous", "nora"], thorough=["rita", "lea"]))
def test_nothing_of_it_is_in_any_answer(aside: Quarantined, who: str) -> None:
    for path in READERS:
        answer = read(aside.house, who, path)
        body = answer.body.replace(b"q=wolpertinger", b"").replace(b'value="wolpertinger"', b"")
        assert not any(mark in body for mark in aside.marks), path
        assert answer.status in (200, 307) and b"1.1.1" not in answer.body, path
        etag = aside.warm[path].header("etag")
        if who == "anonymous" and etag is not None:  # a copy that somebody kept is not confirmed
            assert read(aside.house, who, path, If_None_Match=etag).status == 200, path


@pytest.mark.parametrize("who", quick(["anonymous", "nora"], thorough=["rita", "lea"]))
def test_by_commit_version_tag_or_digits_it_is_not_served(aside: Quarantined, who: str) -> None:
    assert len(GIVEN) > 6
    for route in GIVEN:
        for which in (*aside.commits, "1.1.0", "1.1.1", "beta", aside.commits[0][:12]):
            path = route.replace(":path}", "}").format(namespace="radboud", name=NAME.partition("/")[2],
                                                       revision=which, path=EMBEDDING)  # fmt: skip
            for method in ("GET", "HEAD"):
                answer = read(aside.house, who, path, method)
                assert answer.status == 404, (who, method, path)
                assert REASON.encode() not in answer.body
    body = {"paths": [EMBEDDING]}
    asked = aside.house.registry.request(
        "POST", f"/api/models/{NAME}/paths-info/1.1.0", token=token_of(aside.house, who), json_body=body
    )  # fmt: skip
    assert asked.status == 404 and asked.header("x-error-code") == "RevisionNotFound"
    assert read(aside.house, who, f"/embhub/v1/audits/{aside.digest}").json()["audits"] == []
    assert read(aside.house, who, f"/compare?with={NAME}&with={NAME}@1.1.0").status == 404


@pytest.mark.parametrize("who", INSIDE)
def test_publishers_approvers_and_admins_see_it_and_no_cache_keeps_it(aside: Quarantined, who: str) -> None:
    house = aside.house
    for which in (*aside.commits, "1.1.0", "beta"):
        answer = read(house, who, f"/{NAME}/resolve/{which}/{EMBEDDING}")
        assert hashlib.sha256(answer.body).hexdigest() == aside.digest
        assert str(answer.header("cache-control")) in ("private, max-age=0", "no-cache")
    assert b"In quarantine" in (page := read(house, who, f"/{NAME}/commit/{aside.commits[0]}").body)
    assert REASON.encode() in page and REASON.encode() in read(house, who, f"/{NAME}").body
    assert aside.commits[1] in json.dumps(read(house, who, f"/api/models/{NAME}/refs").json())
    assert read(house, who, f"/embhub/v1/audits/{aside.digest}").json()["audits"]
    # what they were told is told to nobody who sends another token
    for other in OUTSIDE:
        for path in (f"/{NAME}/resolve/{aside.commits[0]}/{EMBEDDING}", f"/api/models/{NAME}/revision/1.1.0"):
            read(house, who, path)
            assert read(house, other, path).status == 404
        assert REASON.encode() not in read(house, other, f"/{NAME}").body


def test_the_newest_release_that_is_left_is_main_and_copies_are_told(aside: Quarantined) -> None:
    house = aside.house
    assert read(house, "anonymous", f"/{NAME}/resolve/main/{EMBEDDING}").body == reviews.version(0).files[EMBEDDING]
    assert read(house, "anonymous", f"/{NAME}?format=json").json()["version"] == "1.0.0"
    standing = read(house, "anonymous", f"/embhub/v1/status/{NAME}").json()
    assert {row["revision"] for row in standing["quarantined"]} == set(aside.commits) and standing["yanked"] == []
    assert REASON not in json.dumps(standing)
    gone = read(house, "anonymous", f"/api/models/{NAME}/revision/1.1.0", Accept="application/json")
    assert b"not withdrawn" in gone.body and gone.header("x-error-code") == "RevisionNotFound"


def test_no_export_holds_it(aside: Quarantined, tmp_path: Path) -> None:
    aside.house.registry.run("export", "--static", tmp_path / "export")
    held = contents(tmp_path / "export")
    assert any(path.endswith(EMBEDDING) for path in held)
    for path, data in held.items():
        assert hashlib.sha256(data).hexdigest() != aside.digest, path
        assert not any(mark in data or mark.decode() in path for mark in aside.marks), path


def test_nobody_publishes_the_same_bytes_meanwhile(aside: Quarantined) -> None:
    house = aside.house
    for name, version in ((NAME, "1.3.0"), ("radboud/copy", "1.0.0")):
        pushes.create(house.registry, name.partition("/")[2], token=house.alice)
        artifact = releases.make_embedding(seed=1)
        made = releases.make_release(artifact=artifact, repository=name, name=name.partition("/")[2], version=version)
        refused = pushes.commit(house.registry, name, made.files, token=house.alice)
        assert refused.status == 422 and refused.json()["rule"] == "quarantined", refused.body


def test_a_newer_release_follows_and_the_one_before_stays_where_it_is(aside: Quarantined) -> None:
    house = aside.house
    newer = push(house, "1.2.0")
    lifted = house.registry.ask("curate", "quarantine", "lift", NAME, "--version", "1.1.1")
    assert lifted["main"] == newer and lifted["quarantined"] == []
    shown = read(house, "anonymous", f"/{NAME}/resolve/1.1.1/{EMBEDDING}")
    assert hashlib.sha256(shown.body).hexdigest() == aside.digest
    assert not house.registry.ask("curate", "quarantine", "list")["quarantined"]


def test_the_history_passes_over_it(aside: Quarantined) -> None:
    house = aside.house
    middle, newest = push(house, "1.4.0"), push(house, "1.5.0")
    done = house.registry.ask("curate", "quarantine", "set", NAME, "--revision", middle, "--reason", REASON)
    assert done["main"] == newest, "a release before the newest"
    tree = read(house, "anonymous", f"/api/models/{NAME}/tree/main?recursive=true&expand=true").json()
    assert middle not in {row["lastCommit"]["id"] for row in tree}
    listed, totals, path = [], [], f"/api/models/{NAME}/commits/main?limit=1"
    while path:
        page = read(house, "anonymous", path)
        totals.append(page.header("x-total-count"))
        listed += [row["id"] for row in page.json()]
        link = page.header("link")
        path = link.partition("<")[2].partition(">")[0].removeprefix(house.registry.url) if link else ""
    whole = [row["id"] for row in read(house, "alice", f"/api/models/{NAME}/commits/main").json()]
    assert middle in whole and listed == [commit for commit in whole if commit != middle]
    assert totals == [str(number) for number in range(len(listed), 0, -1)], "nor is it counted"
    assert middle.encode() not in read(house, "anonymous", f"/{NAME}").body
    house.registry.run("curate", "quarantine", "lift", NAME, "--revision", middle)


def test_main_returns_through_two_at_a_time(aside: Quarantined) -> None:
    house = aside.house
    ask, head = house.registry.ask, read(house, "anonymous", f"/api/models/{NAME}").json()["sha"]
    ask("curate", "quarantine", "set", NAME, "--version", "1.5.0", "--reason", REASON)
    second = ask("curate", "quarantine", "set", NAME, "--reason", REASON)
    assert second["version"] == "1.4.0" and len(second["quarantined"]) == 2
    assert read(house, "anonymous", f"/{NAME}?format=json").json()["version"] == "1.2.0"
    assert ask("curate", "quarantine", "lift", NAME, "--version", "1.5.0")["main"] == head
    assert ask("curate", "quarantine", "lift", NAME, "--version", "1.4.0")["main"] == head
    again = house.registry.run("curate", "quarantine", "lift", NAME, "--version", "1.4.0", check=False)
    assert again.returncode != 0 and "not set aside" in again.stderr


def test_main_is_not_moved_to_it_and_a_yank_of_it_is_published(aside: Quarantined) -> None:
    house = aside.house
    commit = read(house, "anonymous", f"/api/models/{NAME}/revision/1.2.0").json()["sha"]
    house.registry.run("curate", "quarantine", "set", NAME, "--version", "1.2.0", "--reason", REASON)
    moved = house.registry.run("repo", "main", NAME, "--to", commit, "--reason", "x", check=False)
    assert moved.returncode != 0 and "set aside" in moved.stderr
    before = read(house, "anonymous", "/embhub/v1/advisories").body
    house.registry.run("curate", "yank", NAME, "--version", "1.2.0", "--reason", "a patient was recognised")
    assert read(house, "anonymous", "/embhub/v1/advisories").body != before
    assert read(house, "anonymous", f"/{NAME}/resolve/{commit}/{EMBEDDING}").status == 404
    house.registry.run("curate", "quarantine", "lift", NAME, "--version", "1.2.0")
    assert read(house, "anonymous", f"/{NAME}/resolve/{commit}/{EMBEDDING}").status == 200


def test_a_repository_whose_only_release_is_set_aside_looks_empty(aside: Quarantined) -> None:
    house = aside.house
    publish(house.registry, "breast-mass", token=house.alice, seed=40)
    name, listed = "radboud/breast-mass", b"breast-mass"
    assert listed in read(house, "anonymous", "/").body
    house.registry.run("curate", "quarantine", "set", name, "--reason", REASON)
    assert b"Nothing published yet" in read(house, "anonymous", f"/{name}").body
    assert listed not in read(house, "anonymous", "/").body
    assert read(house, "anonymous", f"/{name}/resolve/main/{EMBEDDING}").status == 404
    house.registry.run("curate", "quarantine", "lift", name, "--version", "1.0.0")
    assert listed in read(house, "anonymous", "/").body
    assert read(house, "anonymous", f"/{name}/resolve/main/{EMBEDDING}").status == 200


def test_an_admin_does_both_in_the_page_and_the_audit_log_has_it(aside: Quarantined) -> None:
    house, here = aside.house, f"/account/quarantine?repository={NAME}"
    for user in ("alice", "olga"):
        person = Person(house.registry)
        person.use_link(user)
        assert "/account/quarantine" not in person.open(f"/{NAME}")
        person.open(here, status=403)
    admin = Person(house.registry)
    admin.use_link("admin")
    assert f'href="{here}"' in admin.open(f"/{NAME}")
    admin.open(here)
    admin.press(here, change="set", version="1.5.0", reason="What <is> this")
    assert "What <is> this" in admin.text() and "<is>" not in admin.page
    assert read(house, "anonymous", f"/{NAME}?format=json").json()["version"] == "1.4.0"
    admin.open(here)
    revision = read(house, "admin", f"/embhub/v1/status/{NAME}").json()["quarantined"][0]["revision"]
    admin.press(here, change="lift", revision=revision)
    assert read(house, "anonymous", f"/{NAME}?format=json").json()["version"] == "1.5.0"
    told = [line for line in house.events() if line["event"] in ("quarantined", "quarantine-lifted")][-2:]
    assert [(line["event"], line["actor"], line["version"]) for line in told] == [
        ("quarantined", "admin", "1.5.0"), ("quarantine-lifted", "admin", "1.5.0"),
    ]  # fmt: skip
    assert told[0]["reason"] == "What <is> this"
