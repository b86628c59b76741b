"""What a repository holds: the embedding, its card, its audit report, a sheet of samples, and the attestations.

A release is bytes under known names; nothing in it is trusted before `verification.verify`.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from embhub.artifact import embedding
from embhub.artifact.embedding import Embedding
from embhub.audits.report import AuditReport
from embhub.cards.card import from_readme
from embhub.cards.card_schema import Card
from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.formats import tensors
from embhub.refusals import CardMismatchError, FileTooLargeError, UnreadableArtifactError, UnsignedError
from embhub.release.file_names import AUDIT as AUDIT
from embhub.release.file_names import AUDIT_BUNDLE as AUDIT_BUNDLE
from embhub.release.file_names import AUDIT_DESIGN as AUDIT_DESIGN
from embhub.release.file_names import AUDIT_RESULT as AUDIT_RESULT
from embhub.release.file_names import CARD as CARD
from embhub.release.file_names import EMBEDDING as EMBEDDING
from embhub.release.file_names import FILES as FILES
from embhub.release.file_names import LIMITS as LIMITS
from embhub.release.file_names import MODEL_BUNDLE as MODEL_BUNDLE
from embhub.release.file_names import MOST_ATTESTATIONS as MOST_ATTESTATIONS
from embhub.release.file_names import OCI_LAYOUT as OCI_LAYOUT
from embhub.release.file_names import PUBLISH_BUNDLE as PUBLISH_BUNDLE
from embhub.release.file_names import SAMPLES as SAMPLES
from embhub.release.file_names import SOURCE_BUNDLE as SOURCE_BUNDLE
from embhub.release.file_names import STUDY as STUDY
from embhub.release.file_names import approval_bundle as approval_bundle
from embhub.release.file_names import audit_bundle_of as audit_bundle_of
from embhub.release.file_names import auditor_in as auditor_in
from embhub.release.file_names import in_order as in_order
from embhub.release.file_names import is_approval as is_approval
from embhub.release.file_names import is_attestation as is_attestation
from embhub.release.file_names import is_log_proof as is_log_proof
from embhub.release.file_names import limit_of as limit_of
from embhub.release.file_names import too_many as too_many
from embhub.trust import bundle

_VIEWS = {  # of which file each parsed view of a release is
    "container": EMBEDDING, "embedding": EMBEDDING, "card": CARD, "audit": AUDIT,
    "publish_bundle": PUBLISH_BUNDLE, "audit_bundle": AUDIT_BUNDLE, "model_bundle": MODEL_BUNDLE,
    "source_bundle": SOURCE_BUNDLE,
}  # fmt: skip
_MAX_OTHERS = 1_000


def digest(data: bytes) -> str:
    """SHA-256 in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Release:
    """The files of a release, unverified: embedding, card, audit report, sample sheet and attestations.

    The parsed views raise what their parsers raise.

    Attributes:
        files: Bytes by name, of the files that a release may hold: those in `embhub.release.files.LIMITS`, and
            attestations of any predicate type.
        others: Names of further files, which no statement covers.
        copies: SHA-256 by name of every further `*.safetensors` file. It must be the embedding's own: `pull` writes
            one, named after the repository.

    Example:
        >>> import embhub
        >>> release = embhub.Release.from_files({"learned_embeds.safetensors": data, "notes.txt": b"mine"})
        >>> release.embedding.token, release.audit, release.others
        ('<cspca>', None, ('notes.txt',))
    """

    files: Mapping[str, bytes]
    others: tuple[str, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def container(self) -> tensors.TensorFile:
        """The embedding's tensors and header as they stand in the file. Raises as `embedding`."""
        if EMBEDDING not in self.files:
            raise UnreadableArtifactError(f"there is no {EMBEDDING}", "fetch the release again")
        return tensors.parse(self.files[EMBEDDING])

    @cached_property
    def embedding(self) -> Embedding:
        """The embedding.

        Raises:
            ArtifactError: It is malformed.
            UnreadableArtifactError: There is none.
        """
        container = self.container
        return embedding.interpret(self.files[EMBEDDING], container)

    @cached_property
    def card(self) -> Card:
        """The card.

        Raises:
            ArtifactError: It is malformed.
            CardMismatchError: There is none.
        """
        if CARD not in self.files:
            raise CardMismatchError(f"there is no card ({CARD})", "fetch the release again")
        return from_readme(self.files[CARD])

    @cached_property
    def audit(self) -> AuditReport | None:
        """The audit report, or None where there is none.

        Raises:
            ArtifactError: It is malformed.
        """
        return AuditReport.parse(self.files[AUDIT]) if AUDIT in self.files else None

    @cached_property
    def publish_bundle(self) -> bundle.Bundle:
        """The publish attestation.

        Raises:
            UnsignedError: There is none.
            MalformedBundleError: It is not a Sigstore bundle of the strict kind.
        """
        if PUBLISH_BUNDLE not in self.files:
            raise UnsignedError(
                f"the release is not signed: there is no {PUBLISH_BUNDLE}",
                "its publisher signs it with `embhub sign`; fetch it again from its registry",
            )
        return bundle.parse(self.files[PUBLISH_BUNDLE])

    @cached_property
    def audit_bundle(self) -> bundle.Bundle | None:
        """The audit attestation, or None where there is none.

        Raises:
            MalformedBundleError: It is not a Sigstore bundle of the strict kind.
        """
        return bundle.parse(self.files[AUDIT_BUNDLE]) if AUDIT_BUNDLE in self.files else None

    @cached_property
    def model_bundle(self) -> bundle.Bundle | None:
        """The signature in the format of OpenSSF model signing, or None where there is none.

        Raises:
            MalformedBundleError: It is not a Sigstore bundle of the strict kind.
        """
        return bundle.parse(self.files[MODEL_BUNDLE]) if MODEL_BUNDLE in self.files else None

    @cached_property
    def source_bundle(self) -> bundle.Bundle | None:
        """The publish attestation of the embedding that this one was ported from, or None where there is none.

        Raises:
            MalformedBundleError: It is not a Sigstore bundle of the strict kind.
        """
        return bundle.parse(self.files[SOURCE_BUNDLE]) if SOURCE_BUNDLE in self.files else None

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Release:
        """Make a release from bytes.

        Args:
            files: Bytes by name. Of files with unknown names, only the name is kept.

        Returns:
            The release, unverified.

        Raises:
            FileTooLargeError: A file exceeds the limit of its kind, or there are too many attestations.
        """
        limits = {name: limit for name in sorted(files) if (limit := limit_of(name)) is not None}
        for name, limit in limits.items():
            if len(files[name]) > limit:
                raise _too_large(name, limit)
        check_count(limits)
        others = tuple(sorted(files.keys() - limits.keys()))
        copies = {name: digest(files[name]) for name in others if name.endswith(".safetensors")}
        known = {name: bytes(files[name]) for name in in_order(limits)}
        return cls(MappingProxyType(known), others, MappingProxyType(copies))

    def without_log_proofs(self) -> Release:
        """Take out the log proofs that `pull` put beside the bundles: each is of one moment, and no commit needs it.

        Returns:
            The release, unverified.
        """
        return self.with_files({name: data for name, data in self.files.items() if not is_log_proof(name)})

    def without_approvals(self) -> Release:
        """Take out the approvals, which a registry puts in when it publishes.

        Returns:
            The release, unverified.

        Raises:
            FileTooLargeError: As `from_files`.
        """
        return self.with_files({name: data for name, data in self.files.items() if not is_approval(name)})

    def with_files(self, files: Mapping[str, bytes]) -> Release:
        """Make a release of other files; bytes that stay the same are not parsed again.

        Args:
            files: Bytes by name, as in a repository.

        Returns:
            The release, unverified.

        Raises:
            FileTooLargeError: As `from_files`.
        """
        changed = Release.from_files(files)
        for view, name in _VIEWS.items():
            if view in vars(self) and name in files and files[name] == self.files.get(name):
                vars(changed)[view] = vars(self)[view]
        return changed

    @classmethod
    def from_folder(cls, folder: str | Path) -> Release:
        """Read a release from a folder as `pull` writes it. No file is read beyond its limit.

        Args:
            folder: The folder.

        Returns:
            The release, unverified.

        Raises:
            UsageError: There is no such folder, or it holds no file of a release.
            FileTooLargeError: A file exceeds the limit of its kind.
        """
        root = Path(folder)
        if not root.is_dir():
            raise UsageError(f"{root} is not a folder", "pass the folder that `embhub pull` wrote")
        held, others = _list(root)
        check_count(held)
        files = {name: read_file(root / name, limit=limit) for name, limit in held.items()}
        if not files:
            raise UsageError(f"{root} holds no release", f"a release has a {EMBEDDING}")
        for name in others:
            if name.endswith(".safetensors"):
                files[name] = read_file(root / name, limit=embedding.MAX_BYTES)
        found = cls.from_files(files)
        return cls(found.files, others, found.copies)

    def to_folder(self, folder: str | Path) -> None:
        """Write the release. A new folder appears whole or not at all; in an existing folder each file does.

        Args:
            folder: The folder to write.

        Raises:
            ConfigError: The folder cannot be written, or the disk is full.
        """
        target = Path(folder)
        if target.exists():
            _write(self.files, target)
            return
        import shutil
        import tempfile

        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        except OSError as error:
            raise ConfigError(f"cannot write in {target.parent}: {error.strerror}", "choose another folder") from error
        try:
            _write(self.files, staging)
            staging.chmod(0o755)
            staging.rename(target)
        except OSError as error:
            raise ConfigError(f"cannot write {target}: {error.strerror}", "choose another folder") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    for name, data in files.items():
        write_atomic(folder / name, data)


def is_oci_layout(folder: Path) -> bool:
    """Whether this is a folder that `embhub.release.oci_layout` reads."""
    return (folder / OCI_LAYOUT).is_file()


def read_file(path: Path, *, limit: int) -> bytes:
    """The bytes of a regular file, at most `limit` of them.

    Raises:
        UsageError: not a regular file, or not readable.
        FileTooLargeError: there are more.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is not a file", "remove it, and fetch the release again")
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "check the folder") from error
    if len(data) > limit:
        raise _too_large(path.name, limit)
    return data


def _list(root: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """The release's files in a folder, with their limits, and the names of all others."""
    held = {name: limit for name, limit in LIMITS.items() if (root / name).exists()}
    others: list[str] = []
    for count, path in enumerate(root.rglob("*"), 1):
        if count > _MAX_OTHERS:  # folders count, too
            raise UsageError(f"{root} holds far more than a release", "pass the folder of one release")
        name = path.relative_to(root).as_posix()
        if name in held or path.is_dir():
            continue
        if (limit := limit_of(name)) is not None:
            held[name] = limit
        else:
            others.append(name)
    return {name: held[name] for name in in_order(held)}, tuple(sorted(others))


def check_count(names: Iterable[str]) -> None:
    """Raises FileTooLargeError where these are more attestations than a release may hold."""
    if fault := too_many(names):
        raise FileTooLargeError(f"the release has {fault}", "a release holds no more: do not use it")


def _too_large(name: str, limit: int) -> FileTooLargeError:
    return FileTooLargeError(
        f"{name} has more than {limit:,} bytes", "a release holds nothing of that size: do not use it"
    )
