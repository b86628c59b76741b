"""One of the servers that share a registry signs its log; the others follow, and one of them takes over."""

from __future__ import annotations

import os
import socket
import threading

from embhub_registry.database import Leadership
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log
from embhub_registry.storage.logs import log

SECONDS = 1.0  # between two looks, where nobody wakes it
REST = 3.0  # of one that could not sign
KEYLESS = 60  # turns, of which a server without the log's key tries half: one with the key gets its chance


class LogSequencing:
    """A thread that signs the log while this server is the one, and otherwise tries to become it."""

    def __init__(self, registry: Registry, leadership: Leadership) -> None:
        self._registry = registry
        self._leadership = leadership
        self._ended = threading.Event()
        self._turns = 0  # without the log's key
        self._thread = threading.Thread(target=self._run, name="log-sequencing", daemon=True)

    @classmethod
    def start_if_shared(cls, registry: Registry) -> LogSequencing | None:
        """Start it for a server that shares its registry; None where there is one server."""
        leadership = registry.database.leadership(f"process {os.getpid()} on {socket.gethostname()}")
        if leadership is None or not registry.is_shared:
            return None
        registry.leadership = leadership
        started = cls(registry, leadership)
        started._thread.start()
        return started

    def stop(self) -> None:
        """Let another server sign."""
        self._ended.set()
        self._thread.join(timeout=10.0)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001  # whatever it is, the next turn tries again
                log("error", "log sequencing failed", reason=f"{type(error).__name__}: {error}")
                if self._leadership.term is not None:  # its own disk is full, say: another server gets its chance
                    self._leadership.close()
                    self._ended.wait(REST)
                self._ended.wait(SECONDS)
        self._leadership.close()

    def _turn(self) -> None:
        registry, before = self._registry, self._leadership.term
        self._turns = 0 if registry_log.may_sign(registry) else self._turns + 1
        if 0 < self._turns % KEYLESS < KEYLESS / 2:
            self._leadership.close()
            registry_log.follow(registry)
            self._ended.wait(SECONDS)
            return
        self._leadership.turn(SECONDS)
        term = self._leadership.term
        if term is None:
            registry_log.follow(registry)
            return
        if self._turns:
            return  # it does what one server does for all, and signs nothing
        if term != before:
            log("info", "this server signs the log", term=term)
        registry_log.publish(registry)
