"""What of a registry is exported: its public releases, the log, the keyring and what was withdrawn."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass

from embhub.errors import ConfigError, UsageError
from embhub.log import checkpoints, notes
from embhub.release.files import EMBEDDING
from embhub.trust import kinds
from embhub_registry.database import Connection, one_moment
from embhub_registry.database.releases import placement, repositories
from embhub_registry.database.releases.repositories import Repository
from embhub_registry.database.standing import quarantine, yanks
from embhub_registry.database.statements import attestations, base_report_rows, evaluation_rows
from embhub_registry.database.statements.attestations import Attestation
from embhub_registry.database.statements.evaluation_rows import EvaluationRow
from embhub_registry.repositories import (
    advisories,
    attesting,
    audit_designs,
    audit_standing,
    base_reports,
    evaluations,
    near_copies,
    repos,
)
from embhub_registry.static import items, layout, nginx_part
from embhub_registry.static.items import Item
from embhub_registry.static.layout import Shelf
from embhub_registry.storage import configuration
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log


@dataclass(frozen=True)
class Collected:
    """The files of an export, the list of them last; `unlisted` repositories are not in the list of a search."""

    files: tuple[Item, ...]
    checkpoint: str
    repositories: int
    releases: int
    unlisted: int
    cosigned_by: tuple[str, ...]


def collect(registry: Registry, *, include: Collection[str] = ()) -> Collected:
    """Everything that an export holds, as it is now.

    Args:
        include: what is exported beside public repositories: `gated`, `private`, `closed` ones. The last are those of
            a registry that shows nobody anything without an access token.

    Raises:
        UsageError: the registry is closed, and `include` does not say so.
        ConfigError: it has no keyring, or a file of its log is missing.
    """
    advisories.publish_if_possible(registry)
    db = registry.database.connection()
    if configuration.read(db, "read.anonymous") is False and "closed" not in include:
        raise UsageError(
            "this registry is closed: nobody reads it without an access token, and files have no such gate",
            "add --include closed if everybody who gets the files may read all of them",
        )
    with one_moment(db):
        shelves = list(_shelves(db, include))
        said = list(_statements(registry, shelves))
    listed, left = layout.of_list(shelves)
    log, checkpoint, signers = _log(registry)
    signed = advisories.current_envelope(registry)
    trust = registry.export()
    envelope = trust.advisories or signed  # of two that another server signed in between, the one that the keyring has
    feed = json.dumps(envelope.to_json(), separators=(",", ":")).encode() if envelope is not None else None
    found = [
        *(item for shelf in shelves for item in layout.of_repository(shelf, registry.blobs.get)),
        *said, *log, *layout.of_trust(trust.to_bytes(), feed), listed, nginx_part.write(shelves),
        layout.readme(),
    ]  # fmt: skip
    kept = items.without_clashes(item for item in found if items.is_path(item.path))
    whole = (*kept, items.manifest(kept, registry=registry.setting("url"), checkpoint=checkpoint))
    releases = sum(len(shelf.commits) for shelf in shelves)
    return Collected(whole, checkpoint, len(shelves), releases, left, signers)


def _shelves(db: Connection, include: Collection[str]) -> Iterator[Shelf]:
    for repository in repositories.all_repositories(db):
        closed = repository.disabled or (repository.private and "private" not in include)
        if not closed and not (repository.gated and "gated" not in include):
            shelf = _shelf(db, repository)
            if shelf.commits:
                yield shelf


def _shelf(db: Connection, repository: Repository) -> Shelf:
    """The commits that hold a release, and those that have a name."""
    rows = repos.list_refs(db, repository, None)
    aside = repos.hidden_from(db, repository, None)  # files have no readers of their own: it is in no export
    names = {row["name"]: row["revision_id"] for row in rows}
    commits, dates = {}, {}
    for revision in repositories.all_revisions(db, repository.id):  # oldest first: of a version the newest counts
        if revision.id in aside:
            continue
        if revision.release_version is not None or revision.id in names.values():
            if entries := repositories.entries(db, repository.id, revision.id):
                commits[revision.id], dates[revision.id] = entries, revision.created
            if revision.release_version is not None:
                names.setdefault(revision.release_version, revision.id)
                if revision.release_version not in {row["name"] for row in rows}:
                    names[revision.release_version] = revision.id
    words = placement.words_of(db, repository.id)
    facets = placement.facets_of(repository.summary.get("release") or {})
    return Shelf(
        repository, sorted(repositories.tags_of(db, repository.id)), words, facets, commits,
        {name: commit for name, commit in names.items() if commit in commits},
        [asdict(row) for row in yanks.of(db, repository.id)], {row["name"]: row["kind"] for row in rows},
        dates,
    )  # fmt: skip


def _statements(registry: Registry, shelves: Iterable[Shelf]) -> Iterator[Item]:
    """What is said of the exported bytes: audits, registered audits and evaluations; and all reports on bases.

    Audits and evaluations as far as the release that each came with is exported.
    """
    db, trust, shelves = registry.database.connection(), registry.trust(), list(shelves)
    shown = {shelf.repository.full_name: shelf.repository.id for shelf in shelves}
    entries = (entry for shelf in shelves for held in shelf.commits.values() for entry in held)
    digests = sorted({entry.digest for entry in entries if entry.path == EMBEDDING})

    def is_shown(row: Attestation | EvaluationRow, digest: str) -> bool:
        id = shown.get(row.repository)
        return id is not None and not quarantine.has_bytes(db, digest, repository_id=id)

    for digest in digests:
        rows = audit_standing.newest((row for row in attestations.of(db, digest) if is_shown(row, digest)), digest)
        nearly = near_copies.say(db, digest, repository="", keyring=trust.keyring)
        yield layout.of_statements(kinds.AUDIT, digest, attesting.to_json(rows), nearly=list(nearly))
    for digest in digests:
        if said := audit_designs.answer(registry, None, digest)["designs"]:
            yield layout.of_statements(kinds.DESIGN, digest, said)
    for digest in digests:
        held = evaluation_rows.of(db, digest, most=kinds.EVALUATION.listed.most)
        if said := evaluations.to_json((row for row in held if is_shown(row, digest)), trust):
            yield layout.of_statements(kinds.EVALUATION, digest, said)
    for base in base_report_rows.bases(db):
        if said := base_reports.answer(registry, None, base)[kinds.BASE_REPORT.listed.name]:
            yield layout.of_statements(kinds.BASE_REPORT, base, said)


def _log(registry: Registry) -> tuple[list[Item], str, tuple[str, ...]]:
    """The log's files, its checkpoint in a few letters, and who cosigned it."""
    registry_log.publish_if_possible(registry)  # a release that came in between is under the checkpoint, too
    registry_log.follow(registry)
    files = registry_log.files_of(registry)
    data = files.checkpoint()
    if data is None:
        return [], "", ()
    note = notes.parse(data)
    signed = checkpoints.parse(note)
    try:
        found = list(layout.of_log(data, signed.size, files.read))
    except OSError as error:
        raise ConfigError(f"a file of the log cannot be read: {error.filename}", "run `log repair`") from error
    witnesses = tuple(line.name for line in note.signatures if line.name != signed.origin)
    return found, f"{signed.size}:{signed.root.hex()}", witnesses
