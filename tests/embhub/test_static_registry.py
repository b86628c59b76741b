"""Unmodified clients and a registry that is files: on a plain web server, and in a folder, such as a stick's."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.log import log_reader
from embhub.client.member import status as standing
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.client.wire import http_client
from embhub.client.wire.connecting import FolderClient
from embhub.errors import ConfigError, EmbhubError, RegistryError
from embhub.log import checkpoints, notes, proofs
from embhub.release.demands import PolicyRefusedError
from embhub.site import config
from embhub.site.pins import trust_store
from tests.support import logs, releases
from tests.support.nginx import needs_nginx
from tests.support.servers import RunningRegistry, run_here, start_registry
from tests.support.statics import YANKED, mirror_server, nginx_over, plain_server, publish


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry that stopped after its export: nothing here may need it."""
    registry = start_registry(Path(tmp_path_factory.mktemp("gone")))
    try:
        registry.add_key(releases.SITE, namespace="radboud")
        alice = registry.add_user("alice", namespace="radboud")
        publish(registry, "prostate-cspca", token=alice)
        publish(registry, "prostate-cspca", token=alice, version="1.1.0")
        publish(registry, "breast-mass", token=alice, seed=4)
        registry.run("curate", "yank", YANKED, "--reason", "wrong anatomy on the card")
        registry.run("export", "--static", registry.folder.parent / "hub")
        words = ("--fingerprint", registry.root_fingerprint, "--name", "mirror.example.org", "--once")
        run_here("--dir", registry.folder.parent / "mirror", "mirror", registry.url, *words)
    finally:
        registry.stop()
    yield registry


@pytest.fixture
def export(hub: RunningRegistry) -> Path:
    return hub.folder.parent / "hub"


PLACES = [
    "http.server",
    "folder",
    pytest.param("nginx", marks=[needs_nginx, pytest.mark.thorough]),
    pytest.param("mirror", marks=pytest.mark.thorough),
]


@pytest.fixture(params=PLACES)
def address(request: pytest.FixtureRequest, export: Path, hub: RunningRegistry, tmp_path: Path) -> Iterator[str]:
    """Where the same registry is read from: each column of the table in docs/how-to/registry-without-a-server.md."""
    places: dict[str, Callable[[], AbstractContextManager[str]]] = {
        "folder": lambda: nullcontext(str(export)),
        "http.server": lambda: plain_server(export),
        "nginx": lambda: nginx_over(export, tmp_path / "nginx"),
        "mirror": lambda: mirror_server(export.parent / "mirror", hub.url),
    }
    with places[request.param]() as url:
        yield url


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_the_verbs_of_a_reader_work_without_a_server(
    address: str, export: Path, hub: RunningRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trust", "add", str(export), "--fingerprint", hub.root_fingerprint]) == 0
    assert [root.registry for root in trust_store.list_roots()] == [hub.url], "pinned under the registry's own name"
    assert main(["pull", "--registry", address, releases.REPOSITORY, "--require", "logged"]) == 0
    assert main(["verify", "prostate-cspca", "--require", "logged"]) == 0
    assert main(["verify", "--registry", address, f"{releases.REPOSITORY}@1.0.0"]) == 0
    assert main(["pull", "--registry", address, f"{releases.REPOSITORY}@1.0.0", "--out", "older"]) == 0
    assert main(["show", "--registry", address, releases.REPOSITORY]) == 0
    capsys.readouterr()
    assert main(["search", "--registry", address, "PROSTATE", "--modality", "MR", "--json"]) == 0
    assert [row["version"] for row in json.loads(capsys.readouterr().out)] == ["1.1.0"]
    for words in (["liver"], ["--modality", "CT"], ["--audit", "leak-detected"]):
        assert main(["search", "--registry", address, *words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == []
    assert main(["verify", "--pulled", "prostate-cspca"]) == 0
    assert main(["log", "verify", hub.url, "--from", str(export / "log")]) == 0
    assert main(["trust", "refresh", address]) == 0
    assert main(["push", "--registry", address, "prostate-cspca"]) != 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("place", ["http.server", "folder"])
def test_a_yank_is_seen_and_refused_without_a_server(place: str, export: Path, hub: RunningRegistry) -> None:
    with plain_server(export) if place == "http.server" else nullcontext(str(export)) as address:
        _yank_is_seen(address, export, hub)


def _yank_is_seen(address: str, export: Path, hub: RunningRegistry) -> None:
    roots.add_root(str(export), fingerprint=hub.root_fingerprint)
    with pytest.raises(PolicyRefusedError, match="wrong anatomy"):
        pulling.pull(YANKED, registry=address)
    commit = json.loads((export / f"api/models/{YANKED}/index.html").read_text())["sha"]
    pulled = pulling.pull(f"{YANKED}@{commit}", registry=address, out="yanked")
    assert pulled.yanked is not None and pulled.withdrawn
    assert standing.look_up("yanked").withdrawn, (
        "`embhub verify --pulled` needs no network, and has the signed advisories"
    )


def test_what_is_altered_on_the_way_is_refused(export: Path, hub: RunningRegistry, tmp_path: Path) -> None:
    roots.add_root(str(export), fingerprint=hub.root_fingerprint)
    copy = tmp_path / "copy"
    shutil.copytree(export, copy)
    (file,) = {*copy.glob("radboud/prostate-cspca/resolve/*/README.md")} - {
        *copy.glob(f"radboud/prostate-cspca/resolve/{_commit(copy, '1.0.0')}/*")
    }
    file.write_bytes(file.read_bytes().replace(b"prostate", b"prostata", 1))
    with pytest.raises(EmbhubError) as caught:
        pulling.pull(releases.REPOSITORY, registry=str(copy))
    assert caught.value.exit_code == 4
    for tile in copy.glob("log/tile/0/*.p/*"):
        tile.write_bytes(bytes(len(tile.read_bytes())))
    older = pulling.verify_path(f"{releases.REPOSITORY}@1.0.0", registry=str(copy))
    assert next(one.outcome for one in older.findings if one.check == "log") == "warning"


def _commit(export: Path, version: str) -> str:
    said = json.loads((export / f"api/models/{releases.REPOSITORY}/revision/{version}").read_text())
    return str(said["sha"])


def test_a_newer_keyring_is_taken_from_a_copy_and_an_older_one_changes_nothing(
    export: Path, hub: RunningRegistry, tmp_path: Path
) -> None:
    roots.add_root(str(export), fingerprint=hub.root_fingerprint)
    before = trust_store.load(hub.url).keyring.version
    hub.run("key", "raise")
    newer = tmp_path / "newer"
    hub.run("export", "--static", newer)
    found = pulling.verify_path(releases.REPOSITORY, registry=str(newer))
    assert trust_store.load(hub.url).keyring.version > before
    assert "is a copy of" in next(one.text for one in found.findings if one.check == "keyring")
    later = trust_store.load(hub.url).keyring.version
    found = pulling.verify_path(releases.REPOSITORY, registry=str(export))
    assert "older state" in next(one.text for one in found.findings if one.check == "keyring")
    assert trust_store.load(hub.url).keyring.version == later
    (newer / "embhub/v1/trust").write_text("{}")
    found = pulling.verify_path(releases.REPOSITORY, registry=str(newer))
    assert "not renewed" in next(one.text for one in found.findings if one.check == "keyring")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("/media/stick/", "file:///media/stick"), ("file:///media/my%20stick", "file:///media/my%20stick"),
        ("/media/my stick", "file:///media/my%20stick"), ("file://localhost/a/../b", "file:///b"),
    ],
)  # fmt: skip
def test_a_folder_is_an_address_in_one_spelling(given: str, address: str) -> None:
    assert config.check_registry(given) == config.check_registry(address) == address
    assert config.folder_of(address) is not None and config.folder_of("https://hub.example.org") is None
    assert config.same_origin(given, address) and not config.same_origin(given, "file:///else")


@pytest.mark.parametrize("given", ["file://server/share", "file:relative", "file:///a?b", "/a\0b", "stick", "a/b"])
def test_what_is_no_address_of_a_folder_is_refused(given: str) -> None:
    with pytest.raises(ConfigError):
        config.check_registry(given)


def test_a_folder_gives_nothing_from_outside_and_nothing_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    root = tmp_path / "stick"
    (root / "embhub/v1").mkdir(parents=True)
    (root / "embhub/v1/static.json").write_text("{}")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "large").write_bytes(b"12345")
    client = FolderClient("file:///stick", root)
    for path in ("/../secret", "/%2e%2e/secret", "/link", "/x/../../secret", "/%2Fetc/passwd%00", "/none", "/embhub"):
        with pytest.raises(http_client.StatusError):
            client.read(path, limit=100)
    with pytest.raises(RegistryError):
        client.read("/large", limit=4)
    assert client.read("/large?x=/../secret", limit=5) == b"12345"
    with pytest.raises(http_client.StatusError, match="405"):
        client.read("/large", limit=5, method="POST")
    with pytest.raises(RegistryError, match="no such folder"):
        FolderClient("file:///stick", tmp_path / "unmounted").read("/x", limit=1)
    with pytest.raises(RegistryError, match="no export"):
        FolderClient("file:///stick", tmp_path).read("/x", limit=1)


def test_a_proof_is_made_from_tiles_alone(export: Path, hub: RunningRegistry) -> None:
    with hub.opened() as opened:
        leaf = bytes(opened.database.connection().execute("SELECT leaf FROM log_entry WHERE place = 2").fetchone()[0])
        key = opened.trust().keyring.log_key
    assert key is not None
    source = log_reader.FolderLog(export / "log")
    made = log_reader.proof(source, leaf)
    assert made is not None and proofs.parse(made).open(leaf, log=key).size > 2
    assert log_reader.proof(source, b"never logged") is None


def test_an_old_copy_shows_its_age_by_the_witnesses(export: Path, hub: RunningRegistry, tmp_path: Path) -> None:
    roots.add_root(str(export), fingerprint=hub.root_fingerprint)
    witness = logs.witness_key()
    (tmp_path / "home/config/log-policy").write_text(f"witness W {witness.public}\nquorum W\n")
    for days, said in ((1, "fresh: a quorum"), (30, "stale since")):
        copy = tmp_path / f"{days}"
        shutil.copytree(export, copy)
        note = notes.parse((export / "log/checkpoint").read_bytes())
        line = checkpoints.cosign(checkpoints.parse(note), by=witness, time=int(time.time()) - days * 86_400)
        (copy / "log/checkpoint").write_bytes(note.with_signatures([line]).to_bytes())
        found = pulling.verify_path(releases.REPOSITORY, registry=str(copy))
        assert said in next(one.text for one in found.findings if one.check == "log-witnesses")
