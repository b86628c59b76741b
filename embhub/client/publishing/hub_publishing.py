"""A release of a registry, published on the public Hub too: the same bytes, after every check that a push makes.

The Hub admits anything and withdraws nothing. So a release goes there only after its own registry admitted and
published it, and still serves it: what waits for approval, is under embargo, in quarantine, yanked or withdrawn, or
leaks by any audit that is known, is refused before the Hub is asked anything. What is sent is what the registry serves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embhub.client.account import accounts, origins
from embhub.client.publishing import hub_sending, sent
from embhub.client.publishing import push as publishing
from embhub.client.pulling import public_hub
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import site_policy
from embhub.client.wire import visibility
from embhub.client.wire.errors import NotAllowedError, NotFoundError
from embhub.errors import ConfigError, PrivacyError, RegistryError, UsageError
from embhub.ledger.publications import Confirm
from embhub.progress import OnProgress
from embhub.refusals import AnotherReleaseError
from embhub.release import files as release_files
from embhub.release.checks import yanks
from embhub.release.files import Release
from embhub.release.signing import check_persons
from embhub.site import config
from embhub.trust import statement

if TYPE_CHECKING:
    from embhub.client.pulling.pull import Fetched
    from embhub.client.wire.hub import Hub

DEMANDS = "no-leak,not-yanked"
"""What is demanded of a release beside the site's own policy."""
_OPENNESS = ("private", "gated", "public")


@dataclass(frozen=True)
class PublishedOnHub:
    """What was published on the Hub.

    Attributes:
        repository: `namespace/name` at its registry.
        version: `X.Y.Z`.
        digest: SHA-256 of the embedding.
        hub: `OWNER/NAME` on the Hub.
        url: Address of its page there.
        commit: The Hub's commit.
        files: Names of the files that were sent.
        visibility: `public`, `private` or `gated`.
        created: Whether the repository was created.
    """

    repository: str
    version: str
    digest: str
    hub: str
    url: str
    commit: str
    files: tuple[str, ...]
    visibility: str
    created: bool


def publish(
    target: str | Path,
    *,
    to: str = "hub",
    registry: str | None = None,
    token: str | None = None,
    private: bool = False,
    gated: bool = False,
    confirm: Confirm | None = None,
    on_note: Callable[[str], None] | None = None,
    on_progress: OnProgress | None = None,
) -> PublishedOnHub:
    """Publish on the Hub what a registry serves already.

    Args:
        target: the signed file, a folder with a release, or `namespace/name[@version]`.
        to: `hub`, or `hub:OWNER/NAME`. By default the account's own name there, and the release's name.
        registry: its registry. By default the setting `registry`.
        token: access token of that registry; the Hub's own is found by `public_hub.token`.
        private: create the repository private.
        gated: create it gated, by hand. It must not be more open than at its registry.
        confirm: asked after what the Hub does not do was said; None says no.
        on_note: called with each sentence of that.
        on_progress: called with each step.

    Returns:
        What was published.

    Raises:
        VerificationError: not signed, not what was signed, or not what the registry serves.
        PolicyError: a known audit says that it leaks, nobody audited it, or it was withdrawn.
        PrivacyError: a text looks like personal data, it would be more open than at its registry, or nobody agreed.
        RegistryError: the registry does not serve it, or registry or Hub refuse or cannot be reached.
        ConfigError: no token for the Hub, or huggingface_hub is not installed.
        UsageError: the arguments contradict each other, or there is a newer release.
    """
    place = check_place(to)
    wanted = visibility.choose(private=private, gated=gated, dry_run=False) or "public"
    hub_sending.check_installed()
    hub = accounts.connect(registry, token=token)
    address = _other_host(hub.registry)
    fetched = _fetch(target, hub, token=token, on_progress=on_progress)
    repository, release = fetched.verified.repository, fetched.release
    _check_standing(hub, fetched)
    _check_openness(hub, repository, wanted=wanted)
    check_persons(release)
    publishing.ask_ledger(release, statement.read_publish(release.publish_bundle.statement), confirm)
    account = hub_sending.open_account(address, public_hub.token())
    where = place or f"{account.name}/{pulling.name_in(repository)}"
    public_hub.check_name(where)
    _agree(fetched, where, address, wanted, hub.registry, confirm=confirm, on_note=on_note)
    _check_again(hub, fetched, wanted=wanted, token=token)
    receipt = account.send(
        release, where, visible_to=wanted, on_progress=on_progress,
        on_sent=lambda: sent.note(
            release.embedding, repository, fetched.verified.version, on=public_hub.PREFIX + where
        ),
    )  # fmt: skip
    return PublishedOnHub(
        repository, fetched.verified.version, fetched.verified.digest, where, f"{address}/{where}", receipt.commit,
        tuple(sorted(release.files)), receipt.visibility, receipt.created,
    )  # fmt: skip


def check_place(to: str) -> str:
    """The repository that `--to` names; empty for the default.

    Raises:
        UsageError: it names no place on the Hub.
    """
    if not to.strip():
        raise UsageError("--to is empty", "say --to hub or --to hub:OWNER/NAME, or leave --to out")
    if to == public_hub.PREFIX.rstrip(":"):
        return ""
    if not public_hub.is_reference(to) or "@" in to:
        raise UsageError(f"{to[:100]!a} is no place to publish", "say --to hub, or --to hub:OWNER/NAME")
    return public_hub.parse(to).repository


def _other_host(registry: str) -> str:
    """The Hub's address, which must not be the registry's: its clients may have HF_ENDPOINT set to it."""
    address = public_hub.endpoint()
    if config.same_origin(address, registry):
        raise ConfigError(
            f"HF_ENDPOINT names the registry itself, {registry}: nothing was sent",
            "unset HF_ENDPOINT, and HF_TOKEN where it holds the registry's token",
        )
    return address


def _fetch(target: str | Path, hub: Hub, *, token: str | None, on_progress: OnProgress | None) -> Fetched:
    """The release as its registry serves it, verified; what lies on this disk has to be the same."""
    if pulling.names_repository(target):
        return _fetch_from_registry(str(target), hub, token=token, on_progress=on_progress)
    own = pulling.read_release(target).without_log_proofs().without_approvals()
    own, publish = publishing.check_signed(own, None)
    origins.check_destination(publish.registry, hub.registry)
    reference = f"{publish.repository}@{publish.version}"
    fetched = _fetch_from_registry(reference, hub, token=token, on_progress=on_progress)
    _compare(own, fetched.committed, reference)
    return fetched


def _fetch_from_registry(reference: str, hub: Hub, **choices: Any) -> Fetched:
    policy = site_policy.choose("standard", DEMANDS)
    try:
        return pulling.fetch(reference, registry=hub.registry, policy=policy, **choices)
    except NotFoundError as error:
        error.message = f"{hub.registry} does not serve {reference}: {error.message}"
        error.hint = "what goes on the Hub is published at its registry first: `embhub push`, approval, end of embargo"
        raise


def _compare(own: Release, served: Release, reference: str) -> None:
    for name, data in own.files.items():
        if served.files.get(name) != data:
            raise AnotherReleaseError(
                f"{name} here is not what the registry serves of {reference}",
                "push what is here to the registry first; or name the release instead of the file",
            )


def _check_standing(hub: Hub, fetched: Fetched) -> None:
    """Its registry says that it is the newest and not set aside, and that this account publishes it."""
    repository = fetched.verified.repository
    newest = hub.call(f"/api/models/{repository}", what=repository).get("sha")
    said = hub.status(repository)
    if said is None:
        raise RegistryError(
            f"{hub.registry} keeps no list of what was withdrawn", "publish from the registry itself, not from a copy"
        )
    try:
        aside = yanks.parse_quarantined(said, repository=repository)
    except ValueError as error:
        raise RegistryError(f"{hub.registry} returned an invalid list of what was withdrawn", "try later") from error
    if fetched.commit in aside:
        raise PrivacyError(
            f"{repository} {fetched.verified.version} is in quarantine at {hub.registry}: nothing was sent",
            "wait until its operator has looked at it",
        )
    if newest != fetched.commit:
        raise UsageError(
            f"{fetched.verified.version} is not the newest release of {repository} at {hub.registry}",
            f"the Hub's readers would get it as the newest one; publish {repository}",
        )
    hub.read(f"/api/models/{repository}/auth-check/write", what=repository, limit=10_000)


def _check_again(hub: Hub, fetched: Fetched, *, wanted: str, token: str | None) -> None:
    """The same once more right before it is sent: a person may have looked at the question for a long time."""
    repository = fetched.verified.repository
    now = _fetch_from_registry(f"{repository}@{fetched.verified.version}", hub, token=token)
    if (now.commit, now.committed.files) != (fetched.commit, fetched.committed.files):
        raise AnotherReleaseError(f"{hub.registry} serves another {repository} by now: nothing was sent", "start again")
    _check_standing(hub, now)
    _check_openness(hub, repository, wanted=wanted)


def _check_openness(hub: Hub, repository: str, *, wanted: str) -> None:
    """Nobody sees on the Hub what the registry keeps from them; who sees it there is asked without a token."""
    from embhub.client.wire.hub import Hub as Client

    try:
        said = visibility.read(Client(hub.registry).call(f"/api/models/{repository}", what=repository))
    except (NotAllowedError, NotFoundError):
        said = "private"
    found = said or "private"
    if _OPENNESS.index(wanted) > _OPENNESS.index(found):
        raise PrivacyError(
            f"{repository} is {found} at {hub.registry}, and would be {wanted} on the Hub: nothing was sent",
            f"pass --{found}, or open the repository at its registry first",
        )


def _agree(
    fetched: Fetched, where: str, address: str, wanted: str, registry: str, *, confirm: Confirm | None,
    on_note: Callable[[str], None] | None,
) -> None:  # fmt: skip
    for line in differences(fetched, where, address=address, registry=registry):
        if on_note:
            on_note(line)
    question = f"Publish {fetched.verified.repository} {fetched.verified.version} as {wanted} on {address}/{where}?"
    if not (confirm and confirm(question)):
        raise PrivacyError(f"nobody agreed to publish on {address}: nothing was sent", "read the notes; --yes agrees")


def differences(fetched: Fetched, where: str, *, address: str, registry: str) -> tuple[str, ...]:
    """What the registry does for a release and the Hub does not, one sentence each, for people.

    Args:
        fetched: the release as its registry serves it.
        where: `OWNER/NAME` on the Hub.
        address: the Hub's address.
        registry: its registry's address.

    Returns:
        The sentences.
    """
    owner = where.partition("/")[0]
    proofs = sum(map(release_files.is_log_proof, fetched.release.files))
    log = f"{proofs} log proofs go along as files" if proofs else "no log proof goes along: this release has none"
    return (
        f"{address} admits anything: it checks no signature, card or audit; only `embhub pull hub:{where}` does",
        f"{address} knows no yank, quarantine or embargo: a withdrawal at {registry} reaches readers by `embhub trust"
        f" refresh`, and the files stay until somebody of {owner} deletes them",
        f"members of {owner} who may write, and the Hub's operator, can replace or delete it; copies of others stay",
        f"{address} keeps no transparency log: {log}, and they are as old as this day",
        f"{address} sees who downloads it, and countersignatures or evaluations that come later are not shown there",
    )
