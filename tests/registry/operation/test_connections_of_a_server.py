"""How many connections one server opens to PostgreSQL, and that the database of compose lets all servers in."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from tests.registry.operation.test_deployment_files import COMPOSE
from tests.registry.operation.test_deployment_of_several import DEPLOYMENT, SERVERS
from tests.support.nginx import DEPLOY
from tests.support.postgres import Server
from tests.support.replicas import make_replicas

PAGE = (DEPLOY.parents[1] / "docs/how-to/run-a-registry-at-scale.md").read_text()
(MOST,) = (int(number) for number in re.findall(r"opens up to (\d+)\s+connections", PAGE))
# Of the event loop, for the lock, to become the one that signs the log, of the thread that signs; for `/readyz` and
# `/metrics`.
BESIDE_THREADS = 6
RESERVE = 10  # for commands and whoever looks at the database; PostgreSQL keeps three of them for its superuser


async def _threads() -> float:
    return to_thread.current_default_thread_limiter().total_tokens


def limit_of_compose() -> int:
    """`max_connections` of the server that the compose files start."""
    (found,) = [word for word in COMPOSE["services"]["database"]["command"] if word.startswith("max_connections=")]
    return int(str(found).partition("=")[2])


def test_the_page_counts_a_connection_for_each_thread_and_six_more() -> None:
    assert int(anyio.run(_threads)) + BESIDE_THREADS == MOST
    needed = MOST * (len(SERVERS) + 1) + RESERVE
    assert f"{MOST} x (servers + 1) + {RESERVE}" in PAGE and f"{needed} for three servers" in PAGE


def test_the_database_of_compose_lets_in_all_servers_and_one_more() -> None:
    assert limit_of_compose() >= MOST * (len(SERVERS) + 1) + RESERVE


def test_kubernetes_never_runs_more_than_the_page_counts() -> None:
    """While a release is put in place one pod more runs; a backup and the superuser are of the reserve."""
    pods = DEPLOYMENT["spec"]["replicas"] + DEPLOYMENT["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    assert pods == len(SERVERS) + 1
    head = (DEPLOY / "kubernetes/several/deployment.yaml").read_text().partition("apiVersion")[0]
    assert f"max_connections is {MOST * pods + RESERVE} " in head


@pytest.mark.slow
def test_a_server_whose_threads_all_wait_opens_no_more_than_the_page_says(tmp_path: Path, postgresql: Server) -> None:
    """Twice as many lists as there are threads wait for a locked table; meanwhile health and metrics are asked."""
    replicas = make_replicas(tmp_path, postgresql, count=1)
    replicas.start()
    try:
        seen = _most_connections(replicas.address.rpartition("%3D")[2], replicas[0].get, postgresql)
    finally:
        replicas.stop()
    assert MOST - 2 <= seen <= MOST, seen


def _most_connections(schema: str, get: Any, postgresql: Server) -> int:
    count = (
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database()"
    )
    most = 0
    with postgresql.connect() as locking, postgresql.connect() as looking, ThreadPoolExecutor(100) as callers:
        with locking.transaction():
            locking.execute(f"LOCK TABLE {schema}.wording IN ACCESS EXCLUSIVE MODE")
            asked = [callers.submit(get, f"/api/models?search=word{number}") for number in range(90)]
            asked += [callers.submit(get, path) for path in ("/readyz", "/metrics") for _ in range(2)]
            until = time.monotonic() + 5
            while time.monotonic() < until:
                (found,) = looking.execute(count).fetchall()
                most = max(most, int(str(found[0])))
                time.sleep(0.1)
        assert {one.result().status for one in asked} == {200}
    return most - 2  # without these two
