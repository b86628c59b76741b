"""What this site sent, in its ledger: an erasure finds releases there, also those of which nobody knows whether they
arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from embhub.artifact.embedding import Embedding
from embhub.client.wire import errors as wire_errors
from embhub.errors import EmbhubError
from embhub.ledger import publications
from embhub.ledger.books import ledger_exists
from embhub.trust.statement import Publish

_ARRIVED_PERHAPS = (
    wire_errors.UnreachableError, wire_errors.AnswerCutShortError, wire_errors.AnswerTooSlowError,
    wire_errors.AnswerTooLargeError, wire_errors.NotARegistryError, wire_errors.WrongCommitError,
    wire_errors.RegistryFailedError,
)  # fmt: skip


@contextmanager
def noted(file: Embedding, publish: Publish) -> Iterator[Callable[[], None]]:
    """Note what is sent meanwhile; not what the registry refuses, and nothing before the yielded function is called.

    Raises:
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be written.
    """
    begun: list[bool] = []
    try:
        yield lambda: begun.append(True)
    except BaseException as error:
        if begun and (isinstance(error, _ARRIVED_PERHAPS) or not isinstance(error, EmbhubError)):
            note(file, publish.repository, publish.version, registry=publish.registry)
        raise
    note(file, publish.repository, publish.version, registry=publish.registry)


def note(file: Embedding, repository: str, version: str, *, on: str = "", registry: str = "") -> None:
    """Note, where this site keeps a ledger, that a file is sent as a version; `on` the public Hub.

    Raises:
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be written.
    """
    if ledger_exists():
        source = "" if file.derived_from is None else file.derived_from.source
        publications.note_published(file.digest, repository, version, on=on, source=source, registry=registry)
