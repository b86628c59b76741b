"""Studies at a registry: who may propose, join and withdraw, who sees them, and how many there may be. Both engines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from embhub.site.signing.keys import SigningKey
from embhub.trust.bundle import Bundle
from embhub.trust.keyring import Role
from embhub_registry.admission import publication, storing
from embhub_registry.database.clock import now
from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.statements import study_rows
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.people import auth
from embhub_registry.repositories import repos, studies
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log
from tests.support import study_records as of
from tests.support.releases import OTHER_SITE, SITE, STRANGER, make_key
from tests.support.study_records import OFFICERS, SITES, STUDY_KEYS

OUTSIDER, PUBLISHER_OF_UMCU = make_key("officer of nki"), make_key("publisher of umcu")
HOLDERS: list[tuple[str, SigningKey, Role]] = [
    *of.KEYS,
    ("nki", OUTSIDER, "approve"),
    ("lumc", OTHER_SITE, "publish"),
    ("umcu", PUBLISHER_OF_UMCU, "publish"),
]
PLAN = of.plan()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgresql: Any
) -> Iterator[Registry]:
    """Four members: three sites of the study, one of which coordinates it, and nki, which is none."""
    tmp_path = tmp_path_factory.mktemp("house")
    database = postgresql.new_schema() if request.param == "postgresql" else None
    made = folder.create(
        tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional", database=database
    )
    for number, (namespace, key, role) in enumerate(HOLDERS):
        file = tmp_path / f"{number}.pem"
        file.write_text(key.public_pem)
        administration.add_key(made, file, namespace=namespace, role=role)
    for namespace in (*SITES, "nki"):
        administration.add_user(made, f"from-{namespace}", namespace=namespace, role="publisher")
        administration.add_user(made, f"reader-{namespace}", namespace=namespace, role="reader")
    yield made
    made.close()


@pytest.fixture
def registry(house: Registry) -> Registry:
    """The same one, without studies."""
    with house.database.writing() as db:
        db.execute("DELETE FROM study_statement")
        db.execute("DELETE FROM study")
    return house


def account(registry: Registry, name: str) -> Account:
    token = administration.new_token(registry, name)["token"]
    found = accounts.find_account(registry.database.connection(), auth.digest(token))
    assert found is not None
    return found


def of_site(registry: Registry, site: str) -> Account:
    return account(registry, f"from-{site}")


def proposed(registry: Registry, **facts: Any) -> dict[str, Any]:
    made = of.proposal(of.plan(**facts), created=now())
    return studies.propose(registry, of_site(registry, "radboud"), of.sent(made))


def joins(registry: Registry, site: str, by: str | None = None, **facts: Any) -> dict[str, Any]:
    made = of.join(site, **{"created": now(), **facts})
    return studies.join(registry, of_site(registry, by or site), PLAN.digest, of.sent(made))


def withdraws(registry: Registry, site: str, by: str | None = None, **facts: Any) -> dict[str, Any]:
    made = of.withdrawal(site, **{"created": now(), **facts})
    return studies.withdraw(registry, of_site(registry, by or site), PLAN.digest, of.sent(made))


def refused(registry: Registry, act: Callable[..., Any], *args: Any, **facts: Any) -> tuple[int, str]:
    before = kept(registry)
    with pytest.raises(RequestDeniedError) as denied:
        act(registry, *args, **facts)
    assert denied.value.hint and kept(registry) == before, "nothing was kept"
    return denied.value.status, denied.value.rule


def kept(registry: Registry) -> list[Any]:
    db = registry.database.connection()
    return [(row, study_rows.statements(db, row.digest)) for row in study_rows.all_of(db)]


def event(registry: Registry) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(list(registry.audit_log.lines())[-1])
    return found


def test_a_study_from_proposal_to_the_last_join(registry: Registry) -> None:
    log = registry_log.files_of(registry)
    before = log.checkpoint()
    said = proposed(registry)
    assert (said["study"], said["repository"], said["sites"]) == (PLAN.digest, PLAN.repository, list(SITES))
    assert (said["joined"], said["withdrew"], said["released"]) == ([], None, None)
    assert log.checkpoint() != before and event(registry)["event"] == "study-proposed"
    for number, site in enumerate(SITES, 1):
        before, said = log.checkpoint(), joins(registry, site)
        assert said["joined"] == sorted(SITES[:number]) and log.checkpoint() != before, "it is in the log"
        assert (event(registry)["event"], event(registry)["namespace"]) == ("study-joined", site)
    assert said["joins"].keys() == set(SITES) and said["withdrawals"] == {}
    assert said["proposal"]["dsseEnvelope"] and studies.standing(registry.database.connection(), PLAN.repository) == {
        PLAN.digest: None
    }


def test_a_study_is_there_for_members_of_the_namespaces_that_it_names_alone(registry: Registry) -> None:
    proposed(registry, sites=("lumc", "umcu"), colluders=0, dropouts=0)
    ((row, _),) = kept(registry)
    assert row.namespaces == ("radboud", "lumc", "umcu")
    for site in row.namespaces:
        reader = account(registry, f"reader-{site}")
        assert studies.answer(registry, reader, row.digest)["study"] == row.digest
        assert [one["study"] for one in studies.listing(registry, reader)["studies"]] == [row.digest]
    for stranger in (None, account(registry, "reader-nki"), of_site(registry, "nki")):
        assert studies.listing(registry, stranger) == {"studies": []}
        with pytest.raises(RequestDeniedError) as hidden:
            studies.answer(registry, stranger, row.digest)
        with pytest.raises(RequestDeniedError) as absent:
            studies.answer(registry, stranger, "0" * 64)
        assert (hidden.value.status, hidden.value.rule) == (absent.value.status, absent.value.rule) == (404, "study")
        assert hidden.value.message.replace(row.digest, "0" * 64) == absent.value.message
    for act in (studies.join, studies.withdraw):
        with pytest.raises(RequestDeniedError) as hidden:
            act(registry, of_site(registry, "nki"), row.digest, of.sent(of.join("lumc")))
        assert hidden.value.status == 404


def test_who_may_propose(registry: Registry) -> None:
    def sends(registry: Registry, made: Bundle, by: str = "radboud") -> None:
        studies.propose(registry, of_site(registry, by), of.sent(made))

    at = now()
    assert refused(registry, sends, of.proposal(key=STRANGER, created=at)) == (422, "unknown-signer")
    assert refused(registry, sends, of.proposal(key=OTHER_SITE, created=at)) == (422, "wrong-namespace")
    assert refused(registry, sends, of.proposal(key=OFFICERS["radboud"], created=at)) == (422, "wrong-role")
    assert refused(registry, sends, of.proposal(created=at), "lumc") == (403, "namespace")
    assert refused(registry, sends, of.proposal(registry="hub.elsewhere.org", created=at)) == (422, "wrong-registry")
    assert refused(registry, sends, of.proposal(created=at + timedelta(hours=2))) == (422, "date")
    assert refused(registry, sends, of.join("radboud", created=at)) == (422, "predicate-type")
    unknown = of.plan(sites=("erasmus", "lumc", "radboud", "umcu"))
    assert refused(registry, sends, of.proposal(unknown, created=at)) == (422, "study")
    named = of.plan(caption="mri of patient no 12345678, {}")
    assert refused(registry, sends, of.proposal(named, created=at)) == (422, "personal-data")
    proposed(registry)
    assert refused(registry, proposed) == (409, "study"), "once"


def test_who_may_join(registry: Registry) -> None:
    proposed(registry)
    assert refused(registry, joins, "umcu", key=OFFICERS["lumc"]) == (422, "wrong-namespace")
    assert refused(registry, joins, "umcu", key=PUBLISHER_OF_UMCU) == (422, "wrong-role"), "an officer approves"
    assert refused(registry, joins, "umcu", "lumc") == (403, "namespace")
    assert refused(registry, joins, "umcu", digest="0" * 64) == (422, "study")
    assert refused(registry, joins, "umcu", created=now() - timedelta(hours=2)) == (422, "date")
    outsider = of.join("nki", key=OUTSIDER, of_study=STRANGER, created=now())
    with pytest.raises(RequestDeniedError) as denied:
        studies.join(registry, of_site(registry, "lumc"), PLAN.digest, of.sent(outsider))
    assert (denied.value.status, denied.value.rule) == (422, "study"), "a site that is not named"
    joins(registry, "umcu")
    assert refused(registry, joins, "umcu", of_study=STRANGER) == (409, "study"), "one join a site"
    assert refused(registry, joins, "lumc", of_study=STUDY_KEYS["umcu"]) == (409, "study"), "each has its own key"


def test_a_withdrawal_ends_a_study(registry: Registry) -> None:
    proposed(registry)
    joins(registry, "lumc")
    assert refused(registry, withdraws, "umcu", key=OFFICERS["lumc"]) == (422, "wrong-namespace")
    assert refused(registry, withdraws, "umcu", "lumc") == (403, "namespace")
    said = withdraws(registry, "umcu", key=PUBLISHER_OF_UMCU)
    assert said["withdrew"] == "umcu" and set(said["withdrawals"]) == {"umcu"}
    assert event(registry)["event"] == "study-withdrawn"
    assert refused(registry, withdraws, "umcu") == (409, "study")
    assert refused(registry, joins, "radboud") == (409, "study")
    assert studies.standing(registry.database.connection(), PLAN.repository) == {PLAN.digest: "umcu"}
    assert withdraws(registry, "lumc")["withdrew"] == "umcu", "the first is named"


def test_a_coordinator_that_is_no_site_may_take_its_study_back(registry: Registry) -> None:
    made = of.plan(sites=("lumc", "umcu"), dropouts=0)
    studies.propose(registry, of_site(registry, "radboud"), of.sent(of.proposal(made, created=now())))
    word = of.withdrawal("radboud", digest=made.digest, key=SITE, created=now())
    said = studies.withdraw(registry, of_site(registry, "radboud"), made.digest, of.sent(word))
    assert said["withdrew"] == "radboud"


def test_nothing_is_joined_or_withdrawn_once_a_release_is_published(registry: Registry) -> None:
    proposed(registry)
    with registry.database.writing() as db:
        study_rows.release(db, PLAN.digest, now="2026-11-27T00:00:00.000Z")
    assert refused(registry, withdraws, "umcu") == (409, "study")
    assert refused(registry, joins, "umcu") == (409, "study")


def test_how_many_studies_a_namespace_may_have_open(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "MOST_OPEN", 1)
    proposed(registry)
    assert refused(registry, proposed, caption="another, {}") == (403, "quota")
    withdraws(registry, "umcu")
    proposed(registry, caption="another, {}")
    with registry.database.writing() as db:
        for row in study_rows.all_of(db):
            study_rows.release(db, row.digest, now="2026-11-27T00:00:00.000Z")
    proposed(registry, caption="a third, {}")


def test_who_withdraws_while_a_release_is_judged_is_heard(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    proposed(registry)
    coordinator = of_site(registry, "radboud")
    repos.create(registry, coordinator, "radboud", PLAN.repository.partition("/")[2])
    request = CommitRequest("Publish", "", None, dict(of.release().files), frozenset(), frozenset())
    judge = storing.judge

    def judged_and_left(*args: Any) -> Any:
        found = judge(*args)
        withdraws(registry, "umcu")
        return found

    def publish() -> Any:
        name = PLAN.repository.partition("/")[2]
        return publication.publish(registry, coordinator, "radboud", name, branch="main", request=request)

    monkeypatch.setattr(publication, "judge", judged_and_left)
    with pytest.raises(RequestDeniedError) as denied:
        publish()
    assert (denied.value.status, denied.value.rule) == (422, "study") and "umcu withdrew" in denied.value.message
    with registry.database.writing() as db:
        db.execute("DELETE FROM study_statement WHERE kind = 'withdrawal'")
    monkeypatch.undo()
    assert publish().release_version and kept(registry)[0][0].released is not None


def test_a_site_whose_officers_key_was_stolen_signs_the_same_key_anew(registry: Registry, tmp_path: Path) -> None:
    officer, newer = make_key("an officer that left"), make_key("the next officer")
    for number, key in enumerate((officer, newer)):
        (file := tmp_path / f"{number}.pem").write_text(key.public_pem)
        administration.add_key(registry, file, namespace="umcu", role="approve")
    proposed(registry)
    joins(registry, "umcu", key=officer)
    assert refused(registry, joins, "umcu", key=newer) == (409, "study"), "nothing is wrong with the first"
    administration.revoke_key(registry, officer.fingerprint, reason="stolen")
    assert refused(registry, joins, "umcu", key=newer, of_study=STRANGER) == (409, "study"), "another key of the study"
    with registry.database.writing() as db:
        study_rows.release(db, PLAN.digest, now="2026-11-27T00:00:00.000Z")
    before = kept(registry)
    said = joins(registry, "umcu", key=newer)
    hint = said["joins"]["umcu"]["verificationMaterial"]["publicKey"]["hint"]
    assert hint == newer.fingerprint and kept(registry) != before and said["joined"] == ["umcu"]


def test_a_withdrawal_is_taken_after_the_proposers_key_was_stolen(house: Registry, registry: Registry) -> None:
    proposed(registry)
    joins(registry, "lumc")
    stolen: SigningKey = SITE
    administration.revoke_key(house, stolen.fingerprint, reason="stolen")
    administration.revoke_key(house, OFFICERS["lumc"].fingerprint, reason="stolen")
    joins(registry, "radboud")
    assert withdraws(registry, "umcu")["withdrew"] == "umcu"
    assert refused(registry, withdraws, "lumc") == (422, "revoked-key"), "nothing new by a revoked key"
