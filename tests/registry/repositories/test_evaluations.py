"""Evaluations by those who pulled: what is refused, who has no say in them, and what stays of one that was removed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import rfc8785

from embhub.errors import UsageError
from embhub.release.checks import evaluated
from embhub.site.signing.keys import SigningKey
from embhub.trust import bundle, dsse
from embhub.trust.keyring import Role
from embhub_registry.admission import publication, quarantining
from embhub_registry.database.clock import now
from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.people import auth
from embhub_registry.repositories import access, deletion, evaluations, repos
from embhub_registry.repositories.access import Settings
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.static import collecting
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry
from tests.support.evaluations import FIGURES, HARM, KEY, signed
from tests.support.releases import (
    AUDITOR,
    OTHER_SITE,
    REPOSITORY,
    SITE,
    STRANGER,
    make_embedding,
    make_key,
    make_release,
)

RELEASE = make_release()
DIGEST = RELEASE.embedding.digest
OWN_KEY = make_key("the publisher's key for evaluations")
LATER = {reason: make_key(f"a key that was {reason}") for reason in ("superseded", "lost", "stolen")}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Radboud published, and may evaluate; umcu pulls and evaluates, lumc publishes elsewhere, nki audits."""
    tmp_path = tmp_path_factory.mktemp("house")
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    keys: list[tuple[SigningKey, str, Role]] = [
        (SITE, "radboud", "publish"), (OWN_KEY, "radboud", "evaluate"), (KEY, "umcu", "evaluate"),
        *((key, "umcu", "evaluate") for key in LATER.values()), (OTHER_SITE, "lumc", "publish"),
        (AUDITOR, "nki", "audit"),
    ]  # fmt: skip
    for number, (key, namespace, role) in enumerate(keys):
        file = tmp_path / f"{number}.pem"
        file.write_text(key.public_pem)
        administration.add_key(made, file, namespace=namespace, role=role)
    alice = account(made, "alice", "radboud", "publisher")
    repos.create(made, alice, None, "prostate-cspca", private=False)
    request = CommitRequest("Publish", "", None, dict(RELEASE.files), frozenset(), frozenset())
    publication.publish(made, alice, "radboud", "prostate-cspca", branch="main", request=request)
    yield made
    made.close()


@pytest.fixture
def registry(house: Registry) -> Registry:
    """The same one, without evaluations."""
    with house.database.writing() as db:
        db.execute("DELETE FROM evaluation")
    return house


def account(registry: Registry, name: str, namespace: str, role: str) -> Account:
    if accounts.find_user(registry.database.connection(), name) is None:
        administration.add_user(registry, name, namespace=namespace, role=role)
    token = administration.new_token(registry, name)["token"]
    found = accounts.find_account(registry.database.connection(), auth.digest(token))
    assert found is not None
    return found


def ulla(registry: Registry) -> Account:
    """Who pulls for umcu, and publishes no embeddings: the key decides, so a token that reads is enough."""
    return account(registry, "ulla", "umcu", "reader")


def send(registry: Registry, document: dict[str, Any], *, who: Account | None = None) -> dict[str, Any]:
    return evaluations.take(registry, who or ulla(registry), DIGEST, document)


def refused(registry: Registry, document: dict[str, Any], *, who: Account | None = None) -> tuple[int, str]:
    with pytest.raises(RequestDeniedError) as denied:
        send(registry, document, who=who)
    assert denied.value.hint
    assert evaluations.answer(registry, None, DIGEST)["evaluations"] == [], "nothing was kept"
    return denied.value.status, denied.value.rule


def test_what_somebody_found_is_shown_whether_it_pleases_or_not(registry: Registry) -> None:
    said = send(registry, signed(DIGEST, found=HARM))
    (row,) = said["evaluations"]
    assert said["replaced"] is None and (row["namespace"], row["own"], row["replaced"]) == ("umcu", False, 0)
    assert row["bundle"] and evaluations.answer(registry, None, DIGEST) == {"embedding": DIGEST, "evaluations": [row]}
    assert evaluations.answer(registry, None, "f" * 64)["evaluations"] == []


def test_who_may_not_sign_one(registry: Registry) -> None:
    assert refused(registry, signed(DIGEST, key=STRANGER)) == (422, "unknown-signer")
    for key in (OTHER_SITE, AUDITOR, SITE):
        assert refused(registry, signed(DIGEST, key=key)) == (422, "wrong-role")
    mixed = signed(DIGEST)
    mixed["dsseEnvelope"]["signatures"][0]["sig"] = signed(DIGEST)["dsseEnvelope"]["signatures"][0]["sig"]
    mixed["dsseEnvelope"]["payload"] = signed(DIGEST, found=HARM)["dsseEnvelope"]["payload"]
    assert refused(registry, mixed) == (422, "bad-signature")
    lea = account(registry, "lea", "lumc", "publisher")
    assert refused(registry, signed(DIGEST), who=lea) == (403, "namespace"), "another namespace's account"


@pytest.mark.parametrize("reason", ["superseded", "lost", "stolen"])
def test_a_revoked_key_signs_no_more_and_a_stolen_one_never_did(registry: Registry, reason: Any) -> None:
    key = LATER[reason]
    send(registry, signed(DIGEST, key=key))
    administration.revoke_key(registry, key.fingerprint, reason=reason)
    with pytest.raises(RequestDeniedError) as denied:
        send(registry, signed(DIGEST, key=key, created=now() + timedelta(seconds=2)))
    assert (denied.value.status, denied.value.rule) == (422, "revoked-key")
    left = evaluations.answer(registry, None, DIGEST)["evaluations"]
    assert len(left) == (0 if reason == "stolen" else 1), "what it signed before stays, unless a thief may have made it"


def test_it_is_about_a_release_that_is_there(registry: Registry) -> None:
    assert refused(registry, signed("b" * 64)) == (422, "refused"), "other bytes than the address names"
    assert refused(registry, signed(DIGEST, version="1.0.1")) == (404, "revision")
    assert refused(registry, signed(DIGEST, repository="radboud/absent")) == (404, "repository")
    assert refused(registry, signed(DIGEST, registry="hub.elsewhere.org")) == (422, "wrong-registry")
    assert refused(registry, signed(DIGEST, created=now() - timedelta(hours=2))) == (422, "date")
    assert refused(registry, signed(DIGEST, created=now() + timedelta(hours=2))) == (422, "date")


def test_nothing_comes_along_that_no_rule_speaks_of(registry: Registry) -> None:
    """A changed client could send what a site must keep: names of files, scores, figures that are too fine."""
    patients = {"training": 120, "positive": 40, "negative": 60}
    for found in (
        {**FIGURES, "scores": [0.1]}, {**FIGURES, "dataset": "/srv/pacs/jansen"},
        {**FIGURES, "dataset": "Maria Jansen"},
        {**FIGURES, "patients": {**patients, "positive": 41}}, {**FIGURES, "patients": {**patients, "positive": 10}},
        {**FIGURES, "step": 0.01}, {**FIGURES, "real_alone": {"auc": 0.7012, "interval": [0.6, 0.8]}},
        {**FIGURES, "outcome": "did harm"}, {**FIGURES, "gains": []},
    ):  # fmt: skip
        assert refused(registry, signed(DIGEST, found=found)) == (422, "statement-malformed"), found
    assert refused(registry, signed(DIGEST, path="/home/x/1.png")) == (422, "statement-malformed")
    assert refused(registry, {**signed(DIGEST), "note": "x"}) == (422, "bundle-malformed")
    assert refused(registry, signed(DIGEST, path="x" * 12_000)) == (413, "too-large")


def test_the_statement_is_the_one_that_its_figures_give_to_the_byte(registry: Registry) -> None:
    """Members beside the predicate, spellings of numbers, and white space could carry anything."""
    whole = base64.b64decode(signed(DIGEST)["dsseEnvelope"]["payload"])
    stated: dict[str, Any] = json.loads(whole)
    (subject,) = stated["subject"]
    spellings = [
        whole + b" ", whole.replace(b":0.8,", b":8e-1,"), whole.replace(b":0.8,", b":0.800000000000000000004711,"),
        whole.replace(b":0.8,", b":0.80000000004711,"), whole.replace(b"[0,0.1]", b"[-0.0,0.1]"),
        *(rfc8785.dumps(changed) for changed in (
            {**stated, "note": "x"}, {**stated, "subject": [{**subject, "name": "Jansen.png"}]},
            {**stated, "subject": [{**subject, "annotations": {"scores": "0.1"}}]},
            {**stated, "subject": [{**subject, "digest": {**subject["digest"], "md5": "x"}}]},
        )),
    ]  # fmt: skip
    for payload in spellings:
        assert payload != whole
        document = json.loads(bundle.to_json(dsse.sign(payload, key=KEY)))
        assert refused(registry, document) == (422, "statement-malformed"), payload


def test_one_whose_signature_names_no_key_is_read_by_everybody(registry: Registry) -> None:
    """DSSE leaves `keyid` free; kept without it, each reader would be warned of one that does not verify."""
    document = signed(DIGEST)
    del document["dsseEnvelope"]["signatures"][0]["keyid"]
    said = send(registry, document)
    del said["replaced"]
    found, _, unverified = evaluated.parse(json.dumps(said).encode(), digest=DIGEST, trusts=[registry.trust()])
    assert (len(found), unverified) == (1, 0)


def test_a_publisher_who_evaluates_its_own_release_is_marked(registry: Registry) -> None:
    alice = account(registry, "alice", "radboud", "publisher")
    (row,) = send(registry, signed(DIGEST, key=OWN_KEY), who=alice)["evaluations"]
    assert (row["namespace"], row["own"]) == ("radboud", True)


def test_a_newer_one_replaces_the_older_and_says_so(registry: Registry) -> None:
    first = now() - timedelta(minutes=30)
    send(registry, signed(DIGEST, created=first))
    said = send(registry, signed(DIGEST, created=first + timedelta(minutes=1), found=HARM))
    assert said["replaced"] and [row["replaced"] for row in said["evaluations"]] == [1]
    with pytest.raises(RequestDeniedError) as older:
        send(registry, signed(DIGEST, created=first))
    assert (older.value.status, older.value.rule) == (409, "older"), "nobody can play an earlier one again"
    for number in range(2, evaluations.MOST_REPLACED + 1):
        send(registry, signed(DIGEST, created=first + timedelta(minutes=number)))
    with pytest.raises(RequestDeniedError) as often:
        send(registry, signed(DIGEST, created=now()))
    assert (often.value.status, often.value.rule) == (403, "quota")


def test_there_is_room_for_a_bounded_number(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluations, "MOST", 1)
    send(registry, signed(DIGEST))
    with pytest.raises(RequestDeniedError) as full:
        send(registry, signed(DIGEST, key=OWN_KEY), who=account(registry, "alice", "radboud", "publisher"))
    assert (full.value.status, full.value.rule) == (403, "quota")


def test_only_the_operator_removes_one_and_the_reason_stays(registry: Registry) -> None:
    send(registry, signed(DIGEST, found=HARM))
    with pytest.raises(UsageError):
        evaluations.remove(registry, REPOSITORY, "umcu", reason=" ")
    with pytest.raises(UsageError, match="names a person"):
        evaluations.remove(registry, REPOSITORY, "umcu", reason="Mrs. Anna Jansen was under test")
    with pytest.raises(UsageError):
        evaluations.remove(registry, REPOSITORY, "nki", reason="there is none")
    (row,) = evaluations.remove(registry, REPOSITORY, "umcu", reason="a figure of one patient")
    assert (row["bundle"], row["reason"]) == (None, "a figure of one patient") and row["removed"]
    assert evaluations.answer(registry, None, DIGEST)["evaluations"] == [row]
    with pytest.raises(RequestDeniedError) as again:
        send(registry, signed(DIGEST, created=now() + timedelta(seconds=2)))
    assert (again.value.status, again.value.rule) == (403, "removed") and "one patient" in again.value.message
    assert evaluations.allow(registry, REPOSITORY, "umcu") == []
    assert send(registry, signed(DIGEST))["evaluations"][0]["bundle"]


def test_one_of_a_private_or_gated_release_is_its_readers_alone(registry: Registry) -> None:
    alice, admin = account(registry, "alice", "radboud", "publisher"), account(registry, "root", "registry", "admin")
    send(registry, signed(DIGEST))
    stranger = account(registry, "lea", "lumc", "publisher")
    access.change(registry, admin, "radboud", "prostate-cspca", Settings(private=True))
    for who in (None, stranger):
        assert evaluations.answer(registry, who, DIGEST)["evaluations"] == []
    assert len(evaluations.answer(registry, alice, DIGEST)["evaluations"]) == 1
    with pytest.raises(RequestDeniedError) as absent:
        send(registry, signed(DIGEST, created=now() + timedelta(seconds=2)))
    assert absent.value.status == 404, "umcu cannot read it any more"
    access.change(registry, admin, "radboud", "prostate-cspca", Settings(private=False, gated="manual"))
    assert evaluations.answer(registry, None, DIGEST)["evaluations"] == []
    assert len(evaluations.answer(registry, alice, DIGEST)["evaluations"]) == 1
    access.change(registry, admin, "radboud", "prostate-cspca", Settings(gated=""))


def push(registry: Registry, name: str, version: str = "1.0.0", *, seed: int = 0) -> str:
    """A release of radboud's under this name; returns the SHA-256 of its embedding."""
    alice = account(registry, "alice", "radboud", "publisher")
    if repos.find(registry.database.connection(), "radboud", name) is None:
        repos.create(registry, alice, None, name, private=False)
    made = make_release(artifact=make_embedding(seed=seed), repository=f"radboud/{name}", name=name, version=version)
    request = CommitRequest("Publish", "", None, dict(made.files), frozenset(), frozenset())
    publication.publish(registry, alice, "radboud", name, branch="main", request=request)
    return made.embedding.digest


def on_page(registry: Registry, digest: str, full_name: str, reader: Account | None = None) -> list[str]:
    """The repositories and versions whose evaluations the page of a release names."""
    db = registry.database.connection()
    repository = repositories.find(db, *full_name.split("/"))
    assert repository is not None
    rows = evaluations.shown(db, digest, repository, registry.trust(), reader=reader)
    return [f"{row.repository} {row.version}" for row, _ in rows]


def test_one_of_a_release_in_quarantine_is_hidden_as_the_release_is(registry: Registry) -> None:
    admin, alice = account(registry, "root", "registry", "admin"), account(registry, "alice", "radboud", "publisher")
    other = push(registry, "prostate-cspca", "1.1.0", seed=1)
    send(registry, signed(DIGEST))
    evaluations.take(registry, ulla(registry), other, signed(other, version="1.1.0"))
    assert len(on_page(registry, DIGEST, REPOSITORY)) == 2
    quarantining.set_aside(registry, admin, "radboud", "prostate-cspca", version="1.1.0", reason="a copy?")
    for who in (None, ulla(registry)):
        assert evaluations.answer(registry, who, other)["evaluations"] == []
        assert on_page(registry, DIGEST, REPOSITORY, who) == [f"{REPOSITORY} 1.0.0"]
    for who in (alice, admin):
        assert len(evaluations.answer(registry, who, other)["evaluations"]) == 1
        assert len(on_page(registry, DIGEST, REPOSITORY, who)) == 2
    with pytest.raises(RequestDeniedError) as aside:
        later = signed(other, version="1.1.0", created=now() + timedelta(seconds=2))
        evaluations.take(registry, ulla(registry), other, later)
    assert (aside.value.status, aside.value.rule) == (404, "revision"), "umcu cannot read it any more"
    quarantining.lift(registry, admin, "radboud", "prostate-cspca", version="1.1.0")


def test_the_page_of_another_repository_names_none_of_a_release_that_is_not_everybodys(registry: Registry) -> None:
    """A page of an open repository is kept and shown to others, whoever asked first."""
    admin, copy = account(registry, "root", "registry", "admin"), "radboud/copy"
    assert push(registry, "copy") == DIGEST != push(registry, "prostate-cspca", "1.2.0", seed=3)
    send(registry, signed(DIGEST))
    assert on_page(registry, DIGEST, copy) == [f"{REPOSITORY} 1.0.0"]
    for hidden in (Settings(gated="manual"), Settings(gated="", private=True), Settings(private=False, disabled=True)):
        access.change(registry, admin, "radboud", "prostate-cspca", hidden)
        assert on_page(registry, DIGEST, copy) == on_page(registry, DIGEST, copy, admin) == []
    access.change(registry, admin, "radboud", "prostate-cspca", Settings(disabled=False))
    exported = f"embhub/v1/evaluations/{DIGEST}"
    assert exported in {item.path for item in collecting.collect(registry).files}
    quarantining.set_aside(registry, admin, "radboud", "prostate-cspca", version="1.0.0", reason="a copy?")
    assert on_page(registry, DIGEST, copy) == on_page(registry, DIGEST, copy, admin) == []
    assert exported not in {item.path for item in collecting.collect(registry).files}
    quarantining.lift(registry, admin, "radboud", "prostate-cspca", version="1.0.0")


def test_no_namespace_takes_the_room_of_the_others(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher could fill the list with its own, of the same bytes under names of its own."""
    monkeypatch.setattr(evaluations, "MOST_NAMES", 1)
    send(registry, signed(DIGEST))
    send(registry, signed(DIGEST, created=now() + timedelta(seconds=2)))
    with pytest.raises(RequestDeniedError) as full:
        send(registry, signed(DIGEST, repository="radboud/copy"))
    assert (full.value.status, full.value.rule) == (403, "quota")


def test_whose_name_was_freed_is_forgotten(registry: Registry) -> None:
    """Else those of a private release would stand beside another release that gets the name."""
    admin = account(registry, "root", "registry", "admin")
    assert push(registry, "was-private") == DIGEST
    send(registry, signed(DIGEST, repository="radboud/was-private"))
    access.change(registry, admin, "radboud", "was-private", Settings(private=True))
    deletion.delete_as_operator(registry, "radboud/was-private", reason="the name was wrong", scope="release")
    assert evaluations.answer(registry, None, DIGEST)["evaluations"] == []
    deletion.free(registry, "radboud/was-private")
    push(registry, "was-private", seed=2)
    assert evaluations.answer(registry, None, DIGEST)["evaluations"] == []


@pytest.mark.parametrize("was", ["gated", "disabled", "quarantined"])
def test_one_of_a_release_that_not_everybody_could_read_stays_hidden_when_it_is_deleted(
    registry: Registry, was: str
) -> None:
    alice, admin = account(registry, "alice", "radboud", "publisher"), account(registry, "root", "registry", "admin")
    name = f"was-{was}"
    digest = push(registry, name, seed=10 + len(was))
    evaluations.take(registry, ulla(registry), digest, signed(digest, repository=f"radboud/{name}"))
    if was == "quarantined":
        quarantining.set_aside(registry, admin, "radboud", name, version="1.0.0", reason="a copy?")
    else:
        change = Settings(gated="manual") if was == "gated" else Settings(disabled=True)
        access.change(registry, admin, "radboud", name, change)
    assert evaluations.answer(registry, None, digest)["evaluations"] == []
    deletion.delete_as_operator(registry, f"radboud/{name}", reason="the name was wrong", scope="release")
    for who in (None, ulla(registry)):
        assert evaluations.answer(registry, who, digest)["evaluations"] == []
    assert len(evaluations.answer(registry, alice, digest)["evaluations"]) == 1


def test_the_publisher_cannot_get_rid_of_it(registry: Registry) -> None:
    """Deleting the repository hides nothing. The last test here: it deletes."""
    alice = account(registry, "alice", "radboud", "publisher")
    send(registry, signed(DIGEST, found=HARM))
    deletion.delete_as_operator(registry, REPOSITORY, reason="the name was wrong", scope="release")
    assert len(evaluations.answer(registry, None, DIGEST)["evaluations"]) == 1
    assert auth.may(alice, "radboud", "publish") and not auth.may(alice, "radboud", "operate")
