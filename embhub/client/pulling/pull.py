"""From a registry or a folder to something that may be used: fetch, verify, and only then write under final names.

What only a connection needs is imported where one is opened: a folder is verified in less time than those imports take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from embhub.client.log import logged, logged_attestations, logged_designs
from embhub.client.pulling.received import HUB as HUB
from embhub.client.pulling.received import Fetched as Fetched
from embhub.client.pulling.received import check_commit, note, verify_offline
from embhub.client.pulling.received import choose_folder as choose_folder
from embhub.client.pulling.received import keep as keep
from embhub.client.pulling.received import name_in as name_in
from embhub.client.pulling.received import read_release as read_release
from embhub.client.pulling.received import remember as remember
from embhub.client.statements import memory, standing
from embhub.client.trusted import site_policy
from embhub.errors import RegistryError, UsageError
from embhub.formats import names
from embhub.progress import OnProgress
from embhub.refusals import Finding
from embhub.release import demands, verification
from embhub.release import policy as policies
from embhub.release.files import Release
from embhub.release.policy import Policy
from embhub.release.verification import Verified
from embhub.site.memory import seen

if TYPE_CHECKING:
    from embhub.client.pulling.opening import Opened
    from embhub.client.wire.hub import Listing


def pull(
    reference: str,
    *,
    registry: str | None = None,
    token: str | None = None,
    out: str | Path | None = None,
    policy: str | Policy = "standard",
    require: str | Iterable[str] = (),
    on_progress: OnProgress | None = None,
) -> Verified:
    """Fetch a release, verify it, and write it to a folder.

    Args:
        reference: `namespace/name` for the newest release, `namespace/name@1.0.0` for a version, or
            `namespace/name@commit`. A release older than one seen before must be named so, and gives a warning.
            `hub:owner/name[@revision]` is a repository of the public Hub, which is judged by the registries pinned
            here; `registry` and `token` are not used then.
        registry: Address of the registry. By default the setting `registry`.
        token: Access token. By default the one that `embhub login` stored.
        out: Folder to write: new, empty, or with an earlier pull in it. By default `name` in the working folder.
        policy: `standard`, or `strict`, which refuses releases that are yanked, leak, or were confirmed by nobody, and
            those whose log no quorum of this site's witnesses cosigned.
        require: Single demands besides, such as `"countersigned,no-leak,not-yanked,epsilon<=4"`. Those of the site's
            policy file always hold.
        on_progress: Called with each step.

    Returns:
        The verified release. Its findings list every check.

    Raises:
        VerificationError: It is not what a trusted publisher signed for this repository, or older than one seen before.
        PolicyError: The signatures hold, but the policy refuses the release, or it is yanked and was requested without
            its commit. Nothing was written.
        RegistryError: The registry refuses or cannot be reached.
        ConfigError: No registry is set, no keyring is trusted, or the folder cannot be written or holds other things.
        UsageError: The reference is not a repository, or the policy is unknown.

    Example:
        >>> import embhub
        >>> got = embhub.pull("hospital-a/prostate-cspca", policy="strict")  # doctest: +SKIP
        >>> got.embedding.token  # doctest: +SKIP
        '<cspca>'
    """
    from embhub import destinations
    from embhub.release import unpacking

    if reference.startswith(HUB):
        from embhub.client.pulling import hub_pulling

        check_no_registry(reference, registry, token)
        return hub_pulling.pull(reference, out=out, policy=policy, require=require, on_progress=on_progress)
    folder = choose_folder(reference, out)
    destinations.check_folder(folder)
    unpacking.check_contents(folder)
    chosen = site_policy.choose(policy, require)
    fetched = fetch(reference, registry=registry, token=token, policy=chosen, on_progress=on_progress, fallbacks=True)
    taken_back = fetched.verified.yanked is not None or bool(fetched.verified.withdrawn)
    if taken_back and fetched.unasked:
        demands.refuse_taken_back(fetched.verified, hint="nothing was written; a copy still serves it")
    if taken_back and reference.partition("@")[2] != fetched.commit:
        demands.refuse_unpinned(fetched.verified, commit=fetched.commit)
    return keep(fetched, folder, name=name_in(reference))


def fetch(
    reference: str,
    *,
    registry: str | None = None,
    token: str | None = None,
    policy: Policy = policies.STANDARD,
    on_progress: OnProgress | None = None,
    fallbacks: bool = False,
) -> Fetched:
    """As `pull`, into memory: nothing is written, and the version is not remembered until `remember` is called.

    What is said of yanks and audits is remembered at once, whatever becomes of the release. `fallbacks`: whether the
    copies of the setting `fallback` may be asked, where no registry is named.
    """
    from embhub.client.account import accounts
    from embhub.client.log.http_log import HttpLog, PacedLog
    from embhub.client.trusted import vouching
    from embhub.client.wire import guard
    from embhub.site import config

    repository, _, revision = reference.partition("@")
    names.check_repository(repository)
    hub = accounts.connect(registry, token=token)
    trusts, remarks = vouching.trusted_by(hub.registry)
    try:
        committed, commit = hub.fetch(repository, revision or None, on_progress=on_progress)
    except RegistryError as error:
        if registry is not None or not fallbacks:
            raise
        from embhub.client.pulling import fallback

        return fallback.fetch(reference, first=hub, error=error, policy=policy, on_progress=on_progress)
    release = committed
    verified = verification.verify(
        release,
        trust=trusts,
        policy=replace(policy, demands=()),  # judged below, when the registry was asked
        repository=repository,
        now=datetime.now(UTC),
        seen=seen.accepted(),
        requested=None if names.is_commit(revision) or names.version_fault(revision) else revision,
        pinned=names.is_commit(revision) and commit.startswith(revision),
    )
    check_commit(verified, commit, requested=revision)
    asked = HttpLog(hub.registry, token or config.token_for(hub.registry))
    source = PacedLog(asked, seconds=guard.LONGEST_CALL)
    now = datetime.now(UTC)
    entry = logged.check(verified, release, trusts=trusts, source=source, now=now)
    papers = logged_attestations.check(entry.verified, release, trusts=trusts, source=source, now=now)
    kept = papers.proofs if entry.proof is None else {**papers.proofs, logged.PROOF: entry.proof}
    release = release.with_files({**release.files, **kept}) if kept else release
    designs = partial(hub.statements, "designs")
    looked = logged_designs.check(papers.verified, release, trusts=trusts, source=source, ask=designs, now=now)
    told, listed = standing.ask(hub, looked, commit, trusts)
    told = standing.ask_evaluations(hub, told, trusts)
    verified = memory.say_signer(replace(told, findings=(*told.findings, *remarks)))
    verified = memory.with_ledger_findings(verified, release)
    note(verified, listed=listed)
    is_copy = not vouching.is_itself(hub.registry, verified.signer.registry)
    return Fetched(demands.hold(verified, policy), release, commit, listed, committed, is_copy)


def check_no_registry(reference: str, registry: str | None, token: str | None) -> None:
    """Raises UsageError: a registry or its token was named for a repository of the public Hub."""
    if registry is not None or token is not None:
        raise UsageError(
            f"{reference} is on the public Hub: --registry and --token say nothing about it",
            "leave them out; every registry that is pinned here may vouch for its own members",
        )


def verify_path(
    target: str | Path,
    *,
    policy: str | Policy = "standard",
    require: str | Iterable[str] = (),
    registry: str | None = None,
    token: str | None = None,
    on_progress: OnProgress | None = None,
) -> Verified:
    """Verify a signed file, a folder as `pull` writes it, or a repository. Only the last one needs a network.

    A file or folder is judged by what this site heard of it earlier.

    Args:
        target: The file, the folder, `namespace/name`, or `hub:owner/name`. What exists on this disk has precedence.
        policy: As for `pull`.
        require: As for `pull`.
        registry: As for `pull`; for a repository.
        token: As for `pull`; for a repository.
        on_progress: Called with each step.

    Returns:
        The verified release. Its findings list every check.

    Raises:
        VerificationError: It is not what a trusted publisher signed.
        PolicyError: The signatures hold, but the policy refuses the release.
        RegistryError: The registry refuses or cannot be reached.
        UsageError: There is nothing of that name.
        ConfigError: No keyring is trusted.

    Example:
        >>> import embhub
        >>> try:
        ...     embhub.verify("signed/prostate-cspca.safetensors")
        ... except embhub.EmbhubError as error:  # no registry's keyring is trusted on this machine yet
        ...     print(type(error).__name__)
        ConfigError
    """
    verified, _ = open_release(
        target, policy=policy, require=require, registry=registry, token=token, on_progress=on_progress
    )
    return verified


def open_release(
    target: str | Path,
    *,
    policy: str | Policy = "standard",
    require: str | Iterable[str] = (),
    registry: str | None = None,
    token: str | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Verified, Release]:
    """As `verify_path`, with the release that was verified."""
    chosen = site_policy.choose(policy, require)
    if str(target).startswith(HUB) and not Path(target).exists():
        from embhub.client.pulling import hub_pulling

        check_no_registry(str(target), registry, token)
        fetched = hub_pulling.fetch(str(target), policy=chosen, on_progress=on_progress)
        remember(fetched)
        return fetched.verified, fetched.release
    if names_repository(target):
        where = {"registry": registry, "token": token}
        fetched = fetch(str(target), policy=chosen, on_progress=on_progress, fallbacks=True, **where)
        remember(fetched)
        return fetched.verified, fetched.release
    release = read_release(target)
    return verify_release(release, target=target, policy=chosen), release


def open_target(target: str, registry: str | None) -> Opened:
    """An embedding to use: a file or folder, verified where it is signed, or a repository, fetched and verified.

    Raises:
        EmbhubError: as `embhub.client.pulling.opening.open_path` and `verify_path`.
    """
    from embhub.client.pulling import opening

    if Path(target).is_file():
        return opening.open_path(target)
    verified = verify_path(target, registry=registry)
    return opening.Opened(
        verified.embedding, tuple(item.text for item in verified.findings if item.outcome == "warning")
    )


def verify_release(release: Release, *, target: str | Path, policy: Policy = policies.STANDARD) -> Verified:
    """Verify what was read from `target` on this disk, by the keyrings kept here.

    A folder may stand where a repository of the same name was meant; a finding then says which of the two it is.

    Raises:
        VerificationError: not what a trusted publisher signed, or older than what was accepted before.
        PolicyError: signed as it should be, and not what the policy takes.
        ConfigError: no keyring is trusted.
    """
    return demands.hold(_name_the_folder(verify_offline(release, policy=policy), target), policy)


def _name_the_folder(verified: Verified, target: str | Path) -> Verified:
    if names.repository_fault(str(target)) is not None:
        return verified
    if verified.repository == str(target):
        finding = Finding("repository", "ok", f"a folder here, signed for {target}; the registry was not asked")
    else:
        text = f"{target} is a folder here, signed for {verified.repository}; no repository {target} was asked for"
        finding = Finding("repository", "warning", text)
    return replace(verified, findings=tuple(finding if old.check == "repository" else old for old in verified.findings))


def names_repository(target: str | Path) -> bool:
    """Whether `target` names a repository: something on this disk wins over a repository of the same name."""
    text = str(target)
    fault = names.repository_fault(text.partition("@")[0])
    return fault is None and not text.endswith(".safetensors") and not Path(text).exists()


def search(
    query: str = "",
    *,
    limit: int = 50,
    facets: Mapping[str, Sequence[str]] | None = None,
    registry: str | None = None,
    token: str | None = None,
) -> list[Listing]:
    """List repositories of a registry: unverified, for people to choose from.

    Args:
        query: Words that the card has. By default every repository.
        limit: The most repositories.
        facets: Values by facet, such as `{"modality": ["MR"], "audit": ["no-leak-detected"]}`.
        registry: Address of the registry. By default the setting `registry`.
        token: Access token. By default the one that `embhub login` stored.

    Returns:
        What the registry lists, the best match first.

    Raises:
        RegistryError: The registry refuses or cannot be reached.
        ConfigError: No registry is set.

    Example:
        >>> import embhub
        >>> for found in embhub.search("prostate"):  # doctest: +SKIP
        ...     print(found.repository, found.verdict)
    """
    from embhub.client.account import accounts

    hub = accounts.connect(registry, token=token)
    try:
        return hub.search(query, limit=limit, facets=facets)
    except RegistryError as error:
        if registry is not None:
            raise
        from embhub.client.pulling import fallback

        return fallback.search(query, limit=limit, facets=facets, first=hub, error=error)
