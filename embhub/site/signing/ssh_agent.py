"""Signing with a key that an OpenSSH agent holds: the private key never leaves the agent, or the token behind it.

The two requests that this needs, of the protocol in OpenSSH's PROTOCOL.agent: list the keys, and sign.
An agent signs SHA-256 over the bytes with an ecdsa-sha2-nistp256 key (RFC 5656), which is what DSSE needs.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from embhub.errors import ConfigError
from embhub.trust import p256

_LIST, _KEYS, _SIGN, _SIGNED = 11, 12, 13, 14
_KIND = b"ecdsa-sha2-nistp256"
_MOST = 256 * 1024  # bytes of an answer, as OpenSSH bounds it
_PATIENCE = 60.0  # seconds: a token may wait for a touch, or the agent for a person's consent
_HINT = "start one with `eval $(ssh-agent)` and add the key with `ssh-add`; SSH_AUTH_SOCK names its socket"


@dataclass(frozen=True)
class AgentKey:
    """A P-256 key of the agent, by its public half."""

    name: str
    public: p256.PublicKey

    @property
    def public_pem(self) -> str:
        """The public half in PEM (SubjectPublicKeyInfo)."""
        return p256.public_pem(self.public)

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-add -l` prints it."""
        return p256.fingerprint(self.public)

    def sign(self, message: bytes) -> bytes:
        """DER signature over `message`, ECDSA with SHA-256.

        Raises:
            ConfigError: the agent is not there, does not hold the key any more, or refuses.
        """
        request = bytes([_SIGN]) + _string(_blob(self.public)) + _string(message) + struct.pack(">I", 0)
        answer = _ask(request, expected=_SIGNED, refusal=f"the agent does not sign with {self.fingerprint}")
        signature = _Reader(_Reader(answer).string())
        if signature.string() != _KIND:
            raise ConfigError("the agent signed with another algorithm than ECDSA P-256", _HINT)
        numbers = _Reader(signature.string())
        der = encode_dss_signature(numbers.number(), numbers.number())
        p256.verify(message, signature=der, key=self.public)
        return der


def find(fingerprint: str, *, name: str) -> AgentKey:
    """The agent's key with this fingerprint.

    Raises:
        ConfigError: there is no agent, or no such P-256 key in it.
    """
    answer = _Reader(_ask(bytes([_LIST]), expected=_KEYS, refusal="the agent does not list its keys"))
    held = []
    for _ in range(answer.count()):
        blob, _comment = answer.string(), answer.string()
        if _Reader(blob).string() == _KIND:
            held.append(AgentKey(name, _public(blob)))
    for key in held:
        if key.fingerprint == fingerprint:
            return key
    known = ", ".join(key.fingerprint for key in held) or "none"
    raise ConfigError(f"the agent has no P-256 key {fingerprint}", f"it has: {known}; `ssh-add` adds one")


def _public(blob: bytes) -> p256.PublicKey:
    try:
        key = serialization.load_ssh_public_key(_KIND + b" " + base64.b64encode(blob))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError("the agent lists a key that cannot be read", _HINT) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ConfigError("the agent lists a key that is not what it says", _HINT)
    return key


def _blob(public: p256.PublicKey) -> bytes:
    line = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])


def _ask(request: bytes, *, expected: int, refusal: str) -> bytes:
    """One request and its answer, without the byte that says its kind."""
    address = os.environ.get("SSH_AUTH_SOCK")
    if not address:
        raise ConfigError("there is no SSH agent: SSH_AUTH_SOCK is not set", _HINT)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(_PATIENCE)
            agent.connect(address)
            agent.sendall(_string(request))
            (length,) = struct.unpack(">I", _receive(agent, 4))
            if not 1 <= length <= _MOST:
                raise ConfigError("the agent's answer has no possible length", _HINT)
            answer = _receive(agent, length)
    except OSError as error:
        raise ConfigError(f"the SSH agent cannot be asked: {error.strerror or error}", _HINT) from error
    if answer[0] != expected:
        raise ConfigError(
            refusal, "is it locked, or does it ask for a consent that nobody gave? `ssh-add -l` lists keys"
        )
    return answer[1:]


def _receive(agent: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        if not (more := agent.recv(length - len(data))):
            raise ConfigError("the SSH agent hung up", _HINT)
        data += more
    return data


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


class _Reader:
    """The fields of an answer, one after the other; what is cut short is refused."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def count(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def string(self) -> bytes:
        return self._take(self.count())

    def number(self) -> int:
        return int.from_bytes(self.string(), "big")

    def _take(self, length: int) -> bytes:
        end = self._place + length
        if end > len(self._data):
            raise ConfigError("the SSH agent's answer is cut short", _HINT)
        found, self._place = self._data[self._place : end], end
        return found
