"""`make soak`: sites push, yank, delete and read at three servers while processes and database fail.

Every site knows what was acknowledged to it, reads it back from any server meanwhile, and at the end the whole is
checked: repositories, the log, the audit log, every blob.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embhub_registry.database.releases import repositories
from embhub_registry.operation.backups import checking
from tests.soak.faults import Faults
from tests.soak.publisher import COMMON, History, Publisher
from tests.support import postgres, pushes, releases
from tests.support.replicas import LogWatcher, Replicas, make_replicas

SITES = 4


def run(folder: Path, *, seconds: float, seed: int, least: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The whole run; what was done, and what was wrong.

    Args:
        folder: An empty one, for the servers' files and logs.
        seconds: How long sites work; the check at the end comes on top.
        seed: Of what sites and faults choose. When things happen is the machine's to say, so a run is not repeated.
        least: What has to be done; on a busy machine the run goes on for it, up to four times as long.
    """
    with postgres.running_server() as database:
        replicas = make_replicas(folder, database)
        try:
            faults = Faults(replicas, database, random.Random(f"{seed} faults"))
            return _run(replicas, faults, seconds, seed, least or {})
        finally:
            if database.process is None:
                database.start()
            replicas.stop()


def _run(replicas: Replicas, faults: Faults, seconds: float, seed: int, least: Mapping[str, int]) -> dict[str, Any]:
    history, watcher = History(), LogWatcher()
    publishers = _make_publishers(replicas, history, seed)
    replicas.start()
    assert pushes.create(replicas[0], "notes", token=publishers[0].common_token).status == 200
    until = time.monotonic() + seconds
    latest = until + 3 * seconds

    def ended() -> bool:
        enough = all(history.done.get(what, 0) >= number for what, number in least.items())
        return time.monotonic() > (until if enough else latest) or bool(history.wrong or watcher.wrong)

    threads = [threading.Thread(target=publisher.work, args=(ended,)) for publisher in publishers]
    with watcher.watching(replicas.servers, pause=0.5):
        for thread in threads:
            thread.start()
        try:
            faults.work(ended)
        finally:
            until = latest = 0.0
            for thread in threads:
                thread.join()
    wrong = history.wrong + watcher.wrong or _check(replicas, publishers, history, watcher)
    if wrong:
        wrong += [line for server in replicas.servers for line in _errors(server.log)[-15:]]
    return {
        "seed": seed, "seconds": seconds, "done": history.done, "doubtful": history.doubtful,
        "faults": dict(faults.done), "heads": len(watcher.seen), "wrong": wrong,
    }  # fmt: skip


def _errors(log: Path) -> list[str]:
    """What a server said went wrong, but for what the faults explain."""
    lines = log.read_text().splitlines()
    expected = ("cannot be reached", "upkeep failed", "log sequencing failed")
    return [
        line[:1500]
        for line in lines
        if '"error"' in line or not line.startswith("{")
        if not any(word in line for word in expected)
    ]


def _make_publishers(replicas: Replicas, history: History, seed: int) -> list[Publisher]:
    made = []
    for number in range(SITES):
        replicas[0].add_key(releases.make_key(f"site {number}"), namespace=f"site{number}")
        token = replicas[0].add_user(f"user{number}", namespace=f"site{number}")
        common = replicas[0].add_user(f"common{number}", namespace="common")
        choose = random.Random(f"{seed} {number}")
        made.append(Publisher(number, replicas.servers, token, common, choose, history))
    return made


def _check(replicas: Replicas, publishers: list[Publisher], history: History, watcher: LogWatcher) -> list[str]:
    """What is not as it was acknowledged."""
    wrong: list[str] = []
    try:
        for publisher in publishers:
            for _ in range(4):
                publisher.read()
        entries = [watcher.check(server) for server in replicas.servers]
        if not entries[0] == entries[1] == entries[2]:
            wrong.append("the servers show different logs")
    except AssertionError as error:
        return [str(error)]
    replicas.stop()
    with replicas[0].opened() as opened:
        db = opened.database.connection()
        hashes = {row[0] for row in db.execute("SELECT hash FROM log_entry").fetchall()}
        wrong += [
            f"an acknowledged entry is not in the log: {leaf.hex()}" for leaf in history.leaves if leaf not in hashes
        ]
        for commit, name in history.commits.items():
            found = repositories.find(db, *name.split("/"))
            if found is None or repositories.find_revision(db, found.id, commit) is None:
                wrong.append(f"an acknowledged commit of {name} is gone: {commit}")
        wrong += _check_common(db, history)
        wrong += _check_audit_log(opened, replicas, history)
        wrong += checking.check(opened).corrupt
    return wrong


def _check_common(db: Any, history: History) -> list[str]:
    """One line of commits, each upon the one before; all that were acknowledged are in it."""
    repository = repositories.find(db, *COMMON.split("/"))
    assert repository is not None
    place = repositories.find_ref(db, repository.id, "main")
    parents: dict[str, str | None] = {}
    while place is not None:
        revision = repositories.find_revision(db, repository.id, place)
        assert revision is not None
        parents[place] = revision.parent
        place = revision.parent
    return [
        f"{COMMON}: {commit} is not upon {parent}, or not in its history"
        for parent, commit in history.common
        if parents.get(commit) != parent
    ]


def _check_audit_log(opened: Any, replicas: Replicas, history: History) -> list[str]:
    """Each acknowledged commit is noted: in the log or, where the database was away just then, in a server's."""
    noted = set()
    for line in opened.audit_log.lines():
        fields = json.loads(line)
        if fields["event"] == "commit":
            noted.add(fields["commit"])
    told = "".join(server.log.read_text() for server in replicas.servers)
    known = [*history.commits, *(commit for _, commit in history.common)]
    missing = [commit for commit in known if commit not in noted and commit not in told]
    return [f"the audit log knows nothing of {commit}" for commit in missing] + opened.audit_log.problems()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended in that case, too
    with tempfile.TemporaryDirectory(prefix="embhub-soak-") as folder:
        result = run(Path(folder), seconds=chosen.minutes * 60, seed=chosen.seed)
        print(json.dumps(result, indent=2))
        return 1 if result["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
