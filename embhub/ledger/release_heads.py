"""What a release shows of this site's privacy ledger: that it is the same one, and goes on from where it was.

Each release gets one head, a keyed hash over the ledger's last entry at that moment. An older ledger that was put back
lacks the heads of later releases, and gives others under their numbers. Nothing is computed from a head without the
site's key: no patient, no training, no time. It goes out with a release and at no other time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import rfc8785

from embhub.ledger.books import Books, ledger_exists, open_books
from embhub.ledger.chain import Entry
from embhub.ledger.spending import HEAD
from embhub.site.memory.secret import derive_key
from embhub.trust.statement import MOST_HEADS, LedgerHeads


def head_of(registry: str, repository: str, version: str, digest: str) -> LedgerHeads | None:
    """The heads up to this release, whose own is written to the ledger unless it was before; None without a ledger.

    Args:
        registry: origin that is signed for; each registry and namespace sees a ledger id of its own.
        digest: SHA-256 (hex) of the embedding.

    Raises:
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read or written.
    """
    if not ledger_exists():
        return None
    with open_books() as books:
        books.account()  # opens an empty ledger, and refuses one of another key
        scope = _ledger_id(books.ledger.read()[0], registry, repository.partition("/")[0])
        release = {"scope": scope, "repository": repository, "version": version, "file": digest}
        heads = _up_to(books.ledger.read(), release)
        if heads is None:
            heads = [*_all(books.ledger.read(), scope), _next(books, release)]
            books.ledger.append(HEAD, {**release, "head": heads[-1]})
    return LedgerHeads(id=scope, number=len(heads), heads=tuple(heads[-MOST_HEADS:]))


def _all(entries: list[Entry], scope: str) -> list[str]:
    return [str(entry.body["head"]) for entry in entries if entry.kind == HEAD and entry.body["scope"] == scope]


def _up_to(entries: list[Entry], release: dict[str, str]) -> list[str] | None:
    """The heads up to that of this release, or None where it has none yet."""
    heads = []
    for entry in entries:
        if entry.kind == HEAD and entry.body["scope"] == release["scope"]:
            heads.append(str(entry.body["head"]))
            if all(entry.body[name] == value for name, value in release.items()):
                return heads
    return None


def _next(books: Books, release: dict[str, str]) -> str:
    count, last = books.ledger.tip
    facts: dict[str, str | int] = {**release, "count": count, "last": last}
    return _keyed("ledger head", facts)


def _ledger_id(first: Entry, registry: str, namespace: str) -> str:
    """Another one for each registry, namespace and ledger: nobody links what a site publishes at two registries by it.

    The first entry has the moment at which the ledger was opened, so a second ledger of the same key has another id.
    """
    return _keyed("ledger id", {"opened": first.at, "registry": registry, "namespace": namespace})


def _keyed(purpose: str, facts: Mapping[str, str | int]) -> str:
    return hmac.new(derive_key(purpose), rfc8785.dumps(dict(facts)), hashlib.sha256).hexdigest()
