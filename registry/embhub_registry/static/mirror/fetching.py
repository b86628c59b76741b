"""What a mirror takes from the registry that it follows: names, releases by commit, audits; all of it verified."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from embhub.client.log import logged
from embhub.client.log.log_reader import LogSource
from embhub.client.wire.errors import NotFoundError
from embhub.client.wire.http_client import StatusError
from embhub.client.wire.hub import Hub
from embhub.errors import RegistryError
from embhub.formats import names
from embhub.formats.plain_text import plain
from embhub.log.errors import LogError
from embhub.refusals import ReleaseRefusedError
from embhub.release import verification
from embhub.release.checks import attested, evaluated, registered_audits, yanks
from embhub.release.files import EMBEDDING, Release
from embhub.release.verification import Verified
from embhub.trust import bundle, kinds
from embhub.trust.keyring import Trust
from embhub.trust.kinds import Kind

MOST_REPOSITORIES = 1_000  # of a namespace
MOST_COMMITS = 100  # of a repository, the newest
_GONE = (401, 403, 404, 410)  # deleted, or for some accounts alone: a mirror shows it to nobody
_MARKED = ("private", "gated", "disabled", "sha", "lastModified", "standing")  # of a row of the list
_COMMIT = re.compile(r"[0-9a-f]{40}")


class NotLoggedError(RegistryError):
    """The copy of the log does not show a release. That is not the release's fault: the next round may show it."""


Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Statements:
    """Who audited an embedding, which audits of it were registered, who evaluated it, and what it nearly is."""

    audits: Rows
    designs: Rows
    evaluations: Rows
    nearly: Sequence[str]


@dataclass(frozen=True)
class Upstream:
    """The registry that is followed, and what its releases are judged by."""

    hub: Hub
    trust: Trust
    log: LogSource
    include: Collection[str] = ()

    def repositories(self) -> Iterator[tuple[str, str]]:
        """Repositories that everybody may read, of the namespaces that the keyring names.

        Of each the name, and a mark that is another one once commits, readers, yanks or quarantine changed; "" where
        the list does not say, as a static export's.
        """
        for member in self.trust.keyring.members:
            asked = "&".join(
                [f"author={member.namespace}&limit={MOST_REPOSITORIES}", *(f"expand={name}" for name in _MARKED)]
            )
            rows = self.hub.call(f"/api/models?{asked}", what=f"the list of {member.namespace}")
            for row in rows if isinstance(rows, list) else ():
                name = str(row.get("id")) if isinstance(row, dict) else ""
                own = name.startswith(f"{member.namespace}/") and names.repository_fault(name) is None
                if own and self._may_show(row):
                    marked = isinstance(row.get("standing"), dict)
                    yield name, json.dumps([row.get(said) for said in _MARKED], sort_keys=True) if marked else ""

    def commits(self, repository: str) -> tuple[str, list[str]]:
        """The commit of `main`, and the newest commits, oldest first.

        Raises:
            NotFoundError: there is no such repository any more, or it is shown to some accounts alone.
        """
        try:
            said = self.hub.call(f"/api/models/{repository}", what=repository)
        except RegistryError as error:
            if isinstance(error.__cause__, StatusError) and error.__cause__.status in _GONE:
                raise NotFoundError(error.message, error.hint) from error
            raise
        if not isinstance(said, dict) or said.get("id") != repository or not self._may_show(said):
            raise NotFoundError(f"{repository} is not shown to everybody", "")
        main = said.get("sha")
        rows = self.hub.call(f"/api/models/{repository}/commits/main?limit={MOST_COMMITS}", what=repository)
        listed = [row.get("id") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        found = [commit for commit in listed[:MOST_COMMITS] if isinstance(commit, str) and _COMMIT.fullmatch(commit)]
        main = main if isinstance(main, str) and _COMMIT.fullmatch(main) else ""
        return main, list(dict.fromkeys(reversed([*([main] if main else []), *found])))

    def release(self, repository: str, commit: str) -> Release | None:
        """The files of a commit; None where it holds no release."""
        found, _ = self.hub.fetch(repository, commit)
        return found if EMBEDDING in found.files else None

    def judge(self, release: Release, repository: str) -> Verified:
        """Verify a release, and that the copy of the log holds its entry.

        Raises:
            ReleaseRefusedError: it is not what a publisher signed.
            NotLoggedError: the log does not hold it yet, or the copy is damaged.
        """
        now = datetime.now(UTC)
        verified = verification.verify(release, trust=self.trust, repository=repository, now=now, pinned=True)
        try:
            shown = logged.check(verified, release, trusts=[self.trust], source=self.log, now=now).verified
        except LogError as error:
            text = f"{repository} {verified.version} is not taken: the copy of the log here does not show it"
            raise NotLoggedError(f"{text}: {error.message}", error.hint) from error
        if shown.log_index is None:
            said = next((one.text for one in shown.findings if one.check == logged.CHECK), "it has no proof")
            raise NotLoggedError(f"{repository} {verified.version} is not taken: {said}", "ask again")
        return shown

    def standing(self, repository: str) -> tuple[list[dict[str, Any]], frozenset[str]]:
        """What the registry says, unsigned, was taken back; and the commits that it set aside for now."""
        data = self.hub.status(repository)
        if data is None:
            return [], frozenset()
        try:
            aside = yanks.parse_quarantined(data, repository=repository)
            return [vars(row) for row in yanks.parse(data, repository=repository)], aside
        except ValueError as error:
            raise RegistryError(f"the status of {repository} is invalid: {plain(error)}", "ask its operator") from error

    def about(self, digest: str, shown: Collection[str], numbers: str) -> Statements:
        """What others say of these bytes.

        The mirror's token may read more than the mirror shows: what is said of releases of other repositories than
        those in `shown` is left out.
        """
        audits, nearly = self.audits(digest, shown, numbers)
        return Statements(audits, self.designs(digest), self.evaluations(digest, shown), nearly)

    def audits(self, digest: str, shown: Collection[str], numbers: str) -> tuple[Rows, Sequence[str]]:
        """The audits of these bytes, and leaks of these numbers, that verify, as the registry lists them.

        And its unsigned word of which withdrawn or leaking embeddings these are nearly the numbers.
        """
        data = self.hub.statements("audits", digest)
        if data is None:
            return [], ()
        try:
            nearly = attested.nearly(data)
        except ValueError:
            return [], ()
        return self._rows(data, kinds.AUDIT, digest, lambda row: self._is_good(row, digest, shown, numbers)), nearly

    def designs(self, digest: str) -> Rows:
        """The registered audits of these bytes as the registry shows them; readers check them against the log."""
        data = self.hub.statements("designs", digest)
        try:
            registered_audits.parse_answer(data or b"", digest=digest)
        except (ValueError, ReleaseRefusedError):
            return []
        return bundle.rows(data or b"", kinds.DESIGN, digest=digest)

    def evaluations(self, digest: str, shown: Collection[str]) -> Rows:
        """What others found of these bytes, as far as it verifies; and what the registry says was removed."""
        data = self.hub.statements("evaluations", digest)
        return self._rows(data or b"", kinds.EVALUATION, digest, lambda row: self._holds(row, digest, shown))

    def _rows(self, data: bytes, kind: Kind, digest: str, holds: Callable[[Mapping[str, Any]], bool]) -> Rows:
        try:
            return [row for row in bundle.rows(data, kind, digest=digest) if holds(row)]
        except (ValueError, TypeError):
            return []

    def _holds(self, row: Mapping[str, Any], digest: str, shown: Collection[str]) -> bool:
        alone = json.dumps({"embedding": digest, "evaluations": [row]}).encode()
        found, removed, _ = evaluated.parse(alone, digest=digest, trusts=[self.trust])
        return (
            all(one.repository in shown for one in found) if found else bool(removed) and row.get("repository") in shown
        )

    def _is_good(self, row: Mapping[str, Any], digest: str, shown: Collection[str], numbers: str) -> bool:
        alone = json.dumps({"embedding": digest, "audits": [row]}).encode()
        found, _ = attested.parse(alone, digest=digest, trusts=[self.trust], numbers=numbers)
        return len(found) == 1 and found[0].repository in shown

    def _may_show(self, said: Mapping[str, Any]) -> bool:
        closed = [name for name in ("private", "gated") if said.get(name)]
        return not said.get("disabled") and all(name in self.include for name in closed)
