"""What an export holds, and what it never holds; that it is whole or not there, and the same for the same state."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from embhub.errors import ConfigError, UsageError
from embhub.log import checkpoints, notes
from embhub_registry.static import increments, items, nginx_part, writing
from embhub_registry.storage import timestamps
from tests.support import releases
from tests.support.quick import quick
from tests.support.servers import RunningRegistry, run_here
from tests.support.statics import YANKED, contents, make_increment, publish


def test_it_holds_what_everybody_may_read_and_nothing_else(hub: RunningRegistry, export: Path) -> None:
    found = contents(export)
    everything = b"".join(found.values()) + "\n".join(found).encode()
    assert b"radboud/secret" not in everything and b"radboud/gated" not in everything
    info = json.loads(found[f"api/models/{releases.REPOSITORY}/index.html"])
    assert found[f"{releases.REPOSITORY}/resolve/{info['sha']}/learned_embeds.safetensors"]
    assert info == json.loads(found[f"api/models/{releases.REPOSITORY}/revision/1.1.0"])
    assert json.loads(found[f"api/models/{releases.REPOSITORY}/revision/1.0.0"])["sha"] != info["sha"]
    digest = releases.make_embedding(seed=0).digest
    (row,) = json.loads(found[f"embhub/v1/evaluations/{digest}"])["evaluations"]
    assert (row["namespace"], row["version"]) == ("umcu", "1.1.0") and row["bundle"]
    assert json.loads(found[f"embhub/v1/status/{YANKED}"])["yanked"][0]["reason"] == "wrong anatomy on the card"
    assert json.loads(found[f"api/models/{YANKED}/revision/main"])["embhub"]["yanked"]
    assert [row["id"] for row in json.loads(found["api/models/index.html"])] == [releases.REPOSITORY]
    assert found["log/checkpoint"] == (hub.folder / "log/checkpoint").read_bytes()
    listed = json.loads(found[items.MANIFEST])["files"]
    assert set(listed) | {items.MANIFEST} == set(found)
    for path in export.rglob("*"):
        assert path.stat().st_mode & 0o444 == 0o444, "a web server of another user reads it"


def test_the_same_state_gives_the_same_bytes_and_what_is_gone_is_removed(
    hub: RunningRegistry, export: Path, tmp_path: Path
) -> None:
    hub.run("export", "--static", tmp_path / "again")
    assert contents(tmp_path / "again") == contents(export)
    stray = tmp_path / "again/radboud/erased/resolve/x"
    stray.mkdir(parents=True)
    (stray / "learned_embeds.safetensors").write_bytes(b"erased upstream")
    (tmp_path / "again/README.txt").unlink()
    done = hub.ask("export", "--static", tmp_path / "again")
    assert (done["written"], done["removed"]) == (1, 1)
    assert contents(tmp_path / "again") == contents(export) and not stray.parents[1].exists()


def test_closed_doors_open_only_when_they_are_named(hub: RunningRegistry, tmp_path: Path) -> None:
    hub.run("export", "--static", tmp_path / "all", "--include", "gated", "--include", "private")
    found = contents(tmp_path / "all")
    assert "api/models/radboud/secret/index.html" in found and "api/models/radboud/gated/index.html" in found
    hub.run("setting", "set", "read.anonymous", "no")
    try:
        refused = hub.run("export", "--static", tmp_path / "closed", check=False)
        assert refused.returncode == 2 and "closed" in refused.stderr and not (tmp_path / "closed").exists()
        assert hub.run("export", "--static", tmp_path / "closed", "--include", "closed").returncode == 0
    finally:
        hub.run("setting", "set", "read.anonymous", "yes")


def test_a_folder_of_something_else_is_left_alone(hub: RunningRegistry, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    refused = hub.run("export", "--static", tmp_path, check=False)
    assert refused.returncode == 2 and "other things" in refused.stderr
    assert contents(tmp_path) == {"thesis.txt": b"mine"}
    assert hub.run("export", "--static", hub.folder / "log" / "out", check=False).returncode == 2


def test_a_full_disk_leaves_the_earlier_export_whole(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    writing.put([items.of_bytes("a", b"old", stage=0), items.of_bytes(items.MANIFEST, b"{}", stage=7)], folder)
    before = contents(folder)

    def full() -> bytes:
        raise OSError(28, "No space left on device")

    broken = items.Item("b", "0" * 64, 1, full, items.LISTS)
    with pytest.raises(ConfigError, match="No space left"):
        writing.put([items.of_bytes("a", b"new", stage=0), broken], folder)
    assert contents(folder) == before


def test_a_process_that_died_while_renaming_is_finished_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    found = [items.of_bytes("x/a", b"1", stage=0), items.of_bytes(items.MANIFEST, b"{}", stage=7)]
    (folder / writing.STAGING).mkdir(parents=True)
    (folder / writing.STAGING / "0").write_bytes(b"half")
    (folder / "x").write_bytes(b"was a file")
    writing.put(found, folder)
    assert contents(folder) == {"x/a": b"1", items.MANIFEST: b"{}"}


def test_no_path_is_a_file_and_a_folder() -> None:
    made = [items.of_bytes(path, b"", stage=0) for path in ("a", "a/b", "c/d/e", "c/d", "c/d/e")]
    assert {item.path for item in items.without_clashes(made)} == {"a", "c/d"}


@pytest.mark.parametrize("how", quick(["folder"], thorough=["checkpoint", "text"]))
def test_an_increment_on_top_of_an_earlier_export_is_the_whole_export(
    hub: RunningRegistry, export: Path, tmp_path: Path, how: str
) -> None:
    old = tmp_path / "old"
    hub.run("export", "--static", old)
    given = {
        "checkpoint": old / "log/checkpoint", "folder": old,
        "text": Path(json.loads((old / items.MANIFEST).read_text())["checkpoint"]),
    }[how]  # fmt: skip
    name = f"new-{how}"
    publish(hub, name, token=hub.add_user(f"bob-{how}", namespace="radboud"), seed=11 + len(how))
    hub.run("repo", "visibility", "radboud/gated", "public")  # was stored before, and is shown only now
    hub.run("export", "--static", tmp_path / "increment", "--since", given)
    hub.run("repo", "visibility", "radboud/gated", "gated")
    hub.run("repo", "visibility", "radboud/gated", "public")
    hub.run("export", "--static", tmp_path / "whole")
    sent = contents(tmp_path / "increment")
    assert any(path.startswith(f"radboud/{name}/resolve/") for path in sent)
    assert any(path.startswith("radboud/gated/resolve/") for path in sent)
    assert not any(path.startswith(f"{releases.REPOSITORY}/resolve/") for path in sent), "the other side has it"
    copied = tmp_path / "copied"
    shutil.copytree(old, copied)
    shutil.copytree(tmp_path / "increment", copied, dirs_exist_ok=True)
    for path in (copied / items.REMOVED).read_text().split():
        (copied / path).unlink(missing_ok=True)
    (copied / items.REMOVED).unlink()
    assert contents(copied) == contents(tmp_path / "whole")
    done = run_here("export", "--static", old, "--apply", tmp_path / "increment", "--json")
    assert contents(old) == contents(tmp_path / "whole") and json.loads(done.stdout)["dir"] == str(old)
    hub.run("repo", "visibility", "radboud/gated", "gated")
    hub.run("repo", "delete", f"radboud/{name}", "--reason", "erased")
    hub.run("export", "--static", tmp_path / "less", "--since", old)
    gone = (tmp_path / "less" / items.REMOVED).read_text().split()
    assert any(path.startswith(f"radboud/{name}/resolve/") for path in gone)
    run_here("export", "--static", old, "--apply", tmp_path / "less")
    assert not any(f"radboud/{name}/" in path or "radboud/gated/" in path for path in contents(old))


def test_an_increment_for_another_state_is_refused_and_nothing_is_changed(
    hub: RunningRegistry, export: Path, tmp_path: Path
) -> None:
    hub.run("export", "--static", tmp_path / "increment", "--since", export)
    refused = run_here("export", "--static", tmp_path / "nothing", "--apply", tmp_path / "increment", check=False)
    assert refused.returncode == 2 and "neither the increment nor the export" in refused.stderr
    assert not (tmp_path / "nothing").exists()
    for wrong in ("7:" + "0" * 64, "7", "nonsense", str(tmp_path)):
        assert hub.run("export", "--static", tmp_path / "x", "--since", wrong, check=False).returncode == 2, wrong


def of_another_root(files: dict[str, bytes]) -> dict[str, bytes]:
    return files | {"embhub/v1/trust": releases.make_export(root=releases.make_key("another root"))}


def shorter(files: dict[str, bytes]) -> dict[str, bytes]:
    checkpoint = checkpoints.parse(notes.parse(files["log/checkpoint"]))
    note = notes.parse(files["log/checkpoint"])
    text = note.text.replace(f"\n{checkpoint.size}\n", f"\n{checkpoint.size - 1}\n")
    return files | {"log/checkpoint": notes.Note(text, note.signatures).to_bytes()}


def without(*begun: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: {path: data for path, data in files.items() if not path.startswith(begun)}


def with_nginx(part: bytes) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: files | {nginx_part.PATH: files[nginx_part.PATH] + part}


def of_a_commit(files: dict[str, bytes]) -> str:
    return next(path for path in files if path.endswith("/learned_embeds.safetensors"))


def with_other_bytes(files: dict[str, bytes]) -> dict[str, bytes]:
    path = of_a_commit(files)
    return files | {path: files[path][:-1] + b"X"}


def with_a_file_less(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if path != of_a_commit(files)}


def with_a_file_more(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: files | {of_a_commit(files).replace("learned_embeds.safetensors", name): b"more"}


def with_other_tiles(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: bytes(len(data)) if path.startswith("log/tile/0/") else data for path, data in files.items()}


def with_other_entries(files: dict[str, bytes]) -> dict[str, bytes]:
    """The last entry ends otherwise."""
    path = next(path for path in files if path.startswith("log/tile/entries/"))
    return files | {path: files[path][:-1] + bytes([files[path][-1] ^ 1])}


def with_withdrawals(data: bytes) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: files | {"embhub/v1/advisories": data}


COMMIT = b"0" * 40
REDIRECT = (
    b'location ^~ /a/b/resolve/main/ { rewrite "^/a/b/resolve/main/(.*)$" /a/b/resolve/' + COMMIT + b"/$1 redirect; }\n"
)
FOREIGN: list[tuple[str, Callable[[dict[str, bytes]], dict[str, bytes]], str]] = [
    ("no keyring", without("embhub/v1/trust"), "takes the keyring away"),
    ("no log", without("log/"), "takes the log away"),
    ("nothing but a configuration", without("embhub/v1/trust", "log/", "radboud/", "api/"), "takes the keyring away"),
    ("another root", of_another_root, "root"),
    ("a shorter log", shorter, "log"),
    ("other bytes of a commit", with_other_bytes, "a commit never changes"),
    ("a file of a commit is gone", with_a_file_less, "a commit never changes"),
    ("a commit has one file more", with_a_file_more("attestations/audit.umcu.sigstore.json"), "a commit never changes"),
    ("a commit has a pickle", with_a_file_more("learned_embeds.bin"), "which is no file of an export"),
    ("a page", lambda files: files | {"radboud/index.html": b"<script>"}, "which is no file of an export"),
    ("a program beside lists", lambda files: files | {"embhub/v1/x.php": b"<?php ?>"}, "which is no file of an export"),
    ("a program in the log", lambda files: files | {"log/evil.exe": b"MZ"}, "which is no file of an export"),
    ("a drawing with a program", lambda files: files | {"embhub/v1/x.svg": b"<svg>"}, "which is no file of an export"),
    ("a status with a tag", lambda files: files | {"embhub/v1/status/a/x.svg": b'"<svg>"'}, "is not JSON"),
    ("a page among lists", lambda files: files | {"api/models/index.html": b"[]<script>"}, "is not JSON"),
    ("a script by a branch's name", lambda files: files | {"api/models/a/b/tree/x.sh": b"#!/bin/sh"}, "is not JSON"),
    ("other tiles of the log", with_other_tiles, "are not those under its checkpoint"),
    ("other entries of the log", with_other_entries, "are not those under its checkpoint"),
    ("a tile is gone", without("log/tile/0/"), "lacks tile/0/"),
    ("a tile of a longer log", lambda files: files | {"log/tile/0/001": bytes(8_192)}, "which its log does not have"),
    ("tiles alone", without("log/checkpoint"), "takes the log away"),
    ("a page in place of withdrawals", with_withdrawals(b"<script>"), "has a tag in it"),
    ("no list of withdrawals", with_withdrawals(b'{"payload":"signed"}'), "came with its keyring"),
    ("withdrawals are gone", without("embhub/v1/advisories"), "takes the list of withdrawals away"),
    (
        "a large card",
        lambda files: files | {f"a/b/resolve/{'0' * 40}/README.md": bytes(256_001)},
        "256,000",
    ),
    ("everything is served", with_nginx(b"location ^~ / { alias /; autoindex on; }\n"), "nginx"),
    ("a place that is named twice", with_nginx(2 * REDIRECT), "nginx"),
    (
        "a redirect that does more",
        with_nginx(
            b'location ^~ /a/b/resolve/main/ { rewrite "^/a/b/resolve/main/(.*)$" / last; } location / { alias /; }'
            b" location ^~ /x/ { return 200 /a/b/resolve/" + b"0" * 40 + b"/$1 redirect; }\n"
        ),
        "nginx",
    ),
]


@pytest.mark.parametrize(("change", "said"), [row[1:] for row in FOREIGN], ids=[row[0] for row in FOREIGN])
def test_an_increment_of_somebody_else_is_refused_and_nothing_is_changed(
    export: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], said: str
) -> None:
    """Its list fits its files, and is not signed."""
    before = contents(export)
    foreign = make_increment(tmp_path / "foreign", change(before))
    refused = run_here("export", "--static", export, "--apply", foreign, check=False)
    assert refused.returncode in (2, 4) and said in refused.stderr, refused.stderr
    assert contents(export) == before


def test_an_earlier_increment_of_the_same_registry_is_refused(hub: RunningRegistry, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    hub.run("export", "--static", old)
    publish(hub, "later", token=hub.add_user("zoe", namespace="radboud"), seed=33)
    hub.run("export", "--static", new)
    before = contents(new)
    refused = run_here("export", "--static", new, "--apply", old, check=False)
    assert refused.returncode == 2 and ("it is older" in refused.stderr or "was confirmed before" in refused.stderr)
    assert contents(new) == before
    run_here("export", "--static", old, "--apply", new)
    assert contents(old) == before


def test_an_earlier_increment_with_a_log_of_the_same_size_is_refused(hub: RunningRegistry, tmp_path: Path) -> None:
    """It would take cosignatures and a newer confirmation of the keyring away."""
    old, new = tmp_path / "old", tmp_path / "new"
    hub.run("export", "--static", old)
    time.sleep(1.1)  # a timestamp has whole seconds
    with hub.opened() as opened:
        key = opened.online_key("timestamp")
        assert key is not None
        with opened.database.writing() as db:
            timestamps.renew(db, opened.export(), key=key, days=opened.days("timestamp.days"))
    hub.run("export", "--static", new)
    sizes = [(folder / "log/checkpoint").read_bytes().split(b"\n")[1] for folder in (old, new)]
    assert sizes[0] == sizes[1]
    before = contents(new)
    refused = run_here("export", "--static", new, "--apply", old, check=False)
    assert refused.returncode == 2 and "was confirmed before" in refused.stderr
    assert contents(new) == before
    run_here("export", "--static", old, "--apply", new)
    assert contents(old) == before


def test_a_first_log_has_to_be_signed_by_the_key_that_the_keyring_names(export: Path, tmp_path: Path) -> None:
    files = contents(export)
    copy = tmp_path / "copy"
    make_increment(copy, {path: data for path, data in files.items() if not path.startswith("log/")})
    real = checkpoints.parse(notes.parse(files["log/checkpoint"]))
    stranger = notes.signer(Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32), real.origin)
    forged = checkpoints.sign(real, by=stranger).to_bytes()
    refused = run_here(
        "export", "--static", copy, "--apply", make_increment(tmp_path / "x", files | {"log/checkpoint": forged}),
        check=False,
    )  # fmt: skip
    assert refused.returncode == 4 and not (copy / "log").exists()
    run_here("export", "--static", copy, "--apply", export)
    assert contents(copy) == files


def test_files_of_a_commit_that_are_damaged_are_mended_and_others_are_kept(export: Path, tmp_path: Path) -> None:
    copy, files = tmp_path / "copy", contents(export)
    shutil.copytree(export, copy)
    path = of_a_commit(files)
    (copy / path).write_bytes(b"damaged")
    run_here("export", "--static", copy, "--apply", export)
    assert contents(copy) == files
    (copy / items.MANIFEST).unlink()
    foreign = make_increment(tmp_path / "foreign", with_other_bytes(files))
    refused = run_here("export", "--static", copy, "--apply", foreign, check=False)
    assert refused.returncode == 2 and "a commit never changes" in refused.stderr
    assert contents(copy)[path] == files[path]


def test_a_repository_whose_name_ends_like_a_page_is_exported(hub: RunningRegistry, tmp_path: Path) -> None:
    hub.run("export", "--static", tmp_path / "old")
    publish(hub, "one.html", token=hub.add_user("hanna", namespace="radboud"), seed=51)
    hub.run("export", "--static", tmp_path / "new")
    run_here("export", "--static", tmp_path / "old", "--apply", tmp_path / "new")
    assert contents(tmp_path / "old") == contents(tmp_path / "new")
    assert "embhub/v1/status/radboud/one.html" in contents(tmp_path / "old")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../b", "a//b", "a/.ssh/b", "", "C:x", "a\\b", "a\nb"])
def test_an_increment_names_no_path_outside(tmp_path: Path, path: str) -> None:
    listed = {"schema": items.SCHEMA, "registry": "", "checkpoint": "", "files": {path: "0" * 64}}
    (tmp_path / "i/embhub/v1").mkdir(parents=True)
    (tmp_path / "i" / items.MANIFEST).write_text(json.dumps(listed))
    with pytest.raises(UsageError, match="no file of an export"):
        increments.apply(tmp_path / "i", tmp_path / "out")
