"""Where else to read a release while its registry cannot be asked: copies that only serve bytes (setting `fallback`).

A copy decides nothing. Its release is judged by the keyring of the registry that was asked first, and by what this site
heard of it: it vouches for no other registry's members, an older version has to be named, and what was withdrawn stays
refused. It is asked with the token stored for its own address, and never written to.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from embhub.client.log import logged_designs
from embhub.client.pulling import public_hub
from embhub.client.pulling.received import Fetched, check_commit, name_in, note, verify_offline
from embhub.client.statements import standing
from embhub.client.trusted import mirrors, vouching
from embhub.client.wire.errors import (
    AnswerCutShortError,
    AnswerTooSlowError,
    NotFoundError,
    RegistryFailedError,
    UnreachableError,
)
from embhub.client.wire.hub import Hub, Listing
from embhub.errors import ConfigError, RegistryError
from embhub.formats import names
from embhub.progress import OnProgress
from embhub.refusals import Finding, ReleaseRefusedError
from embhub.release import demands
from embhub.release import policy as policies
from embhub.release.checks import yanks
from embhub.site import config
from embhub.site.pins import trust_store

if TYPE_CHECKING:
    from embhub.release.policy import Policy
    from embhub.release.verification import Verified
    from embhub.trust.keyring import Trust

CHECK = "source"
_OF_THE_HUB = re.compile(r"hub(?::(?!.*(?:--|\.\.))[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?)?", re.ASCII)
_SILENT = (UnreachableError, AnswerTooSlowError, AnswerCutShortError, RegistryFailedError)
_log = logging.getLogger(__name__)


def copies() -> tuple[str, ...]:
    """The copies of the setting `fallback`: addresses and folders; `hub` and `hub:OWNER` for the public Hub.

    Raises:
        ConfigError: it names something else, or `config.yaml` cannot be read.
    """
    named = config.variable("EMBHUB_FALLBACK") or config.read_config().get("fallback") or ""
    words = [word.strip() for word in named.split(",") if word.strip()]
    try:
        return tuple(word if _OF_THE_HUB.fullmatch(word) else config.check_registry(word) for word in words)
    except ConfigError as error:
        raise ConfigError(
            f"the setting fallback (EMBHUB_FALLBACK) names no copies: {error.message}",
            "give addresses, folders, hub or hub:OWNER, separated by commas",
        ) from error


def fetch(
    reference: str, *, first: Hub, error: RegistryError, policy: Policy, on_progress: OnProgress | None = None
) -> Fetched:
    """The release from the first copy that has it, verified by the keyring of the registry that failed.

    Args:
        reference: `namespace/name[@revision]`.
        first: the registry that was asked.
        error: why it did not serve the release.
        policy: what the release has to meet.
        on_progress: called with each step.

    Raises:
        RegistryError: `error`, where no copy is set, may be asked, or has the release.
        VerificationError: a copy serves something else than the registry's member signed, or an older version.
        PolicyError: the policy refuses it.
        ConfigError: the setting is malformed, or the first registry is not pinned.
    """
    places = copies()
    repository, _, revision = reference.partition("@")
    if not places or not _is_silent(first, repository, error):
        raise error
    if first.registry not in trust_store.addresses():
        raise ConfigError(
            f"{error.message}; no copy was asked, because {first.registry} is not pinned here",
            f"embhub trust add {first.registry}",
        )
    refused: ReleaseRefusedError | None = None
    for place in places:
        try:
            copy, name, asked = _open(place, repository, revision)
            release, commit = copy.fetch(name, asked, on_progress=on_progress)
            _check_not_aside(copy, name, commit)
        except RegistryError as failed:
            _log.warning("fallback: %s has no such release: %s", place, failed.message)
            continue
        try:
            said = () if isinstance(copy, public_hub.PublicHub) else (mirrors.renew(copy.registry),)
            trusts = vouching.with_namesakes(trust_store.load(first.registry))
            verified = verify_offline(
                release,
                trusts=trusts,
                policy=policy,
                repository=repository,
                requested=None if names.is_commit(revision) or names.version_fault(revision) else revision,
                pinned=names.is_commit(revision) and commit.startswith(revision),
            )
            check_commit(verified, commit, requested=revision)
        except ReleaseRefusedError as failed:  # a copy that somebody spoiled hides no good one
            _log.warning("fallback: what %s has is refused: %s", place, failed.message)
            refused = refused or failed
            continue
        text = f"{error.message}; this came from {place}, a copy that may lack newer releases and withdrawals"
        _log.warning("fallback: %s", text)
        if not isinstance(copy, public_hub.PublicHub):
            designs = partial(copy.statements, "designs")
            verified = logged_designs.check(verified, release, trusts=trusts, source=None, ask=designs)
        verified = _heard(copy, verified, commit, trusts)
        verified = replace(verified, findings=(*verified.findings, Finding(CHECK, "warning", text), *said))
        note(verified, listed=False)
        held = demands.hold(verified, policy)
        return Fetched(held, release, commit, listed=False, committed=release, is_copy=True, unasked=True)
    raise refused or error


def search(
    query: str, *, limit: int, facets: Mapping[str, Sequence[str]] | None, first: Hub, error: RegistryError
) -> list[Listing]:
    """What the first copy of a registry that answers lists; the public Hub is not searched.

    Raises:
        RegistryError: `error`, where no copy answers.
    """
    for place in copies() if isinstance(error, _SILENT) else ():
        if _is_of_the_hub(place) or place == first.registry:
            continue
        try:
            found = Hub(place, token=config.token_for(place)).search(query, limit=limit, facets=facets)
        except RegistryError as failed:
            _log.warning("fallback: %s", failed.message)
            continue
        _log.warning("fallback: %s; this list came from %s", error.message, place)
        return found
    raise error


def _is_silent(first: Hub, repository: str, error: RegistryError) -> bool:
    """Whether the registry cannot be asked, or does not know the repository at all.

    One that knows it has said what counts: a release that it lacks may be set aside or deleted.
    """
    if isinstance(error, _SILENT):
        return True
    try:
        return isinstance(error, NotFoundError) and first.status(repository) is None
    except RegistryError:
        return False


def _open(place: str, repository: str, revision: str) -> tuple[Hub, str, str | None]:
    """A client of the copy, the repository's name there, and the revision to ask for: the Hub knows no versions."""
    if not _is_of_the_hub(place):
        return Hub(place, token=config.token_for(place)), repository, revision or None
    owner = place.partition(":")[2]
    name = f"{owner}/{name_in(repository)}" if owner else repository
    version = bool(revision) and names.version_fault(revision) is None and not names.is_commit(revision)
    return public_hub.open_hub(), public_hub.check_name(name), None if version else revision or None


def _check_not_aside(copy: Hub, repository: str, commit: str) -> None:
    """Raises RegistryError: the copy says that its registry has set this commit aside."""
    said = None if isinstance(copy, public_hub.PublicHub) else copy.status(repository)
    if said is None:
        return
    try:
        aside = yanks.parse_quarantined(said, repository=repository)
    except ValueError as error:
        raise RegistryError("its list of what was withdrawn is invalid", "try another copy") from error
    if commit in aside:
        raise RegistryError("it is in quarantine there", "wait until the registry's operator has looked at it")


def _is_of_the_hub(place: str) -> bool:
    return place == "hub" or public_hub.is_reference(place)


def _heard(copy: Hub, verified: Verified, commit: str, trusts: Sequence[Trust]) -> Verified:
    """With what the copy says against it. What the registry said before counts too, and what nobody says is open."""
    if isinstance(copy, public_hub.PublicHub):
        return replace(verified, unanswered=frozenset({policies.YANKS, policies.AUDITS}))
    told, _ = standing.ask(copy, verified, commit, trusts)
    return replace(told, findings=tuple(dict.fromkeys(told.findings)))
