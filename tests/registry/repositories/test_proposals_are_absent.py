"""A proposed release is absent for every reader but the approvers of its namespace and who proposed it.

What every reader got before the proposal is compared byte by byte with what they get after it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from embhub.release.files import EMBEDDING, Release
from tests.support import reviews
from tests.support.people import Person
from tests.support.reviews import NAME, Reviewed
from tests.support.servers import Answer

CHECKPOINT = "/log/checkpoint"
OTHERS = ("anonymous", "paul", "rita", "lea", "nora", "admin", "olga", "alice")
READERS = [
    "/", "/?q=wombatstone", "/?sort=created", "/feed.atom", "/feed.atom?q=wombatstone", "/radboud", f"/{NAME}",
    f"/{NAME}/tree/main", f"/compare?with={NAME}&with={NAME}@1.0.0", f"/{NAME}?format=json", "/trust/advisories",
    "/api/models", "/api/models?search=wombatstone&full=true", "/api/models?author=radboud&full=true",
    "/api/models-tags-by-type", f"/api/models/{NAME}", f"/api/models/{NAME}?blobs=true",
    f"/api/models/{NAME}/tree/main?recursive=true", f"/api/models/{NAME}/refs", f"/api/models/{NAME}/commits/main",
    f"/{NAME}/resolve/main/{EMBEDDING}", f"/{NAME}/resolve/main/README.md", f"/embhub/v1/status/{NAME}",
    "/embhub/v1/advisories", "/embhub/v1/advisories.atom", CHECKPOINT,
]  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    with reviews.reviewed_registry(tmp_path_factory.mktemp("absent")) as made:
        yield made


def token_of(house: Reviewed, who: str) -> str | None:
    return house.registry.admin if who == "admin" else None if who == "anonymous" else str(getattr(house, who))


def read(house: Reviewed, who: str, path: str, method: str = "GET", accept: str = "*/*") -> Answer:
    return house.registry.request(method, path, token=token_of(house, who), headers={"Accept": accept})


def shown(answer: Answer) -> tuple[int, str, str | None, bytes]:
    """All of an answer but when a page's release was checked, and counted downloads."""
    body = re.sub(rb"checked (just now|\d+ minutes? ago)", b"", answer.body)
    body = re.sub(rb"verified it at [0-9: -]+ UTC|\"at\": ?\"[^\"]+\"", b"", body)
    body = re.sub(rb"\d+ downloads?|\"downloads(AllTime)?\": ?\d+", b"", body)  # these readers download
    if b"<entry>" not in body:
        body = re.sub(rb"<updated>[^<]+</updated>", b"", body)  # an empty feed is of now
    return answer.status, str(answer.header("x-repo-commit")), answer.header("etag"), body


def everything(house: Reviewed) -> dict[tuple[str, str, str], tuple[int, str, str | None, bytes]]:
    found = {}
    for who in ("anonymous", "paul", "lea", "admin", "olga"):
        ways = (("GET", "text/html"), ("GET", "application/json"), ("HEAD", "*/*"))
        for path in READERS:
            for method, accept in ways if who == "anonymous" else ways[:1]:
                found[who, f"{method} {path}", accept] = shown(read(house, who, path, method, accept))
    return found


@pytest.fixture(scope="module")
def proposed(house: Reviewed) -> tuple[dict[str, object], Release, dict[str, object], dict[str, object]]:
    """The proposal, and what everybody read before it and after it."""
    before, release = everything(house), reviews.version(1)
    made = house.propose(release)
    return made, release, dict(before), dict(everything(house))  # type: ignore[arg-type]


def test_every_reader_reads_what_it_read_before(proposed: tuple[object, ...]) -> None:
    _, _, before, after = proposed
    assert isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys()
    changed = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
    assert not changed, next(iter(changed.items()))
    assert sum(answer[0] == 200 for answer in after.values()) > 150, "the readers answer"


@pytest.mark.parametrize("who", OTHERS)
def test_by_the_proposals_id_its_version_and_digests_nothing_is_found(
    house: Reviewed, proposed: tuple[dict[str, str], Release, object, object], who: str
) -> None:
    made, release, *_ = proposed
    oids = [hashlib.sha256(release.files[EMBEDDING]).hexdigest(), made["digest"], made["id"], made["id"][:10], "1.1.0"]
    for which in oids:
        for path in (
            f"/{NAME}/resolve/{which}/{EMBEDDING}", f"/{NAME}/commit/{which}", f"/{NAME}/tree/{which}",
            f"/{NAME}/audit/{which}", f"/api/models/{NAME}/revision/{which}", f"/api/models/{NAME}/tree/{which}",
            f"/api/models/{NAME}/commits/{which}", f"/compare?with={NAME}&with={NAME}@{which}",
            f"/{NAME}/resolve/main/{which}",
        ):  # fmt: skip
            for method in ("GET", "HEAD"):
                assert read(house, who, path, method).status in (400, 404), (who, method, path)
    assert read(house, who, f"/embhub/v1/audits/{oids[0]}").json()["audits"] == []
    assert read(house, who, f"/embhub/v1/designs/{oids[0]}").json()["designs"] == []


@pytest.mark.parametrize("who", ["anonymous", "paul", "rita", "lea", "nora", "admin"])
def test_who_is_no_approver_and_did_not_propose_it_finds_no_proposal(
    house: Reviewed, proposed: tuple[dict[str, str], Release, object, object], who: str
) -> None:
    made, token = proposed[0], token_of(house, who)
    absent = 401 if token is None else 404
    real = house.ask(token, f"/{made['id']}")
    guessed = house.ask(token, f"/{'0' * 40}")
    assert real.status == guessed.status == absent
    assert real.body.replace(made["id"].encode(), b"") == guessed.body.replace(b"0" * 40, b"")
    assert house.ask(token, f"/{made['id']}/files/{EMBEDDING}").status == absent
    for answer in (
        {"answer": "approve", "digest": made["digest"], "not_before": None},
        {"answer": "decline", "reason": "x"},
    ):
        assert house.answer(token, made["id"], **answer).status == absent
    if token is not None:
        assert house.ask(token).json() == {"proposals": []}


@pytest.mark.parametrize("who", ["olga", "alice"])
def test_approvers_and_who_proposed_it_see_it_with_its_files(
    house: Reviewed, proposed: tuple[dict[str, str], Release, object, object], who: str
) -> None:
    made, release, token = proposed[0], proposed[1], token_of(house, who)
    seen = house.ask(token, f"/{made['id']}")
    assert seen.status == 200 and "no-store" in str(seen.header("cache-control"))
    facts = seen.json()
    assert (facts["state"], facts["version"], facts["digest"]) == ("open", "1.1.0", made["digest"])
    for path, data in release.files.items():
        assert house.ask(token, f"/{made['id']}/files/{path}").body == data
    assert house.ask(token, f"/{made['id']}/files/audit-log").status == 404
    assert [row["id"] for row in house.ask(token).json()["proposals"]] == [made["id"]]


def test_no_copy_of_the_registry_holds_it(
    house: Reviewed, proposed: tuple[dict[str, str], Release, object, object], tmp_path: Path
) -> None:
    made, release, *_ = proposed
    marks = [b"Wombatstone", made["id"].encode(), made["digest"].encode(),
             hashlib.sha256(release.files[EMBEDDING]).hexdigest().encode()]  # fmt: skip
    house.registry.run("export", "--static", tmp_path / "export")
    found = [path for path in (tmp_path / "export").rglob("*") if path.is_file()]
    assert len(found) > 10
    for path in found:
        data = path.read_bytes()
        assert not any(mark in data or mark.decode() in str(path) for mark in marks), path
        assert data != release.files[EMBEDDING]


def test_stock_clients_find_the_release_before(
    house: Reviewed, proposed: tuple[dict[str, str], Release, object, object], tmp_path: Path
) -> None:
    release = proposed[1]
    for token in (house.paul, house.olga, house.alice):
        folder = huggingface_hub.snapshot_download(
            NAME, endpoint=house.registry.url, token=token, cache_dir=tmp_path / token[-6:]
        )
        held = {p.name: p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}
        assert held[EMBEDDING] != release.files[EMBEDDING]


def test_the_pages_of_somebody_who_is_logged_in_do_not_show_it(
    house: Reviewed, proposed: tuple[dict[str, str], Release, object, object]
) -> None:
    for user in ("paul", "rita", "lea"):
        person = Person(house.registry)
        person.use_link(user)
        for path in ("/", f"/{NAME}", "/radboud", "/account", "/account/access"):
            assert "1.1.0" not in person.open(path) and "Wombatstone" not in person.page, (user, path)


def test_an_export_and_a_log_are_told_when_it_is_approved(house: Reviewed, proposed: tuple[object, ...]) -> None:
    made, release = proposed[0], proposed[1]
    assert isinstance(made, dict) and isinstance(release, Release)
    cached = read(house, "anonymous", f"/{NAME}/resolve/main/{EMBEDDING}").body
    assert cached == reviews.version(0).files[EMBEDDING]
    size = int(read(house, "anonymous", CHECKPOINT).body.split(b"\n")[1])
    assert house.approve(house.olga, made).json()["commit"], "published"
    assert read(house, "anonymous", f"/{NAME}/resolve/main/{EMBEDDING}").body == release.files[EMBEDDING]
    assert "Wombatstone" in read(house, "anonymous", "/?q=wombatstone", accept="text/html").body.decode()
    assert int(read(house, "anonymous", CHECKPOINT).body.split(b"\n")[1]) > size
    commit = read(house, "anonymous", f"/api/models/{NAME}").json()["sha"]
    assert read(house, "anonymous", f"/{NAME}/commit/{commit}", accept="text/html").status == 200
    assert json.loads(read(house, "anonymous", f"/{NAME}?format=json").body)["version"] == "1.1.0"
