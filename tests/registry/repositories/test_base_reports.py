"""Reports on bases: what is refused, what replaces what, how many there may be, and what the page says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from embhub.formats import instants
from embhub.release.checks.base_report import CHECKS
from embhub.site.signing.keys import SigningKey
from embhub.trust import bundle, kinds
from embhub.trust.bundle import Bundle
from embhub.trust.keyring import Role
from embhub_registry.database.clock import now
from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.pages.lists import bases_page
from embhub_registry.people import auth
from embhub_registry.repositories import base_reports
from embhub_registry.static import collecting
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log
from tests.support.base_reports import DOCUMENT, FINGERPRINT, forged, sent, signed
from tests.support.releases import AUDITOR, OTHER_SITE, SITE, STRANGER, make_key

STOLEN, APPROVER = make_key("a key that was stolen"), make_key("an approver of bases")
HOLDERS: list[tuple[SigningKey, str, Role]] = [
    (SITE, "radboud", "publish"), (OTHER_SITE, "lumc", "publish"), (AUDITOR, "nki", "audit"),
    (STOLEN, "umcu", "evaluate"), (APPROVER, "radboud", "approve"),
]  # fmt: skip
OTHER_BASE = "e" * 64


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgresql: Any
) -> Iterator[Registry]:
    """Four members, of whom any may report. On both engines."""
    tmp_path = tmp_path_factory.mktemp("house")
    database = postgresql.new_schema() if request.param == "postgresql" else None
    url = "http://127.0.0.1:1"
    made = folder.create(tmp_path / "registry", name="Test", url=url, audit="optional", database=database)
    for number, (key, namespace, role) in enumerate(HOLDERS):
        file = tmp_path / f"{number}.pem"
        file.write_text(key.public_pem)
        administration.add_key(made, file, namespace=namespace, role=role)
        if role != "approve":
            administration.add_user(made, f"from-{namespace}", namespace=namespace, role="reader")
    yield made
    made.close()


@pytest.fixture
def registry(house: Registry) -> Registry:
    """The same one, without reports."""
    with house.database.writing() as db:
        db.execute("DELETE FROM base_report")
    return house


def account(registry: Registry, namespace: str = "radboud") -> Account:
    token = administration.new_token(registry, f"from-{namespace}")["token"]
    found = accounts.find_account(registry.database.connection(), auth.digest(token))
    assert found is not None
    return found


def send(registry: Registry, made: Bundle, *, namespace: str = "radboud", base: str = FINGERPRINT) -> dict[str, Any]:
    return base_reports.take(registry, account(registry, namespace), base, sent(made))


def refused(registry: Registry, made: Bundle, **where: Any) -> tuple[int, str]:
    before = rows(registry)
    with pytest.raises(RequestDeniedError) as denied:
        send(registry, made, **where)
    assert denied.value.hint and rows(registry) == before, "nothing was kept"
    return denied.value.status, denied.value.rule


def rows(registry: Registry, base: str = FINGERPRINT) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = base_reports.answer(registry, None, base)["base-reports"]
    return found


def page(registry: Registry) -> bases_page.BasesPage:
    return bases_page.collect(registry.database.connection(), registry.trust(), registry="Test")


def under(version: str) -> dict[str, Any]:
    return {"program": {**DOCUMENT["program"], "embhub": version}}


def test_a_report_is_kept_listed_and_logged(registry: Registry) -> None:
    entries = registry_log.files_of(registry).checkpoint()
    said = send(registry, made := signed("learns"))
    (row,) = said["base-reports"]
    assert said["replaced"] is None and said["base"] == FINGERPRINT and rows(registry) == [row]
    assert (row["namespace"], row["replaced"]) == ("radboud", 0) and row["bundle"] == sent(made)
    assert rows(registry, OTHER_BASE) == []
    assert registry_log.files_of(registry).checkpoint() != entries, "it is in the log"
    event = json.loads(list(registry.audit_log.lines())[-1])
    assert (event["event"], event["base"], event["passed"]) == ("base-reported", FINGERPRINT, len(CHECKS) - 1)


def test_who_may_not_send_one(registry: Registry) -> None:
    assert refused(registry, signed(key=STRANGER)) == (422, "unknown-signer")
    assert refused(registry, signed(key=APPROVER)) == (422, "wrong-role")
    assert refused(registry, signed(), namespace="lumc") == (403, "namespace"), "another namespace's account"
    assert refused(registry, signed(), base=OTHER_BASE) == (422, "refused"), "another base than the address names"
    assert refused(registry, signed(registry="hub.elsewhere.org")) == (422, "wrong-registry")
    assert refused(registry, signed(created=now() + timedelta(hours=2))) == (422, "date")
    document = sent(signed())
    document["dsseEnvelope"]["signatures"] = sent(signed("acts"))["dsseEnvelope"]["signatures"]
    with pytest.raises(RequestDeniedError) as denied:
        base_reports.take(registry, account(registry), FINGERPRINT, document)
    assert (denied.value.status, denied.value.rule) == (422, "bad-signature")


def test_nothing_comes_along_that_no_rule_speaks_of(registry: Registry) -> None:
    for report in ({**DOCUMENT, "host": "node17"}, {**DOCUMENT, "phantoms": "/home/anna"}, {**DOCUMENT, "checks": []}):
        assert refused(registry, forged(report=report)) == (422, "statement-malformed")
    assert refused(registry, forged(path="/home/x")) == (422, "statement-malformed")


def test_an_old_report_counts_and_a_newer_one_replaces_it(registry: Registry) -> None:
    """A machine without a network may wait for weeks; the newest of a namespace is kept, whatever embhub it names."""
    old = now() - timedelta(days=60)
    send(registry, signed("loads", created=old))
    said = send(registry, signed(created=old + timedelta(days=1), **under("0.2.0")))
    assert said["replaced"] == instants.write(old) and [one["replaced"] for one in rows(registry)] == [1]
    assert refused(registry, signed("acts", created=old)) == (409, "older")
    assert refused(registry, signed(created=old, **under("9.9.9"))) == (409, "older"), "a version is its signer's word"
    send(registry, signed(created=old, key=AUDITOR), namespace="nki")
    assert [one["replaced"] for one in rows(registry)] == [1, 0]


def test_no_version_makes_room_for_more_log_entries(registry: Registry) -> None:
    start, made = now() - timedelta(days=9), list[Bundle]()
    for number in range(base_reports.MOST_REPLACED + 1):
        made.append(signed(created=start + timedelta(hours=number), **under(f"{number % 4}.0.0")))
        send(registry, made[-1])
    assert [one["replaced"] for one in rows(registry)] == [base_reports.MOST_REPLACED]
    assert refused(registry, signed(**under("0.9.0"))) == (403, "quota")
    assert {refused(registry, one) for one in made} == {(409, "older")}, "nothing is forgotten and taken again"


def test_one_namespace_cannot_take_the_room_of_all_others(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    send(registry, signed())
    monkeypatch.setattr(base_reports, "MOST_BASES", 1)
    assert refused(registry, signed(fingerprint=OTHER_BASE), base=OTHER_BASE) == (403, "quota")
    monkeypatch.setattr(base_reports, "MOST", 1)
    assert refused(registry, signed(key=AUDITOR), namespace="nki") == (403, "quota")
    send(registry, signed(created=now() + timedelta(minutes=1)))


def test_a_stolen_keys_report_is_shown_nowhere(registry: Registry) -> None:
    send(registry, signed(key=STOLEN), namespace="umcu")
    assert len(rows(registry)) == len(page(registry).bases) == 1
    administration.revoke_key(registry, STOLEN.fingerprint, reason="stolen")
    assert rows(registry) == [] and page(registry).bases == ()
    assert refused(registry, signed(key=STOLEN), namespace="umcu") == (422, "revoked-key")


def test_the_page_says_who_ran_what_and_which_reports_agree(registry: Registry) -> None:
    send(registry, signed())
    send(registry, signed(key=AUDITOR), namespace="nki")
    send(registry, signed("learns", key=OTHER_SITE), namespace="lumc")
    send(registry, signed(fingerprint=OTHER_BASE, base={**DOCUMENT["base"], "name": "another"}), base=OTHER_BASE)
    bases = {base.fingerprint: base for base in page(registry).bases}
    assert bases.keys() == {FINGERPRINT, OTHER_BASE} and bases[OTHER_BASE].name == "another"
    most, least = bases[FINGERPRINT].agreeing
    assert [sorted(one.namespace for one in group.reports) for group in (most, least)] == [["nki", "radboud"], ["lumc"]]
    assert most.passed == CHECKS and most.others == () and least.others == ("learns (failed)",)
    assert most.reports[0].device == "NVIDIA A100-SXM4-80GB" and most.reports[0].name == DOCUMENT["base"]["name"]


def test_the_newest_report_does_not_name_everybodys_base(registry: Registry) -> None:
    def called(name: str, family: str) -> dict[str, Any]:
        return {"base": {**DOCUMENT["base"], "name": name, "family": family}}

    old = now() - timedelta(days=9)
    send(registry, signed(created=old))
    send(registry, signed("acts", key=AUDITOR, **called("evil/checked-by-us", "flux")), namespace="nki")
    (base,) = page(registry).bases
    assert (base.name, base.family, base.also) == (DOCUMENT["base"]["name"], "sd", ("evil/checked-by-us",)), "the older"
    send(registry, signed(key=OTHER_SITE, **called("sd15", "sd")), namespace="lumc")
    (base,) = page(registry).bases
    assert base.name == DOCUMENT["base"]["name"] and base.also == ("evil/checked-by-us", "sd15"), "of those who agree"
    assert len(base.agreeing[0].reports) == 2


def test_an_export_holds_every_report(registry: Registry) -> None:
    send(registry, signed())
    path = f"embhub/v1/base-reports/{FINGERPRINT}"
    (found,) = [item for item in collecting.collect(registry).files if item.path == path]
    said = json.loads(found.read())
    assert bundle.rows(found.read(), kinds.BASE_REPORT, digest=FINGERPRINT) == said["base-reports"] == rows(registry)
