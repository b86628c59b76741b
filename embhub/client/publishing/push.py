"""From a trained file to a registry: sign, check everything here, and only then send."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embhub import destinations
from embhub.artifact import embedding
from embhub.artifact.embedding import Embedding
from embhub.client.account import accounts, origins
from embhub.client.trusted import vouching
from embhub.client.wire import visibility
from embhub.errors import ConfigError, PrivacyError, UsageError
from embhub.formats import instants, names
from embhub.ledger import publications, release_heads
from embhub.ledger.books import ledger_exists
from embhub.ledger.publications import Confirm
from embhub.ledger.published_audits import charge_audit
from embhub.progress import OnProgress
from embhub.refusals import (
    ReleaseRefusedError,
    UnknownSignerError,
    WrongNamespaceError,
    WrongRepositoryError,
    WrongRoleError,
)
from embhub.release import at_the_site, verification
from embhub.release import files as release_files
from embhub.release.checks.attested import LEAK
from embhub.release.checks.claims import check_claim
from embhub.release.files import Release
from embhub.release.signing import assemble, check_persons, sign_anew
from embhub.site import config
from embhub.site.memory import seen
from embhub.site.pins import trust_store
from embhub.site.signing import keys, signing_keys
from embhub.site.signing.keys import PassphraseRequiredError
from embhub.site.signing.signed import NotedKey
from embhub.trust import dsse, statement
from embhub.trust.statement import Publish

if TYPE_CHECKING:
    from embhub.client.wire.hub import Hub

AskPassphrase = Callable[[str], str]


@dataclass(frozen=True)
class Signed:
    """What `sign` wrote.

    Attributes:
        release: The signed release.
        repository: `namespace/name` that it was signed for.
        version: `X.Y.Z` of the card.
        fingerprint: Fingerprint of the signing key, `SHA256:…`.
        wrote: The attestation files.
    """

    release: Release
    repository: str
    version: str
    fingerprint: str
    wrote: tuple[Path, ...]


@dataclass(frozen=True)
class Pushed:
    """What a push did. After a dry run, `url` and `commit` are empty, and `folder` names what was written.

    Attributes:
        repository: `namespace/name`.
        version: `X.Y.Z`.
        digest: SHA-256 of the embedding.
        url: Address of the repository's page.
        commit: The commit that the registry stored, 40 hex digits.
        folder: The folder that a dry run wrote.
        files: Names of the files of the release.
        visibility: `public`, `private` or `gated`, as the registry states it.
        created: Whether the push created the repository.
        proposed: Where the release waits for approval or for its embargo to end: the address of its review. Nobody
            else sees it until then. Empty where it is published.
    """

    repository: str
    version: str
    digest: str
    url: str = ""
    commit: str = ""
    folder: str = ""
    files: tuple[str, ...] = ()
    visibility: str = ""
    created: bool = False
    proposed: str = ""


def sign(
    path: str | Path,
    *,
    repository: str | None = None,
    registry: str | None = None,
    card: str | Path | None = None,
    audit: str | Path | None = None,
    key: str | None = None,
    ask_passphrase: AskPassphrase | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Signed:
    """Sign an embedding together with its card and audit report, and write the attestations beside it.

    A folder as `pull` writes it is signed again under its name and version, for example with another key. Its publish
    attestation is replaced; an independent auditor's attestation stays.

    A signature counts at one registry, which it names.

    A signed report can be published. So the site's privacy ledger charges every patient whom the report covers.

    Args:
        path: `NAME.safetensors`, or a folder.
        repository: `namespace/name` to publish it as. By default the site's namespace and the file's stem.
        registry: Address of the registry to sign for. By default the setting `registry`, or the only one known here.
            A folder keeps the one that it was signed for.
        card: The card. By default `STEM.card.yaml`.
        audit: The audit report. By default `STEM.audit.json`, where it exists.
        key: Name of the site's key. By default the setting `key`.
        ask_passphrase: Called with the key's name where that key is encrypted; returns the passphrase.
        on_note: Called with a remark where the report covers patients of whom this site has no record.

    Returns:
        What was signed, and the files written.

    Raises:
        BudgetExceededError: A patient whom the report covers would exceed a cap.
        ArtifactError: Embedding, card or report is malformed or incomplete; every missing field of the card is listed.
        PrivacyError: Card or training facts look like personal data.
        UsageError: A file is missing, or no registry is set.
        ConfigError: There is no such key or no namespace, or the folder cannot be written.

    Example:
        >>> import embhub
        >>> file, hub = "signed/prostate-cspca.safetensors", "https://hub.example.org"
        >>> signed = embhub.sign(file, repository="hospital-a/prostate-cspca", registry=hub)
        >>> signed.repository, signed.version, signed.wrote[-1].name
        ('hospital-a/prostate-cspca', '1.0.0', 'prostate-cspca.publish.sigstore.json')
    """
    path = Path(path)
    if path.is_dir():
        if repository or registry or card or audit:
            raise UsageError(
                "a folder is signed anew as it is",
                "omit NS/NAME, --registry, --card and --audit, or pass the file",
            )
        return _sign_folder(path, load_key(key, ask_passphrase), on_note)
    signed, _ = _sign_file(
        path, repository, registry=registry, card=card, audit=audit, key=key, ask_passphrase=ask_passphrase,
        on_note=on_note,
    )  # fmt: skip
    return signed


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
    private: bool = False,
    gated: bool = False,
    embargo: str = "",
    message: str = "",
    confirm: Confirm | None = None,
    on_note: Callable[[str], None] | None = None,
    on_progress: OnProgress | None = None,
) -> Pushed:
    """Publish an embedding with its card, report and attestations as one commit, and sign it first if it is not signed.

    Everything is checked here before the first byte is sent.

    Args:
        path: `NAME.safetensors`. Leave it out with `from_folder`.
        repository: `namespace/name`. By default the site's namespace and the file's stem.
        registry: Address of the registry. By default the setting `registry`.
        token: Access token. By default the one that `embhub login` stored.
        card: As for `sign`.
        audit: As for `sign`.
        key: As for `sign`.
        ask_passphrase: As for `sign`.
        dry_run: Write the release to the folder `out`, and contact no registry.
        out: New or empty folder for a dry run.
        from_folder: Send a folder that a dry run wrote, unchanged, from a machine without images or keys.
        private: If the push creates the repository, create it private: visible to its namespace and the operator.
        gated: Create it gated: its files go to accounts that the publisher lets in. With neither, the registry's
            default holds. A repository that exists and is something else is refused.
        embargo: Until when nobody but you and the approvers see the release, such as `2027-01-31T08:00:00Z`.
        message: Commit message. By default name and version.
        confirm: Asked before publishing a release whose own audit detected a leak, or a version without differential
            privacy whose patients differ from an earlier version's by one to nine. None refuses.
        on_note: As for `sign`, and called with the visibility of a repository that the push created.
        on_progress: Called with each step.

    Returns:
        What was published.

    Raises:
        VerificationError: An attestation does not fit: something was edited after signing.
        PrivacyError: A text looks like personal data, a cap would be exceeded, or nobody confirmed.
        ArtifactError: As for `sign`.
        UsageError: A file is missing, or the arguments contradict each other.
        ConfigError: As for `sign`; or no registry is set.
        RegistryError: The registry refuses or cannot be reached.

    Example:
        >>> import embhub
        >>> done = embhub.push("signed/prostate-cspca.safetensors", dry_run=True, out="outbox")
        >>> done.repository, done.files[:2]
        ('hospital-a/prostate-cspca', ('README.md', 'attestations/audit.sigstore.json'))
    """
    from embhub.client.publishing import sent

    if (path is None) == (from_folder is None):
        raise UsageError("push takes one thing", "pass a .safetensors file, or --from with a folder")
    if dry_run != (out is not None):
        raise UsageError("--dry-run and --out belong together", "pass --dry-run --out DIR")
    visible_to = visibility.choose(private=private, gated=gated, dry_run=dry_run)
    if out is not None:
        _check_outbox(Path(out))
    hub = None if dry_run else accounts.connect(registry, token=token)
    if path is None:
        release, publish = check_signed(
            Release.from_folder(from_folder or "").without_log_proofs().without_approvals(), repository
        )
    else:
        choices = {"card": card, "audit": audit, "key": key, "ask_passphrase": ask_passphrase, "on_note": on_note}
        choices["registry"] = hub.registry if hub else registry
        release, publish = _open_signed(Path(path), repository, hub=hub, **choices)
    if hub is not None:
        origins.check_destination(publish.registry, hub.registry)
    if hub is not None:
        ask_about_leak(release, confirm)
    ask_ledger(release, publish, confirm)
    done = Pushed(publish.repository, publish.version, release.embedding.digest, files=tuple(sorted(release.files)))
    if hub is None:
        release.to_folder(Path(out or ""))
        sent.note(release.embedding, done.repository, done.version, registry=publish.registry)
        return replace(done, folder=str(out))
    if embargo:  # a registry that knows none would publish at once: it is asked before anything is sent
        hub.call("/embhub/v1/review", what="releases under embargo")
    with sent.noted(release.embedding, publish) as begin:
        receipt = hub.push(
            release, publish.repository, message=message, visible_to=visible_to, embargo=embargo,
            on_progress=on_progress, on_commit=begin,
        )  # fmt: skip
    if on_note and receipt.created and receipt.visibility:
        on_note(visibility.in_words(publish.repository, receipt.visibility, waits=bool(receipt.proposed)))
    if receipt.proposed:  # not accepted by anybody yet: an older release is still the newest
        return replace(done, url=receipt.url, proposed=receipt.proposed, created=receipt.created)
    seen.remember(vouching.name_of(hub.registry), publish.repository, version=publish.version, digest=receipt.digest)
    return replace(done, url=receipt.url, commit=receipt.commit, visibility=receipt.visibility, created=receipt.created)


def ask_about_leak(release: Release, confirm: Confirm | None) -> None:
    """Ask before a release is sent whose own audit detected a leak.

    Raises:
        PrivacyError: nobody confirmed. Nothing was sent.
    """
    report = release.audit
    if report is None or report.verdict != LEAK:
        return
    question = f"the audit of this release says {LEAK}, and what is published cannot be taken back. {report.statement}"
    if not (confirm and confirm(f"{question} Send it nevertheless?")):
        raise PrivacyError(
            question,
            "train with --epsilon or on more patients and audit again; `embhub push --yes` sends it nevertheless",
        )


def ask_ledger(release: Release, publish: Publish, confirm: Confirm | None) -> None:
    """What this site's ledger has to say before a release leaves; a machine without one only sends.

    Raises:
        PrivacyError: nobody confirmed that few patients differ, or a cap would be exceeded.
    """
    if not ledger_exists():
        return
    registry = accounts.only_registry()
    before = seen.newest(vouching.name_of(registry), publish.repository) if registry else None
    also = [digest for digest in (publish.replaces, before.digest if before else None) if digest]
    ported = release.embedding.derived_from
    digest = release.embedding.digest if ported is None else ported.source
    publications.ask_about_few_apart(digest, also=also, confirm=confirm)
    charge_audit(release, known_only=True)


def _sign_folder(folder: Path, key: dsse.Signer, on_note: Callable[[str], None] | None) -> Signed:
    heads = release_heads.head_of if ledger_exists() else None
    release = sign_anew(Release.from_folder(folder), key=key, now=datetime.now(UTC), ledger=heads)
    publish = _verify(release, None)
    charge_audit(release, known_only=True, on_note=on_note)
    release.to_folder(folder)
    wrote = tuple(
        folder / name for name in (release_files.AUDIT_BUNDLE, release_files.PUBLISH_BUNDLE) if name in release.files
    )
    return Signed(release, publish.repository, publish.version, key.fingerprint, wrote)


def _open_signed(path: Path, repository: str | None, *, hub: Hub | None, **choices: Any) -> tuple[Release, Publish]:
    """The release as it was signed, or signed now where no attestation lies beside the file; verified either way."""
    bundle = at_the_site.beside(path, at_the_site.PUBLISH_BUNDLE)
    if bundle.exists() and choices["card"] is None and choices["audit"] is None:
        release = at_the_site.read(path)
        if repository is None or not _signed_here_for_another(release, repository):
            return check_signed(release, repository, signed_from=path)
        check_signed(release, None, signed_from=path)  # only the name changes: what was edited since is refused
    signed, publish = _sign_file(path, repository, hub=hub, **choices)
    return signed.release, publish


def _sign_file(
    path: Path, repository: str | None, *, registry: str | None, hub: Hub | None = None,
    card: str | Path | None, audit: str | Path | None,
    key: str | None, ask_passphrase: AskPassphrase | None, on_note: Callable[[str], None] | None,
) -> tuple[Signed, Publish]:  # fmt: skip
    """Sign a file with its papers, verify what was signed, charge the ledger, and write the attestations beside it."""
    opened = Release.from_files({release_files.EMBEDDING: embedding.read_bytes(path)})
    artifact = opened.embedding  # what is no embedding is said before anything about namespaces and keys
    repository = names.check_repository(repository or f"{accounts.default_namespace(hub)}/{path.stem}")
    origin = origins.to_sign_for(registry)
    signing_key = load_key(key, ask_passphrase)
    release = assemble(
        path,
        registry=origin,
        card_path=card,
        audit_path=audit,
        repository=repository,
        key=signing_key,
        now=datetime.now(UTC),
        replaces=_find_predecessor(artifact, repository),
        opened=opened,
        ledger=release_heads.head_of,
    )
    publish = _verify(release, repository)
    charge_audit(release, on_note=on_note)
    wrote = at_the_site.write_bundles(release, path)
    return Signed(release, repository, publish.version, signing_key.fingerprint, tuple(wrote)), publish


def _signed_here_for_another(release: Release, repository: str) -> bool:
    """Whether this site itself signed the release, and for another repository: then it only changed its mind."""
    attestation = release.publish_bundle
    own = {key.fingerprint for key in keys.list_keys()}
    return attestation.hint in own and statement.read_publish(attestation.statement).repository != repository


def _find_predecessor(artifact: Embedding, repository: str) -> str | None:
    """Digest of the newest release of `repository` that this site knows, unless it is the same embedding."""
    registry = accounts.only_registry()
    before = seen.newest(vouching.name_of(registry), repository) if registry else None
    return None if before is None or before.digest == artifact.digest else before.digest


def load_key(name: str | None, ask: AskPassphrase | None) -> NotedKey:
    """The site's key of this name (the setting `key` where None); `ask` is called where it is encrypted.

    What it signs is noted in this site's record.

    Raises:
        ConfigError: no such key, or no passphrase for it.
    """
    name = name or config.load().key
    try:
        return NotedKey(signing_keys.open_key(name))
    except PassphraseRequiredError:
        if ask is None:
            raise
        return NotedKey(signing_keys.open_key(name, passphrase=ask(name)))


def check_signed(
    release: Release, repository: str | None, *, signed_from: str | Path | None = None
) -> tuple[Release, Publish]:
    """What was signed earlier or elsewhere: verify it, and look once more for personal data before it is sent.

    Raises:
        VerificationError: it is not signed, or something was edited after signing.
        PrivacyError: a text looks like personal data.
    """
    try:
        publish = _verify(release, repository)
    except ReleaseRefusedError as refusal:
        if signed_from is not None:
            refusal.hint = f"if the change is this site's own, sign anew: embhub sign {signed_from}"
        raise
    check_persons(release)
    return release, publish


def _verify(release: Release, repository: str | None) -> Publish:
    """Verify as a stranger would, as far as this machine can; returns what was signed.

    What the registry's newest keyring says of the signer is the registry's to decide: this site's own keys are vouched
    for here, then the pinned keyrings are asked; a machine that has neither leaves the signature to the registry.
    """
    publish, now = statement.read_publish(release.publish_bundle.statement), datetime.now(UTC)
    namespace = names.namespace_of(publish.repository)
    own = vouching.vouch_for_own_keys(namespace, instants.write(now), origin=publish.registry)
    try:
        sources = [own, *trust_store.load_all()] if release.embedding.derived_from else None
        verification.verify(release, trust=own, repository=repository, now=now, source_trust=sources)
    except (UnknownSignerError, WrongNamespaceError, WrongRoleError):
        if pinned := trust_store.load_all():
            verification.verify(release, trust=pinned, repository=repository, now=now)
            return publish
        if repository not in (None, publish.repository):
            raise WrongRepositoryError(f"this was signed for {publish.repository}, not for {repository}") from None
        # needs no key, so it is found out also where nobody knows the signer
        check_claim(release.card, embedding=release.embedding, publish=publish)
    return publish


def _check_outbox(folder: Path) -> None:
    destinations.check_folder(folder)
    if folder.exists():
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} is not an empty folder", "choose another --out")
        folder.rmdir()  # so that it appears whole or not at all
