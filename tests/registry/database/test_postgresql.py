"""PostgreSQL under a registry: one writer, lost connections, moving there and back, passwords that nobody sees."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import ConfigError, RegistryError, UsageError
from embhub.release.files import EMBEDDING
from embhub.site.signing import keys
from embhub.trust import root_keys
from embhub_registry import app as application
from embhub_registry.database import Database, DatabaseBusyError, DatabaseUnavailableError, StorageFullError, schema
from embhub_registry.database.dialects import POSTGRESQL, SQLITE, to_postgresql
from embhub_registry.database.engines import moving
from embhub_registry.database.engines.postgresql_address import has_password, parse_address, shown
from embhub_registry.database.engines.postgresql_errors import raise_translated
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import repositories, search
from embhub_registry.database.standing import tombstones
from embhub_registry.operation.background import background_tasks
from embhub_registry.operation.backups import backup, checking, restoring
from embhub_registry.operation.backups import moving as operation
from embhub_registry.operation.observability import health
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage import database_place, folder
from embhub_registry.storage.folder import Registry
from tests.support import pushes, releases
from tests.support.disks import small_disk
from tests.support.postgres import Server
from tests.support.servers import RunningRegistry, environment, free_port, init_registry, run_here

DAY = "2026-11-20T00:00:00.000Z"
NAME = "radboud/prostate-cspca"


@pytest.fixture
def database(postgresql: Server) -> Iterator[Database]:
    made = Database(postgresql.new_schema(), patience=5.0)
    schema.migrate(made)
    yield made
    made.close()


def test_values_are_numbered_and_texts_are_left_alone() -> None:
    assert to_postgresql("SELECT ?, '?', \"a?\" FROM user WHERE x = ? -- ?") == (
        'SELECT $1, \'?\', "a?" FROM "user" WHERE x = $2 -- ?'
    )
    assert to_postgresql("SELECT ?2 WHERE ?1 IS NULL OR user.name = 'user'") == (
        "SELECT $2 WHERE $1 IS NULL OR \"user\".name = 'user'"
    )
    assert to_postgresql("INSERT OR IGNORE INTO user_x VALUES (?)") == (
        "INSERT INTO user_x VALUES ($1) ON CONFLICT DO NOTHING"
    )


def test_both_engines_have_the_same_steps() -> None:
    here, there = ([step.name for step in schema.known_steps(dialect)] for dialect in (SQLITE, POSTGRESQL))
    assert here == there, "each step is in migrations/ and in migrations/postgresql/"


def test_both_engines_have_the_same_columns(database: Database, tmp_path: Path) -> None:
    file = Database(tmp_path / "x.db")
    schema.migrate(file)
    for table in moving._tables(file.connection()):  # type: ignore[arg-type]  # SQLite's own
        rows = database.connection().execute(
            "SELECT column_name, is_nullable FROM information_schema.columns WHERE table_schema = current_schema()"
            " AND table_name = ? ORDER BY ordinal_position", (table.name,)
        )  # fmt: skip
        there = [(row[0], row[1] == "NO") for row in rows]
        info = file.connection().execute(f"PRAGMA table_info({table.name})").fetchall()
        assert there == [(row["name"], bool(row["notnull"] or row["pk"])) for row in info], table.name
    file.close()


def test_a_newer_database_is_refused_and_no_step_runs_twice(database: Database) -> None:
    assert schema.pending(database) == [] and schema.migrate(database) is None
    with database.writing() as db:
        db.execute("INSERT INTO migration VALUES (999, '999_later.sql', ?, 'x')", (DAY,))
    with pytest.raises(ConfigError, match=r"another release.*999_later"):
        schema.migrate(database)


def test_a_transaction_is_whole_or_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.writing() as db:
        accounts.write_setting(db, "a", "1")
        raise RuntimeError
    assert accounts.read_setting(database.connection(), "a") is None


def test_a_failure_that_was_swallowed_is_not_taken_for_a_commit(database: Database) -> None:
    with pytest.raises(DatabaseUnavailableError), database.writing() as db:
        accounts.write_setting(db, "a", "1")
        with pytest.raises(psycopg.errors.UndefinedTable):
            db.execute("SELECT * FROM nothing")
    assert accounts.read_setting(database.connection(), "a") is None


def test_writers_take_turns(database: Database) -> None:
    """Each reads what the one before wrote: forty threads give forty numbers."""

    def write() -> None:
        for _ in range(5):
            with database.writing() as db:
                number = int(accounts.read_setting(db, "number") or 0)
                accounts.write_setting(db, "number", str(number + 1))

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert accounts.read_setting(database.connection(), "number") == "40"


def test_a_writer_that_waits_too_long_is_told_so(database: Database) -> None:
    seen: list[BaseException] = []

    def write() -> None:
        try:
            with database.writing(patience=0.05) as db:
                accounts.write_setting(db, "b", "1")
        except DatabaseBusyError as error:
            seen.append(error)

    with database.writing():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert len(seen) == 1 and accounts.read_setting(database.connection(), "b") is None


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_writers_take_turns_whatever_isolation_is_usual(postgresql: Server, isolation: str) -> None:
    made = Database(f"{postgresql.new_schema()}%20-cdefault_transaction_isolation%3D{isolation.replace(' ', '%5C%20')}")
    schema.migrate(made)
    assert made.connection().execute("SHOW default_transaction_isolation").fetchone()[0] == isolation
    with made.writing() as db:
        accounts.write_setting(db, "number", "0")
        thread = threading.Thread(target=_count, args=(made,))
        thread.start()
        time.sleep(0.1)  # it has its transaction by now, and waits for the lock
        accounts.write_setting(db, "number", "1")
    thread.join()
    assert accounts.read_setting(made.connection(), "number") == "2"
    made.close()


def _count(database: Database) -> None:
    with database.writing() as db:
        accounts.write_setting(db, "number", str(int(accounts.read_setting(db, "number") or 0) + 1))


def test_nul_in_a_summary_stops_no_list(database: Database) -> None:
    """Earlier releases stored it; JSON has it as an escape, and PostgreSQL no text with it."""
    with database.writing() as db:
        accounts.add_namespace(db, "radboud", now=DAY)
        known = repositories.add(db, "radboud", "one", private=False, now=DAY)
        summary = '{"note": "a\\u0000b", "release": {"site_total": {"note": "c\\u0000d", "n": 1}}}'
        db.execute("UPDATE repository SET summary = ? WHERE id = ?", (summary, known))
    found = repositories.site_totals(database.connection(), "radboud")
    assert found == [{"note": "c\ufffdd", "n": 1}]


def test_names_in_any_case_whatever_letters_a_database_has(postgresql: Server) -> None:
    """In Turkish the lower case of I is another letter than i."""
    with postgresql.connect() as db:
        db.execute(
            "CREATE DATABASE turkish ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR' LOCALE 'C.UTF-8'"
            " TEMPLATE template0"
        )
    made = Database(postgresql.address.replace("/embhub?", "/turkish?"))
    schema.migrate(made)
    with made.writing() as writing:
        accounts.add_namespace(writing, "radboud", now=DAY)
        known = repositories.add(writing, "radboud", "PI-CAI", private=False, now=DAY)
        repositories.describe(writing, known, {}, tags=["b", "a", "c"], text="")
        tombstones.add(writing, "radboud", "LIDC", private=False, reason="x", author="y", now=DAY, releases=[])
    reading = made.connection()
    for name in ("PI-CAI", "pi-cai"):
        assert repositories.find_in_any_case(reading, "radboud", name) is not None
        assert repositories.find_visibility(reading, "radboud", name) is False
    assert tombstones.find(reading, "radboud", "LIDC") is not None
    assert repositories.tags_of(reading, known) == ["a", "b", "c"]
    made.close()


def test_a_connection_that_is_cut_in_a_transaction(database: Database, postgresql: Server) -> None:
    with pytest.raises(DatabaseUnavailableError), database.writing() as db:
        accounts.write_setting(db, "a", "1")
        (pid,) = db.execute("SELECT pg_backend_pid()").fetchone()
        with postgresql.connect() as other:
            other.execute("SELECT pg_terminate_backend(%s)", (pid,))
        for value in ("2", "3"):  # also one who goes on in spite of the error writes nothing
            with pytest.raises(DatabaseUnavailableError):
                accounts.write_setting(db, "a", value)
    assert accounts.read_setting(database.connection(), "a") is None
    with database.writing() as db:
        accounts.write_setting(db, "a", "4")
    assert accounts.read_setting(database.connection(), "a") == "4"


def test_connections_end_with_their_threads(database: Database, postgresql: Server) -> None:
    mark = uuid.uuid4().hex  # other tests' connections to this server are not counted

    def ask() -> None:
        database.connection().execute(f"SELECT '{mark}'").fetchone()

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ask()
    with postgresql.connect() as db:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            query = f"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%{mark}%' AND pid <> pg_backend_pid()"
            found = db.execute(query).fetchone()
            count = int(str(found[0])) if found else 0
            if count <= 1:
                break
            time.sleep(0.05)
    assert count == 1, "this thread's own"


def test_a_server_whose_disk_is_full(database: Database, postgresql: Server) -> None:
    with small_disk(postgresql.folder / "small", kilobytes=2_000) as disk:
        owner = postgresql.folder.stat()
        os.chown(disk, owner.st_uid, owner.st_gid)
        db = database.connection()
        db.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
        db.execute("ALTER TABLE setting SET TABLESPACE small")
        stored = 0
        with pytest.raises(StorageFullError):
            for stored in range(1_000):
                with database.writing() as writing:
                    accounts.write_setting(writing, f"name{stored}", os.urandom(4_000).hex())
        assert 5 < stored < 1_000
        assert accounts.read_setting(db, f"name{stored - 1}") and accounts.read_setting(db, f"name{stored}") is None
        with database.writing() as writing:  # others go on
            accounts.add_namespace(writing, "radboud", now=DAY)
        db.execute("DROP TABLE setting")
        db.execute("DROP TABLESPACE small")


@pytest.mark.parametrize(
    ("state", "kind"),
    [("53100", StorageFullError), ("55P03", DatabaseBusyError), ("57P01", DatabaseUnavailableError),
     ("25006", DatabaseUnavailableError), ("53300", DatabaseUnavailableError), ("23505", psycopg.Error)],
)  # fmt: skip
def test_what_a_server_says_is_told_in_our_words(state: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        raise_translated(psycopg.errors.lookup(state)("x"))


@given(st.text(st.characters(codec="utf-8", exclude_characters="@/&#:%= \0"), min_size=1, max_size=20))
def test_a_password_is_never_shown(secret: str) -> None:
    plain = "postgresql://anna@db.example.org,other:5433/embhub?sslmode=require"
    for address in (
        f"postgresql://anna:{secret}@db.example.org,other:5433/embhub?sslmode=require",
        f"postgresql://anna@db.example.org,other:5433/embhub?password={secret}&sslmode=require",
        f"postgresql://anna@db.example.org,other:5433/embhub?sslmode=require&password={secret}",
        f"postgresql://anna@db.example.org,other:5433/embhub?sslmode=require&pass%77ord={secret}",
    ):
        assert shown(address) == plain and has_password(address)
        assert parse_address(address)["password"] == secret
    assert shown(f"postgresql://db.example.org?password={secret}") == "postgresql://db.example.org"
    assert shown(plain) == plain and not has_password(plain)


def test_an_address_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_address("postgresql://anna:secret@host/x?nonsense=1")
    assert "secret" not in f"{refused.value.message}{refused.value.hint}"


def test_an_address_whose_password_would_be_shown_in_part_is_refused() -> None:
    """The driver ends the account at the first `@`, and a host may have one."""
    with pytest.raises(ConfigError) as refused:
        parse_address("postgresql://anna:first@secret@db.example.org/x")
    assert "secret" not in f"{refused.value.message}{refused.value.hint}"


def test_passwords_of_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"postgresql://anna:s3cr3t@127.0.0.1:{free_port()}/x"
    refused = run_here("--dir", tmp_path / "r", "--database", address, "init", check=False)
    assert refused.returncode == 2 and "PGPASSWORD" in refused.stderr and "s3cr3t" not in refused.stderr
    monkeypatch.setenv("EMBHUB_REGISTRY_DATABASE", address)
    away = run_here("--dir", tmp_path / "r", "init", check=False)
    assert away.returncode == 7 and "cannot be reached" in away.stderr and "s3cr3t" not in away.stderr
    assert not (tmp_path / "r").exists(), "nothing is made where the server is away"


def make(postgresql: Server, place: Path) -> RunningRegistry:
    """A registry in a schema of its own, with a release."""
    url = f"http://127.0.0.1:{free_port()}"
    folder.create(place, name="Test", url=url, audit="optional", database=postgresql.new_schema()).close()
    return RunningRegistry(place, url, "", "")


def test_two_folders_do_not_serve_one_database(postgresql: Server, tmp_path: Path) -> None:
    address = postgresql.new_schema()
    made = folder.create(tmp_path / "a", name="T", url="http://127.0.0.1:1", audit="optional", database=address)
    with pytest.raises(UsageError, match="holds a registry already"):
        folder.create(tmp_path / "b", name="T", url="http://127.0.0.1:1", audit="optional", database=address)
    (tmp_path / "b").mkdir(exist_ok=True)
    other = Registry(tmp_path / "b", database=address)
    with made.alone("serve"), pytest.raises(ConfigError, match="in use by another process"), other.alone("serve"):
        pass
    with other.alone("serve"):
        with postgresql.connect() as db:  # its connection is cut: nobody takes its place, so it gets the lock again
            db.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'")
        other.database.stay_alone()
        with pytest.raises(ConfigError, match="in use by another process"), made.alone("serve"):
            pass
        with postgresql.connect() as db:  # after at most 10 s the process is gone, and its lock with it
            db.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'")
        with made.alone("serve"), pytest.raises(DatabaseBusyError, match="another process has taken"):
            other.database.stay_alone()
        with pytest.raises(DatabaseBusyError, match="another process has taken"), other.database.writing():
            pass
        assert health._look(other)["database"] == "taken by another process, or a newer release"
        other.database.stay_alone()  # that one has ended
        assert health._look(other)["database"] == "ok"
    made.close()
    other.close()


def test_of_two_that_begin_in_one_schema_one_is_refused(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have found it empty. With a root that is kept elsewhere nothing else would collide."""
    address = postgresql.new_schema()
    root = root_keys.one_key(keys.generate("root", folder=tmp_path).public)
    monkeypatch.setattr(folder, "_check_empty", lambda place, asked: None)
    words = {"audit": "optional", "root": root, "database": address}
    made = folder.create(tmp_path / "a", name="A", url="http://127.0.0.1:1", **words)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="holds a registry already"):
        folder.create(tmp_path / "b", name="B", url="http://127.0.0.1:2", **words)  # type: ignore[arg-type]
    assert made.setting("name") == "A" and not (tmp_path / "b/database").exists()
    made.close()


def test_upkeep_goes_on_whatever_fails(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A table is away for a while, which no error of ours stands for."""
    made = folder.create(tmp_path / "a", name="A", url="http://127.0.0.1:1", audit="optional",
                         database=postgresql.new_schema())  # fmt: skip
    monkeypatch.setattr(background_tasks, "SECONDS", 0.02)
    turns: list[object] = []
    write = background_tasks.write
    monkeypatch.setattr(background_tasks, "write", lambda app, registry: turns.append(write(app, registry)))

    async def serve() -> None:
        async with background_tasks.lifespan(application.build(made)):
            with made.database.writing() as db:
                db.execute("ALTER TABLE session RENAME TO elsewhere")
            before = len(turns)
            while len(turns) < before + 3:
                await asyncio.sleep(0.02)
            with made.database.writing() as db:
                db.execute("ALTER TABLE elsewhere RENAME TO session")

    asyncio.run(asyncio.wait_for(serve(), 20))
    assert "UndefinedTable" in capfd.readouterr().err
    made.close()


@pytest.mark.thorough
def test_a_server_that_goes_away_and_comes_back(postgresql: Server, tmp_path: Path) -> None:
    running = make(postgresql, tmp_path / "r")
    running.start()
    try:
        assert running.get("/api/models").status == 200 and running.get("/readyz").status == 200
        postgresql.stop(signal.SIGQUIT)
        answer = running.get("/api/models")
        assert answer.status == 503 and answer.header("Retry-After") == "5", answer.body
        page = running.get("/", headers={"Accept": "text/html"})
        assert page.status == 503 and page.header("Retry-After")
        assert str(postgresql.folder) not in answer.body.decode(), "where it is, is the operator's to know"
        assert running.get("/healthz").status == 200
        deadline = time.monotonic() + 20
        while running.get("/readyz").status == 200 and time.monotonic() < deadline:
            time.sleep(0.2)  # it looks every few seconds
        assert running.get("/readyz").status == 503
        postgresql.start()
        while running.get("/readyz").status != 200 and time.monotonic() < deadline + 20:
            time.sleep(0.2)
        assert running.get("/readyz").status == 200 and running.get("/api/models").status == 200
        assert '"fault"' not in running.log.read_text()
    finally:
        running.stop()
        if postgresql.process is None:
            postgresql.start()


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningRegistry:
    """An embedded registry with a release, two accounts, a deleted repository and texts of all kinds."""
    monkeypatch.setattr("embhub_registry.storage.database_place.choose", lambda folder, asked: asked)
    running = init_registry(tmp_path)
    running.add_key(releases.SITE, namespace="radboud")
    token = running.add_user("anna", namespace="radboud")
    running.start()
    try:
        for name in ("prostate-cspca", "gone"):
            assert pushes.create(running, name, token=token).status == 200
        assert pushes.commit(running, NAME, releases.make_release().files, token=token).status == 200
    finally:
        running.stop()
    running.run("repo", "delete", "radboud/gone", "--reason", "Grüße 𝔘 'x' \\ %_\t")
    return running


def test_moving_there_and_back(filled: RunningRegistry, postgresql: Server) -> None:
    address = postgresql.new_schema()
    with filled.opened() as registry:
        before = dict(registry.database.connection().execute("SELECT name, value FROM setting").fetchall())
    there = filled.ask("storage", "move", "--to", address)
    assert there["tables"]["label_count"]["rows"] and there["tables"]["entry"]["rows"]
    assert not (filled.folder / "registry.db").exists() and (filled.folder / "registry.db.moved").exists()
    with filled.opened() as registry:
        assert registry.database.dialect is POSTGRESQL and checking.check(registry).clean
        db = registry.database.connection()
        after = dict(tuple(row) for row in db.execute("SELECT name, value FROM setting"))
        own = {f"schema.rolling.{step.name}": "yes" for step in schema.known_steps(POSTGRESQL) if step.is_rolling}
        assert (filled.folder / "audit-ids").read_text().split() == [after.pop("audit_id")] and after == before | own
        assert [r.full_name for r in search.run(db, search.Query(text="ostate"))] == [NAME]
        with registry.database.writing() as db:  # numbers go on after those that were moved
            known = repositories.find(db, *NAME.split("/"))
            assert known is not None
            assert repositories.add(db, "radboud", "next", private=False, now=DAY) > known.id
            assert accounts.add_user(db, name="next", namespace="radboud", role="reader", now=DAY) > 1
    assert filled.run("storage", "move", "--to", address, check=False).returncode == 2
    filled.start()
    try:
        assert filled.get(f"/{NAME}/resolve/main/{EMBEDDING}").status == 200
        assert filled.run("storage", "move", "--to", "sqlite", check=False).returncode == 7, "while it serves"
    finally:
        filled.stop()
    back = filled.ask("storage", "move", "--to", "sqlite")
    same = {"repository", "entry", "revision", "blob", "log_entry", "label", "token", "attestation", "tombstone"}
    assert {n for n in same if back["tables"][n] == there["tables"][n]} >= same - {"repository", "label", "token"}
    with filled.opened() as registry:
        assert registry.database.dialect is SQLITE
        names = registry.database.connection().execute("SELECT name FROM setting").fetchall()
        assert not any(row[0].startswith("schema.rolling.") for row in names), "a file has no such steps"
        assert checking.check(registry).corrupt == ["radboud/next: no branch main"], "as it was made above"
        assert len(search.run(registry.database.connection(), search.Query(text="ostate"))) == 1
    stale = run_here("--dir", filled.folder.parent / "x", "--database", address, "show", check=False)
    assert stale.returncode == 7 and "was moved" in stale.stderr


def test_a_target_that_is_not_empty_is_refused(filled: RunningRegistry, postgresql: Server) -> None:
    address = postgresql.new_schema()
    name = re.search(r"search_path%3D(\w+)", address)
    assert name is not None
    with postgresql.connect() as db:
        db.execute(f"CREATE TABLE {name[1]}.other (x INT)")
    refused = filled.run("storage", "move", "--to", address, check=False)
    assert refused.returncode == 2 and "is not empty" in refused.stderr
    with filled.opened() as registry:
        assert registry.database.dialect is SQLITE


def test_what_arrives_otherwise_than_it_was_sent_changes_nothing(filled: RunningRegistry, postgresql: Server) -> None:
    """A trigger of the server's, say, alters a value on its way."""
    address = postgresql.new_schema()
    target = Database(address)
    with filled.opened() as registry:
        original = moving._equal
        try:
            moving._equal = lambda table, sent, arrived: original(table, sent, iter([*arrived][1:]))
            with pytest.raises(RegistryError, match="did not arrive"):
                operation.move(registry, address)
        finally:
            moving._equal = original
    assert schema.is_empty(target), "the transaction was undone"
    with filled.opened() as registry:
        assert registry.database.dialect is SQLITE
    target.close()


@pytest.mark.thorough
def test_a_backup_of_a_server_restores_into_a_folder(
    filled: RunningRegistry, postgresql: Server, tmp_path: Path
) -> None:
    filled.run("storage", "move", "--to", postgresql.new_schema())
    with filled.opened() as registry:
        made = backup.back_up(registry, tmp_path / "b.tar")
    restoring.restore(tmp_path / "b.tar", tmp_path / "again", signed_by=made["signed_by"])
    again = open_folder(tmp_path / "again")
    assert again.database.dialect is SQLITE and checking.check(again).clean
    assert repositories.find(again.database.connection(), *NAME.split("/")) is not None
    again.close()


@pytest.mark.thorough
def test_a_server_process_shows_no_password(postgresql: Server, tmp_path: Path) -> None:
    """Its arguments, its log and its folder; only its own environment holds it."""
    running = make(postgresql, tmp_path / "r")
    noted = (tmp_path / "r/database").read_text().strip()
    address = noted.replace("embhub@", "embhub:s3cr3t@")
    words = ["-m", "embhub_registry", "--dir", str(tmp_path / "r"), "show"]
    done = subprocess.run(
        [sys.executable, *words],
        env={**environment(), "EMBHUB_REGISTRY_DATABASE": address},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "s3cr3t" not in done.stdout + done.stderr
    assert not any(b"s3cr3t" in file.read_bytes() for file in running.folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("with_ids", [True, False])
def test_the_database_of_another_registry_is_refused(postgresql: Server, tmp_path: Path, with_ids: bool) -> None:
    addresses = [postgresql.new_schema() for _ in range(2)]
    for number, address in enumerate(addresses):
        made = folder.create(
            tmp_path / str(number), name=f"T{number}", url="http://127.0.0.1:1", audit="optional", database=address
        )
        for event in range(3):
            made.audit_log.write("event", what=event, pad="x" * 400 * (2 - number))
        if not with_ids:  # as restored ones are
            (made.folder / database_place.ID).unlink()
            with made.database.writing() as db:
                db.execute("DELETE FROM setting WHERE name = ?", (database_place.ID,))
        made.close()
    before = {path.name: path.read_bytes() for path in (tmp_path / "0").iterdir() if path.is_file()}
    with pytest.raises(ConfigError, match="different registries" if with_ids else "do not belong together"):
        open_folder(tmp_path / "0", database=addresses[1])
    assert {path.name: path.read_bytes() for path in (tmp_path / "0").iterdir() if path.is_file()} == before
    opened = open_folder(tmp_path / "0")
    assert opened.setting(database_place.ID) == database_place.noted_id(opened.folder) != ""
    assert opened.audit_log.problems() == []
    opened.close()
