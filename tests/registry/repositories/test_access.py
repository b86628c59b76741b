"""Gated and disabled repositories beyond what stock clients ask: nobody reads a file past a gate, by any address."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import pytest
from huggingface_hub import HfApi

from embhub.release.files import AUDIT, EMBEDDING, Release
from tests.registry.conftest import House
from tests.support import releases
from tests.support.servers import Answer

LETTER = "no agreement yet"
NUMBERS = itertools.count()


@dataclass(frozen=True)
class Gated:
    """A published release behind a manual gate."""

    house: House
    name: str
    commit: str
    release: Release
    ben: str

    def get(self, path: str, token: str | None) -> Answer:
        return self.house.registry.get(path, token=token)

    def send(self, method: str, path: str, token: str | None, body: object) -> Answer:
        return self.house.registry.request(method, path, token=token, json_body=body)

    def set(self, token: str | None, **settings: object) -> Answer:
        return self.send("PUT", f"/api/models/{self.name}/settings", token, settings)

    def ask(self, token: str | None) -> Answer:
        return self.send("POST", f"/{self.name}/ask-access", token, {})

    def handle(self, token: str | None, **body: object) -> Answer:
        return self.send("POST", f"/api/models/{self.name}/user-access-request/handle", token, body)

    def reads(self, token: str | None) -> bool:
        return self.get(f"/{self.name}/resolve/main/{EMBEDDING}", token).body == self.release.embedding.data


@pytest.fixture
def gated(house: House, tmp_path_factory: pytest.TempPathFactory) -> Gated:
    name = f"radboud/gated-{next(NUMBERS)}"
    release = releases.make_release(repository=name)
    folder = tmp_path_factory.mktemp("gated") / "release"
    release.to_folder(folder)
    api = HfApi(endpoint=house.registry.url, token=house.alice)
    api.create_repo(name)
    api.update_repo_settings(name, gated="manual")
    commit = api.upload_folder(repo_id=name, folder_path=folder).oid
    user = f"ben-{next(NUMBERS)}"
    return Gated(house, name, commit, release, house.registry.add_user(user, namespace="nki", role="reader"))


def addresses(gated: Gated) -> list[str]:
    """Every address that gives a file's bytes or what is computed from them."""
    files = [f"/{gated.name}/resolve/{at}/{file}" for at in ("main", gated.commit) for file in gated.release.files]
    return [*files, f"/{gated.name}/audit/main", f"/{gated.name}/audit/{gated.commit}"]


def test_no_address_gives_a_file_to_who_was_not_let_in(gated: Gated) -> None:
    for token, status in ((None, 401), (gated.house.lea, 403), (gated.house.nora, 403), (gated.ben, 403)):
        for path in addresses(gated):
            for method in ("GET", "HEAD"):
                answer = gated.house.registry.request(method, path, token=token)
                assert (answer.status, answer.header("x-error-code")) == (status, "GatedRepo"), path
                assert answer.header("cache-control") == "no-store"
            part = gated.house.registry.get(path, token=token, headers={"Range": "bytes=0-3", "If-None-Match": "*"})
            assert part.status == status, path


def test_card_and_names_are_shown_and_no_scores(gated: Gated) -> None:
    info = gated.get(f"/api/models/{gated.name}", None).json()
    assert info["gated"] == "manual" and info["cardData"]["license"] == "cc-by-4.0"
    tree = gated.get(f"/api/models/{gated.name}/tree/main", None).json()
    assert EMBEDDING in [item["path"] for item in tree]
    for accept in ("text/html", "application/json"):
        page = gated.house.registry.get(f"/{gated.name}", headers={"Accept": accept})
        assert page.status == 200 and b"clinically significant prostate cancer" in page.body
        for score in re.findall(rb"\d\.\d{6,}", gated.release.files[AUDIT])[:20]:
            assert score not in page.body


def test_its_namespace_and_admins_read_on(gated: Gated) -> None:
    colleague = gated.house.registry.add_user(f"c-{next(NUMBERS)}", namespace="radboud", role="reader")
    assert gated.reads(gated.house.alice) and gated.reads(colleague) and gated.reads(gated.house.registry.admin)


def test_what_is_open_to_some_is_cached_by_nobody_else(gated: Gated) -> None:
    answer = gated.get(f"/{gated.name}/resolve/{gated.commit}/{EMBEDDING}", gated.house.alice)
    assert answer.header("cache-control") == "private, max-age=0"


def test_a_request_lets_in_once_it_is_accepted_and_only_so_long(gated: Gated) -> None:
    assert gated.ask(gated.ben).json() == {"status": "pending"}
    assert gated.ask(gated.ben).json() == {"status": "pending"}, "asking again changes nothing"
    assert not gated.reads(gated.ben)
    (asked,) = gated.get(f"/api/models/{gated.name}/user-access-request/pending", gated.house.alice).json()
    assert gated.handle(gated.house.alice, requestId=asked["requestId"], status="accepted").status == 200
    assert gated.reads(gated.ben)
    assert not gated.reads(gated.house.lea), "a request is one account's"
    user = asked["user"]["user"]
    assert gated.handle(gated.house.alice, user=user, status="rejected", rejectionReason=LETTER).status == 200
    assert not gated.reads(gated.ben)
    assert LETTER in str(gated.get(f"/{gated.name}/resolve/main/{EMBEDDING}", gated.ben).header("x-error-message"))
    assert gated.ask(gated.ben).json() == {"status": "rejected"}, "who was refused does not get in by asking again"


def test_an_automatic_gate_does_not_undo_a_rejection(gated: Gated) -> None:
    gated.ask(gated.ben)
    user = gated.get(f"/api/models/{gated.name}/user-access-request/pending", gated.house.alice).json()[0]["user"][
        "user"
    ]
    gated.handle(gated.house.alice, user=user, status="rejected")
    assert gated.set(gated.house.alice, gated="auto").json()["gated"] == "auto"
    assert gated.ask(gated.ben).json() == {"status": "rejected"} and not gated.reads(gated.ben)


@pytest.mark.parametrize("who", [None, "lea", "nora", "ben"])
def test_only_its_publishers_approvers_and_admins_answer(gated: Gated, who: str | None) -> None:
    token = {"lea": gated.house.lea, "nora": gated.house.nora, "ben": gated.ben}.get(who or "")
    status = 401 if who is None else 403
    gated.ask(gated.ben)
    base = f"/api/models/{gated.name}/user-access-request"
    (asked,) = gated.get(f"{base}/pending", gated.house.alice).json()
    assert gated.get(f"{base}/pending", token).status == status
    assert gated.send("POST", f"{base}/grant", token, {"user": asked["user"]["user"]}).status == status
    assert gated.handle(token, requestId=asked["requestId"], status="accepted").status == status
    assert gated.set(token, gated=False).status == status
    assert not gated.reads(gated.ben)


def test_an_approver_answers(gated: Gated) -> None:
    approver = gated.house.registry.add_user(f"a-{next(NUMBERS)}", namespace="radboud", role="approver")
    gated.ask(gated.ben)
    (asked,) = gated.get(f"/api/models/{gated.name}/user-access-request/pending", approver).json()
    assert gated.handle(approver, requestId=asked["requestId"], status="accepted").status == 200
    assert gated.reads(gated.ben)
    assert gated.set(approver, gated=False).status == 403, "who answers requests does not open the gate"


def test_a_request_of_another_repository_is_not_answered_here(gated: Gated, house: House) -> None:
    other = f"radboud/other-{next(NUMBERS)}"
    HfApi(endpoint=house.registry.url, token=house.alice).create_repo(other)
    house.registry.request("PUT", f"/api/models/{other}/settings", token=house.alice, json_body={"gated": "manual"})
    house.registry.request("POST", f"/{other}/ask-access", token=gated.ben, json_body={})
    (asked,) = house.registry.get(f"/api/models/{other}/user-access-request/pending", token=house.alice).json()
    assert gated.handle(house.alice, requestId=asked["requestId"], status="accepted").status == 404
    assert not gated.reads(gated.ben)


UNREADABLE: list[dict[str, object]] = [
    {},
    {"status": "accepted"},
    {"user": "ben", "requestId": "x", "status": "accepted"},
    {"user": 3, "status": "accepted"},
    {"user": "lea", "status": "granted"},
    {"user": "lea", "status": ["accepted"]},
    {"user": "lea", "status": "rejected", "rejectionReason": "x" * 201},
]


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
def test_answers_that_cannot_be_read(gated: Gated, body: dict[str, object]) -> None:
    assert gated.handle(gated.house.alice, **body).status == 400


@pytest.mark.parametrize(
    "settings", [{}, {"gated": "yes"}, {"gated": True}, {"disabled": "no"}, {"private": 1}, {"visibility": 2}]
)
def test_settings_that_cannot_be_read(gated: Gated, settings: dict[str, object]) -> None:
    assert gated.set(gated.house.alice, **settings).status == 400
    assert gated.get(f"/api/models/{gated.name}", None).json()["gated"] == "manual"


def test_a_disabled_repository_is_an_admins_alone_to_read_and_to_enable(gated: Gated) -> None:
    assert gated.set(gated.house.alice, disabled=True).status == 403
    assert gated.set(gated.house.registry.admin, disabled=True, gated=False).json() == {
        "gated": False, "disabled": True,
    }  # fmt: skip
    for token in (None, gated.house.alice, gated.house.lea):
        for path in addresses(gated):
            answer = gated.get(path, token)
            assert (answer.status, answer.header("x-error-message")) == (403, "Access to this resource is disabled.")
    assert gated.set(gated.house.alice, disabled=False).status == 403
    assert gated.reads(gated.house.registry.admin)
    assert gated.set(gated.house.registry.admin, disabled=False).status == 200
    assert gated.reads(None)


def test_a_private_gated_repository_looks_absent(gated: Gated) -> None:
    assert gated.set(gated.house.registry.admin, private=True).status == 200
    for token in (None, gated.house.lea, gated.ben):
        assert gated.ask(token).status == (401 if token is None else 404)
        assert gated.get(f"/{gated.name}/resolve/main/{EMBEDDING}", token).header("x-error-code") == "RepoNotFound"
        assert gated.get(f"/api/models/{gated.name}/user-access-request/pending", token).status == 404


def test_answers_are_in_the_audit_log(gated: Gated) -> None:
    gated.ask(gated.ben)
    (asked,) = gated.get(f"/api/models/{gated.name}/user-access-request/pending", gated.house.alice).json()
    gated.handle(gated.house.alice, requestId=asked["requestId"], status="accepted")
    log = (gated.house.registry.folder / "audit.jsonl").read_text()
    said = [line for line in log.splitlines() if gated.name in line]
    assert any('"access-asked"' in line for line in said) and any('"access-answered"' in line for line in said)
