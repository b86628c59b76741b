"""What others learn of a private repository from what it left behind: a withdrawal, a freed name, a study's sites."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub.trust import bundle
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.statements import study_rows
from tests.support import designs, pushes, releases
from tests.support import study_records as of
from tests.support.servers import RunningRegistry, running_registry

NAME = releases.REPOSITORY


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path) as running:
        for namespace, key, role in of.KEYS:
            running.add_key(key, namespace=namespace, role=role)
        yield running


@pytest.fixture
def alice(registry: RunningRegistry) -> str:
    return registry.add_user("alice", namespace="radboud")


def create(registry: RunningRegistry, token: str, *, private: bool) -> None:
    body = {"name": NAME.partition("/")[2], "private": private}
    assert registry.request("POST", "/api/repos/create", token=token, json_body=body).status == 200


def designs_of(registry: RunningRegistry, digest: str, token: str | None = None) -> list[Any]:
    found: list[Any] = registry.get(f"/embhub/v1/designs/{digest}", token=token).json()["designs"]
    return found


@pytest.mark.parametrize("private", [True, False])
def test_registered_audits_of_bytes_that_the_list_of_withdrawals_names(
    registry: RunningRegistry, alice: str, private: bool
) -> None:
    artifact = releases.make_embedding(seed=7)
    audit = designs.register(artifact)
    registration = {
        "schema": "embhub.audit-registration/1",
        "design": json.loads(bundle.to_json(audit.registration.design.envelope)),
        "notice": json.loads(bundle.to_json(audit.registration.notice.envelope)),
    }
    path = f"/embhub/v1/designs/{artifact.digest}"
    assert registry.request("POST", path, token=alice, json_body=registration).status == 200
    assert designs_of(registry, artifact.digest), "of bytes in no repository they are for whoever knows them"
    create(registry, alice, private=private)
    release = designs.make_release(audit, artifact)
    assert pushes.commit(registry, NAME, dict(release.files), token=alice).status == 200
    registry.request("POST", f"/embhub/v1/yank/{NAME}", token=alice, json_body={"reason": "a patient objected"})
    (advisory,) = registry.get("/trust/advisories?format=json").json()["advisories"]
    assert advisory["digest"] == artifact.digest
    stranger = registry.add_user("lea", namespace="lumc")
    for token in (None, stranger):
        assert bool(designs_of(registry, artifact.digest, token)) is not private
    assert designs_of(registry, artifact.digest, alice) and designs_of(registry, artifact.digest, registry.admin)
    assert registry.request("DELETE", "/api/repos/delete", token=registry.admin, json_body={"name": NAME}).status == 200
    assert designs_of(registry, artifact.digest) == [] and designs_of(registry, artifact.digest, alice)


def test_audits_under_a_name_that_was_freed_stay_the_namespaces(registry: RunningRegistry, alice: str) -> None:
    create(registry, alice, private=True)
    release = releases.make_release()
    assert pushes.commit(registry, NAME, dict(release.files), token=alice).status == 200
    assert registry.request("DELETE", "/api/repos/delete", token=registry.admin, json_body={"name": NAME}).status == 200
    registry.run("repo", "free", NAME)
    create(registry, alice, private=False)
    path = f"/embhub/v1/audits/{release.embedding.digest}"
    assert registry.get(path).json()["audits"] == []
    (kept,) = registry.get(path, token=alice).json()["audits"]
    assert kept["repository"].startswith(f"{NAME} (freed ")


def test_a_site_of_a_study_learns_of_no_other_version(registry: RunningRegistry, alice: str) -> None:
    create(registry, alice, private=True)
    release = releases.make_release(audited=False, version="0.1.0")
    assert pushes.commit(registry, NAME, dict(release.files), token=alice).status == 200
    proposal = of.proposal(of.plan(), created=now())
    assert registry.request("POST", "/embhub/v1/studies", token=alice, json_body=of.sent(proposal)).status == 200
    with registry.opened() as opened, opened.database.writing() as db:
        study_rows.release(db, of.plan().digest, now=stamp())
    site = registry.add_user("from-lumc", namespace="lumc")
    answers = []
    for version in ("0.1.0", "9.9.9"):
        body = {"reason": "a patient objected", "version": version}
        answer = registry.request("POST", f"/embhub/v1/yank/{NAME}", token=site, json_body=body)
        answers.append((answer.status, answer.body.replace(version.encode(), b"VERSION")))
    assert answers[0] == answers[1] and b"0.1.0" not in answers[0][1]
    assert registry.request("DELETE", "/api/repos/delete", token=registry.admin, json_body={"name": NAME}).status == 200
    registry.run("repo", "free", NAME)
    create(registry, alice, private=True)
    body = {"reason": "a patient objected", "version": "0.1.0"}
    answer = registry.request("POST", f"/embhub/v1/yank/{NAME}", token=site, json_body=body)
    assert answer.status == 404 and b"repository" in answer.body


def test_a_site_of_a_study_learns_no_versions_where_main_holds_no_release(
    registry: RunningRegistry, alice: str
) -> None:
    create(registry, alice, private=True)
    proposal = of.proposal(of.plan(), created=now())
    assert registry.request("POST", "/embhub/v1/studies", token=alice, json_body=of.sent(proposal)).status == 200
    assert registry.request("POST", f"/api/models/{NAME}/branch/dev", token=alice, json_body={}).status == 200
    release = releases.make_release(audited=False, version="0.1.0")
    sent = registry.request(
        "POST", f"/api/models/{NAME}/commit/dev", token=alice, body=pushes.commit_body(dict(release.files)),
        headers={"Content-Type": "application/x-ndjson"},
    )  # fmt: skip
    assert sent.status == 200, sent.body
    with registry.opened() as opened, opened.database.writing() as db:
        study_rows.release(db, of.plan().digest, now=stamp())
    body = {"reason": "a patient objected"}
    own = registry.request("POST", f"/embhub/v1/yank/{NAME}", token=alice, json_body=body)
    assert own.status == 404 and b"0.1.0" in own.body
    site = registry.add_user("from-lumc", namespace="lumc")
    answer = registry.request("POST", f"/embhub/v1/yank/{NAME}", token=site, json_body=body)
    assert answer.status == 403 and b"0.1.0" not in answer.body, answer.body
