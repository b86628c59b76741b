"""A release from the public Hub: judged as a folder on this disk is, by the keyrings pinned here and what is known.

The Hub says nothing that counts: not who signed, not whether a newer version is there, not that a release is good. So
what a registry withdrew stays withdrawn, whatever the Hub still serves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from embhub import destinations
from embhub.client.pulling import public_hub, received
from embhub.client.pulling.public_hub import Place
from embhub.client.trusted import site_policy
from embhub.errors import EmbhubError
from embhub.formats import names
from embhub.progress import OnProgress
from embhub.refusals import Finding
from embhub.release import demands, unpacking
from embhub.release import policy as policies
from embhub.release.files import Release
from embhub.release.policy import Policy
from embhub.release.verification import Verified
from embhub.trust import statement


def pull(
    reference: str,
    *,
    out: str | Path | None = None,
    policy: str | Policy = "standard",
    require: str | Iterable[str] = (),
    on_progress: OnProgress | None = None,
) -> Verified:
    """Fetch a release from the Hub, verify it, and write it to a folder.

    Args:
        reference: `hub:OWNER/NAME`, or with `@` a commit, tag or branch.
        out: as for `embhub.pull`.
        policy: as for `embhub.pull`.
        require: as for `embhub.pull`.
        on_progress: called with each step.

    Returns:
        The verified release.

    Raises:
        VerificationError: not what a publisher signed whose registry is pinned here, or older than one seen before.
        PolicyError: the policy refuses it, or its registry withdrew it. Nothing was written.
        RegistryError: the Hub refuses or cannot be reached.
        ConfigError: no keyring is trusted, or the folder cannot be written.
        UsageError: no such reference.
    """
    folder = received.choose_folder(reference, out)
    destinations.check_folder(folder)
    unpacking.check_contents(folder)
    fetched = fetch(reference, policy=site_policy.choose(policy, require), on_progress=on_progress)
    demands.refuse_taken_back(
        fetched.verified,
        hint=f"nothing was written; the Hub still serves what {fetched.verified.signer.registry} withdrew",
    )
    return received.keep(fetched, folder, name=received.name_in(reference))


def fetch(
    reference: str, *, policy: Policy = policies.STANDARD, on_progress: OnProgress | None = None
) -> received.Fetched:
    """As `pull`, into memory; a withdrawn release is fetched, and says so.

    Raises:
        as `pull`.
    """
    place = public_hub.parse(reference)
    hub = public_hub.open_hub()
    with public_hub.in_words(place):
        release, commit = hub.fetch(place.repository, place.revision or None, on_progress=on_progress)
    version = place.revision and names.version_fault(place.revision) is None and not names.is_commit(place.revision)
    verified = received.verify_offline(
        release,
        policy=policy,
        repository=_signed_name(release),
        requested=place.revision if version else None,
        pinned=names.is_commit(place.revision),
    )
    verified = replace(verified, unanswered=frozenset({policies.YANKS, policies.AUDITS}))  # nobody was asked
    received.note(verified, listed=False)
    verified = demands.hold(_name_the_place(verified, place, hub.registry), policy)
    return received.Fetched(verified, release, commit, listed=False, committed=release, is_copy=True)


def _signed_name(release: Release) -> str | None:
    """The repository that the statement names, unverified: its owner on the Hub may have another name.

    None where no statement can be read; then the verification says why.
    """
    try:
        return statement.read_publish(release.publish_bundle.statement).repository
    except EmbhubError:
        return None


def _name_the_place(verified: Verified, place: Place, address: str) -> Verified:
    """Whether the Hub's repository is called as the release was signed for, which anybody may do."""
    signed = verified.repository
    text = f"{place} at {address} holds what {verified.signer.namespace} signed as {signed}"
    same = place.repository.rpartition("/")[2].lower() == signed.rpartition("/")[2].lower()
    finding = Finding("repository", "note" if same else "warning", text)
    return replace(verified, findings=tuple(finding if old.check == "repository" else old for old in verified.findings))
