"""One refresh of a mirror: keyring and withdrawals, which count at once; log and releases; then files are exchanged."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from embhub.client.log.http_log import HttpLog, PacedLog
from embhub.client.monitor import watching, witness
from embhub.client.monitor.witness import Witness
from embhub.client.wire.errors import NotFoundError
from embhub.client.wire.hub import Hub
from embhub.durable import write_atomic
from embhub.errors import ConfigError, EmbhubError, RegistryError
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import ForkedLogError
from embhub.refusals import ReleaseRefusedError, RollbackError
from embhub.site import config
from embhub.site.pins import trust_store
from embhub.trust import kept_advisories
from embhub.trust.keyring import Trust, TrustExport, parse_export
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
from embhub_registry.static.mirror.turns import Turns
from embhub_registry.static.mirror.withdrawing import row_of, take_out
from embhub_registry.storage.stores.blobs import MissingBlobError

TRUST = "trust.json"
MOST_REFUSED = 50  # releases in one round, after which no more are fetched in it; as many that failed before
MOST_SAID = 100  # problems of one round
LONGEST_ROUND = 300.0  # seconds, half of them for repositories; what is left is looked at first in the next one
_NOT_READ = "not read"
"""In place of the state of the registry by which a release was refused: it was not fetched, and is asked for again."""
_SHUFFLER = secrets.SystemRandom()


@dataclass(frozen=True)
class Round:
    """What one refresh did. `problems` are sentences on what was not taken; `left` is what the next one looks at."""

    checkpoint: str
    releases: int
    taken: int
    dropped: int
    problems: tuple[str, ...]
    left: int = 0


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
    _unswept: bool = True
    _turns: Turns = field(default_factory=Turns)
    _trust: Trust | None = None
    _asking: threading.Lock = field(default_factory=threading.Lock)  # held while keyring and withdrawals are renewed
    _serving: threading.RLock = field(default_factory=threading.RLock)  # held while the served files are exchanged

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
        self._problems, self._counts = [], Counter()
        try:
            self._counts["dropped"] += self.withdraw()
            if self._unswept:  # also after what another thread dropped: a round may fail before its end
                self._unswept = False
                Holdings(self.folder).sweep()
            self.state.refuse_if_forked()
            with self._turns.of_one_round():
                done = self._round()
        except ForkedLogError as error:
            with self._serving:
                self.state.note_fork(error)
            raise
        except EmbhubError as error:
            with self._serving:
                self.state.note_failure(error)
            raise
        with self._serving:
            self.state.note_success(done.checkpoint, done.problems, witness=str(self._witness_key().public))
        return done

    def withdraw(self) -> int:
        """Take the newest keyring and withdrawals, and serve nothing of what these take back; how many releases.

        Another thread may call it while a round is under way.

        Raises:
            VerificationError: an older keyring, or withdrawals that are gone.
            RegistryError: the registry is not reached, or answers nonsense.
        """
        with self._asking:
            exported = Hub(self.url, token=self.token).trust_export()
            self._check_timestamp(parse_export(exported))
            trust = trust_store.refresh(self.url, exported)
            with self._serving:
                write_atomic(self.folder / TRUST, parse_export(exported).to_bytes())
                listed, self._trust = kept_advisories.opened(trust), trust
                copy, holdings = self._log_copy(), Holdings(self.folder)
                dropped = take_out(holdings, trust)
                self._unswept |= bool(dropped)
                if dropped and copy.checkpoint() is not None:
                    self._exchange(holdings, copy, serving_files.audits_in(self.site, holdings.digests()))
                self.state.note_list(listed.number if listed is not None else 0)
        return dropped

    def _check_timestamp(self, document: TrustExport) -> None:
        """Refuse an answer that lost its timestamp: sites that ask for `fresh` would refuse this mirror."""
        served = self.folder / TRUST
        expected = document.timestamp is None and document.claimed.online_key("timestamp") is not None
        if expected and served.exists() and parse_export(served.read_bytes()).timestamp is not None:
            raise RollbackError(f"{self.url} showed a timestamp before, and now none", "ask again; inform its operator")

    def _round(self) -> Round:
        assert self._trust is not None  # noqa: S101  # a refresh begins with it
        trust, began = self._trust, time.monotonic()
        upstream_log, copy = HttpLog(self.url, self.token), self._log_copy()
        signed = copy.follow(PacedLog(upstream_log))
        upstream = Upstream(Hub(self.url, token=self.token), trust, LogEntries(copy.source, signed), self.include)
        holdings = Holdings(self.folder)
        lost = holdings.forget_lost()
        self._turns.until = began + LONGEST_ROUND / 2
        self._follow_repositories(upstream, holdings, _judged_by(trust), lost)
        self._turns.until = began + LONGEST_ROUND
        audits = self._audits(upstream, holdings, f"{_judged_by(trust)} {signed.size}")
        cosigned = self._cosign(copy, signed)
        with self._serving:
            self._counts["dropped"] += take_out(holdings, self._trust)  # a newer list may have come meanwhile
            self._exchange(holdings, copy, {digest: audits[digest] for digest in holdings.digests()})
            holdings.sweep()
        with suppress(RegistryError):  # it accepts witnesses of its operator's choice alone
            PacedLog(upstream_log).post("cosignature", cosigned.to_bytes())
        releases = sum(len(held.releases) for held in holdings.repositories.values())
        checkpoint = f"{cosigned.size}:{cosigned.root.hex()}"
        counts, problems = self._counts, tuple(self._problems)
        return Round(
            checkpoint, releases, counts["taken"], counts["dropped"], problems, counts["late"] + self._turns.late
        )

    def _audits(self, upstream: Upstream, holdings: Holdings, logged: str) -> Audits:
        """What others found of each embedding; what is served of it, where nothing was logged or the round is over."""
        found = holdings.embeddings()
        marks = {digest: f"{logged} {' '.join(sorted(shown))}" for digest, (_, shown) in found.items()}
        asked = {}
        for digest in self._turns.of(one for one in found if not self._turns.is_unchanged(one, marks[one])):
            numbers, shown = found[digest]
            asked[digest] = upstream.about(digest, shown, numbers)
            self._turns.finish(digest, marks[digest])
        return {**serving_files.audits_in(self.site, [digest for digest in found if digest not in asked]), **asked}

    def _exchange(self, holdings: Holdings, copy: LogCopy, audits: Audits) -> None:
        """Serve what is held now, and note it."""
        signed = copy.checkpoint()
        if signed is None or self._trust is None:
            raise ConfigError(f"the copy of the log in {copy.folder} is gone", "remove the folder: it is read again")
        exported = (self.folder / TRUST).read_bytes()
        try:
            serving_files.write(
                self.site, holdings, registry=self._trust.registry, trust=exported, checkpoint=signed, read=copy.read,
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

    def _follow_repositories(self, upstream: Upstream, holdings: Holdings, judged: str, lost: Collection[str]) -> None:
        """Look at each repository, but for those of which list, keyring and withdrawals say that nothing changed."""
        listed = {name: f"{mark} {judged}" if mark else "" for name, mark in upstream.repositories()}
        held_whole = holdings.repositories.keys() - lost
        found = sorted(
            name for name in {*listed, *holdings.repositories}
            if name not in held_whole or not self._turns.is_unchanged(name, listed.get(name) or "-")
        )  # fmt: skip
        _SHUFFLER.shuffle(found)  # no round looks first at what failed in the last one
        for name in self._turns.of(found):
            held = holdings.repositories.setdefault(name, HeldRepository())
            before = self._counts["unfinished"]
            try:
                self._follow(upstream, holdings, name, held, judged)
            except NotFoundError:
                self._counts["dropped"] += len(held.releases)
                del holdings.repositories[name]
            if self._counts["unfinished"] == before:
                self._turns.finish(name, listed.get(name, ""))
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
        if self._turns.are_over and self._counts["read"]:  # one in each round at least: a slow registry is followed
            self._counts["late"] += 1
            self._counts["unfinished"] += 1
            return known
        self._counts["read"] += 1
        kind = "again" if commit in held.refused else "new"
        if known is None and self._counts[kind] >= MOST_REFUSED:
            self._counts["left"] += 1
            self._counts["unfinished"] += 1
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
            self._counts["unfinished"] += 1
            if known is None and not isinstance(error, NotLoggedError):
                held.refused.setdefault(commit, _NOT_READ)
                self._counts[kind] += 1
            self._say(f"{name}@{commit[:12]}: {error.message}")
            return known
        if verified.withdrawn:
            first = verified.withdrawn[0]
            gone[commit] = row_of(commit, verified.version, first)
            held.refused[commit] = judged
            return None
        held.refused.pop(commit, None)
        self._counts["taken"] += known is None
        said = listing.describe(name, release.files, Admitted(verified.version, verified))
        return HeldRelease(
            verified.version, verified.digest, verified.embedding.numbers, verified.created, judged,
            holdings.put(release), said.summary, said.tags, said.text,
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
