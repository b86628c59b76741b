"""A registry whose releases need approval: who lives there, what they propose, and what approvers answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from embhub.release.checks import approvals
from embhub.release.files import Release
from embhub.site.signing.keys import SigningKey
from embhub.trust import bundle, statement
from embhub_registry.database.clock import now, stamp
from tests.support import pushes, releases
from tests.support.servers import Answer, RunningRegistry, running_registry

NAME = releases.REPOSITORY
OFFICER_KEY = releases.make_key("the approver's own key")
SECOND_KEY = releases.make_key("the second approver's own key")
API = "/embhub/v1/review"


@dataclass(frozen=True)
class Reviewed:
    """Tokens of a publisher, a colleague with the same role, two approvers, a reader, a stranger, an auditor."""

    registry: RunningRegistry
    alice: str
    paul: str
    olga: str
    omar: str
    rita: str
    lea: str
    nora: str

    def propose(self, release: Release, *, token: str | None = None) -> dict[str, Any]:
        """Push a release that is kept as a proposal."""
        answer = pushes.commit(self.registry, NAME, release.files, token=token or self.alice)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json()["proposal"]
        return found

    def ask(self, token: str | None, path: str = "") -> Answer:
        return self.registry.get(API + path, token=token)

    def answer(self, token: str | None, proposal: str, **body: Any) -> Answer:
        return self.registry.request("POST", f"{API}/{proposal}", token=token, json_body=body)

    def approve(self, token: str | None, made: Mapping[str, Any], **body: Any) -> Answer:
        return self.answer(
            token,
            made["id"],
            answer="approve",
            **{"digest": made["digest"], "not_before": made.get("not_before"), **body},
        )

    def events(self) -> list[dict[str, Any]]:
        """The audit log."""
        return [json.loads(line) for line in (self.registry.folder / "audit.jsonl").read_text().splitlines()]


@contextmanager
def reviewed_registry(folder: Path, *, approvals_needed: int = 1) -> Iterator[Reviewed]:
    """A registry with one open release of radboud; from then on releases of radboud need approval."""
    with running_registry(folder) as registry:
        registry.add_key(releases.SITE, namespace="radboud")
        registry.add_key(OFFICER_KEY, namespace="radboud", role="approve")
        registry.add_key(SECOND_KEY, namespace="radboud", role="approve")
        registry.add_key(releases.AUDITOR, namespace="nki", role="audit")
        people = {
            "alice": registry.add_user("alice", namespace="radboud"),
            "paul": registry.add_user("paul", namespace="radboud"),
            "olga": registry.add_user("olga", namespace="radboud", role="approver"),
            "omar": registry.add_user("omar", namespace="radboud", role="approver"),
            "rita": registry.add_user("rita", namespace="radboud", role="reader"),
            "lea": registry.add_user("lea", namespace="lumc"),
            "nora": registry.add_user("nora", namespace="nki", role="auditor"),
        }
        made = Reviewed(registry, **people)
        for name in ("olga", "omar"):
            made_by_owner(registry, name)
        assert pushes.create(registry, NAME, token=made.alice).status == 200
        answer = pushes.commit(registry, NAME, version(0).files, token=made.alice)
        assert answer.status == 200 and "proposal" not in answer.json(), answer.body
        registry.run("curate", "review", "set", "radboud", "--approvals", str(approvals_needed))
        yield made


def made_by_owner(registry: RunningRegistry, user: str, *, ago: timedelta = timedelta()) -> None:
    """Let an account's tokens be such as its person made, who proved who they are that long ago."""
    update = "UPDATE token SET proved = ? WHERE user_id = (SELECT id FROM user WHERE name = ?)"
    with registry.opened() as opened, opened.database.writing() as db:
        db.execute(update, (stamp(now() - ago), user))


def version(seed: int, **changes: Any) -> Release:
    """A release of its own bytes; seed 0 is 1.0.0."""
    artifact = releases.make_embedding(seed=seed)
    wanted = {"version": f"1.{seed}.0", "description": f"Lesions of series {seed}. Wombatstone.", **changes}
    if seed == 0:
        wanted.pop("description")
    return releases.make_release(artifact=artifact, **wanted)


def attest(
    proposal: Mapping[str, Any], files: Mapping[str, str], *, user: str, key: SigningKey = OFFICER_KEY, **changes: Any
) -> dict[str, Any]:
    """An approver's own attestation, as `embhub curate review approve` makes it."""
    facts = {
        "registry": releases.ORIGIN, "repository": NAME, "version": "1.1.0", "kind": "signed",
        "approver": approvals.pseudonym(proposal["id"], user), "created": datetime.now(UTC), **changes,
    }  # fmt: skip
    stated = approvals.build(files, **facts)
    document: dict[str, Any] = json.loads(bundle.to_json(statement.sign(stated, key=key)))
    return document
