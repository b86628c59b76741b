"""Who carries out the orders of an audit: this process, several of this machine, or a Dask cluster of the site."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

from embhub import own_process
from embhub.errors import UsageError
from embhub.project import how_to_install


@contextmanager
def open_executor(*, workers: int = 1, cluster: str | None = None) -> Iterator[Executor | None]:
    """An executor while open; None for one worker and no cluster.

    Images travel to a cluster's workers as latents, from which they can be drawn again: it must belong to the site.
    A cluster's worker that dies is replaced by another (Dask tries an order three times).

    Raises:
        UsageError: no such cluster, or Dask is not installed.
    """
    if cluster is not None:
        with _open_cluster(cluster) as executor:
            yield executor
    elif workers > 1:
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        threads = max(1, (os.cpu_count() or 1) // workers)
        with ProcessPoolExecutor(workers, context, initializer=_prepare, initargs=(threads,)) as pool:
            yield pool
    else:
        yield None


def _prepare(threads: int) -> None:
    own_process.settle()
    import torch

    torch.set_num_threads(threads)


@contextmanager
def _open_cluster(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("Dask is not installed", how_to_install("cluster")) from error
    try:
        client = Client(address, timeout=20)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(f"there is no Dask scheduler at {address}", "name it as tcp://host:8786") from error
    with client:
        executor: Executor = client.get_executor()
        yield executor
