"""A registry whose root keys are elsewhere, and the people who sign its keyrings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from embhub.site.signing.keys import SigningKey
from embhub.trust import keyring as keyrings
from embhub.trust import proposal
from embhub.trust.proposal import Proposal
from embhub_registry.operation import administration, initialising
from embhub_registry.operation.keyrings import keyring_ceremony
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage.folder import Registry
from tests.support.releases import make_key

ANNA, BERT, CARL, NEW = (make_key(words) for words in ("root anna", "root bert", "root carl", "root new"))
URL = "https://hub.example.org"


def public(folder: Path, key: SigningKey) -> Path:
    path = folder / f"{key.name.replace(' ', '-')}.pub.pem"
    path.write_text(key.public_pem)
    return path


def private(folder: Path, key: SigningKey, *, passphrase: str = "") -> Path:
    path = folder / f"{key.name.replace(' ', '-')}.pem"
    how = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    path.write_bytes(key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    path.chmod(0o600)
    return path


def proposal_in(file: Path) -> Proposal:
    """What a file of `keyring propose` holds."""
    return proposal.parse(file.read_bytes())


def sign(file: Path, key: Path) -> dict[str, Any]:
    """What `keyring sign --yes` does; where it asks, the person knows the keyring in force."""
    reviewed = keyring_ceremony.review(file)
    if reviewed.asked is not None:
        reviewed = keyring_ceremony.confirm(reviewed, reviewed.asked)
    return keyring_ceremony.sign(file, key, reviewed=reviewed, passphrase=lambda: "")


@dataclass
class Ceremony:
    """A registry whose root is 2 of 3 keys that are elsewhere; each file of a proposal has a name of its own."""

    folder: Path
    count: int = 0
    name: str = "reg"

    @property
    def registry(self) -> Registry:
        return open_folder(self.folder / self.name)

    def add_key(
        self, key: SigningKey, *, namespace: str = "radboud", role: keyrings.Role = "publish"
    ) -> dict[str, Any]:
        registry = self.registry
        try:
            return administration.add_key(registry, public(self.folder, key), namespace=namespace, role=role)
        finally:
            registry.close()

    def propose(self, **arguments: Any) -> Path:
        self.count += 1
        registry = self.registry
        try:
            keyring_ceremony.propose(registry, self.folder / f"next-{self.count}.json", **arguments)
        finally:
            registry.close()
        return self.folder / f"next-{self.count}.json"

    def sign(self, file: Path, *keys: SigningKey) -> Path:
        for key in keys:
            sign(file, private(self.folder, key))
        return file

    def install(self, *files: Path) -> dict[str, Any]:
        registry = self.registry
        try:
            return keyring_ceremony.install(registry, files)
        finally:
            registry.close()

    def export(self) -> keyrings.TrustExport:
        registry = self.registry
        try:
            return keyrings.parse_export(registry.trust_export())
        finally:
            registry.close()


def begin(folder: Path, *keys: SigningKey, threshold: int) -> Ceremony:
    files = [public(folder, key) for key in keys]
    initialising.initialise(
        folder / "reg", name="Test", url=URL, audit="optional", root_keys=files, threshold=threshold
    )
    return Ceremony(folder)
