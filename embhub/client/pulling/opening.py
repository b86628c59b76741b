"""An embedding from this disk, about to be used: verified where it is signed, and said where it is not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from embhub.artifact import embedding
from embhub.artifact.embedding import Embedding
from embhub.client.log import logged
from embhub.client.pulling import received
from embhub.client.statements.memory import recall, with_ledger_findings
from embhub.client.trusted import site_policy, vouching
from embhub.formats import instants, names
from embhub.release import at_the_site, demands, verification
from embhub.release import files as release_files
from embhub.release.verification import Verified
from embhub.site.memory import seen
from embhub.site.pins import trust_store
from embhub.site.signing import keys, signed
from embhub.trust import statement


@dataclass(frozen=True)
class Opened:
    """An embedding that may be loaded, and what its user should be told first; `verified` where it is signed."""

    embedding: Embedding
    warnings: tuple[str, ...]
    verified: Verified | None = None


def open_path(path: str | Path) -> Opened:
    """Read an embedding's file, or the one in a folder.

    Where a publish attestation lies beside the file or in its folder, the release is verified by the keyrings kept here
    and by this site's own keys. Where there is none, a warning says so: nobody vouches for the file. An OCI layout has
    one, or is refused.

    Raises:
        UsageError: no such file.
        ArtifactError: unsigned, and no well-formed embedding.
        VerificationError: signed, and not what a trusted publisher or this site signed.
        PolicyError: another site's, and not what this site's policy file takes.
    """
    path = Path(path)
    file = path / release_files.EMBEDDING if path.is_dir() else path
    if not (release_files.is_oci_layout(path) or _is_signed(file)):
        unsigned = f"{path} is not signed and was not verified"
        return Opened(embedding.read(file), (unsigned,))
    release = received.read_release(path)
    now = datetime.now(UTC)
    publish = statement.read_publish(statement.parse(release.publish_bundle.envelope.payload))
    namespace = names.namespace_of(publish.repository)
    own = vouching.vouch_for_own_keys(namespace, instants.write(now), origin=publish.registry)
    trusts = [*trust_store.load_all(), *([own] if own.keyring.members[0].keys else [])]
    chosen = site_policy.choose()
    verified = verification.verify(
        release, trust=trusts, now=now, seen=seen.accepted(), policy=replace(chosen, demands=())
    )
    is_own = verified.signer.fingerprint in {key.fingerprint for key in keys.list_keys()}
    is_new = logged.PROOF not in release.files and release.publish_bundle.envelope.identity in signed.known()
    # what this site signed, by its own record, need not be in a log yet
    if not (is_own and is_new) and logged.trust_of(verified, trusts) is not own:
        verified = received.say_log(verified, release, trusts=trusts, now=now)
    verified = with_ledger_findings(recall(verified), release)
    if not is_own:
        verified = demands.hold(verified, chosen)
    warnings = tuple(item.text for item in verified.findings if item.outcome == "warning")
    return Opened(verified.embedding, warnings, verified)


def _is_signed(file: Path) -> bool:
    return (
        at_the_site.beside(file, at_the_site.PUBLISH_BUNDLE).exists()
        or (file.parent / release_files.PUBLISH_BUNDLE).exists()
    )
