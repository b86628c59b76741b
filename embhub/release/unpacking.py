"""A verified release into a folder: whole or not at all, over an earlier pull and nothing else."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from embhub import destinations
from embhub.durable import write_atomic
from embhub.errors import ConfigError, EmbhubError
from embhub.refusals import Finding, ReleaseRefusedError
from embhub.release import files as release_files
from embhub.release.checks import attested
from embhub.release.files import Release
from embhub.trust import statement

EARLIER = "earlier-audits"
_AUDIT_FILES = (release_files.AUDIT, release_files.AUDIT_BUNDLE)


def check_contents(folder: Path) -> None:
    """Refuse to write over, or remove, what no pull left there, or to follow a link out of the folder.

    Raises:
        ConfigError: the folder holds other things than a release, or leads elsewhere.
    """
    for name in (*release_files.LIMITS, f"{EARLIER}/audit.json"):
        parent = (folder / name).parent
        if parent != folder and parent.is_symlink():
            raise ConfigError(f"{parent} is a link to another place", "remove it, or choose another --out")
    if folder.exists() and any(folder.iterdir()) and not (folder / release_files.PUBLISH_BUNDLE).exists():
        raise ConfigError(f"{folder} is there, and holds other things than a release", "choose another --out")


def write(release: Release, folder: Path, *, name: str) -> list[Finding]:
    """Write the release and a copy of the embedding under the repository's name; on a full disk, nothing.

    What an earlier pull left there and this release no longer has goes: it would vouch for nothing. Not so an audit of
    the same bytes: of the same version it stays, of another, or where another audit takes its place, it moves to the
    folder `earlier-audits`. Returns a finding where one did.

    Raises:
        ConfigError: the folder cannot be written.
    """
    staging = Path(tempfile.mkdtemp(dir=destinations.nearest(folder), prefix=".embhub-"))
    made = staging / "release"
    try:
        release.to_folder(made)
        write_atomic(made / f"{name}.safetensors", release.embedding.data)
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            made.rename(folder)
            return []
        stays, findings = _keep_audit(release, folder)
        for path in sorted(made.rglob("*")):
            if path.is_file():
                target = folder / path.relative_to(made)
                target.parent.mkdir(exist_ok=True)
                path.replace(target)
        for gone in release_files.LIMITS.keys() - release.files.keys() - stays:
            (folder / gone).unlink(missing_ok=True)
        return findings
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _keep_audit(release: Release, folder: Path) -> tuple[frozenset[str], list[Finding]]:
    """An audit of the same bytes that lies in the folder and not in the release: the names that stay, and a word."""
    try:
        before = Release.from_folder(folder)
        attestation = before.audit_bundle
        same_bytes = before.files.get(release_files.EMBEDDING) == release.files[release_files.EMBEDDING]
        if attestation is None or release_files.AUDIT not in before.files or not same_bytes:
            return frozenset(), []
        facts = statement.read_audit(statement.parse(attestation.envelope.payload))
        present = statement.read_publish(statement.parse(release.publish_bundle.envelope.payload))
    except (ReleaseRefusedError, EmbhubError):
        return frozenset(), []  # what cannot be read vouches for nothing
    now = release.audit_bundle
    if now is not None and (now.hint, release.files.get(release_files.AUDIT)) == (
        attestation.hint,
        before.files[release_files.AUDIT],
    ):
        return frozenset(), []
    version = (facts.repository, facts.version)
    if release_files.AUDIT not in release.files and version == (present.repository, present.version):
        text = f"the registry shows no audit of {present.version} any more; the one that lay here stays in {folder}"
        return frozenset(_AUDIT_FILES), [Finding(attested.CHECK, "warning", text)]
    stem = f"{facts.version}-{facts.report.sha256[:12]}"
    for name, suffix in zip(_AUDIT_FILES, (".json", ".sigstore.json"), strict=True):
        write_atomic(folder / EARLIER / f"{stem}{suffix}", before.files[name])
    text = f"the audit of these bytes that lay here, of {facts.version}, was kept as {EARLIER}/{stem}.json"
    return frozenset(), [Finding(attested.CHECK, "note", text)]
