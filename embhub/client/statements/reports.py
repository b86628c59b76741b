"""What this site heard against releases: that one was taken back, who audited which bytes with which verdict.

Kept in `state/heard.json`, which only this user can read, so that a folder on this disk knows of it without a network,
and so that an audit which a registry stops showing is missed. Yanks are kept by registry, repository and version;
audits by the embedding's SHA-256, whatever name it goes by.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from embhub.durable import locked, write_atomic
from embhub.errors import ConfigError
from embhub.formats import names
from embhub.site import config

if TYPE_CHECKING:
    from embhub.client.statements.reports_document import Heard
    from embhub.privacy.composition import SiteTotal
    from embhub.release.checks.attested import Attested
    from embhub.release.checks.yanks import Yank

MAX_BYTES = 16_000_000
MOST_AUDITORS = 20  # remembered of one embedding and one registry, those with the worst verdicts


def yank(registry: str, repository: str, version: str) -> Yank | None:
    """Why a version was taken back, as its registry said when it was asked last; None where it said nothing of it."""
    heard = _read()
    return heard.yanks.get(_place(registry, repository, version)) if heard else None


def audits(digest: str) -> tuple[Attested, ...]:
    """Who was seen to have audited the embedding with this SHA-256."""
    heard = _read()
    return heard.audits.get(digest, ()) if heard else ()


def site_total(registry: str, namespace: str) -> SiteTotal | None:
    """The newest statement of a namespace about all private trainings of its site that was seen in a claim."""
    heard = _read()
    return heard.totals.get(f"{registry} {namespace}") if heard else None


def remember(
    registry: str, repository: str, version: str, *, digest: str, yanked: Yank | None, known: bool,
    audits: Iterable[Attested], total: SiteTotal | None = None,
) -> None:  # fmt: skip
    """Note what a registry said: of the version, where that is `known`, and of the bytes. An audit is never forgotten.

    `total` is what the release's own claim states of its site; the newest one is kept.

    Raises:
        ConfigError: what was heard before cannot be read, or the folder cannot be written.
    """
    from embhub.client.statements.reports_document import Heard
    from embhub.release.checks import attested

    with locked(_path()):
        heard = _read() or Heard()
        before = heard.model_copy(deep=True)
        place = _place(registry, repository, version)
        if yanked is not None:
            heard.yanks[place] = yanked.model_copy(update={"reason": yanked.reason[:500]})
        elif known:
            heard.yanks.pop(place, None)
        if merged := attested.newest([*heard.audits.get(digest, ()), *audits]):
            by = {one.registry: [audit for audit in merged if audit.registry == one.registry] for one in merged}
            heard.audits[digest] = tuple(audit for found in by.values() for audit in found[:MOST_AUDITORS])
        namespace = f"{registry} {names.namespace_of(repository)}"
        kept = heard.totals.get(namespace)
        if total is not None and (kept is None or kept.order < total.order):
            heard.totals[namespace] = total
        if heard != before:
            document = heard.model_dump(mode="json")
            write_atomic(_path(), json.dumps(document, indent=1, sort_keys=True).encode(), mode=0o600)


def _place(registry: str, repository: str, version: str) -> str:
    return f"{registry} {repository} {version}"


def _path() -> Path:
    return config.paths().state / "heard.json"


def _read() -> Heard | None:
    """What was heard, or None before anything was."""
    path = _path()
    try:
        data = path.read_bytes()[:MAX_BYTES]
        from embhub.client.statements.reports_document import Heard

        return Heard.model_validate_json(data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # pydantic's ValidationError is a ValueError
        # never start afresh in silence: forgetting is what a hidden audit needs
        raise ConfigError(
            f"what this site heard of releases cannot be read: {path}",
            "restore it from a backup; or remove it, which forgets known yanks and leaks",
        ) from error
