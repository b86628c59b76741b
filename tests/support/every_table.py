"""A row or more for each table of a registry's database, as today's program stores them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from embhub_registry.database import Connection
from embhub_registry.database.dialects import SQLITE
from embhub_registry.database.releases import placement

EARLY, LATE = "2026-01-02T03:04:05.678Z", "2026-02-03T04:05:06.789Z"
WORDS = {1: "prostate lasion pi-rads 5", 3: "chest opacity", 4: "a former one", 5: "held"}
Row = tuple[str, dict[str, Any]]  # the table, and a value for each column


def rows(table: str, names: str, *values: Sequence[Any]) -> list[Row]:
    """Rows by the names of their columns, which are separated by spaces."""
    return [(table, dict(zip(names.split(), row, strict=True))) for row in values]


def summary(*, privacy: str, **more: Any) -> str:
    """What a repository notes of its newest release, in JSON."""
    release = {
        "modality": ["MR"], "anatomy": ["Prostate gland"], "finding": ["Läsion"], "base": "builtin",
        "audit": "not-detected", "privacy": privacy, **more,
    }  # fmt: skip
    front = {"pipeline_tag": "text-to-image", "library_name": "diffusers", "odd": "a\0b"}
    return json.dumps({"release": release, "front_matter": front})


def labels(repository: int, shown: int, *pairs: str) -> list[Row]:
    """What a repository is found by: `kind=value`."""
    split = [pair.split("=") for pair in pairs]
    return rows(
        "label", "kind value repository_id shown",
        *((kind, value, repository, shown) for kind, value in split),
    )  # fmt: skip


_REPOSITORY = (
    "id namespace name private created modified downloads summary position released hidden gated disabled"
    " set_aside epsilon"
)
_TOKEN = "id digest user_id created expires revoked last_used scope unlimited purpose only_repository proved"
_OF_RELEASE = ("anatomy=prostate gland", "audit=not-detected", "base=builtin", "finding=läsion", "modality=MR")
_FRONT = ("tag=text-to-image", "tag=diffusers")

ROWS: list[Row] = [
    *rows("setting", "name value", ("name", "Test hub"), ("read.anonymous", "no")),
    *rows("namespace", "name created max_bytes max_repositories max_releases", ("radboud", EARLY, None, None, None),
          ("lumc", EARLY, None, None, None), ("nki", LATE, 1, 2, 3)),
    *rows("user", "id name namespace created disabled mail mail_kinds left_at",
          *((number, name, "radboud", EARLY, None, "",
             "access.requested access.decided review.requested review.decided", None)
            for number, name in ((1, "alice"), (2, "root"), (3, "rita"))),
          (4, "gone", "nki", LATE, LATE, "gone@example.org", "access.requested", LATE)),
    *rows("membership", "user_id namespace role created given_by", (1, "radboud", "publisher", EARLY, "operator"),
          (2, "radboud", "admin", EARLY, "operator"), (3, "radboud", "reader", EARLY, "operator"),
          (4, "nki", "auditor", LATE, "provider")),
    *rows("token", _TOKEN, ("t1", b"\x01" * 32, 1, EARLY, LATE, LATE, LATE, "publish", 0, "", None, None),
          ("t2", b"\x02" * 32, 2, EARLY, None, None, None, "admin", 0, "", None, None),
          ("t3", b"\x03" * 32, 3, EARLY, None, None, None, "read", 0, "", None, None),
          ("t4", b"\x04" * 32, 4, LATE, LATE, None, LATE, "read", 1, "ci", "radboud/prostate", LATE)),
    *rows("keyring", "version envelope created", (1, b"{}", EARLY), (2, b"\x00\xff", LATE)),
    *rows("blob", "digest size git_oid", ("d1", 10, "g1"), ("d2", 2**40, "g2")),
    *rows("repository", _REPOSITORY,
          (1, "radboud", "prostate", 0, EARLY, "2026-01-03", 7, summary(privacy="dp", epsilon=8.1, licence="CC0-1.0"),
           1, 1, 0, "", 0, 0, 8.1),
          (2, "radboud", "draft", 1, EARLY, "2026-01-04", 0, "{}", 2, 0, 0, "", 0, 0, None),
          (3, "lumc", "chest", 0, EARLY, "2026-01-05", 2**33, summary(privacy="none"),
           3, 1, 0, "", 0, 0, None),
          (4, "lumc", "former", 0, EARLY, "2026-01-06", 1, summary(privacy="none"), 4, 1,
           1, "", 0, 0, None),
          (5, "nki", "held", 0, LATE, LATE, 0, summary(privacy="dp", epsilon=2.5), 5, 1,
           0, "manual", 1, 1, 2.5)),
    *rows("revision", "repository_id id parent author created title message release_version",
          (1, "c1", None, "alice", EARLY, "First", "", "1.0.0"), (1, "c2", "c1", "root", LATE, "Next", "why", "1.1.0"),
          (3, "c3", None, "alice", EARLY, "Notes", "", None)),
    *rows("entry", "repository_id revision_id path digest", (1, "c1", "README.md", "d1"),
          (1, "c2", "learned_embeds.safetensors", "d2"), (3, "c3", "README.md", "d1")),
    *rows("ref", "repository_id kind name revision_id", (1, "branch", "main", "c2"), (1, "tag", "v1.0.0", "c1"),
          (3, "branch", "main", "c3")),
    *rows("wording", "repository_id words", *WORDS.items()),
    *labels(1, 1, "tag=cspca", "namespace=radboud", "privacy=claimed", "licence=CC0-1.0", "epsilon=to-10",
            *_OF_RELEASE, *_FRONT),
    *labels(2, 0, "tag=draft", "namespace=radboud"),
    *labels(3, 1, "namespace=lumc", "privacy=none", "epsilon=none", *_OF_RELEASE, *_FRONT),
    *labels(4, 0, "namespace=lumc", "privacy=none", "epsilon=none", *_OF_RELEASE, *_FRONT),
    *labels(5, 1, "namespace=nki", "epsilon=to-3", *_OF_RELEASE),
    *rows("yank", "repository_id kind which authority scope reason author created",
          (1, "version", "1.0.0", "publisher", "release", "wrong", "alice", EARLY),
          (1, "version", "1.1.0", "operator", "release", "asked to", "root", EARLY),
          (1, "revision", "c2", "operator", "release", "found", "operator", EARLY),
          (1, "version", "1.0.0", "operator", "bytes", "leaks", "root", LATE),
          (1, "revision", "c1", "key-stolen", "release", "stolen", "f", EARLY)),
    *rows("tombstone", "namespace name private reason author created releases restricted",
          ("lumc", "Erased", 1, "asked", "alice", EARLY, "[]", 0),
          ("nki", "gated", 0, "asked", "alice", EARLY, "[]", 1)),
    *rows("purge", "digest repository due purged", ("d8", "lumc/Erased", EARLY, None), ("d9", "lumc/x", EARLY, LATE)),
    *rows("audit_head", "one number digest segment size first_number first_previous place",
          (1, 9, "hash", "2026-02", 2**34, 3, "former", "file")),
    *rows("access", "id repository_id user_id status requested decided decided_by reason",
          ("a1", 1, 3, "accepted", EARLY, LATE, "alice", "colleague"), ("a2", 3, 3, "pending", EARLY, None, None, "")),
    *rows("attestation", "digest namespace repository version own verdict created fingerprint bundle",
          ("d2", "nki", "radboud/prostate", "1.1.0", 0, "leaks", EARLY, "f", b"\x00bundle")),
    *rows("terms", "repository_id version text digest written author", (1, 1, "No resale.", "t", EARLY, "alice")),
    *rows("terms_accepted", "repository_id user_id version digest accepted", (1, 3, 1, "t", LATE)),
    *rows("withdrawal", "number repository_id repository namespace version digest private scope authority reason"
          " created lifted", (1, 1, "radboud/prostate", "radboud", "1.0.0", "d1", 0, "bytes", "operator", "leaks",
          EARLY, None), (2, None, "lumc/Erased", "lumc", "1.0.0", "d9", 1, "release", "key-stolen", "", EARLY, LATE)),
    *rows("advisory_feed", "one number content envelope", (1, 4, "sha", b"{}")),
    *rows("root_change", "number envelope created", (2, b"{}", EARLY)),
    *rows("keyring_pending", "id keyring changed", (1, b"{}", EARLY)),
    *rows("trust_timestamp", "id envelope issued", (1, b"{}", EARLY)),
    *rows("log_entry", "place leaf hash", (0, b"\x00leaf", b"\x07" * 32), (1, b"leaf", b"\x08" * 32)),
    *rows("log_checkpoint", "size root note cosigners cosigned", (1, b"\x09" * 32, b"note", 0, None),
          (2, b"\x0a" * 32, b"note", 2, LATE)),
    *rows("log_witness", "vkey url seen asked", ("w+1", "", 2, LATE)),
    *rows("audit_design", "identity digest namespace number bundle received result verdict ended",
          ("i1", "d2", "radboud", 1, b"b", EARLY, b"r", "not-detected", LATE),
          ("i2", "d2", "radboud", 2, b"b", EARLY, None, None, None)),
    *rows("session", "id digest user_id method created confirmed last_used expires",
          ("s1", b"\x11" * 32, 1, "totp", EARLY, EARLY, LATE, LATE)),
    *rows("login_link", "digest user_id expires used", (b"\x12" * 32, 1, LATE, None)),
    *rows("totp", "user_id secret created confirmed last_step", (1, b"\x00secret", EARLY, LATE, 59_000_000)),
    *rows("recovery_code", "digest user_id created used", (b"\x13" * 32, 1, EARLY, LATE)),
    *rows("passkey", "credential user_id public_key sign_count name created last_used",
          (b"\x14", 1, b"\x15", 3, "key", EARLY, None)),
    *rows("identity", "issuer subject user_id created", ("https://login.example.org", "007", 1, EARLY)),
    *rows("login_attempt", "digest kind user_id challenge verifier replaces expires address",
          (b"\x16" * 32, "passkey", 1, "c", "v", None, LATE, ""),
          (b"\x17" * 32, "provider", None, "c", "v", "s1", LATE, "192.0.2.1")),
    *rows("device_request", "digest user_code address client scope days expires polled patience state user_id",
          (b"\x18" * 32, "BCDF-GHJK", "192.0.2.1", "embhub", "publish", 30, LATE, EARLY, 5, "approved", 1)),
    *rows("audit_line", "number month line", (1, "2026-01", "{}")),
    *rows("log_sequencer", "one term holder since", (1, 12, "process 1 on hub", EARLY)),
    *rows("review_rule", "namespace name approvals author changed signed", ("radboud", "", 2, "root", EARLY, 0),
          ("radboud", "draft", 1, "root", EARLY, 1)),
    *rows("proposal", "id repository_id branch parent digest version author author_id caller admin title message"
          " created needed not_before state decided decided_by reason revision_id",
          ("p1", 2, "main", "", "dd", "1.0.0", "alice", 1, "token t1", 0, "Draft", "", EARLY, 2, LATE, "open", None,
           None, "", None), ("p2", 1, "main", "c1", "de", None, "alice", 1, "token t1", 1, "Next", "why", EARLY, 1,
           None, "published", LATE, "rita", "good", "c2")),
    *rows("proposal_file", "proposal_id path digest", ("p1", "README.md", "d1")),
    *rows("approval", "proposal_id user_id approver digest created kind fingerprint bundle",
          ("p1", 3, "rita", "dd", LATE, "registry", "", None), ("p2", 3, "rita", "de", LATE, "signed", "f", b"b")),
    *rows("trusted_publisher", "id user_id namespace repository issuer audience claims scope created created_by ended",
          ("tp", 4, "nki", "nki/held", "https://ci.example.org", "hub", "{}", "publish", EARLY, "root", None)),
    *rows("workload_token_seen", "digest expires", (b"\x19" * 32, LATE)),
    *rows("webhook", "id user_id namespace url secret kinds created delivered failing_since disabled problem",
          ("wh", 1, "radboud", "https://x.example.org", b"s", "release", EARLY, LATE, LATE, None, "500")),
    *rows("event", "id kind namespace repository private created data",
          ("e1", "release", "radboud", "radboud/prostate", 0, EARLY, "{}")),
    *rows("delivery", "id event_id webhook_id user_id attempts due leased", ("de1", "e1", "wh", None, 2, LATE, "x"),
          ("de2", "e1", None, 1, 0, LATE, "")),
    *rows("erased_name", "digest erased", (b"\x1a" * 32, LATE)),
    *rows("invite", "digest id user_name namespace role days created expires used revoked",
          (b"\x1b" * 32, "in", "noor", "nki", "auditor", 30, EARLY, LATE, None, LATE)),
    *rows("login_limit", "digest full_at", (b"\x1c" * 32, 1_767_323_045_678)),
    *rows("quarantine", "repository_id revision_id digest reason author created main_before main_after",
          (1, "c2", "d2", "asked", "root", LATE, "c2", "c1")),
    *rows("evaluation", "digest namespace repository version created fingerprint bundle replaced removed reason",
          ("d2", "lumc", "radboud/prostate", "1.1.0", EARLY, "f", b"b", 3, None, None),
          ("d2", "nki", "radboud/prostate", "1.1.0", EARLY, "f", None, 0, LATE, "asked")),
    *rows("base_report", "base namespace created fingerprint bundle replaced",
          ("f2", "lumc", EARLY, "f", b"b", 3)),
    *rows("study", "digest repository sites created released",
          ("s" * 64, "radboud/prostate", '["lumc", "radboud"]', EARLY, LATE),
          ("t" * 64, "radboud/prostate", '["lumc", "nki"]', EARLY, None)),
    *rows("study_statement", "study kind namespace created bundle",
          ("s" * 64, "proposal", "radboud", EARLY, b"p"), ("s" * 64, "join", "lumc", LATE, b"\x00j"),
          ("t" * 64, "proposal", "radboud", EARLY, b"p"), ("t" * 64, "withdrawal", "nki", LATE, b"w")),
    *rows("reviewer_link", "id digest proposal_id user_id purpose created expires uses first_used last_used",
          ("rl", b"\x1d" * 32, "p1", 3, "board", EARLY, LATE, 2, EARLY, LATE)),
    *rows("numbers", "file digest shape sketch", ("d2", "n" * 64, "8x32", b"\x1e" * 1024)),
]  # fmt: skip


def fill(db: Connection) -> None:
    """Store every row, and what is derived of them."""
    for table, values in ROWS:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))
    if db.dialect is SQLITE:
        placement.index_words(db)


def columns_of(db: Connection, table: str) -> list[str]:
    """The names of a table's columns in order."""
    if db.dialect is SQLITE:
        return [row["name"] for row in db.execute(f"PRAGMA table_info({table})")]
    wanted = (
        "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = ?"
        " ORDER BY ordinal_position"
    )
    return [row[0] for row in db.execute(wanted, (table,))]


def tables_of(db: Connection) -> Iterator[str]:
    """Every table that holds rows of its own: not the index of words, nor what notes the schema's steps.

    Nor the bytes of files, which PostgreSQL has in a table, and SQLite's registries in a folder.
    """
    wanted = (
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'search%'"
        if db.dialect is SQLITE
        else "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    )
    yield from sorted(row[0] for row in db.execute(wanted).fetchall() if row[0] not in ("migration", "file_content"))
