"""From a trained file to a registry: sign, check everything here, and only then send."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embhub import config, embedding, keys, statement, verification
from embhub import release as layout
from embhub.checks.claims import check_claim
from embhub.checks.refusals import Refusal, UnknownSigner, WrongNamespace, WrongRepository, WrongRole
from embhub.embedding import Embedding
from embhub.errors import ConfigError, UsageError
from embhub.formats import instants, names
from embhub.keys import PassphraseRequired, SigningKey
from embhub.progress import OnProgress
from embhub.release import Release
from embhub.signing import assemble, check_persons, sign_anew
from embhub.site import accounts, places, publications, roots, seen, site_files, trust_store
from embhub.site.books import books_are_kept
from embhub.site.publications import Confirm
from embhub.site.published_audits import charge_audit
from embhub.statement import Publish

if TYPE_CHECKING:
    from embhub.hub import Hub

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
    on_note: Callable[[str], None] | None = None,
) -> Signed:
    """Sign an embedding together with its card and audit report, and write the attestations beside it.

    A folder, as `pull` leaves it, is signed anew under its name and version, with another key perhaps; what an auditor
    attested stays. Its attestations are replaced.

    Args:
        path: `NAME.safetensors`, or a folder.
        repository: `namespace/name` that it will be published as  [default: the site's namespace and the file's stem].
        card: the card  [default: `STEM.card.yaml`].
        audit: the report  [default: `STEM.audit.json`, where it is there].
        key: name of the site key  [default: the setting `key`].
        ask_passphrase: called with the key's name where that key is encrypted.
        on_note: told where the report is about patients whom this site has no record of.

    From here on the report can leave: the site's privacy ledger charges everybody whom it shows.

    Raises:
        BudgetExceeded: a cap holds for a patient whom the report shows.
        ArtifactError: the embedding, card or report is malformed or incomplete; every missing card field is listed.
        PrivacyError: card or training facts look like personal data.
        UsageError: a file is missing.
        ConfigError: no such key, no namespace, or the folder cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        if repository or card or audit:
            raise UsageError(
                "a folder is signed anew as it is", "omit --repository, --card and --audit, or pass the file"
            )
        return _sign_folder(path, load_key(key, ask_passphrase), on_note)
    artifact = embedding.read(path)
    repository = names.check_repository(repository or f"{accounts.default_namespace()}/{path.stem}")
    signing_key = load_key(key, ask_passphrase)
    release = assemble(
        path,
        card_path=card,
        audit_path=audit,
        repository=repository,
        key=signing_key,
        now=datetime.now(UTC),
        replaces=_find_predecessor(artifact, repository),
    )
    publish = _check(release, repository)
    charge_audit(release, on_note=on_note)
    wrote = site_files.write_bundles(release, path)
    return Signed(release, repository, publish.version, signing_key.fingerprint, tuple(wrote))


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
    confirm: Confirm | None = None,
    on_note: Callable[[str], None] | None = None,
    on_progress: OnProgress | None = None,
) -> Pushed:
    """Publish an embedding with its card, report and attestations as one commit; sign it first where it is not signed.

    Everything is checked here before the first byte is sent. `dry_run` writes what would go up to the folder `out` and
    asks no registry; `from_folder` sends such a folder unchanged, from a machine that has neither images nor key.
    `confirm` is asked before a version without differential privacy whose patients differ from an earlier one's by one
    to nine; None says no.

    Raises:
        VerificationError: an attestation does not fit: something was edited after signing.
        PrivacyError: a text looks like personal data; nobody agreed to a version that is few patients apart.
        RegistryError: the registry refuses or cannot be reached.
        and as `sign`.
    """
    if (path is None) == (from_folder is None):
        raise UsageError("push takes one thing", "pass a .safetensors file, or --from with a folder")
    if dry_run != (out is not None):
        raise UsageError("--dry-run and --out belong together", "pass --dry-run --out DIR")
    if out is not None:
        _check_outbox(Path(out))
    hub = None if dry_run else accounts.connect(registry, token=token)
    if from_folder is not None:
        release = Release.from_folder(from_folder)
    else:
        choices = {"card": card, "audit": audit, "key": key, "ask_passphrase": ask_passphrase, "on_note": on_note}
        release = _signed_release(Path(path or ""), repository, hub=hub, **choices)
    publish = _check(release, repository, signed_from=path)
    _ask_ledger(release, publish, confirm)
    done = Pushed(publish.repository, publish.version, release.embedding.digest, files=tuple(sorted(release.files)))
    if hub is None:
        release.to_folder(Path(out or ""))
        _note(done)
        return replace(done, folder=str(out))
    receipt = hub.push(release, publish.repository, message=message, on_progress=on_progress)
    seen.remember(roots.name_of(hub.registry), publish.repository, version=publish.version, digest=receipt.digest)
    _note(done)
    return replace(done, url=receipt.url, commit=receipt.commit)


def _ask_ledger(release: Release, publish: Publish, confirm: Confirm | None) -> None:
    """What this site's ledger has to say before a release leaves; a machine without one only sends."""
    if not books_are_kept():
        return
    registry = accounts.only_registry()
    before = seen.newest(roots.name_of(registry), publish.repository) if registry else None
    also = [digest for digest in (publish.replaces, before.digest if before else None) if digest]
    digest = release.embedding.digest
    publications.ask_about_few_apart(digest, publish.repository, also=also, confirm=confirm)
    charge_audit(release, known_only=True)


def _note(done: Pushed) -> None:
    if books_are_kept():
        publications.note_published(done.digest, done.repository, done.version)


def _sign_folder(folder: Path, key: SigningKey, on_note: Callable[[str], None] | None) -> Signed:
    release = sign_anew(Release.from_folder(folder), key=key, now=datetime.now(UTC))
    publish = _check(release, None)
    charge_audit(release, known_only=True, on_note=on_note)
    release.to_folder(folder)
    wrote = tuple(folder / name for name in (layout.AUDIT_BUNDLE, layout.PUBLISH_BUNDLE) if name in release.files)
    return Signed(release, publish.repository, publish.version, key.fingerprint, wrote)


def _signed_release(path: Path, repository: str | None, *, hub: Hub | None, **choices: Any) -> Release:
    """The release as it was signed, or signed now where no attestation lies beside the file."""
    bundle = site_files.beside(path, site_files.PUBLISH_BUNDLE)
    if bundle.exists() and choices["card"] is None and choices["audit"] is None:
        return site_files.read(path)
    embedding.read(path)  # what is no embedding is said before anything about namespaces and keys
    return sign(path, repository=repository or f"{accounts.default_namespace(hub)}/{path.stem}", **choices).release


def _find_predecessor(artifact: Embedding, repository: str) -> str | None:
    """Digest of the newest release of `repository` that this site knows, unless it is the same embedding."""
    registry = accounts.only_registry()
    before = seen.newest(roots.name_of(registry), repository) if registry else None
    return None if before is None or before.digest == artifact.digest else before.digest


def load_key(name: str | None, ask: AskPassphrase | None) -> SigningKey:
    """The site's key of this name (the setting `key` where None); `ask` is called where it is encrypted.

    Raises:
        ConfigError: no such key, or no passphrase for it.
    """
    name = name or config.load().key
    try:
        return keys.load(name)
    except PassphraseRequired:
        if ask is None:
            raise
        return keys.load(name, passphrase=ask(name))


def _check(release: Release, repository: str | None, *, signed_from: str | Path | None = None) -> Publish:
    """Verify as a stranger would, as far as this machine can; returns what was signed.

    What the registry's newest keyring says of the signer is the registry's to decide: this site's own keys are vouched
    for here, then the pinned keyrings are asked; a machine that has neither leaves the signature to the registry.
    """
    try:
        publish = statement.read_publish(statement.parse(release.publish_bundle.envelope.payload))
        _verify(release, publish, repository)
        # needs no key, so it is found out also where nobody knows the signer
        check_claim(release.card, embedding=release.embedding, publish=publish)
    except Refusal as refusal:
        if signed_from is not None:
            refusal.hint = f"if the change is this site's own, sign anew: embhub sign {signed_from}"
        raise
    check_persons(release)  # again for what was signed earlier or elsewhere
    return publish


def _verify(release: Release, publish: Publish, repository: str | None) -> None:
    now = datetime.now(UTC)
    own = roots.vouch_for_own_keys(names.namespace_of(publish.repository), instants.write(now))
    try:
        verification.verify(release, trust=own, repository=repository, now=now)
    except (UnknownSigner, WrongNamespace, WrongRole):
        if pinned := trust_store.load_all():
            verification.verify(release, trust=pinned, repository=repository, now=now)
        elif repository not in (None, publish.repository):
            raise WrongRepository(f"this was signed for {publish.repository}, not for {repository}") from None


def _check_outbox(folder: Path) -> None:
    places.check_folder(folder)
    if folder.exists():
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} is not an empty folder", "choose another --out")
        folder.rmdir()  # so that it appears whole or not at all
