"""Where a repository stands in lists, and under which words, tags and facets it is found there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from embhub.formats.search_words import facet_value, plain
from embhub_registry.database.connection import Connection

EPSILONS = (1, 3, 10)  # where the bands of a claimed epsilon end
PAIR = "organ-finding"  # kind of label that holds both
PAIRED = 8  # organs, and findings, of one release that are counted together


def place(db: Connection, repository_id: int, summary: Mapping[str, Any], *, tags: Iterable[str], text: str) -> None:
    """Put a repository on top of the lists, with what they know of it."""
    release = summary.get("release")
    row = db.execute("SELECT namespace FROM repository WHERE id = ?", (repository_id,)).fetchone()
    remove(db, repository_id)
    db.execute(
        "UPDATE repository SET released = ?, epsilon = ? WHERE id = ?",
        (release is not None, (release or {}).get("epsilon"), repository_id),
    )
    raise_to_top(db, repository_id)
    tagged = (("tag", tag) for tag in tags)
    found = {("namespace", row["namespace"]), *tagged, *facets_of(release or {}), *_pairs_of(release or {})}
    _label(db, repository_id, found)
    _write(db, repository_id, plain(text))


def remove(db: Connection, repository_id: int) -> None:
    """Take a repository out of every list and search; before its row is deleted, too."""
    db.execute("DELETE FROM label WHERE repository_id = ?", (repository_id,))
    _forget_words(db, repository_id)


def raise_to_top(db: Connection, repository_id: int) -> None:
    """The newest place in lists, for a repository that changed; it is found under the same words."""
    top = "(SELECT coalesce(max(position), 0) + 1 FROM repository)"
    db.execute(f"UPDATE repository SET position = {top} WHERE id = ?", (repository_id,))  # noqa: S608  # a constant; values are bound


def change_verdict(db: Connection, repository_id: int, summary: Mapping[str, Any]) -> None:
    """Another verdict on the newest release: its facets, tag and words follow; its place in lists stays."""
    row = db.execute("SELECT summary FROM repository WHERE id = ?", (repository_id,)).fetchone()
    before = json.loads(row["summary"])["release"]["audit"]
    facets = facets_of(summary["release"])
    db.execute("UPDATE repository SET summary = ? WHERE id = ?", (json.dumps(summary, allow_nan=False), repository_id))
    db.execute(
        "DELETE FROM label WHERE repository_id = ? AND (kind IN ('audit', 'confirmation')"
        " OR (kind = 'tag' AND value = ?))",
        (repository_id, f"audit:{before}"),
    )
    tag = f"audit:{summary['release']['audit']}"
    _label(db, repository_id, {("tag", tag), *(f for f in facets if f[0] in ("audit", "confirmation"))})
    words = words_of(db, repository_id).replace(plain(f"audit:{before}"), plain(tag))
    _forget_words(db, repository_id)
    _write(db, repository_id, words)


def set_hidden(db: Connection, repository_id: int, *, hidden: bool) -> None:
    """Take a repository out of the pages' lists and counts, or back into them; it stays readable by its name."""
    db.execute("UPDATE repository SET hidden = ? WHERE id = ?", (int(hidden), repository_id))


def facets_of(release: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Facet and value of a release's summary, as `place` stores them."""
    if not release:
        return []
    found = [("modality", str(code)) for code in release["modality"]]
    found += [(kind, facet_value(word)) for kind in ("anatomy", "finding") for word in release[kind]]
    found += [("base", str(release["base"])), ("audit", str(release["audit"]))]
    found.append(("licence", str(release["licence"])))
    if release["confirmation"] != "none":
        found.append(("confirmation", str(release["confirmation"])))
    found.append(("epsilon", _band(release)))
    return [*found, ("privacy", "none" if release["privacy"] == "none" else "claimed")]


def _pairs_of(release: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Organ and finding as one value, so that they are counted together; without a finding the organ alone."""
    if not release:
        return []
    organs, findings = ([facet_value(word) for word in release[kind][:PAIRED]] for kind in ("anatomy", "finding"))
    return [(PAIR, f"{organ}\t{finding}") for organ in organs for finding in findings or [""]]


def split_pair(value: str) -> tuple[str, str]:
    """Organ and finding of a label of kind `PAIR`."""
    organ, _, finding = value.partition("\t")
    return organ, finding


def _band(release: Mapping[str, Any]) -> str:
    """The claimed epsilon as lists are narrowed by it: no claim is a value of its own, as is one without a bound."""
    if release["privacy"] == "none":
        return "none"
    epsilon = release["epsilon"]
    if epsilon is None:
        return "unbounded"
    return next((f"to-{most}" for most in EPSILONS if epsilon <= most), "above")


def _label(db: Connection, repository_id: int, labels: set[tuple[str, str]]) -> None:
    db.executemany(
        "INSERT INTO label SELECT CAST(?1 AS TEXT), CAST(?2 AS TEXT), id,"
        " CASE WHEN private = 0 AND released = 1 AND hidden = 0 THEN 1 ELSE 0 END"
        " FROM repository WHERE id = ?3 ON CONFLICT DO NOTHING",
        [(kind, value, repository_id) for kind, value in sorted(labels)],
    )


def words_of(db: Connection, repository_id: int) -> str:
    """The text by which search finds a repository, "" where it is in no list."""
    row = db.execute("SELECT words FROM wording WHERE repository_id = ?", (repository_id,)).fetchone()
    return str(row["words"]) if row else ""


def _write(db: Connection, repository_id: int, words: str) -> None:
    db.execute("INSERT INTO wording VALUES (?, ?)", (repository_id, words))
    if db.dialect.has_word_table:
        db.execute("INSERT INTO search (rowid, words) VALUES (?, ?)", (repository_id, words))


def _forget_words(db: Connection, repository_id: int) -> None:
    if db.dialect.has_word_table:  # before the text, in which the index looks up what it holds of it
        db.execute("DELETE FROM search WHERE rowid = ?", (repository_id,))
    db.execute("DELETE FROM wording WHERE repository_id = ?", (repository_id,))


def index_words(db: Connection) -> None:
    """Make SQLite's index of words anew, from rows that came otherwise than by this module."""
    db.execute("INSERT INTO search (search) VALUES ('rebuild')")
