"""Signing keys that are not files here: in an OpenSSH agent, or in a PKCS #11 token. `NAME.external.json` names one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embhub.errors import ConfigError
from embhub.formats import strict_json
from embhub.trust import p256

SCHEMA = "embhub.external-key/1"
SUFFIX = ".external.json"
MAX_BYTES = 8_192


@dataclass(frozen=True)
class Record:
    """What is kept of such a key: where it is, and its public half. No secret."""

    uri: str
    public_key_pem: str

    @property
    def public(self) -> p256.PublicKey:
        """The public half."""
        return p256.read_public(self.public_key_pem)

    @property
    def needs_pin(self) -> bool:
        """Whether a PIN must be given to sign."""
        return self.uri.startswith("pkcs11:")


def is_uri(text: str) -> bool:
    """Whether a text names a key held elsewhere, not a file."""
    return text.startswith(("agent:", "pkcs11:"))


def read(path: Path) -> Record | None:
    """The record of a key, None where there is no such file.

    Raises:
        ConfigError: it is damaged.
    """
    try:
        with path.open("rb") as stream:
            document = strict_json.read_object(stream.read(MAX_BYTES + 1), limit=MAX_BYTES)
        members = strict_json.exact(document, {"schema", "uri", "public_key_pem"}, what="the key's file")
        if members["schema"] != SCHEMA or not all(isinstance(value, str) for value in members.values()):
            raise strict_json.JsonError(f"it is not {SCHEMA}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except strict_json.JsonError as error:
        raise ConfigError(f"{path} is damaged: {error}", "remove it, then `embhub key add-external`") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    return Record(members["uri"], members["public_key_pem"])
