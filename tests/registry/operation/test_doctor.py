"""`doctor`: each thing that an operator gets wrong, made wrong for real, and found beside a running server."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from embhub.site.signing import keys
from embhub_registry.database import schema
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.logs import outbox
from embhub_registry.database.people import accounts
from embhub_registry.operation import administration
from embhub_registry.operation.doctor_checks import doctor
from embhub_registry.operation.facts import findings
from embhub_registry.operation.facts.findings import Finding
from embhub_registry.operation.facts.registry_facts import BACKED_UP
from embhub_registry.storage.folder import create
from tests.support import disks, postgres
from tests.support.nginx import needs_nginx, proxy_before
from tests.support.postgres import running_server
from tests.support.servers import RunningRegistry, free_port, init_registry, run_here, running_registry

FORWARDED, SCHEME = "proxy_set_header X-Forwarded-For $remote_addr;", "proxy_set_header X-Forwarded-Proto $scheme;"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path) as made:
        yield made


def examine(folder: Path, *, ahead: timedelta = timedelta()) -> dict[str, Finding]:
    """What is found, by check, if this machine's clock were `ahead` of what it is."""
    found = doctor.examine(folder, clock=lambda: now() + ahead)
    return {one.check: one for one in found}


def states(found: Mapping[str, Finding], *names: str) -> list[str]:
    return [found[name].state for name in names]


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file of a folder by what it holds, but for what SQLite keeps for its readers."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_registry_in_order_beside_its_server(served: RunningRegistry) -> None:
    served.run("backup", "make", served.folder.parent / "night.tar")
    done = served.run("doctor", check=False)
    found = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}
    room = {found.pop("disk"), found.pop("inodes")}  # how full the disk of this machine is
    assert done.returncode == 0 and set(found.values()) == {"ok"} and room <= {"ok", "warning"}, done.stdout
    listed = served.ask("doctor")
    assert listed["good"] is True and listed["checks"][0].keys() == {"check", "state", "seen", "advice"}
    assert [one["check"] for one in listed["checks"]] == [line.split()[1] for line in done.stdout.splitlines()]
    assert {*doctor.CHECKS, "inodes", "folders", "schema", "address-clock", "proxy"} == {
        one["check"] for one in listed["checks"]
    }


def test_nothing_is_changed_and_no_lock_is_taken(tmp_path: Path) -> None:
    made = init_registry(tmp_path)
    before = fingerprint(made.folder)
    with made.opened() as opened, opened.alone("check"):
        locked = fingerprint(made.folder)
        found = examine(made.folder)
    assert found["address"].state == "failed" and "refused the connection" in found["address"].seen
    assert states(found, "proxy", "address-clock") == ["warning", "warning"]
    assert fingerprint(made.folder) == locked and before.items() <= locked.items()
    assert made.run("doctor", check=False).returncode == 5


def test_rights_of_folders_and_keys(served: RunningRegistry) -> None:
    root = served.folder / "keys/root.pem"
    root.chmod(0o640)
    done = served.run("doctor", check=False)
    assert done.returncode == 5 and f"chmod 0600 {shlex.quote(str(root))}" in done.stdout and "0640" in done.stdout
    root.chmod(0o600)
    for place, mode in ((served.folder / "keys", 0o750), (served.folder, 0o701)):
        place.chmod(mode)
        assert f"{place} (mode {mode:04o})" in examine(served.folder)["folders"].seen
        place.chmod(0o700)
    assert examine(served.folder)["folders"].state == "ok"


def test_keys_that_are_missing_or_others(tmp_path: Path) -> None:
    made = init_registry(tmp_path)
    place = made.folder / "keys"
    (place / "log.pem").rename(tmp_path / "log.pem")
    found = examine(made.folder)["keys"]
    assert found.state == "failed" and "log.pem" in found.seen
    shutil.copy(tmp_path / "log.pem", place / "log.pem")
    for end in (".pem", ".pub"):
        (place / f"timestamp{end}").rename(tmp_path / f"timestamp{end}")
    keys.generate("timestamp", folder=place)
    found = examine(made.folder)["keys"]
    assert found.state == "failed" and "not those that the keyring names: timestamp.pem" in found.seen
    for end in (".pem", ".pub"):
        (tmp_path / f"timestamp{end}").replace(place / f"timestamp{end}")
    assert examine(made.folder)["keys"].state == "ok"


def test_space_and_inodes(tmp_path: Path) -> None:
    with disks.small_disk(tmp_path / "disk", kilobytes=20_000, inodes=60) as place:
        made = init_registry(place)
        made.run("setting", "set", "ready.free_bytes", "1000")
        assert states(examine(made.folder), "disk", "inodes") == ["ok", "ok"]
        made.run("setting", "set", "ready.free_bytes", "20480000")
        assert examine(made.folder)["disk"].state == "failed"
        made.run("setting", "set", "ready.free_bytes", "1000")
        (place / "large").write_bytes(bytes(18_500_000))
        assert examine(made.folder)["disk"].state == "warning"
        count = 0
        try:
            while True:
                (place / f"small-{count}").touch()
                count += 1
        except OSError:
            (place / "large").write_bytes(b"")
        found = examine(made.folder)["inodes"]
        assert found.state == "failed" and "0% of 60" in found.seen


def test_clocks_that_are_apart(served: RunningRegistry) -> None:
    for ahead, state in ((0, "ok"), (20, "warning"), (-20, "warning"), (120, "failed"), (-120, "failed")):
        found = examine(served.folder, ahead=timedelta(seconds=ahead))["address-clock"]
        assert found.state == state, found
        assert not ahead or ("ahead of" if ahead > 0 else "behind") in found.seen


def test_the_clock_of_postgresql_and_a_server_that_is_away(tmp_path: Path) -> None:
    with running_server() as server:
        address = server.new_schema()
        create(tmp_path / "hub", name="Hub", url="http://127.0.0.1:1", audit="optional", database=address).close()
        assert examine(tmp_path / "hub")["database-clock"].state == "ok"
        found = examine(tmp_path / "hub", ahead=timedelta(minutes=3))["database-clock"]
        assert found.state == "failed" and "3 minutes ahead of the database's" in found.seen
        server.stop()
        away = examine(tmp_path / "hub")
    assert states(away, "database", "folders", "inodes") == ["failed", "ok", "ok"]
    assert all(away[name].seen.startswith("cannot be looked at") for name in doctor.CHECKS)


def test_what_ends_and_what_is_old(served: RunningRegistry) -> None:
    """As seen later: each by the limit of its alert."""
    with served.opened() as registry, registry.database.writing() as db:
        accounts.write_setting(db, BACKED_UP, stamp())
    expected: dict[tuple[str, float], str] = {
        ("backup", 1.0): "ok", ("backup", 1.2): "warning", ("backup", 8): "failed",
        ("timestamp", 0.5): "ok", ("timestamp", 5.5): "warning", ("timestamp", 8): "failed",
        ("keyring", 300): "ok", ("keyring", 380): "warning", ("keyring", 401): "failed",
        ("root", 400): "ok",
    }  # fmt: skip
    for (name, days), state in expected.items():
        found = examine(served.folder, ahead=timedelta(days=days))[name]
        assert found.state == state, found
    assert "signed 2 days ago" in examine(served.folder, ahead=timedelta(days=2))["timestamp"].seen


def test_no_backup_at_all(tmp_path: Path) -> None:
    made = init_registry(tmp_path)
    assert examine(made.folder)["backup"].state == "warning"
    assert examine(made.folder, ahead=timedelta(hours=27))["backup"].state == "failed"


def test_background_tasks_that_do_not_run(tmp_path: Path) -> None:
    """No server runs: what is due stays undone, and is found."""
    made = init_registry(tmp_path)
    made.run("user", "add", "anna", "--namespace", "radboud", "--role", "publisher", "--expires-days", "1")
    made.run("user", "mail", "anna", "anna@example.org")
    with made.opened() as registry, registry.database.writing() as db:
        user = accounts.find_user(db, "anna")
        assert user is not None
        outbox.set_mail_kinds(db, user["id"], ["release"])
        outbox.add_event(
            db, "release", namespace="radboud", repository="radboud/x", private=False, data={}, now=stamp()
        )
    assert states(examine(made.folder), "upkeep", "deliveries") == ["ok", "ok"]
    found = examine(made.folder, ahead=timedelta(days=1, minutes=11))
    assert states(found, "upkeep", "deliveries") == ["failed", "failed"]
    assert "a token that ended" in found["upkeep"].seen and "1 wait" in found["deliveries"].seen


def test_entries_that_nobody_signs(tmp_path: Path) -> None:
    made = init_registry(tmp_path)
    assert examine(made.folder)["log"].state == "warning", "no server has run yet"
    made.start()
    try:
        assert examine(made.folder)["log"].state == "ok"
    finally:
        made.stop()
    (made.folder / "keys/log.pem").rename(tmp_path / "log.pem")  # the command would sign, too
    made.add_key(keys.generate("a", folder=tmp_path), namespace="radboud")
    assert examine(made.folder)["log"].state == "ok"
    assert examine(made.folder, ahead=timedelta(minutes=11))["log"].state == "failed"


def test_a_schema_of_another_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = init_registry(tmp_path)
    known = schema.known_steps
    later = schema.Step(900, "900_more.sql", "-- stops: made up.\nCREATE TABLE more (x TEXT);\n")
    monkeypatch.setattr(schema, "known_steps", lambda *dialect: [*known(*dialect), later])
    found = examine(made.folder)
    assert found["schema"].state == "warning" and "→ 900: stops all servers" in found["schema"].seen
    assert found["backup"].seen.startswith("cannot be looked at")
    made.run("show")
    monkeypatch.undo()
    found = examine(made.folder)
    assert found["schema"].state == "failed" and "another release" in found["schema"].seen


@pytest.mark.skipif(postgres.CHOSEN, reason="the file of SQLite is damaged")
@pytest.mark.parametrize(("place", "name"), [(0, "database"), (5 * 4096, "")], ids=["the head", "a page"])
def test_a_damaged_database(tmp_path: Path, place: int, name: str) -> None:
    """No traceback: a line says so, and the rest is still looked at."""
    made = init_registry(tmp_path)
    file = made.folder / "registry.db"
    with file.open("r+b") as stream:
        stream.seek(place)
        stream.write(b"\xff" * (100 if name else file.stat().st_size - place))
    found = examine(made.folder)
    assert found["inodes"].state == "ok" and any(one.state == "failed" for one in found.values())
    assert not name or found[name].state == "failed"


def test_where_there_is_no_registry(tmp_path: Path) -> None:
    done = run_here("--dir", tmp_path, "doctor", check=False)
    assert done.returncode == 7 and "holds no registry" in done.stderr


def test_lengths_of_time_in_words() -> None:
    lengths = {1.4: "1 seconds", 119: "119 seconds", 121: "2 minutes", 7_300: "2 hours", 200_000: "2 days"}
    assert {words: findings.words(timedelta(seconds=words)) for words in lengths} == lengths


# ── behind nginx ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[tuple[RunningRegistry, int]]:
    """A registry whose public address is https at a port that a proxy is to listen on."""
    port = free_port()
    folder = tmp_path / "registry"
    made = create(folder, name="Hub", url=f"https://localhost:{port}", audit="optional")
    administration.add_user(made, "admin", namespace="registry", role="admin")
    made.close()
    running = RunningRegistry(folder, f"http://127.0.0.1:{free_port()}", "", "")
    running.start()
    yield running, port
    running.stop()


@needs_nginx
@pytest.mark.parametrize(
    ("changed", "state", "words"),
    [
        ({}, "ok", "https and the caller's address"),
        ({FORWARDED: ""}, "failed", "callers choose the address"),
        ({FORWARDED: 'proxy_set_header X-Forwarded-For "";'}, "failed", "no X-Forwarded-For arrives"),
        ({SCHEME: ""}, "failed", "the server sees http"),
    ],
    ids=["as shipped", "passed through", "left out", "no scheme"],
)
def test_what_the_proxy_sends(
    behind: tuple[RunningRegistry, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str],
    state: str, words: str,
) -> None:  # fmt: skip
    served, port = behind
    with proxy_before(served.url, tmp_path / "nginx", port=port, days=90, changed=changed):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nginx/fullchain.pem"))
        found = examine(served.folder)
    assert found["proxy"].state == state and words in found["proxy"].seen, found["proxy"]
    assert states(found, "address", "tls", "address-clock") == ["ok", "ok", "ok"], found


@needs_nginx
def test_a_proxy_that_the_server_does_not_believe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.9")
    port, folder = free_port(), tmp_path / "registry"
    create(folder, name="Hub", url=f"https://localhost:{port}", audit="optional").close()
    served = RunningRegistry(folder, f"http://127.0.0.1:{free_port()}", "", "")
    served.start()
    far = {FORWARDED: "proxy_set_header X-Forwarded-For 192.0.2.5;"}  # so that caller and proxy are two
    try:
        with proxy_before(served.url, tmp_path / "nginx", port=port, days=90, changed=far):
            found = examine(folder)
    finally:
        served.stop()
    assert found["proxy"].state == "failed" and "FORWARDED_ALLOW_IPS=127.0.0.1" in found["proxy"].advice


@needs_nginx
def test_a_proxy_that_sends_another_name(behind: tuple[RunningRegistry, int], tmp_path: Path) -> None:
    served, port = behind
    other = {"proxy_set_header Host $host;": "proxy_set_header Host upstream.example;"}
    with proxy_before(served.url, tmp_path / "nginx", port=port, changed=other):
        found = examine(served.folder)
    assert found["address"].state == "failed" and "the name in the Host header" in found["address"].seen
    assert found["proxy"].seen.startswith("cannot be looked at")


@needs_nginx
@pytest.mark.parametrize(
    ("days", "trusted", "state", "words"),
    [
        (90, True, "ok", "ends in 90 days"),
        (10, True, "warning", "ends in 10 days"),
        (-2, True, "failed", "ended 2 days ago"),
        (90, False, "failed", "self-signed"),
    ],
)
def test_the_certificate(
    behind: tuple[RunningRegistry, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: float, trusted: bool,
    state: str, words: str,
) -> None:  # fmt: skip
    served, port = behind
    with proxy_before(served.url, tmp_path / "nginx", port=port, days=days - 0.01 if days < 0 else days + 0.01):
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nginx/fullchain.pem"))
        found = examine(served.folder)
    assert found["tls"].state == state and words in found["tls"].seen, found["tls"]
    assert found["proxy"].state == "ok", "what a bad certificate hides is looked at"


@needs_nginx
def test_another_registry_at_the_address(
    behind: tuple[RunningRegistry, int], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    served, port = behind
    with running_registry(tmp_path_factory.mktemp("other")) as other:
        other.run("setting", "set", "hosts.allowed", "localhost")
        with proxy_before(other.url, tmp_path / "nginx", port=port):
            found = examine(served.folder)["address"]
    assert found.state == "failed" and "another registry" in found.seen


def test_plain_http_on_another_machine(tmp_path: Path) -> None:
    create(tmp_path / "hub", name="Hub", url="http://hub.example.org", audit="optional").close()
    assert examine(tmp_path / "hub")["tls"].state == "failed"


def test_what_a_request_looks_like(served: RunningRegistry) -> None:
    def look(**headers: str) -> object:
        return json.loads(served.get("/embhub/v1/seen", headers=headers).body)

    assert look() == {"scheme": "http", "client": "127.0.0.1", "forwarded": "none"}
    far = {"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Proto": "https"}
    assert look(**far) == {"scheme": "https", "client": "192.0.2.9", "forwarded": "believed"}
    assert served.get("/embhub/v1/seen", headers={"Host": "evil.example"}).status == 421
