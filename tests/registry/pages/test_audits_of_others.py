"""Audits of the same bytes in another repository: a page shows what everybody may read of them, and the verdict."""

from __future__ import annotations

from pathlib import Path

from tests.support import pushes, releases
from tests.support.servers import running_registry
from tests.support.statics import publish

OPEN, CLOSED = "radboud/open", "radboud/closed"


def test_an_audit_is_listed_while_everybody_may_read_its_release(tmp_path: Path) -> None:
    with running_registry(tmp_path) as registry:
        registry.add_key(releases.SITE, namespace="radboud")
        alice = registry.add_user("alice", namespace="radboud")
        publish(registry, "closed", token=alice)
        same = releases.make_release(repository=OPEN, name="open", audited=False)
        pushes.create(registry, "open", token=alice)
        assert pushes.commit(registry, OPEN, same.files, token=alice).status == 200

        def listed(*, token: str | None = None) -> list[str]:
            said = registry.get(f"/{OPEN}?format=json", token=token).json()
            assert said["verdict"] == "insufficient-evidence", "the same bytes leak as much or as little"
            return [row["repository"] for row in said["audits"]]

        assert listed() == [CLOSED]
        for gate in ("manual", False):
            asked = registry.request(
                "PUT", f"/api/models/{CLOSED}/settings", token=registry.admin, json_body={"gated": gate}
            )
            assert asked.status == 200
            assert listed() == listed(token=alice) == ([] if gate else [CLOSED])
        registry.request("PUT", f"/api/models/{CLOSED}/settings", token=registry.admin, json_body={"gated": "manual"})
        registry.run("repo", "delete", CLOSED, "--reason", "the name was wrong", "--scope", "release")
        assert listed() == []
