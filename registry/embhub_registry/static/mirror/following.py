"""One refresh of a mirror: keyring, log, releases, what was withdrawn; then the files that are served are exchanged."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from embhub.client import watching, witness
from embhub.client.errors import NotFoundError
from embhub.client.http_log import HttpLog
from embhub.client.hub import Hub
from embhub.client.paced_log import PacedLog
from embhub.client.witness import Witness
from embhub.durable import write_atomic
from embhub.errors import ConfigError, EmbhubError, RegistryError
from embhub.formats import instants, names
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import ForkedLogError
from embhub.refusals import ReleaseRefusedError
from embhub.site import config, trust_store
from embhub.trust import kept_advisories
from embhub.trust.advisories import Advisory
from embhub.trust.keyring import Trust, parse_export
from embhub_registry.admission import listing
from embhub_registry.admission.rules import Admitted
from embhub_registry.static.mirror import serving_files
from embhub_registry.static.mirror.fetching import NotLoggedError, Upstream
from embhub_registry.static.mirror.holdings import FILE as HELD
from embhub_registry.static.mirror.holdings import HeldRelease, HeldRepository, Holdings
from embhub_registry.static.mirror.log_copy import LogCopy
from embhub_registry.static.mirror.log_entries import LogEntries
from embhub_registry.static.mirror.serving_files import Audits
from embhub_registry.static.mirror.state import State
from embhub_registry.storage.blobs import MissingBlobError

TRUST = "trust.json"
MOST_REFUSED = 50  # releases in one round, after which no more are fetched in it; as many that failed before
MOST_SAID = 100  # problems of one round
_NOT_READ = "not read"
"""In place of the state of the registry by which a release was refused: it was not fetched, and is asked for again."""
_SHUFFLER = secrets.SystemRandom()


@dataclass(frozen=True)
class Round:
    """What one refresh did. `problems` are sentences on what was not taken."""

    checkpoint: str
    releases: int
    taken: int
    dropped: int
    problems: tuple[str, ...]


@dataclass
class Mirror:
    """A mirror in a folder of its own. `name` is that of its witness key.

    Args:
        folder: its folder; `site` in it is what is served.
        url: the registry that is followed.
        token: an access token for it, or None.
        include: of `private` and `gated`: what is served beside public repositories, with a token that may read it.
    """

    folder: Path
    url: str
    name: str
    token: str | None = None
    include: Collection[str] = ()
    _problems: list[str] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)

    @property
    def site(self) -> Path:
        """The files that are served."""
        return self.folder / "site"

    @property
    def state(self) -> State:
        """How the last refresh ended."""
        return State(self.folder)

    def pin(self, fingerprint: str | None) -> None:
        """Pin the root of the registry that is followed, once.

        Raises:
            ConfigError: it is not pinned, and no fingerprint is given. VerificationError: it has another root.
        """
        address = config.check_registry(self.url)
        if address in trust_store.addresses():
            return
        if fingerprint is None:
            raise ConfigError(
                f"the root key of {address} is not pinned by this mirror",
                "ask its operator for the fingerprint, and add --fingerprint SHA256:…",
            )
        trust_store.add(Hub(address, token=self.token).trust_export(), fingerprint=fingerprint, address=address)

    def refresh(self) -> Round:
        """Follow the registry once. What fails as a whole leaves what is served as it was, but for what was withdrawn.

        Raises:
            ForkedLogError: the log shows two histories, now or in an earlier round: nothing is taken any more.
            VerificationError: an older keyring, withdrawals that are gone, or a log that is not the registry's.
            RegistryError: the registry is not reached, or answers nonsense.
        """
        try:
            trust = self._renew_trust()
            try:
                self.state.refuse_if_forked()
                done = self._round(trust)
            except EmbhubError:
                self._drop_withdrawn(trust)
                raise
        except ForkedLogError as error:
            self.state.note_fork(error)
            raise
        except EmbhubError as error:
            self.state.note_failure(error)
            raise
        self.state.note_success(done.checkpoint, done.problems, witness=str(self._witness_key().public))
        return done

    def _renew_trust(self) -> Trust:
        """The newest keyring and withdrawals, checked; what is served of them from now on is kept in a file."""
        exported = Hub(self.url, token=self.token).trust_export()
        trust = trust_store.refresh(self.url, exported)
        write_atomic(self.folder / TRUST, parse_export(exported).to_bytes())
        return trust

    def _round(self, trust: Trust) -> Round:
        self._problems, self._counts = [], Counter()
        upstream_log, copy = HttpLog(self.url, self.token), self._log_copy()
        signed = copy.follow(PacedLog(upstream_log))
        upstream = Upstream(Hub(self.url, token=self.token), trust, LogEntries(copy.source, signed), self.include)
        holdings = Holdings(self.folder)
        holdings.forget_lost()
        self._follow_repositories(upstream, holdings, _judged_by(trust))
        audits = {digest: upstream.about(digest, holdings.with_bytes(digest)) for digest in holdings.digests()}
        cosigned = self._cosign(copy, signed)
        self._exchange(holdings, trust, copy, audits)
        with suppress(RegistryError):  # it accepts witnesses of its operator's choice alone
            PacedLog(upstream_log).post("cosignature", cosigned.to_bytes())
        releases = sum(len(held.releases) for held in holdings.repositories.values())
        checkpoint = f"{cosigned.size}:{cosigned.root.hex()}"
        return Round(checkpoint, releases, self._counts["taken"], self._counts["dropped"], tuple(self._problems))

    def _drop_withdrawn(self, trust: Trust) -> None:
        """Drop what the signed list withdraws, although nothing else could be followed."""
        copy, holdings, listed = self._log_copy(), Holdings(self.folder), kept_advisories.opened(trust)
        if listed is None or copy.checkpoint() is None:
            return
        dropped = False
        for name, held in holdings.repositories.items():
            for commit, release in list(held.releases.items()):
                said = listed.against(
                    namespace=names.namespace_of(name), repository=name, version=release.version, digest=release.digest
                )
                if said:
                    del held.releases[commit]
                    held.yanked.append(_row(commit, release.version, said[0]))
                    dropped = True
        if dropped:
            self._exchange(holdings, trust, copy, serving_files.audits_in(self.site, holdings.digests()))

    def _exchange(self, holdings: Holdings, trust: Trust, copy: LogCopy, audits: Audits) -> None:
        """Serve what is held now, and forget what is not held any more."""
        signed = copy.checkpoint()
        if signed is None:
            raise ConfigError(f"the copy of the log in {copy.folder} is gone", "remove the folder: it is read again")
        exported = (self.folder / TRUST).read_bytes()
        try:
            serving_files.write(
                self.site, holdings, registry=trust.registry, trust=exported, checkpoint=signed, read=copy.read,
                audits=audits,
            )  # fmt: skip
        except MissingBlobError as error:  # no error of embhub's: it would end the following without a word
            raise ConfigError(
                f"a file that the mirror holds is damaged: {error}",
                f"remove {self.folder / HELD}: all is fetched again",
            ) from error
        holdings.save()

    def _log_copy(self) -> LogCopy:
        key, _ = watching.find(self.url)
        return LogCopy(self.folder / "log", key)

    def _follow_repositories(self, upstream: Upstream, holdings: Holdings, judged: str) -> None:
        found = sorted({*upstream.repositories(), *holdings.repositories})
        _SHUFFLER.shuffle(found)  # no round looks first at what failed in the last one
        for name in found:
            held = holdings.repositories.setdefault(name, HeldRepository())
            try:
                self._follow(upstream, holdings, name, held, judged)
            except NotFoundError:
                self._counts["dropped"] += len(held.releases)
                del holdings.repositories[name]
        if unsaid := self._counts["problems"] - len(self._problems):
            self._problems.append(f"{unsaid:,} more, for such reasons")
        if left := self._counts["left"]:
            text = f"{left:,} that later refreshes look at, after {MOST_REFUSED} were refused or not read in this one"
            self._problems.append(text)

    def _follow(self, upstream: Upstream, holdings: Holdings, name: str, held: HeldRepository, judged: str) -> None:
        held.main, commits = upstream.commits(name)
        taken_back, aside = upstream.standing(name)
        yanked = {row["revision"]: row for row in taken_back}
        found: dict[str, HeldRelease] = {}
        gone = {row["revision"]: row for row in held.yanked} | yanked
        asked = [*(commit for commit in held.releases if commit not in commits), *commits]
        _SHUFFLER.shuffle(asked)
        for commit in asked:
            taken = None
            if commit not in yanked and commit not in aside and held.refused.get(commit) not in (judged, "nothing"):
                taken = self._take(upstream, holdings, name, commit, held, judged, gone)
            if taken is not None:
                found[commit] = taken
                gone.pop(commit, None)
            elif commit in held.releases:
                self._counts["dropped"] += 1
        held.releases = dict(sorted(found.items(), key=lambda pair: (pair[1].created, pair[0])))
        held.yanked = [gone[commit] for commit in sorted(gone)]

    def _take(
        self, upstream: Upstream, holdings: Holdings, name: str, commit: str, held: HeldRepository, judged: str,
        gone: dict[str, dict[str, Any]],
    ) -> HeldRelease | None:  # fmt: skip
        """A release that is held or new, judged by the present keyring and withdrawals; None where it is not kept."""
        known = held.releases.get(commit)
        if known is not None and known.judged == judged:
            return known
        kind = "again" if commit in held.refused else "new"
        if known is None and self._counts[kind] >= MOST_REFUSED:
            self._counts["left"] += 1
            return None
        try:
            release = (holdings.release(known) if known is not None else None) or upstream.release(name, commit)
            if release is None:
                held.refused[commit] = "nothing"
                return None
            verified = upstream.judge(release, name)
        except ReleaseRefusedError as error:
            held.refused[commit] = judged
            self._counts[kind] += known is None  # what is held costs no download
            self._say(f"{name}@{commit[:12]}: {error.message}")
            return None
        except RegistryError as error:
            if known is None and not isinstance(error, NotLoggedError):
                held.refused.setdefault(commit, _NOT_READ)
                self._counts[kind] += 1
            self._say(f"{name}@{commit[:12]}: {error.message}")
            return known
        if verified.withdrawn:
            first = verified.withdrawn[0]
            gone[commit] = _row(commit, verified.version, first)
            held.refused[commit] = judged
            return None
        held.refused.pop(commit, None)
        self._counts["taken"] += known is None
        said = listing.describe(name, release.files, Admitted(verified.version, verified))
        return HeldRelease(
            verified.version, verified.digest, verified.created, judged, holdings.put(release), said.summary, said.tags,
            said.text,
        )  # fmt: skip

    def _say(self, problem: str) -> None:
        self._counts["problems"] += 1
        if len(self._problems) < MOST_SAID:
            self._problems.append(problem)

    def _cosign(self, copy: LogCopy, signed: SignedCheckpoint) -> SignedCheckpoint:
        """The checkpoint with this mirror's own cosignature, and so with the time of this refresh."""
        own = self._witness_key()
        log, _ = watching.find(self.url)
        time = int(datetime.now(UTC).timestamp())
        line = Witness(own, {log.name: log}).cosign(signed, log, prove=copy.prove, time=time)
        cosigned = SignedCheckpoint(signed.checkpoint, signed.note.with_signatures([line]))
        copy.set_checkpoint(cosigned)
        return cosigned

    def _witness_key(self) -> Any:
        path = self.folder / "witness.pem"
        return witness.open_key(path, name="" if path.exists() else self.name)


def _judged_by(trust: Trust) -> str:
    """The state of the registry that a release is judged by: keyring and withdrawals."""
    listed = kept_advisories.opened(trust)
    return f"{trust.keyring.version}:{trust.digest}:{listed.number if listed is not None else 0}"


def _row(commit: str, version: str, advisory: Advisory) -> dict[str, Any]:
    """A withdrawal as a repository's status lists it."""
    return {
        "revision": commit, "version": version, "reason": advisory.reason, "date": advisory.published,
        "by": advisory.by, "scope": advisory.scope,
    }  # fmt: skip


def follow(mirror: Mirror, *, interval: float, wait: Callable[[float], bool], say: Callable[[str], None]) -> None:
    """Refresh until `wait` says that it is over. What fails is said, and tried again; a fork is not."""
    while True:
        try:
            done = mirror.refresh()
            say(in_words(done))
        except ForkedLogError as error:
            say(f"error: {error.message}; nothing is taken from {mirror.url} any more")
        except EmbhubError as error:
            say(f"warning: {error.message}")
        if wait(interval):
            return


def in_words(done: Round) -> str:
    """One line on a refresh."""
    when = instants.write(datetime.now(UTC))
    text = f"{when}  {done.releases:,} releases held, {done.taken:,} new, {done.dropped:,} dropped"
    return "\n".join([text, *(f"warning: not taken: {problem}" for problem in done.problems)])
