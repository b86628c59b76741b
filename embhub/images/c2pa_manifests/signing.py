"""Signing C2PA manifests into generated images, or beside the table of a data set. Nothing is fetched and no time told.

The library computes what is signed; the site's key signs it, from a file, an agent or a token.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from embhub.client.publishing.push import AskPassphrase, load_key
from embhub.durable import write_atomic
from embhub.errors import ConfigError, EmbhubError, UsageError
from embhub.images.c2pa_manifests import certificate, library
from embhub.images.c2pa_manifests.statement import Statement
from embhub.site import config
from embhub.site.signing.signed import Key

_SIGNATURE_HALF = 32


@dataclass(frozen=True)
class ManifestSigner:
    """A site's key with its chain of certificates (PEM)."""

    key: Key
    chain: str

    def sign_image(self, png: bytes, statement: Statement) -> bytes:
        """A PNG with a manifest in it.

        Raises:
            ConfigError: the key does not sign, or the certificate is not one for C2PA.
        """
        return self._sign("image/png", png, statement, embed=True)[0]

    def sign_file(self, data: bytes, media_type: str, statement: Statement) -> bytes:
        """A manifest that stands beside any file (a `.c2pa` file). Raises as `sign_image`."""
        return self._sign(media_type, data, statement, embed=False)[1]

    def sign_images(self, folder: Path, files: Sequence[str], statement: Statement, *, mode: int = 0o644) -> None:
        """Put a manifest into each of these files. Raises as `sign_image`; ConfigError where one cannot be written."""
        for name in files:
            write_atomic(folder / name, self.sign_image((folder / name).read_bytes(), statement), mode=mode)

    def facts(self) -> dict[str, str]:
        """What a manifest of a run says of it."""
        return {"signed_with": self.key.fingerprint}

    def _sign(self, media_type: str, data: bytes, statement: Statement, *, embed: bool) -> tuple[bytes, bytes]:
        c2pa = library.load()
        failures: list[EmbhubError] = []

        def sign(message: bytes) -> bytes:
            try:
                halves = decode_dss_signature(self.key.sign(message))
            except EmbhubError as error:  # the library can only be told that there is no signature
                failures.append(error)
                return b""
            return b"".join(half.to_bytes(_SIGNATURE_HALF, "big") for half in halves)

        target = io.BytesIO()
        try:
            signer = c2pa.Signer.from_callback(sign, c2pa.C2paSigningAlg.ES256, self.chain)
            builder = c2pa.Builder.from_json(
                json.dumps(statement.to_manifest()), context=c2pa.Context.from_dict(library.WRITING)
            )
            if not embed:
                builder.set_no_embed()
            manifest = bytes(builder.sign(signer, media_type, io.BytesIO(data), target))
        except c2pa.C2paError as error:
            if failures:
                raise failures[0] from error
            said = "".join(letter if letter.isprintable() else " " for letter in str(error))[:200]
            raise ConfigError(
                f"the C2PA manifest cannot be signed: {said}", "is --c2pa-certificate a certificate for C2PA?"
            ) from error
        return target.getvalue(), manifest


def open_signer(
    key: str | None, *, certificates: Path | None = None, ask_passphrase: AskPassphrase | None = None
) -> ManifestSigner | None:
    """The signer with a site's key of this name; None without a name.

    Without `certificates` (PEM, the key's own first) the key certifies itself: other programs then show an unknown
    signer.

    Raises:
        UsageError: certificates without a key or of another key, or c2pa's library is not installed.
        ConfigError: no such key, or no passphrase for it.
    """
    if key is None:
        if certificates is not None:
            raise UsageError("--c2pa-certificate without --c2pa", "name the signing key: --c2pa default")
        return None
    check_available()
    opened = load_key(key, ask_passphrase)
    if certificates is not None:
        return ManifestSigner(opened, certificate.read_chain(certificates, opened))
    return ManifestSigner(opened, certificate.issue(opened, organisation=config.load().namespace or ""))


def check_available() -> None:
    """Refuse to begin without the library. Raises UsageError."""
    library.load()
