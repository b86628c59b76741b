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
from embhub.trust import bundle, statement
from embhub.trust.statement import MiaAudit

EARLIER = "earlier-audits"


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
        stays, findings = _keep_audits(release, folder)
        held = _held(folder)
        for path in sorted(made.rglob("*")):
            if path.is_file():
                target = folder / path.relative_to(made)
                target.parent.mkdir(exist_ok=True)
                path.replace(target)
        for gone in held - release.files.keys() - stays:
            (folder / gone).unlink(missing_ok=True)
        return findings
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _held(folder: Path) -> set[str]:
    """Names of a release's files that may lie in the folder."""
    found = {path.relative_to(folder).as_posix() for path in folder.glob("attestations/*")}
    return {name for name in found if release_files.limit_of(name) is not None} | release_files.LIMITS.keys()


def _keep_audits(release: Release, folder: Path) -> tuple[frozenset[str], list[Finding]]:
    """Audits of the same bytes that lie in the folder and not in the release: the names that stay, and a word on each.

    An auditor's attestation stays beside the others; the publisher's own stays where the release has no report at all.
    """
    stays: set[str] = set()
    findings: list[Finding] = []
    try:
        before = Release.from_folder(folder)
        present = statement.read_publish(release.publish_bundle.statement)
    except EmbhubError:
        return frozenset(), []  # what cannot be read vouches for nothing
    if before.files.get(release_files.EMBEDDING) != release.files[release_files.EMBEDDING]:
        return frozenset(), []
    for path in before.files:
        if path != release_files.AUDIT_BUNDLE and release_files.auditor_in(path) is None:
            continue
        try:
            facts = _facts(before.files[path])
            if path in release.files and _facts(release.files[path]) == facts:
                continue
        except ReleaseRefusedError:
            continue
        report = before.files.get(release_files.AUDIT, b"")
        report = report if release_files.digest(report) == facts[0].report.sha256 else b""
        same_version = (facts[0].repository, facts[0].version) == (present.repository, present.version)
        own = path == release_files.AUDIT_BUNDLE
        if same_version and path not in release.files and not (own and release_files.AUDIT in release.files):
            stays |= {path, release_files.AUDIT} if report and release_files.AUDIT not in release.files else {path}
            text = f"the registry shows no audit of {present.version} any more; the one that lay here stays in {folder}"
            findings.append(Finding(attested.CHECK, "warning", text))
        else:
            findings.append(_set_aside(folder, path, facts[0], data=before.files[path], report=report))
    return frozenset(stays), findings


def _facts(data: bytes) -> tuple[MiaAudit, str]:
    """What an audit attestation says, but for the time when it was signed, and the key that it names."""
    attestation = bundle.parse(data)
    return statement.read_audit(attestation.statement).model_copy(update={"created": ""}), attestation.hint


def _set_aside(folder: Path, path: str, facts: MiaAudit, *, data: bytes, report: bytes) -> Finding:
    auditor = release_files.auditor_in(path)
    stem = f"{facts.version}-{facts.report.sha256[:12]}{'-' + auditor if auditor else ''}"
    name = f"{EARLIER}/{stem}.sigstore.json"
    write_atomic(folder / name, data)
    if report:
        name = f"{EARLIER}/{stem}.json"
        write_atomic(folder / name, report)
    text = f"the audit of these bytes that lay here, of {facts.version}, was kept as {name}"
    return Finding(attested.CHECK, "note", text)
