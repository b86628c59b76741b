"""Makes `first_release/`, a populated registry as release 0.1.0 left it: run once, with the code of that release.

    PYTHONPATH=OLD:OLD/registry python tests/vectors/first_release.py tests/vectors/first_release

where OLD is a checkout of release 0.1.0. What it writes is never made anew: later programs must read these bytes.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from embhub.site import keys
from embhub.site.keys import SigningKey
from embhub_registry.admission import publication
from embhub_registry.database import accounts, repositories
from embhub_registry.operation import administration
from embhub_registry.people import auth
from embhub_registry.repositories import repos
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry
from tests.support import releases

URL = "https://hub.example.org"
START = Path("registry/embhub_registry/database/migrations/001_start.sql")
# These tokens open nothing but the registry that is made from the dump.
ANNA, GONE, PAST = "emb_anna-of-the-first-release", "emb_revoked-in-the-first-release", "emb_expired-long-ago"


def write_root_key(name: str, *, folder: Path) -> SigningKey:
    """In place of a random key one that everybody can derive, so that no private key is kept beside the dump."""
    key = releases.ROOT if name == "root" else releases.make_key(f"first release {name}")
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / f"{name}.pem").write_bytes(pem)
    (folder / f"{name}.pem").chmod(0o600)
    (folder / f"{name}.pub").write_text(key.public_pem)
    return key


def populate(registry: Registry, scratch: Path) -> None:
    """Two organisations, three tokens of one publisher, two releases of one repository, a private draft, a tag."""
    for user, namespace, role in (
        ("admin", "registry", "admin"), ("anna", "radboud", "publisher"), ("lea", "lumc", "reader"),
    ):  # fmt: skip
        administration.add_user(registry, user, namespace=namespace, role=role)
    pem = scratch / "site.pem"
    pem.write_text(releases.SITE.public_pem)
    administration.add_key(registry, pem, namespace="radboud", role="publish", name="Radboudumc")
    with registry.database.writing() as db:
        anna = int(accounts.find_user(db, "anna")["id"])  # type: ignore[index]  # added above
        day = "2026-11-20T10:00:00.000Z"
        for identity, secret, expires in (("aa", ANNA, None), ("bb", GONE, None), ("cc", PAST, day)):
            accounts.add_token(
                db, token_id=identity, digest=auth.digest(secret), user_id=anna, now=day, expires=expires
            )
        accounts.revoke_tokens(db, token_id="bb", now=day)
    account = auth.authenticate(registry.database.connection(), f"Bearer {ANNA}")
    repos.create(registry, account, None, "prostate-cspca", private=False)
    repos.create(registry, account, None, "draft", private=True)
    send(registry, account, "draft", {"README.md": b"# Not yet\n"})
    first = releases.make_release()
    send(registry, account, "prostate-cspca", first.files)
    repos.add_ref(registry, account, "radboud", "prostate-cspca", kind="tag", ref="v1.0.0", revision="main")
    later = releases.make_embedding(seed=7)
    second = releases.make_release(artifact=later, version="1.1.0", replaces=first.embedding.digest)
    send(registry, account, "prostate-cspca", second.files)
    with registry.database.writing() as db:
        found = repositories.find(db, "radboud", "prostate-cspca")
        assert found is not None
        repositories.count_downloads(db, {found.id: 3})
        accounts.touch_token(db, "aa", now="2026-11-20T11:00:00.000Z")


def send(registry: Registry, account: accounts.Account | None, name: str, files: Any) -> None:
    """One commit."""
    request = CommitRequest("Publish", "", None, dict(files), frozenset(), frozenset())
    publication.publish(registry, account, "radboud", name, branch="main", request=request)


def dump(registry: Registry, start: str) -> str:
    """The schema of the first release as it was written, then every row; the search table keeps its text."""
    db = registry.database.connection()
    names = [line.split()[2] for line in start.splitlines() if line.startswith("CREATE TABLE")]
    lines = [start.rstrip(), ""]
    for name in names:
        columns = [row["name"] for row in db.execute(f"PRAGMA table_info({name})")]
        values = " || ', ' || ".join(f"quote({column})" for column in columns)
        for row in db.execute(f"SELECT {values} FROM {name}"):
            lines.append(f"INSERT INTO {name} VALUES ({row[0]});")
    for row in db.execute("SELECT rowid, quote(text) FROM search"):
        lines.append(f"INSERT INTO search (rowid, text) VALUES ({row[0]}, {row[1]});")
    return "\n".join([*lines, "PRAGMA user_version = 1;", ""])


def main(out: Path, start: Path) -> None:
    """Make the registry in a scratch folder; write its dump, its blobs and its audit log to `out`."""
    with tempfile.TemporaryDirectory() as scratch, mock.patch.object(keys, "generate", write_root_key):
        registry = folder.create(Path(scratch) / "registry", name="First hub", url=URL, audit="optional")
        populate(registry, Path(scratch))
        out.mkdir(parents=True, exist_ok=True)
        (out / "registry.sql").write_text(dump(registry, start.read_text()))
        registry.close()
        for made in ("blobs", "audit.jsonl"):
            source = registry.folder / made
            if source.is_dir():
                shutil.copytree(source, out / made, ignore=shutil.ignore_patterns("incoming"), dirs_exist_ok=True)
            else:
                shutil.copy(source, out / made)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(folder.__file__).parent / "migrations" / START.name)
