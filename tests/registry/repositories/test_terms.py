"""Terms of a gated repository: nobody reads a file before accepting them, a new version asks again, all is recorded."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from embhub.release.files import EMBEDDING
from embhub_registry.repositories.terms import LONGEST
from tests.support import pushes, releases
from tests.support.servers import Answer, RunningRegistry, running_registry

FIRST, SECOND = "Use it for research only.\nName the publisher.", "Use it for research on prostate MRI only."
NUMBERS = itertools.count()


@dataclass(frozen=True)
class Kept:
    """A gated release with terms; `ben` reads elsewhere."""

    registry: RunningRegistry
    name: str
    alice: str
    ben: str
    user: str

    def terms(self, token: str | None = None) -> dict[str, Any]:
        return self.registry.get(f"/embhub/v1/terms/{self.name}", token=token).json()["terms"]

    def write(self, text: object, token: str | None) -> Answer:
        return self.registry.request("PUT", f"/embhub/v1/terms/{self.name}", token=token, json_body={"text": text})

    def ask(self, terms: object = None, *, token: str | None = None) -> Answer:
        body = {} if terms is None else {"terms": terms}
        return self.registry.request("POST", f"/{self.name}/ask-access", token=token or self.ben, json_body=body)

    def accept(self, *, token: str | None = None) -> Answer:
        said = self.terms(token or self.ben)
        return self.ask({"version": said["version"], "sha256": said["sha256"]}, token=token)

    def reads(self, token: str | None = None) -> Answer:
        return self.registry.get(f"/{self.name}/resolve/main/{EMBEDDING}", token=token or self.ben)

    def let_in(self) -> None:
        path = f"/api/models/{self.name}/user-access-request/grant"
        assert self.registry.request("POST", path, token=self.alice, json_body={"user": self.user}).status == 200

    def logged(self, event: str) -> list[dict[str, Any]]:
        rows = map(json.loads, (self.registry.folder / "audit.jsonl").read_text().splitlines())
        return [row for row in rows if row["event"] == event and row.get("repository") == self.name]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("terms")) as running:
        running.add_key(releases.SITE, namespace="radboud")
        yield running


@pytest.fixture(scope="module")
def alice(registry: RunningRegistry) -> str:
    return registry.add_user("alice", namespace="radboud")


@pytest.fixture
def kept(registry: RunningRegistry, alice: str, request: pytest.FixtureRequest) -> Kept:
    name, user = f"radboud/terms-{next(NUMBERS)}", f"ben-{next(NUMBERS)}"
    body = {"name": name.partition("/")[2], "gated": getattr(request, "param", "manual")}
    assert registry.request("POST", "/api/repos/create", token=alice, json_body=body).status == 200
    files = dict(releases.make_release(repository=name, audited=False).files)
    assert pushes.commit(registry, name, files, token=alice).status == 200
    made = Kept(registry, name, alice, registry.add_user(user, namespace="lumc", role="reader"), user)
    assert made.write(FIRST, alice).status == 200
    return made


def test_nobody_reads_before_accepting(kept: Kept) -> None:
    refused = kept.ask()
    assert refused.status == 403 and refused.header("x-error-code") == "GatedRepo"
    assert "version 1" in refused.json()["error"] and "--accept-terms" in refused.json()["remedy"]
    kept.let_in()
    assert kept.reads().status == 403, "who was let in without asking accepts them too"
    assert "has not accepted the terms" in str(kept.reads().header("x-error-message"))
    assert kept.accept().json() == {"status": "accepted"}
    assert kept.reads().status == 200


@pytest.mark.parametrize("kept", ["auto"], indirect=True)
def test_an_automatic_gate_asks_for_them_too(kept: Kept) -> None:
    assert kept.ask().status == 403 and kept.reads().status == 403
    assert kept.accept().json() == {"status": "accepted"} and kept.reads().status == 200


def test_an_acceptance_is_recorded_with_user_time_version_and_digest(kept: Kept) -> None:
    digest = hashlib.sha256(FIRST.encode()).hexdigest()
    said = kept.terms()
    assert (said["version"], said["text"], said["sha256"]) == (1, FIRST, digest)
    assert kept.accept().json() == {"status": "pending"}
    (asked,) = kept.registry.get(f"/api/models/{kept.name}/user-access-request/pending", token=kept.alice).json()
    assert (asked["user"]["user"], asked["terms"]["version"], asked["terms"]["sha256"]) == (kept.user, 1, digest)
    (logged,) = kept.logged("terms-accepted")
    assert (logged["user"], logged["version"], logged["digest"]) == (kept.user, 1, digest)
    assert asked["terms"]["accepted"][:10] == logged["time"][:10]
    kept.accept()
    assert len(kept.logged("terms-accepted")) == 1, "accepting again is no second acceptance"


def test_changed_terms_ask_again(kept: Kept) -> None:
    kept.accept()
    kept.let_in()
    assert kept.reads().status == 200
    before = kept.terms()
    assert kept.write(SECOND, kept.alice).json()["terms"]["version"] == 2
    assert kept.reads().status == 403 and "version 2" in str(kept.reads().header("x-error-message"))
    stale = kept.ask({"version": before["version"], "sha256": before["sha256"]})
    assert stale.status == 409 and "version 2 now" in stale.json()["error"]
    assert kept.ask({"version": 2, "sha256": before["sha256"]}).status == 409, "the text counts, not its number"
    assert kept.reads().status == 403
    assert kept.accept().json() == {"status": "accepted"} and kept.reads().status == 200
    assert [row["version"] for row in kept.logged("terms-accepted")] == [1, 2]


def test_the_same_text_is_no_new_version_and_an_empty_one_ends_them(kept: Kept) -> None:
    assert kept.write(f"  {FIRST.replace(chr(10), chr(13) + chr(10))}\n", kept.alice).json()["terms"]["version"] == 1
    kept.let_in()
    assert kept.write("", kept.alice).json()["terms"] is None
    assert kept.terms() is None and kept.reads().status == 200
    assert kept.write(FIRST, kept.alice).json()["terms"]["version"] == 3
    assert kept.reads().status == 403, "the same words under another version are accepted anew"


def test_a_text_as_word_processors_write_it_is_taken_with_plain_spaces(kept: Kept) -> None:
    said = kept.write("\tFür Forschung\u00a0allein,\u2009„nur“ hier.\r\n", kept.alice).json()["terms"]
    assert said["text"] == "Für Forschung allein, „nur“ hier."
    assert said["sha256"] == hashlib.sha256(said["text"].encode()).hexdigest()


def test_its_own_namespace_and_admins_accept_nothing(kept: Kept) -> None:
    assert kept.reads(kept.alice).status == 200 and kept.reads(kept.registry.admin).status == 200


def test_accepting_does_not_undo_a_rejection(kept: Kept) -> None:
    kept.accept()
    path = f"/api/models/{kept.name}/user-access-request/handle"
    body = {"user": kept.user, "status": "rejected"}
    assert kept.registry.request("POST", path, token=kept.alice, json_body=body).status == 200
    kept.write(SECOND, kept.alice)
    assert kept.accept().json() == {"status": "rejected"} and kept.reads().status == 403


def test_who_may_write_and_read_them(kept: Kept) -> None:
    approver = kept.registry.add_user(f"ap-{next(NUMBERS)}", namespace="radboud", role="approver")
    for token, status in ((None, 401), (kept.ben, 403), (approver, 403)):
        assert kept.write(SECOND, token).status == status
    assert kept.terms()["text"] == FIRST, "a gated repository's terms are as visible as its card"
    assert kept.write(SECOND, kept.registry.admin).status == 200
    settings = f"/api/models/{kept.name}/settings"
    assert kept.registry.request("PUT", settings, token=kept.registry.admin, json_body={"private": True}).status == 200
    assert kept.registry.get(f"/embhub/v1/terms/{kept.name}", token=kept.ben).status == 404


@pytest.mark.parametrize(
    "text", [None, 3, ["x"], "a\x00b", "a\x1b[31mb", "a\u202eb", "\ud800", "x" * (LONGEST + 1)], ids=range(8)
)
def test_texts_that_cannot_be_terms(kept: Kept, text: object) -> None:
    assert kept.write(text, kept.alice).status == 400 and kept.terms()["version"] == 1


@pytest.mark.parametrize(
    "terms", [1, [], "1", {"version": 1}, {"version": True, "sha256": "x"}, {"sha256": "x"}], ids=str
)
def test_acceptances_that_cannot_be_read(kept: Kept, terms: object) -> None:
    assert kept.ask(terms).status == 400


def test_without_a_gate_there_are_no_terms(registry: RunningRegistry, alice: str) -> None:
    assert pushes.create(registry, "no-gate", token=alice).status == 200
    path = "/embhub/v1/terms/radboud/no-gate"
    assert registry.request("PUT", path, token=alice, json_body={"text": FIRST}).status == 400
    assert registry.get(path).json() == {"repository": "radboud/no-gate", "terms": None}


def test_the_page_shows_the_terms_and_the_command_and_no_markup_of_theirs(kept: Kept) -> None:
    assert kept.write("<script>alert(1)</script> & research only", kept.alice).status == 200
    page = kept.registry.get(f"/{kept.name}", headers={"Accept": "text/html"}).body.decode()
    assert "Terms, version 2" in page and f"embhub curate access request {kept.name}" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; research only" in page and "<script>alert" not in page
    facts = kept.registry.get(f"/{kept.name}?format=json").json()
    assert facts["gated"] is True and facts["terms"]["version"] == 2 and facts["opened"] is False
