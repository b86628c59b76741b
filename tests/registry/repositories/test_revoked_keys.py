"""What a registry takes of a key that was revoked: nothing new, of whatever kind and for whatever reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest

from embhub.release import files as release_files
from embhub.release import signing
from embhub.site.signing.keys import SigningKey
from embhub.trust import audit_designs, kinds
from embhub.trust.keyring import Reason, Role
from embhub_registry.admission import publication
from embhub_registry.database.clock import now
from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.people import auth
from embhub_registry.repositories import attesting, base_reports, evaluations, repos
from embhub_registry.repositories import audit_designs as designs_here
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry
from tests.support import designs, releases
from tests.support.base_reports import sent
from tests.support.base_reports import signed as on_base
from tests.support.evaluations import signed as evaluation
from tests.support.releases import REPOSITORY, SITE, make_key

RELEASE = releases.make_release()
DIGEST = RELEASE.embedding.digest
REASONS: list[Reason] = ["superseded", "lost", "stolen"]
NOTICED = iter(range(1, 64))  # the log takes each notice once


def audit(key: SigningKey) -> dict[str, Any]:
    assert RELEASE.audit is not None
    report = release_files.digest(RELEASE.files[release_files.AUDIT])
    data = signing.attest_audit(
        RELEASE.audit, report_digest=report, registry=releases.ORIGIN, repository=REPOSITORY, version="1.0.0", key=key,
        now=now(),
    )  # fmt: skip
    return dict(json.loads(data))


def design(key: SigningKey) -> dict[str, Any]:
    made = designs.register(RELEASE.embedding, key=key, number=next(NOTICED)).registration
    return dict(json.loads(made.to_bytes()))


def result(key: SigningKey, registry: Registry, who: Account) -> dict[str, Any]:
    """Of a design that was taken while the key was good."""
    made = designs.register(RELEASE.embedding, key=key, number=next(NOTICED))
    designs_here.take(registry, who, DIGEST, json.loads(made.registration.to_bytes()))
    return dict(json.loads(audit_designs.write_result(made.result)))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Radboud published; others audit or evaluate, a namespace and a key for each reason."""
    tmp_path = tmp_path_factory.mktemp("house")
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    for number, (key, namespace, role) in enumerate([(SITE, "radboud", "publish"), *KEYS.values()]):
        file = tmp_path / f"{number}.pem"
        file.write_text(key.public_pem)
        administration.add_key(made, file, namespace=namespace, role=role)
    alice = account(made, "alice", "radboud", "publisher")
    repos.create(made, alice, None, "prostate-cspca", private=False)
    request = CommitRequest("Publish", "", None, dict(RELEASE.files), frozenset(), frozenset())
    publication.publish(made, alice, "radboud", "prostate-cspca", branch="main", request=request)
    yield made
    made.close()


def account(registry: Registry, name: str, namespace: str, role: str) -> Account:
    administration.add_user(registry, name, namespace=namespace, role=role)
    token = administration.new_token(registry, name)["token"]
    found = accounts.find_account(registry.database.connection(), auth.digest(token))
    assert found is not None
    return found


ROLES: dict[str, Role] = {"audits": "audit", "designs": "audit", "evaluations": "evaluate", "base-reports": "publish"}
KEYS: dict[tuple[str, str], tuple[SigningKey, str, Role]] = {
    (name, reason): (make_key(f"{name}, then {reason}"), f"{name}-{reason}", ROLES[name])
    for name in ROLES
    for reason in REASONS
}
TAKE: dict[str, Callable[[Registry, Account, str, dict[str, Any]], dict[str, Any]]] = {
    "audits": attesting.attest, "designs": designs_here.take, "evaluations": evaluations.take,
    "base-reports": base_reports.take,
}  # fmt: skip


def test_every_list_is_tried() -> None:
    assert ROLES.keys() == TAKE.keys() == kinds.LISTED.keys() and {*REASONS, "left"} == {*get_args(Reason)}


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("name", ROLES)
def test_nothing_new_by_a_revoked_key(house: Registry, name: str, reason: Reason) -> None:
    key, namespace, role = KEYS[name, reason]
    who = account(house, f"of-{namespace}", namespace, "auditor" if role == "audit" else "reader")
    write = {"audits": audit, "designs": design, "evaluations": lambda key: evaluation(DIGEST, key=key),
             "base-reports": lambda key: sent(on_base(key=key, fingerprint=DIGEST))}[name]  # fmt: skip
    assert TAKE[name](house, who, DIGEST, write(key))[name], "while it is good"
    documents = [write(key), *([result(key, house, who)] if name == "designs" else [])]
    administration.revoke_key(house, key.fingerprint, reason=reason)
    for document in documents:
        with pytest.raises(RequestDeniedError) as denied:
            TAKE[name](house, who, DIGEST, document)
        assert (denied.value.status, denied.value.rule) == (422, "revoked-key")
