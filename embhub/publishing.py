"""From a trained file to a registry: sign, check everything here, and only then send."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from embhub import (
    accounts,
    config,
    embedding,
    instants,
    keys,
    names,
    roots,
    seen,
    site_files,
    statement,
    verification,
)
from embhub.errors import ConfigError, UsageError
from embhub.keys import PassphraseRequired, SigningKey
from embhub.progress import OnProgress
from embhub.refusals import Refusal, UnknownSigner, WrongNamespace, WrongRole
from embhub.release import Release
from embhub.signing import assemble
from embhub.trust import Keyring, Member, MemberKey, Trust
from embhub.verification import Verified

AskPassphrase = Callable[[str], str]


@dataclass(frozen=True)
class Signed:
    """What `sign` wrote: the release and the attestations beside the embedding's file."""

    release: Release
    repository: str
    version: str
    fingerprint: str
    wrote: tuple[Path, ...]


@dataclass(frozen=True)
class Pushed:
    """What a push did. `url` and `commit` are empty, and `folder` names what was written, after a dry run."""

    repository: str
    version: str
    digest: str
    url: str = ""
    commit: str = ""
    folder: str = ""
    files: tuple[str, ...] = ()


def sign(
    path: str | Path,
    *,
    repository: str | None = None,
    card: str | Path | None = None,
    audit: str | Path | None = None,
    key: str | None = None,
    ask_passphrase: AskPassphrase | None = None,
) -> Signed:
    """Sign an embedding together with its card and audit report, and write the attestations beside it.

    Args:
        repository: `namespace/name` that it will be published as  [default: the site's namespace and the file's stem].
        card: the card  [default: `STEM.card.yaml`].
        audit: the report  [default: `STEM.audit.json`, where it is there].
        key: name of the site key  [default: the setting `key`].
        ask_passphrase: called with the key's name where that key is encrypted.

    Raises:
        ArtifactError: the embedding, card or report is malformed or incomplete; every missing card field is listed.
        UsageError: a file is missing.
        ConfigError: no such key, no namespace, or the folder cannot be written.
    """
    path = Path(path)
    repository = _choose_repository(path, repository)
    signing_key = _load_key(key, ask_passphrase)
    release = assemble(
        path,
        card_path=card,
        audit_path=audit,
        repository=repository,
        key=signing_key,
        now=datetime.now(UTC),
        replaces=_find_predecessor(path, repository),
    )
    verified = _check(release, repository)
    wrote = site_files.write_bundles(release, path)
    return Signed(release, repository, verified.version, signing_key.fingerprint, tuple(wrote))


def push(
    path: str | Path | None = None,
    repository: str | None = None,
    *,
    registry: str | None = None,
    token: str | None = None,
    card: str | Path | None = None,
    audit: str | Path | None = None,
    key: str | None = None,
    ask_passphrase: AskPassphrase | None = None,
    dry_run: bool = False,
    out: str | Path | None = None,
    from_folder: str | Path | None = None,
    message: str = "",
    on_progress: OnProgress | None = None,
) -> Pushed:
    """Publish an embedding with its card, report and attestations as one commit; sign it first where it is not signed.

    Everything is checked here before the first byte is sent. `dry_run` writes what would go up to the folder `out` and
    asks no registry; `from_folder` sends such a folder unchanged, from a machine that has neither images nor key.

    Raises:
        VerificationError: an attestation does not fit: something was edited after signing.
        RegistryError: the registry refuses or cannot be reached.
        and as `sign`.
    """
    if (path is None) == (from_folder is None):
        raise UsageError("push takes one thing", "name a .safetensors file, or --from with a folder")
    if dry_run != (out is not None):
        raise UsageError("--dry-run and --out belong together", "say --dry-run --out DIR")
    if from_folder is not None:
        release = Release.from_folder(from_folder)
    else:
        release = _signed_release(
            Path(path or ""),
            repository,
            registry=registry,
            card=card,
            audit=audit,
            key=key,
            ask_passphrase=ask_passphrase,
        )
    verified = _check(release, repository, signed_from=path)
    if out is not None:
        _write_outbox(release, Path(out))
        return Pushed(
            verified.repository, verified.version, verified.digest, folder=str(out), files=tuple(sorted(release.files))
        )
    hub = accounts.connect(registry, token=token)
    receipt = hub.push(release, verified.repository, message=message, on_progress=on_progress)
    seen.remember(hub.registry, verified.repository, version=verified.version, digest=verified.digest)
    return Pushed(verified.repository, verified.version, verified.digest, receipt.url, receipt.commit)


def _signed_release(path: Path, repository: str | None, *, registry: str | None, **choices: Any) -> Release:
    """The release as it was signed, or signed now where no attestation lies beside the file."""
    bundle = site_files.beside(path, site_files.PUBLISH_BUNDLE)
    if bundle.exists() and choices["card"] is None and choices["audit"] is None:
        return Release.from_file(path)
    if repository is None and path.exists():
        repository = _choose_repository(path, None, registry)
    return sign(path, repository=repository, **choices).release


def _choose_repository(path: Path, repository: str | None, registry: str | None = None) -> str:
    if repository is None:
        settings = config.load(registry=registry)
        hub = accounts.connect(registry) if settings.registry and settings.token else None
        repository = f"{accounts.default_namespace(hub)}/{path.stem}"
    return names.check_repository(repository)


def _find_predecessor(path: Path, repository: str) -> str | None:
    """Digest of the newest release of `repository` that this site knows, unless it is the same embedding."""
    registry = config.load().registry
    before = seen.newest(registry, repository) if registry else None
    return None if before is None or before.digest == embedding.read(path).digest else before.digest


def _load_key(name: str | None, ask: AskPassphrase | None) -> SigningKey:
    name = name or config.load().key
    try:
        return keys.load(name)
    except PassphraseRequired:
        if ask is None:
            raise
        return keys.load(name, passphrase=ask(name))


def _check(release: Release, repository: str | None, *, signed_from: str | Path | None = None) -> Verified:
    """Verify as a stranger would, by a keyring that vouches for this site's own keys, else by the pinned ones.

    What the registry's keyring says of the signer is the registry's to decide, and its newest one may not be here.
    """
    try:
        return _verify(release, repository, datetime.now(UTC))
    except Refusal as refusal:
        if signed_from is not None:
            refusal.hint = f"if the change is this site's own, sign anew: embhub sign {signed_from}"
        raise


def _verify(release: Release, repository: str | None, now: datetime) -> Verified:
    publish = statement.read_publish(statement.parse(release.publish_bundle.envelope.payload))
    own = _vouch_for_own_keys(names.namespace_of(publish.repository), instants.write(now))
    try:
        return verification.verify(release, trust=own, repository=repository, now=now)
    except (UnknownSigner, WrongNamespace, WrongRole):
        pinned = roots.trusted_offline(hint="embhub trust add URL")
        return verification.verify(release, trust=pinned, repository=repository, now=now)


def _vouch_for_own_keys(namespace: str, now: str) -> Trust:
    held = tuple(
        MemberKey(fingerprint=key.fingerprint, public_key_pem=keys.public_pem(key.name), role="publish", added=now)
        for key in keys.list_keys()
    )
    member = Member(namespace=namespace, name=None, keys=held)
    return Trust("this site", "", Keyring(registry="http://localhost", version=1, issued=now, members=(member,)))


def _write_outbox(release: Release, folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not an empty folder", "choose another --out")
    if folder.exists():
        folder.rmdir()  # so that the folder appears whole or not at all
    release.to_folder(folder)
