"""A registry whose objects are in S3: pushed, pulled, checked, kept and swept, beside a store that fails."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download
from starlette.applications import Starlette

from embhub.errors import ConfigError
from embhub.release.files import EMBEDDING
from embhub_registry import app
from embhub_registry.operation import backup, checking, repair
from embhub_registry.operation.opening import open_folder
from embhub_registry.repositories import retention, sweeping
from embhub_registry.static import exporting
from embhub_registry.storage import configuration, folder, s3_store
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.folder_blobs import FolderBlobs
from embhub_registry.storage.s3_blobs import OBJECTS, S3Blobs
from embhub_registry.wire.store_reads import StoreReads
from tests.support import pushes, releases, stored_objects
from tests.support.backups import restore
from tests.support.object_stores import KEY_ID, SECRET, Fault, FaultyProxy, RunningStore, faulty_proxy, needs_folder
from tests.support.quick import quick
from tests.support.servers import RunningRegistry, init_registry, run_here
from tests.support.threads import serving

NAME, DRAFT = "radboud/prostate-cspca", "radboud/draft"
HUB = {"User-Agent": "unknown/None; hf_hub/2.4.0; python/3.11"}
FILES = releases.make_release().files


@dataclass
class Served:
    """A registry in S3, served by a thread of this process through a proxy that can fail."""

    running: RunningRegistry
    registry: Registry
    proxy: FaultyProxy
    alice: str
    place: str
    application: Starlette

    def push(self, text: str) -> int:
        """Send a README to a repository that holds no release; the status."""
        answer = pushes.commit(self.running, DRAFT, {"README.md": text.encode()}, token=self.alice)
        if answer.status == 503:
            assert answer.header("Retry-After") and SECRET.encode() not in answer.body
        return answer.status

    def forget(self) -> None:
        """Nothing is in memory any more."""
        self.registry.blobs._cache.clear()
        self.registry.blobs._held = 0


@pytest.fixture
def proxy(
    request: pytest.FixtureRequest, bucket: str, object_store: RunningStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultyProxy]:
    """A proxy before the store; whoever opens a registry from now on goes through it. The parameter: patience in s."""
    with faulty_proxy(object_store.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setattr(s3_store, "REQUEST_SECONDS", getattr(request, "param", 1))
        monkeypatch.setattr(s3_store, "RETRIES", 1)
        yield proxy


@pytest.fixture
def served(tmp_path: Path, bucket: str, proxy: FaultyProxy) -> Iterator[Served]:
    place = f"s3://{bucket}/hub"
    running = init_registry(tmp_path, blobs=place)
    running.add_key(releases.SITE, namespace="radboud")
    alice = running.add_user("alice", namespace="radboud")
    registry = open_folder(running.folder, blobs=place)
    application = app.build(registry)
    with serving(application) as server:
        running.url = f"http://127.0.0.1:{server.config.port}"
        for name in (NAME, DRAFT):
            assert pushes.create(running, name.partition("/")[2], token=alice).status == 200
        assert pushes.commit(running, NAME, FILES, token=alice).status == 200
        yield Served(running, registry, proxy, alice, place, application)
    registry.close()


def address(served: Served, path: str = EMBEDDING) -> str:
    commit = served.running.get(f"/api/models/{NAME}").json()["sha"]
    return f"/{NAME}/resolve/{commit}/{path}"


@needs_folder
def test_it_is_pushed_pulled_checked_backed_up_and_exported(served: Served, tmp_path: Path, bucket: str) -> None:
    assert not (served.running.folder / "blobs").exists()
    got = hf_hub_download(NAME, EMBEDDING, endpoint=served.running.url, cache_dir=tmp_path / "hub", token=False)
    assert Path(got).read_bytes() == FILES[EMBEDDING]
    assert checking.check(served.registry).clean
    exporting.export(served.registry, tmp_path / "static", since=None)
    assert FILES[EMBEDDING] in {file.read_bytes() for file in (tmp_path / "static").rglob(EMBEDDING)}
    made = backup.back_up(served.registry, tmp_path / "x.tar")
    assert made["blobs"] == len(set(FILES.values()))
    for target, blobs in (("in-folder", None), ("in-s3", f"s3://{bucket}/again")):
        done = restore(tmp_path / "x.tar", tmp_path / target, blobs=blobs)
        again = open_folder(tmp_path / target, blobs=blobs)
        assert done["told"] == [] and checking.check(again).clean
        assert isinstance(again.blobs, S3Blobs if blobs else FolderBlobs)
        assert set(again.blobs.stored()) == set(served.registry.blobs.stored())
        again.close()


@pytest.mark.thorough
def test_a_restore_that_fails_leaves_nothing_in_the_store(served: Served, tmp_path: Path, bucket: str) -> None:
    backup.back_up(served.registry, tmp_path / "x.tar")
    whole = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) - 12_000])
    with pytest.raises(Exception, match="not restored"):
        restore(tmp_path / "cut.tar", tmp_path / "again", blobs=f"s3://{bucket}/again")
    restore(tmp_path / "x.tar", tmp_path / "again", blobs=f"s3://{bucket}/again")
    with pytest.raises(ConfigError, match="in use by a registry"):
        restore(tmp_path / "x.tar", tmp_path / "more", blobs=f"s3://{bucket}/again")
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize("fault", quick(["503"], thorough=["500", "reset", "lost", "slow"]))
def test_while_the_store_fails_the_answer_is_503_and_nothing_is_half_there(served: Served, fault: Fault) -> None:
    path, before = address(served), served.running.get(f"/api/models/{DRAFT}").json()["sha"]
    served.forget()
    served.proxy.set(fault)
    assert served.push("one") == 503
    answer = served.running.get(path)
    assert answer.status == 503 and answer.header("Retry-After") and answer.json()["rule"] == "storage"
    assert KEY_ID.encode() not in answer.body
    assert served.running.get(f"/api/models/{DRAFT}").json()["sha"] == before
    assert served.running.request("HEAD", path).status == 200, "what needs no bytes goes on"
    assert served.running.get("/readyz").json()["objects"] == "does not answer"
    served.proxy.set("")
    assert served.running.get(path).body == FILES[EMBEDDING]
    assert served.push("one") == 200 and checking.check(served.registry).corrupt == []


@pytest.mark.parametrize("fault", quick(["503"], thorough=["slow"]))
def test_what_needs_no_file_is_served_while_the_store_is_away(served: Served, fault: Fault) -> None:
    """What was withdrawn, a token that is revoked, the keyring, the log and the lists: also where they are new."""
    running, held = served.running, served.running.add_user("bob", namespace="radboud")
    served.forget()
    served.proxy.set(fault)
    assert running.get("/readyz").status == running.get("/readyz?files").status == 200, "no other server could do more"
    reason = {"reason": "consent was withdrawn"}
    assert running.request("POST", f"/embhub/v1/yank/{NAME}", token=served.alice, json_body=reason).status == 200
    assert b"consent was withdrawn" in running.get(f"/embhub/v1/status/{NAME}").body
    assert len(running.get("/embhub/v1/advisories").json()["payload"]) > 100
    assert running.get("/api/whoami-v2", token=held).status == 200
    row = next(one for one in running.ask("token", "list")["tokens"] if one["user"] == "bob")
    running.run("token", "revoke", str(row["id"]))
    assert running.get("/api/whoami-v2", token=held).status == 401
    for path in ("/embhub/v1/trust", "/log/checkpoint", "/api/models", f"/api/models/{NAME}", "/", "/trust", "/login"):
        assert running.get(path).status == 200, path
    body = {"name": "draft", "organization": "radboud"}
    assert running.request("DELETE", "/api/repos/delete", token=served.alice, json_body=body).status == 200
    assert running.get(f"/api/models/{DRAFT}").status == 404
    assert running.get(address(served, "README.md")).status == 503


@pytest.mark.thorough
def test_a_store_that_fails_in_the_midst_of_a_push_leaves_what_a_sweep_removes(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = set(served.registry.blobs.stored())
    served.registry.blobs.put(b"left by an upload that crashed")
    assert served.push("whole") == 200
    assert sweeping.sweep(served.registry) == {}, "it is young: somebody may be about to name it"
    blobs = served.registry.blobs
    assert isinstance(blobs, S3Blobs)
    monkeypatch.setattr(blobs, "_is_old", lambda digest, age: True)
    monkeypatch.setattr(blobs, "grace", timedelta(seconds=1))
    time.sleep(1.5)
    assert retention.prune(served.registry, really=True)["applied"]
    assert len(set(blobs.stored()) - held) == 1, "the README stays"
    assert checking.check(served.registry).clean
    assert "swept" in served.registry.audit_log.path.read_text()


@pytest.mark.parametrize("damage", quick(["other"], thorough=["lost"]))
def test_damage_in_the_store_is_named_and_not_served(served: Served, damage: str) -> None:
    digest = (
        served.registry.database.connection()
        .execute("SELECT digest FROM entry WHERE path = ?", (EMBEDDING,))
        .fetchone()[0]
    )
    served.forget()
    if damage == "other":
        stored_objects.write_over(served.registry.blobs, digest, FILES[EMBEDDING][:-1] + b"X")
    else:
        stored_objects.lose(served.registry.blobs, digest)
    answer = served.running.get(address(served))
    assert answer.status == (503 if damage == "other" else 500) and answer.json()["rule"] == "storage"
    assert checking.check(served.registry).corrupt
    with pytest.raises(ConfigError, match="would not be whole"):
        backup.back_up(served.registry, served.running.folder.parent / "x.tar")


@pytest.mark.thorough
@pytest.mark.parametrize("proxy", [20], indirect=True)
def test_a_slow_store_holds_up_nobody_else(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    path = address(served)
    served.forget()
    monkeypatch.setattr(served.application.state, "store_reads", StoreReads(at_once=2, most_waiting=40))
    served.proxy.set("slow", methods=("GET",))
    refused = list[int]()
    waiting = [
        threading.Thread(target=lambda: refused.append(served.running.get(path).status)) for _ in range(45)
    ]  # more than a process has threads for all it does
    for thread in waiting:
        thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    assert served.running.get("/healthz").status == 200
    assert served.running.get("/api/models").status == 200
    assert time.monotonic() - began < 10, "neither the event loop nor the threads of others wait for a store"
    served.proxy.set("")
    served.proxy.ended.set()
    for thread in waiting:
        thread.join(timeout=30)
    assert len(refused) == 45 and set(refused) <= {200, 503} and 503 in refused, "who finds no place is told so"


def test_a_file_of_a_public_repository_is_redirected_where_the_operator_chose_so(
    served: Served, tmp_path: Path
) -> None:
    path = address(served)
    assert served.running.get(path, headers=HUB).status == 200
    configuration.write(served.registry, "blobs.redirect", "yes")
    answer = served.running.get(path, headers=HUB)
    assert answer.status == 302 and "X-Amz-Expires=60" in str(answer.header("Location"))
    assert answer.header("X-Linked-Size") == str(len(FILES[EMBEDDING])) and answer.header("Cache-Control") == "no-store"
    commit = path.split("/")[4]
    assert answer.header("X-Repo-Commit") == commit and answer.header("X-Linked-ETag") == answer.header("ETag")
    head = served.running.request("HEAD", path, headers=HUB)
    assert (
        head.status == 200 and head.header("X-Repo-Commit") == commit and head.header("ETag") == answer.header("ETag")
    )
    assert head.header("Content-Length") == str(len(FILES[EMBEDDING]))
    assert served.running.get(path).status == 200, "a client that did not ask to be sent elsewhere"
    assert served.running.get(path, headers=HUB).status == 302, "what was sent to another client is not sent again"
    got = hf_hub_download(NAME, EMBEDDING, endpoint=served.running.url, cache_dir=tmp_path / "hub", token=False)
    assert Path(got).read_bytes() == FILES[EMBEDDING]
    assert any(method == "GET" and "X-Amz-Signature" in seen for method, seen in served.proxy.seen)


def test_bytes_that_were_not_read_whole_are_not_sent_for(served: Served) -> None:
    path = address(served)
    configuration.write(served.registry, "blobs.redirect", "yes")
    assert served.running.get(path, headers=HUB).status == 200, "the first is read here, and its digest checked"
    assert served.running.get(path, headers=HUB).status == 302


@pytest.mark.parametrize("how", quick(["gated"], thorough=["private", "closed"]))
def test_who_may_not_read_gets_no_address(served: Served, how: str) -> None:
    path = address(served)
    configuration.write(served.registry, "blobs.redirect", "yes")
    assert [served.running.get(path, headers=HUB).status for _ in range(2)] == [200, 302]
    if how == "closed":
        configuration.write(served.registry, "read.anonymous", "no")
    else:
        api = HfApi(endpoint=served.running.url, token=served.running.admin)
        api.update_repo_settings(NAME, gated="manual" if how == "gated" else None, private=how == "private" or None)
    for token in (None, served.alice):
        answer = served.running.get(path, token=token, headers=HUB)
        assert answer.status == 200 if token else answer.status in (401, 403, 404)
        assert answer.header("Location") is None and b"X-Amz" not in answer.body


@needs_folder
def test_another_place_than_where_the_objects_are_is_refused(served: Served, bucket: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keeps its objects in"):
        open_folder(served.running.folder, blobs=f"s3://{bucket}/other")
    made = init_registry(tmp_path / "plain")
    with pytest.raises(ConfigError, match="its folder"):
        open_folder(made.folder, blobs=f"s3://{bucket}/other")


def test_a_place_of_another_registry_is_neither_taken_nor_emptied(served: Served, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="in use by a registry"):
        folder.create(tmp_path / "second", name="Two", url="http://127.0.0.1:1", audit="optional", blobs=served.place)
    assert isinstance(served.registry.blobs, S3Blobs)
    served.registry.blobs.store.overwrite("owner.json", b"{}")
    held = set(served.registry.blobs.stored())
    report = checking.check(served.registry)
    assert "belongs to another registry" in report.corrupt[0] and repair.repair(served.registry, report) == []
    with pytest.raises(ConfigError, match="another registry"):
        sweeping.sweep(served.registry)
    assert set(served.registry.blobs.stored()) == held


@pytest.mark.parametrize("fault", ["ignore", "refuse"])
def test_init_and_serve_refuse_a_store_without_conditional_writes(
    tmp_path: Path, bucket: str, proxy: FaultyProxy, fault: Fault
) -> None:
    hub = tmp_path / "hub"
    proxy.set(fault)
    done = run_here("--dir", hub, "--blobs", f"s3://{bucket}/hub", "init", check=False)
    assert done.returncode == ConfigError.exit_code and "conditional writes" in done.stderr
    assert "If-None-Match" in done.stderr and SECRET not in done.stderr and KEY_ID not in done.stderr
    proxy.set("")
    assert run_here("--dir", hub, "--blobs", f"s3://{bucket}/hub", "init").returncode == 0
    proxy.set(fault)
    done = run_here("--dir", hub, "serve", "--port", "0", check=False)
    assert done.returncode == ConfigError.exit_code and "conditional writes" in done.stderr


@pytest.mark.thorough
@pytest.mark.slow
def test_a_process_that_is_killed_while_it_stores_loses_nothing_acknowledged(
    tmp_path: Path, bucket: str, proxy: FaultyProxy
) -> None:
    running = init_registry(tmp_path, blobs=f"s3://{bucket}/hub")
    alice = running.add_user("alice", namespace="radboud")
    running.start()
    try:
        assert pushes.create(running, "draft", token=alice).status == 200
        acknowledged = []
        for turn in range(3):
            text = b"# Draft %d\n" % turn
            assert pushes.commit(running, "radboud/draft", {"README.md": text}, token=alice).status == 200
            acknowledged.append(text)
            proxy.set("slow", methods=("PUT",))
            lost = threading.Thread(target=_ignore, args=(running, alice))
            lost.start()
            time.sleep(0.5)
            running.stop(how=signal.SIGKILL)
            lost.join(timeout=30)
            proxy.set("")
            running.start()
            assert running.get("/radboud/draft/resolve/main/README.md").body == text
    finally:
        assert running.stop() == 0
    assert SECRET not in running.log.read_text() and KEY_ID not in running.log.read_text()
    with running.opened() as opened:
        assert checking.check(opened).corrupt == []
        held = {opened.blobs.read(digest) for digest in opened.blobs.stored()}
        assert set(acknowledged) <= held
        assert isinstance(opened.blobs, S3Blobs) and opened.blobs.store.head(OBJECTS + "0" * 64) is None


def _ignore(running: RunningRegistry, token: str) -> None:
    try:
        pushes.commit(running, "radboud/draft", {"README.md": b"# Never acknowledged\n"}, token=token)
    except OSError:
        return
