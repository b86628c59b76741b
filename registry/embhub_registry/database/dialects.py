"""What SQLite and PostgreSQL spell differently in the statements of this package; nothing else may differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache


class Dialect:
    """The spelling of SQLite, which the statements are written in."""

    name = "sqlite"
    has_word_table = True
    """Whether the index of words is a table of its own, which has to be told of each change."""
    has_table = "SELECT 1 FROM sqlite_schema WHERE name = ?"
    strict = " STRICT"
    """What ends a definition of a table, so that columns hold what their types say."""
    lower = "lower(?)"
    """The bound value with the letters A to Z in lower case; others stay."""
    milliseconds = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
    """The database's clock: milliseconds since 1970."""
    snapshot = "BEGIN"
    """What starts a transaction whose every statement sees the same moment."""

    def json_object(self, key: str, value: str) -> str:
        """An aggregate: the text of a JSON object from two columns."""
        return f"json_group_object({key}, {value})"

    def json_text(self, column: str, *path: str) -> str:
        """What stands at a path of names in a column of JSON text: text, or NULL."""
        return f"({column} ->> '$.{'.'.join(path)}')"

    def contains(self, text: str) -> str:
        """Whether a text holds the value that is bound."""
        return f"instr({text}, ?) > 0"

    def matches(self, words: Sequence[str]) -> tuple[str, list[str]]:
        """A query for the ids of the repositories whose texts hold all of these, by the index of words; and its values.

        Each has three letters or more.
        """
        phrases = ('"' + word.replace('"', '""') + '"' for word in words)
        return "SELECT rowid FROM search WHERE search MATCH ?", [" AND ".join(phrases)]


class PostgresqlDialect(Dialect):
    """The spelling of PostgreSQL: pg_trgm's index serves LIKE, for any part of a word from three letters on."""

    name = "postgresql"
    has_word_table = False
    has_table = "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = ?"
    strict = ""
    lower = 'lower(CAST(? AS TEXT) COLLATE "C")'
    milliseconds = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
    snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def json_object(self, key: str, value: str) -> str:
        """See `Dialect`."""
        return f"COALESCE(CAST(json_object_agg({key}, {value}) AS TEXT), '{{}}')"

    def json_text(self, column: str, *path: str) -> str:
        """See `Dialect`."""
        readable = f"replace({column}, '\\u0000', '\\ufffd')"  # escapes of JSON; it has text without NUL alone
        return f"(CAST({readable} AS JSON) #>> '{{{','.join(path)}}}')"

    def contains(self, text: str) -> str:
        """See `Dialect`."""
        return f"strpos({text}, ?) > 0"

    def matches(self, words: Sequence[str]) -> tuple[str, list[str]]:
        """See `Dialect`."""
        conditions = " AND ".join(["words LIKE ?"] * len(words))
        values = [f"%{_LIKE.sub(_escape, word)}%" for word in words]
        return f"SELECT repository_id FROM wording WHERE {conditions}", values  # noqa: S608  # put together from constants; values are bound


SQLITE = Dialect()
POSTGRESQL = PostgresqlDialect()

_LIKE = re.compile(r"[%_\\]")
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|--[^\n]*|\?(\d*)|\b[uU][sS][eE][rR]\b""")
_IGNORE = re.compile(r"\s*INSERT\s+OR\s+IGNORE\s+INTO\b", re.IGNORECASE)


def _escape(found: re.Match[str]) -> str:
    return "\\" + found[0]


@lru_cache(maxsize=2048)
def to_postgresql(statement: str) -> str:
    """A statement as PostgreSQL reads it: `?` and `?2` are `$1` and `$2`, the table `user` is quoted.

    INSERT OR IGNORE becomes ON CONFLICT DO NOTHING. Values are bound and never part of a statement.
    """
    count = 0

    def one(found: re.Match[str]) -> str:
        nonlocal count
        word = found[0]
        if word[0] == "?":
            count += 1
            return f"${found[1] or count}"
        return '"user"' if word.lower() == "user" else word

    written = _TOKEN.sub(one, statement)
    if _IGNORE.match(written):
        return _IGNORE.sub("INSERT INTO", written, count=1) + " ON CONFLICT DO NOTHING"
    return written
