"""A backup file that is damaged, cut off, hostile or of another registry is refused, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import UsageError
from embhub_registry.database.people import accounts
from embhub_registry.operation.backups import after_restore
from embhub_registry.operation.backups.backup import back_up
from embhub_registry.operation.backups.backup_file import BadBackupError, Reader, object_name
from embhub_registry.storage import folder
from tests.support.backups import restore

Parts = dict[str, bytes]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A backup of a registry with one commit of three files."""
    from embhub_registry.admission import publication
    from embhub_registry.operation import administration
    from embhub_registry.repositories import repos
    from embhub_registry.repositories.commits import CommitRequest
    from tests.support import releases

    scratch = tmp_path_factory.mktemp("sound")
    made = folder.create(scratch / "registry", name="Test", url="https://hub.example.org", audit="optional")
    pem = scratch / "site.pem"
    pem.write_text(releases.SITE.public_pem)
    administration.add_key(made, pem, namespace="radboud", role="publish")
    administration.add_user(made, "admin", namespace="registry", role="admin")
    admin = accounts.Account(1, "admin", "registry", "admin", "", b"", None, None)
    repos.create(made, admin, "radboud", "prostate-cspca", private=False)
    files = releases.make_release(audited=False, registry="hub.example.org").files
    request = CommitRequest("t", "", None, files, frozenset(), frozenset())
    publication.publish(made, admin, "radboud", "prostate-cspca", branch="main", request=request)
    back_up(made, scratch / "x.tar")
    made.close()
    return (scratch / "x.tar").read_bytes()


def unpack(data: bytes) -> Parts:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        opened = {name: archive.extractfile(name) for name in archive.getnames()}
        return {name: file.read() for name, file in opened.items() if file is not None}


def pack(parts: Parts, **kinds: bytes) -> bytes:
    """A tar of these files, in this order; `kinds` gives a member another type, by its position as `m3`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for position, (name, data) in enumerate(parts.items()):
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kinds.get(f"m{position}", tarfile.REGTYPE)
            info.linkname = "/etc/passwd" if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def with_manifest(parts: Parts, **changes: Any) -> Parts:
    """The parts with a manifest that fits them but for `changes`."""
    document = json.loads(parts["backup.json"])
    for name in document["files"]:
        document["files"][name] = {"size": len(parts[name]), "sha256": hashlib.sha256(parts[name]).hexdigest()}
    objects = [data for name, data in parts.items() if name.startswith("blobs/")]
    lines = (f"{name[9:]} {len(data)}\n".encode() for name, data in parts.items() if name.startswith("blobs/"))
    named = hashlib.sha256(b"".join(lines)).hexdigest()
    document |= {"blobs": len(objects), "blob_bytes": sum(map(len, objects)), "objects_sha256": named, **changes}
    return {**parts, "backup.json": json.dumps(document).encode()}


def refused(data: bytes, tmp_path: Path) -> str:
    """The message of the refusal; nothing may stay behind."""
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(BadBackupError) as error:
        restore(tmp_path / "x.tar", tmp_path / "again")
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"], "nothing stays, neither half nor whole"
    assert error.value.hint and error.value.exit_code == 5
    return error.value.message


def test_a_sound_one_is_taken(sound: bytes, tmp_path: Path) -> None:
    for name, data in (("a", sound), ("b", pack(with_manifest(unpack(sound))))):
        (tmp_path / f"{name}.tar").write_bytes(data)
        assert restore(tmp_path / f"{name}.tar", tmp_path / name)["blobs"] == 4


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.95])
def test_cut_off(sound: bytes, tmp_path: Path, share: float) -> None:
    assert "ends too early" in refused(sound[: int(len(sound) * share)], tmp_path)


def test_cut_off_where_the_last_object_ends(sound: bytes, tmp_path: Path) -> None:
    parts = unpack(sound)
    parts.popitem()
    assert "3 objects of the 4" in refused(pack(parts), tmp_path)


@pytest.mark.parametrize("what", ["backup.json", "registry.db", "keys/root.pem", "audit.jsonl", "blobs/"])
def test_one_bit_of_any_part(sound: bytes, tmp_path: Path, what: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(sound)) as archive:
        info = next(member for member in archive if member.name.startswith(what))
    at = info.offset_data + info.size // 2
    assert refused(sound[:at] + bytes([sound[at] ^ 0x80]) + sound[at + 1 :], tmp_path)


def test_trailing_bytes(sound: bytes, tmp_path: Path) -> None:
    assert "does not end" in refused(sound + b"more", tmp_path)
    assert "does not end" in refused(sound + bytes(100_000), tmp_path)


def add_after(name: str, extra: str) -> Callable[[Parts], Parts]:
    def change(parts: Parts) -> Parts:
        return {k: v for n, d in parts.items() for k, v in ((n, d), *([(extra, b"x")] if n == name else []))}

    return change


HOSTILE = {
    "a path upwards": add_after("audit.jsonl", "../../../../tmp/owned"),
    "an absolute path": add_after("audit.jsonl", "/tmp/owned"),
    "a path upwards among the objects": add_after("audit.jsonl", "blobs/../../owned"),
    "a file that no backup holds": add_after("registry.db", "authorized_keys"),
    "an object under another's folder": add_after("audit.jsonl", f"blobs/00/{'f' * 64}"),
    "an object twice": lambda parts: {**parts, f"./{list(parts)[-1]}": list(parts.values())[-1]},
    "no database": lambda parts: {n: d for n, d in parts.items() if n != "registry.db"},
    "no manifest": lambda parts: {n: d for n, d in parts.items() if n != "backup.json"},
    "another order": lambda parts: dict(sorted(parts.items(), reverse=True)),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_members_that_do_not_belong(sound: bytes, tmp_path: Path, change: Callable[[Parts], Parts]) -> None:
    before = set(Path("/tmp").glob("owned"))
    refused(pack(change(unpack(sound))), tmp_path)
    assert set(Path("/tmp").glob("owned")) == before


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE,
             tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.AREGTYPE],
)  # fmt: skip
@pytest.mark.parametrize("position", [0, 2, 5])
def test_only_plain_files_are_read(sound: bytes, tmp_path: Path, kind: bytes, position: int) -> None:
    assert "no plain file" in refused(pack(unpack(sound), **{f"m{position}": kind}), tmp_path)


@pytest.mark.parametrize(
    ("member", "size"), [("backup.json", 2_000_000), ("backup.json", 8 << 60), ("blobs/", 1 << 40), ("registry.db", -1)]
)
def test_a_size_that_is_announced_and_not_there(sound: bytes, tmp_path: Path, member: str, size: int) -> None:
    out = io.BytesIO()
    for name, data in unpack(sound).items():
        info = tarfile.TarInfo(name)
        info.size = size if name.startswith(member) else len(data)
        out.write(info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512))
    refused(out.getvalue() + bytes(1024), tmp_path)


def test_a_large_object_is_not_held(sound: bytes, tmp_path: Path) -> None:
    large = bytes(17_000_000)
    parts = {n: d for n, d in unpack(sound).items() if not n.startswith("blobs/")}
    parts[object_name(hashlib.sha256(large).hexdigest())] = large
    assert "at most 16,000,000" in refused(pack(with_manifest(parts)), tmp_path)


def test_an_object_that_nothing_names(sound: bytes, tmp_path: Path) -> None:
    parts = unpack(sound)
    parts[object_name(hashlib.sha256(b"extra").hexdigest())] = b"extra"
    ordered = {name: parts[name] for name in sorted(parts, key=lambda n: (n.startswith("blobs/"), n))}
    kept = {name: parts[name] for name in unpack(sound) if not name.startswith("blobs/")}
    assert "not of the registry" in refused(pack(with_manifest(kept | ordered)), tmp_path)


def edited(parts: Parts, tmp_path: Path, *statements: str) -> Parts:
    """The parts with another database, its digest right."""
    path = tmp_path / "edit.db"
    path.write_bytes(parts["registry.db"])
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()
    data = path.read_bytes()
    path.unlink()
    return with_manifest({**parts, "registry.db": data})


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE revision SET author = 'mallory'", "another id"),
        ("DELETE FROM ref", "no branch main"),
        ("UPDATE setting SET value = 'SHA256:other' WHERE name = 'root_fingerprint'", "keyring"),
        ("DELETE FROM keyring", "no keyring"),
        ("DROP TABLE entry", "no such table"),
        ("INSERT INTO migration VALUES (999, '999_later.sql', '2030-01-01', 'x')", "another release"),
        ("UPDATE repository SET summary = '{'", "its summary cannot be read"),
    ],
)
def test_a_database_that_does_not_pass_check(sound: bytes, tmp_path: Path, statement: str, words: str) -> None:
    assert words in refused(pack(edited(unpack(sound), tmp_path, statement)), tmp_path)


def test_no_database_at_all(sound: bytes, tmp_path: Path) -> None:
    assert refused(pack(with_manifest({**unpack(sound), "registry.db": os.urandom(50_000)})), tmp_path)
    assert refused(pack(with_manifest({**unpack(sound), "registry.db": b""})), tmp_path)


def test_the_root_key_of_somebody_else(sound: bytes, tmp_path: Path) -> None:
    other = folder.create(tmp_path / "other", name="Other", url="https://other.example.org", audit="optional")
    pair = {f"keys/root.{end}": (other.folder / f"keys/root.{end}").read_bytes() for end in ("pem", "pub")}
    other.close()
    (tmp_path / "y").mkdir()
    assert "another key" in refused(pack(with_manifest({**unpack(sound), **pair})), tmp_path / "y")


def test_an_audit_log_that_was_tampered_with_before_comes_along_and_is_told(sound: bytes, tmp_path: Path) -> None:
    parts = unpack(sound)
    parts["audit.jsonl"] = parts["audit.jsonl"].replace(b'"radboud"', b'"mallory"')
    (tmp_path / "x.tar").write_bytes(pack(with_manifest(parts)))
    assert any(line.startswith("audit log") for line in restore(tmp_path / "x.tar", tmp_path / "again")["told"])


def test_that_everything_else_is_as_it_was_is_told(sound: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(sound)
    assert after_restore.COMES_BACK in restore(tmp_path / "x.tar", tmp_path / "again", keep_tokens=False)["told"]
    assert after_restore.COMES_BACK not in restore(tmp_path / "x.tar", tmp_path / "moved")["told"]


@pytest.mark.parametrize(
    "changes",
    [{"schema": "embhub.backup/3"}, {"schema": None}, {"blobs": -1}, {"files": {}}, {"more": 1}, {"blobs": "3"},
     {"files": {"registry.db": {"size": 1, "sha256": "x"}}}, {"root_fingerprint": "SHA256:other"}],
)  # fmt: skip
def test_manifests(sound: bytes, tmp_path: Path, changes: dict[str, Any]) -> None:
    refused(pack(with_manifest(unpack(sound), **changes)), tmp_path)


@given(st.binary(max_size=3000))
def test_any_bytes_are_members_or_a_refusal(data: bytes) -> None:
    reader = Reader(io.BytesIO(data))
    try:
        while (member := reader.next()) is not None:
            reader.read(member, limit=1000)
    except BadBackupError:
        pass


def test_only_a_new_folder_is_filled(sound: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(sound)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("mine", "mine/file", "link"):
        with pytest.raises(UsageError, match="nothing was changed"):
            restore(tmp_path / "x.tar", tmp_path / name)
    with pytest.raises(UsageError, match="cannot read"):
        restore(tmp_path / "none.tar", tmp_path / "again")
    (tmp_path / "empty").mkdir()
    assert restore(tmp_path / "x.tar", tmp_path / "empty")["dir"].endswith("empty")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "link", "mine", "x.tar"]
