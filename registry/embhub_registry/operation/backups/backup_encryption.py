"""Backups that only one key opens, in the format of age (https://age-encryption.org/v1), by pyrage.

The registry's machine needs the public half alone. Nothing unencrypted is written outside the registry's own folder.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from embhub.errors import ConfigError, UsageError
from embhub_registry.operation.backups.backup_file import BadBackupError

MAGIC = b"age-encryption.org/v1\n"
_LARGEST_KEY = 100_000


def read_recipients(named: Sequence[str]) -> list[Any]:
    """Public keys to encrypt to: `age1…`, or an SSH key, as `ssh-ed25519 AAAA…`.

    Raises:
        UsageError: one is neither. ConfigError: pyrage is missing.
    """
    if not named:
        return []
    pyrage = _pyrage()
    found = []
    for text in named:
        read = pyrage.ssh.Recipient if text.startswith("ssh-") else pyrage.x25519.Recipient
        try:
            found.append(read.from_str(text))
        except (pyrage.RecipientError, ValueError) as error:
            shown = "a secret key" if text.upper().startswith("AGE-SECRET") else repr(text[:40])
            raise UsageError(
                f"{shown} is no recipient", "give the public key that `age-keygen` prints: age1…, or one of ssh-keygen"
            ) from error
    return found


class _Target:
    """A file that pyrage writes to; it remembers the system's own error, of which pyrage drops the reason."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failed: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.failed = error
            raise

    def flush(self) -> None:
        self._file.flush()


@contextmanager
def writing(file: BinaryIO, recipients: list[Any]) -> Iterator[BinaryIO]:
    """What is written to the stream given goes into `file` encrypted. A failure leaves `file` unfinished and raises."""
    pyrage, failed = _pyrage(), list[BaseException]()
    target_file = _Target(file)
    source, target = os.pipe()

    def encrypt() -> None:
        with os.fdopen(source, "rb") as plain:
            try:
                pyrage.encrypt_io(plain, target_file, recipients)
            except BaseException as error:  # noqa: BLE001  # told in the thread that waits for it
                failed.append(target_file.failed or error)

    worker = threading.Thread(target=encrypt, name="encrypting a backup")
    worker.start()
    try:
        with os.fdopen(target, "wb") as stream:
            yield stream
    except BrokenPipeError:
        if not failed:
            worker.join()
        if not failed:
            raise
    finally:
        worker.join()
    if failed:
        raise failed[0] if isinstance(failed[0], OSError) else OSError(f"encryption failed: {failed[0]}")


def is_encrypted(file: Path) -> bool:
    """Whether it is a file of age, by its first bytes."""
    with file.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def decrypt(file: Path, identity: Path | None, target: Path) -> None:
    """Write what is in an encrypted backup to `target`, mode 0600.

    Raises:
        UsageError: no identity file was given, or it holds no key.
        BadBackupError: it is encrypted to another key, damaged or cut off. ConfigError: pyrage is missing.
    """
    if identity is None:
        raise UsageError(f"{file} is encrypted", "pass --identity FILE, the key whose public half it was encrypted to")
    pyrage = _pyrage()
    held = _read_identities(identity)
    with (
        file.open("rb") as sealed,
        os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as plain,
    ):
        target_file = _Target(plain)
        try:
            pyrage.decrypt_io(sealed, target_file, held)
        except (pyrage.DecryptError, ValueError, OSError) as error:
            if target_file.failed is not None:
                raise target_file.failed from error
            if "matching" in str(error):
                raise BadBackupError(
                    f"it is encrypted to another key than {identity} holds", "nothing was restored; give its own key"
                ) from error
            raise BadBackupError(f"it cannot be decrypted: {error}") from error


def _read_identities(path: Path) -> list[Any]:
    pyrage = _pyrage()
    hint = "give the file that age-keygen wrote, or a private key of ssh-keygen without a passphrase"
    try:
        data = path.read_bytes()[:_LARGEST_KEY]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint) from error
    try:
        if data.startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(data)]
        lines = [line.strip() for line in data.decode("ascii").splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (pyrage.IdentityError, ValueError) as error:
        raise UsageError(f"{path} holds no key that can decrypt", hint) from error
    if not found:
        raise UsageError(f"{path} holds no key that can decrypt", hint)
    return found


def _pyrage() -> Any:
    try:
        import pyrage
    except ModuleNotFoundError as error:
        raise ConfigError("encrypted backups need pyrage", "pip install pyrage") from error
    return pyrage
