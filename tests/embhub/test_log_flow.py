"""Push, pull, verify and the demand `logged` with a real registry and its real log."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from embhub.cli import root
from embhub.cli.find_and_verify import log_rounds
from embhub.client.log import log_memory, log_reader, logged
from embhub.client.log.http_log import HttpLog
from embhub.client.monitor import watching, witness
from embhub.client.monitor.witness import Witness
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.errors import EmbhubError
from embhub.log import checkpoints, merkle, notes, proofs
from embhub_registry.database.logs import log_rows
from embhub_registry.storage.log import log_witnesses
from tests.support import hostile, logs, pushes, releases
from tests.support.servers import RunningRegistry, start_registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    made = start_registry(Path(tmp_path_factory.mktemp("log")))
    try:
        made.add_key(releases.SITE, namespace="radboud")
        yield made
    finally:
        made.stop()


def test_what_was_pulled_verifies_in_the_log_with_and_without_a_network(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    alice = registry.add_user("alice", namespace="radboud")
    pushes.create(registry, "prostate-cspca", token=alice)
    assert pushes.commit(registry, releases.REPOSITORY, releases.make_release().files, token=alice).status == 200
    roots.add_root(registry.url, fingerprint=registry.root_fingerprint)
    pulled = pulling.pull(releases.REPOSITORY, registry=registry.url, out="got", require="logged")
    assert pulled.log_index is not None and pulled.checkpoint is not None
    assert (tmp_path / "got" / logged.PROOF).exists()
    offline = pulling.verify_path("got", require="logged")
    assert offline.log_index == pulled.log_index
    assert "consistent with" in next(one.text for one in offline.findings if one.check == "log")
    (tmp_path / "got" / logged.PROOF).unlink()
    assert pulling.verify_path("got").log_index is None
    shown = pulling.verify_path(releases.REPOSITORY, registry=registry.url, require="logged")
    assert shown.to_json()["log_index"] == pulled.log_index


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(root, ["log", *map(str, words)], standalone_mode=False)


def code(result: Result) -> int:
    """The exit code that `embhub` gives: `__main__` takes it from here."""
    return result.exception.exit_code if isinstance(result.exception, EmbhubError) else result.return_value or 0


def test_two_witnesses_vouch_one_asked_and_one_that_comes_by_itself(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    roots.add_root(registry.url, fingerprint=registry.root_fingerprint)
    key, _ = watching.find(registry.url)
    asked = witness.open_key(tmp_path / "asked.pem", name="asked.example.org")
    coming = witness.open_key(tmp_path / "coming.pem", name="coming.example.org")
    server = witness.serve(Witness(asked, {key.name: key}), "127.0.0.1", 0, clock=lambda: int(time.time()))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    registry.run("log", "witness", str(asked.public), "--url", f"http://127.0.0.1:{server.server_port}")
    registry.run("log", "witness", str(coming.public))
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "other"))  # a witness of another site
    with registry.opened() as opened:
        db = opened.database.connection()
        newest = log_rows.newest(db)
        (row,) = (row for row in log_rows.witnesses(db) if row.url)
        assert (
            newest is not None and log_witnesses.ask(opened, row, newest) == 1
        )  # as the server does every few seconds
    server.shutdown()
    server.server_close()
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    done = run("watch", registry.url, "--cosign", tmp_path / "coming.pem")
    assert code(done) == 0 and "cosigned" in done.stdout and "did not take it" not in done.stdout
    served = registry.get("/log/checkpoint").body
    opened_note = notes.parse(served)
    assert {line.name for line in opened_note.signatures} == {key.name, "asked.example.org", "coming.example.org"}
    assert code(run("policy", "--witness", str(asked.public), "--witness", str(coming.public))) == 0
    found = pulling.verify_path(releases.REPOSITORY, registry=registry.url, require="logged,witnessed")
    assert "fresh: a quorum" in next(one.text for one in found.findings if one.check == "log-witnesses")
    assert registry.request("POST", "/log/cosignature", body=b"no note").status == 422
    stranger = Witness(logs.witness_key(), {key.name: key})
    line = checkpoints.cosign(checkpoints.parse(opened_note), by=stranger.signer, time=1)
    sent = opened_note.with_signatures([line]).to_bytes()
    alone = notes.Note(opened_note.text, (line,)).to_bytes()
    assert registry.request("POST", "/log/cosignature", body=alone).status == 404
    assert registry.request("POST", "/log/cosignature", body=sent).status == 200
    assert registry.get("/log/checkpoint").body == served, "nobody asked this witness"


def test_the_log_is_watched_shown_and_verified_from_the_command_line(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    assert code(run("show", registry.url)) == 7, "nothing is pinned"
    roots.add_root(registry.url, fingerprint=registry.root_fingerprint)
    shown = json.loads(run("show", registry.url, "--json").stdout)
    assert shown["entries"] >= 3 and shown["checkpoint"].startswith("127.0.0.1\n")
    verified = json.loads(run("verify", registry.url, "--json").stdout)
    assert verified["verified"] == verified["entries"] == shown["entries"]
    copied = run("verify", registry.url, "--from", registry.folder / "log", "--json")
    assert json.loads(copied.stdout)["verified"] == shown["entries"]
    stranger = run("watch", registry.url, "--namespace", "radboud", "--json")
    assert code(stranger) == 8 and json.loads(stranger.stdout)["unknown"]
    assert code(run("watch", registry.url, "--namespace", "radboud", "--accept")) == 0
    assert code(run("watch", registry.url, "--namespace", "radboud")) == 0
    assert code(run("watch", registry.url, "--accept")) == 2
    assert code(run("watch", registry.url, "--listen", "127.0.0.1:0")) == 2
    assert code(run("watch", registry.url, "--cosign", tmp_path / "new.pem")) == 2


def test_a_folder_of_the_logs_files_is_as_good_as_the_registry(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    with registry.opened() as opened:
        key = opened.trust().keyring.log_key
    assert key is not None
    shutil.copytree(registry.folder / "log", tmp_path / "copy")
    for source in (HttpLog(registry.url), log_reader.FolderLog(tmp_path / "copy")):
        data = log_reader.checkpoint(source)
        assert data == (registry.folder / "log/checkpoint").read_bytes()
        signed = checkpoints.open_signed(data, log=key)
        entries = list(log_reader.stream(source, 0, signed.size, most=log_reader.MOST_READ))
        hashes = [merkle.leaf_hash(entry) for entry in entries]
        assert merkle.root_of(hashes) == signed.root
        for place, entry in enumerate(entries):
            found = log_reader.proof(source, entry)
            assert found is not None and proofs.parse(found).open(entry, log=key).size == signed.size, place
        merkle.check_consistency(
            1, signed.size, hashes[0], signed.root, log_reader.prove_consistency(source, 1, signed.size)
        )
        assert log_reader.proof(source, b"nobody's entry") is None
    assert log_memory.recall(key) is None


def test_rounds_say_at_each_that_the_log_forked_until_a_person_removed_the_evidence(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    with registry.opened() as opened:
        key = opened.private_keys.log_key(opened.trust().origin)
    assert key is not None

    def fork(body: bytes) -> bytes:
        real = checkpoints.parse(notes.parse(body))
        return checkpoints.sign(checkpoints.Checkpoint(real.origin, real.size, b"\7" * 32), by=key).to_bytes()

    with hostile.stand_between(registry.url) as middle:
        roots.add_root(middle.url, fingerprint=registry.root_fingerprint)
        assert code(run("watch", middle.url)) == 0
        middle.lies = {"/log/checkpoint": hostile.edited(fork)}
        assert code(run("watch", middle.url)) == 4
        middle.lies = {}
        assert code(run("watch", middle.url)) == 4, "the log shows one history again, and signed two"
        (evidence,) = (tmp_path / "home/state/log-forks").iterdir()
        rounds = iter(range(100))

        def wait(seconds: float) -> None:
            if next(rounds) == 2:
                evidence.unlink()

        # The module's own name alone: to replace `time.sleep` would count the sleeps of every other thread as rounds.
        monkeypatch.setattr(log_rounds, "time", SimpleNamespace(sleep=wait, monotonic=time.monotonic))
        found = log_rounds.run(
            middle.url, show=lambda found: None, key=None, name="", listen=None, namespace="radboud", accept=False,
            every=1,
        )  # fmt: skip
        assert found == 8, "the rounds went on"
        assert capsys.readouterr().err.count("error: the log 127.0.0.1 signed two histories") == 3


def test_what_a_key_signs_that_is_new_in_the_namespace_is_reported_without_a_refresh(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    roots.add_root(registry.url, fingerprint=registry.root_fingerprint)
    assert code(run("watch", registry.url, "--namespace", "radboud", "--accept")) == 0
    thief = registry.add_key(releases.STRANGER, namespace="radboud")
    alice = registry.add_user("mallory", namespace="radboud")
    pushes.create(registry, "stolen", token=alice)
    release = releases.make_release(repository="radboud/stolen", key=releases.STRANGER)
    assert pushes.commit(registry, "radboud/stolen", release.files, token=alice).status == 200
    found = run("watch", registry.url, "--namespace", "radboud", "--json")
    shown = json.loads(found.stdout)
    assert code(found) == 8
    assert {(entry["fingerprint"], entry["is_signed"]) for entry in shown["unknown"]} == {(thief, True)}
    assert shown["keyring"] == [f"new key for radboud: {thief} may publish; nobody here confirmed it"]
    plain = run("watch", registry.url, "--namespace", "radboud")
    assert f"keyring    new key for radboud: {thief} may publish; nobody here confirmed it" in plain.stdout
    roots.refresh_roots(registry.url, agree=lambda address, lines: True)
    assert json.loads(run("watch", registry.url, "--namespace", "radboud", "--json").stdout)["keyring"] == []


def test_a_witness_cosigns_under_a_new_key_of_the_log_only_after_a_person_confirmed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cosignature names a log and no key: under two keys a witness would vouch for two histories of one log."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    made = start_registry(tmp_path)
    try:
        roots.add_root(made.url, fingerprint=made.root_fingerprint)
        words = ("watch", made.url, "--cosign", tmp_path / "w.pem", "--name", "w.example.org")
        first = run(*words)
        assert "; cosigned" in first.stdout and "did not take it" in first.stdout, "nobody accepted this witness"
        assert code(first) == 5
        listening = Witness(witness.open_key(tmp_path / "w.pem", name=""), {})
        log_rounds.round_of(made.url, listening, None)
        (retired,) = listening.logs.values()
        made.stop()
        made.run("log", "begin", "--anew")
        made.start()
        later = run(*words)
        log_rounds.round_of(made.url, listening, None)
        assert not listening.logs, "who listens answers neither the retired key nor one that nobody confirmed"
        assert code(later) == 4 and "not cosigned: nobody here confirmed" in later.stdout
        assert "keyring    key of the transparency log: " in later.stdout
        roots.refresh_roots(made.url, agree=lambda address, lines: True)
        assert "; cosigned" in run(*words).stdout
        log_rounds.round_of(made.url, listening, None)
        assert list(listening.logs.values()) == [watching.find(made.url)[0]] != [retired]
    finally:
        made.stop()
