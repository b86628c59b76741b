"""Where a registry's private keys are: its root, if it is here at all, and the keys that a server needs online.

The root of a registry that `init --root-key` made is on no disk here. Online keys (timestamp, advisories, log) and the
key that signs backups are outside the registry's folder then, and in no backup in any case.
"""

from __future__ import annotations

from pathlib import Path

from embhub.errors import ConfigError
from embhub.log import mldsa, notes
from embhub.log.notes import NoteSigner
from embhub.site.signing import keys, note_keys
from embhub.site.signing.keys import PassphraseRequiredError, SigningKey
from embhub.trust.keyring import LogKey, NamedKey, Purpose
from embhub.trust.root_keys import named

ROOT_KEY = "root"
BACKUP_KEY = "backup"  # signs backups and is in none of them
LOG_KEY, LOG_MLDSA_KEY = "log.pem", "log-mldsa.pem"  # Ed25519, and ML-DSA-44
PURPOSES: tuple[Purpose, ...] = ("timestamp", "advisories")
FOLDER = "keys"


class RegistryKeys:
    """The keys of the registry in `folder`; `online` is the folder of those that a server needs."""

    def __init__(self, folder: Path, online: Path | None = None) -> None:
        self.folder = folder / FOLDER
        self.online = online or self.folder

    @property
    def root_is_here(self) -> bool:
        """Whether a root key is in the registry's own folder."""
        return (self.folder / f"{ROOT_KEY}.pem").exists()

    def root(self) -> SigningKey:
        """The root key; only commands of the operator load it, the server never does.

        Raises:
            ConfigError: it is not here, or is encrypted.
        """
        return keys.load(ROOT_KEY, folder=self.folder)

    def local_root(self) -> SigningKey | None:
        """The root key where it is here and can sign without a person: neither elsewhere nor encrypted."""
        try:
            return self.root() if self.root_is_here else None
        except PassphraseRequiredError:
            return None

    def online_key(self, purpose: Purpose) -> SigningKey | None:
        """The key for `purpose` on this machine, or None."""
        return keys.load(purpose, folder=self.online) if (self.online / f"{purpose}.pem").exists() else None

    @property
    def log_state(self) -> Path:
        """Beside the log's key: the largest tree that it signed."""
        return self.online / "log.signed"

    def log_key(self, origin: str) -> NoteSigner | None:
        """The key that signs the log's checkpoints on this machine, or None."""
        path = self.online / LOG_KEY
        return notes.signer(note_keys.load(path), origin) if path.exists() else None

    def log_mldsa_key(self, origin: str) -> NoteSigner | None:
        """The log's ML-DSA-44 key on this machine, or None; None as well where this machine has no ML-DSA-44."""
        path = self.online / LOG_MLDSA_KEY
        if not mldsa.is_offered() or not path.exists():
            return None
        return notes.signer(note_keys.load_mldsa(path), origin, kind=notes.MLDSA44)

    def make_log_keys(self, origin: str) -> LogKey:
        """Both as the keyring names them, made where they are missing; the second where this machine has ML-DSA-44."""
        key = self.log_key(origin) or notes.signer(note_keys.make(self.online / LOG_KEY), origin)
        second = self.log_mldsa_key(origin)
        if second is None and mldsa.is_offered():
            second = notes.signer(note_keys.make_mldsa(self.online / LOG_MLDSA_KEY), origin, kind=notes.MLDSA44)
        return LogKey(vkey=str(key.public), mldsa=str(second.public) if second else None)

    def retire_log_key(self) -> None:
        """Keep the log's keys and state under other names; nothing is signed with them any more."""
        number = len(list(self.online.glob(f"{LOG_KEY}.retired-*"))) + 1
        for path in (self.online / LOG_KEY, self.online / LOG_MLDSA_KEY, self.log_state):
            if path.exists():
                path.rename(path.with_name(f"{path.name}.retired-{number}"))

    def backup_key(self) -> SigningKey:
        """The key that signs backups, made where there is none."""
        found = (self.online / f"{BACKUP_KEY}.pem").exists()
        return (keys.load if found else keys.generate)(BACKUP_KEY, folder=self.online)

    def make_online(self) -> dict[str, NamedKey]:
        """The online keys' public halves; keys that are not there yet are made.

        Raises:
            ConfigError: the folder cannot be written.
        """
        try:
            self.online.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot write {self.online}: {error.strerror}", "choose another --online-keys"
            ) from error
        self.backup_key()
        made: dict[str, NamedKey] = {}
        for purpose in PURPOSES:
            made[purpose] = named((self.online_key(purpose) or keys.generate(purpose, folder=self.online)).public)
        return made
