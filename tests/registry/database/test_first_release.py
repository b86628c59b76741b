"""A registry that release 0.1.0 left on disk: migrated to today's schema, checked, served, pulled from."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import embhub
from embhub_registry.database import schema
from embhub_registry.operation import checking
from embhub_registry.operation.opening import open_folder
from tests.support import pushes, releases
from tests.support.servers import RunningRegistry, free_port
from tests.support.sites import Site

LEFT = Path(__file__).parents[2] / "vectors" / "first_release"
ANNA, GONE, PAST = "emb_anna-of-the-first-release", "emb_revoked-in-the-first-release", "emb_expired-long-ago"
CSPCA = "radboud/prostate-cspca"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder as that release's program would find it."""
    folder = tmp_path_factory.mktemp("first") / "registry"
    shutil.copytree(LEFT / "blobs", folder / "blobs")
    shutil.copy(LEFT / "audit.jsonl", folder)
    (folder / "keys").mkdir()
    pem = releases.ROOT.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "keys/root.pem").write_bytes(pem)
    (folder / "keys/root.pem").chmod(0o600)
    (folder / "keys/root.pub").write_text(releases.ROOT.public_pem)
    made = sqlite3.connect(folder / "registry.db")
    made.executescript((LEFT / "registry.sql").read_text())
    made.close()
    return folder


@pytest.fixture(scope="module")
def served(old: Path) -> Iterator[RunningRegistry]:
    running = RunningRegistry(old, f"http://127.0.0.1:{free_port()}", ANNA, releases.ROOT.fingerprint)
    running.start()
    yield running
    running.stop()


def test_it_is_migrated_and_clean(old: Path) -> None:
    registry = open_folder(old)
    db = registry.database.connection()
    assert schema.pending(registry.database) == []
    assert db.execute("PRAGMA user_version").fetchone()[0] == schema.known_steps()[-1].number
    report = checking.check(registry)
    assert report.clean and report.blobs == 11 and report.revisions == 5, report
    copies = list(old.glob("registry.before-*.db"))
    assert len(copies) == (len(schema.known_steps()) > 1), "today's program kept the database as it found it"
    for copy in copies:
        assert sqlite3.connect(copy).execute("PRAGMA user_version").fetchone()[0] == 1
    registry.close()


def test_a_pull_verifies_what_was_published_then(
    served: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path / "lumc", served.url).enter(monkeypatch)
    site.trust(served)
    first = embhub.pull(f"{CSPCA}@v1.0.0", out=tmp_path / "first")
    assert first.version == "1.0.0" and first.signer.fingerprint == releases.SITE.fingerprint
    newest = embhub.pull(CSPCA, out=tmp_path / "newest")
    assert newest.version == "1.1.0" and newest.digest == releases.make_embedding(seed=7).digest


def test_accounts_tokens_and_lists_are_as_they_were(served: RunningRegistry) -> None:
    assert served.get("/api/whoami-v2", token=ANNA).json()["name"] == "anna"
    assert [served.get("/api/whoami-v2", token=token).status for token in (GONE, PAST)] == [401, 401]
    assert [m["id"] for m in served.get("/api/models?search=prostate").json()] == [CSPCA]
    assert {m["id"] for m in served.get("/api/models", token=ANNA).json()} == {CSPCA, "radboud/draft"}
    assert served.get("/api/models/radboud/draft").status == 404, "private then, private now"
    assert served.get(f"/api/models/{CSPCA}").json()["downloads"] >= 3
    assert served.get(f"/{CSPCA}", headers={"Accept": "text/html"}).status == 200


def test_publishing_goes_on(served: RunningRegistry) -> None:
    files = releases.make_release(
        registry="hub.example.org", artifact=releases.make_embedding(seed=8), version="1.2.0",
        replaces=releases.make_embedding(seed=7).digest,
    ).files  # fmt: skip
    done = pushes.commit(served, CSPCA, files, token=ANNA)
    assert done.status == 200, done.body
