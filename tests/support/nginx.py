"""nginx with the configuration that we ship, in front of a registry; only ports and paths are replaced."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from embhub_registry.database.clock import now
from tests.support import tools
from tests.support.servers import free_port

DEPLOY = Path(__file__).parents[2] / "registry/deploy"
PROGRAM = tools.which("nginx")
needs_nginx = tools.needs("nginx")
HOST = "hub.example.org"
FOREVER = "keepalive_requests 1000000000;"


@dataclass(frozen=True)
class Proxy:
    """An nginx that speaks TLS at `port` of loopback, as HOST; its processes start at `pid`."""

    port: int
    pid: int
    context: ssl.SSLContext

    def connect(self, *, timeout: float = 30.0) -> ssl.SSLSocket:
        """A connection, its certificate checked; HTTP/1.1."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        return self.context.wrap_socket(plain, server_hostname=HOST)  # the certificate is of the public name


@contextmanager
def proxy_before(
    url: str, folder: Path, *, snippet: str = "", file_cache: bool = False, port: int = 0, days: float = 1.0,
    changed: Mapping[str, str] | None = None,
) -> Iterator[Proxy]:  # fmt: skip
    """Run it, with a certificate of its own, until the block ends.

    Its server includes `snippet`, a file of ours; with `file_cache` it has the cache of public files that we ship. The
    certificate ends in so many `days`, or ended. `changed` has lines of our configuration, and what a wrong one has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_certificate(folder, days=days)
    port = port or free_port()
    snippets = [*([snippet] if snippet else []), *(["nginx-file-cache.conf"] if file_cache else [])]
    text = _configuration(url.removeprefix("http://"), port, folder, snippets=snippets, file_cache=file_cache)
    for before, after in (changed or {}).items():
        assert before in text
        text = text.replace(before, after)
    (folder / "nginx.conf").write_text(text)
    words = [str(PROGRAM), "-e", f"{folder}/start.log", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    checked = subprocess.run([*words, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    proxy = Proxy(port, process.pid, ssl.create_default_context(cafile=str(folder / "fullchain.pem")))
    try:
        _wait_until_it_listens(port)
        yield proxy
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def balancer(
    urls: Sequence[str], port: int, folder: Path, *, file_cache: bool = False, for_load: bool = False
) -> Iterator[int]:
    """An nginx in front of several servers, at `port` of loopback and without TLS; the rest is what we ship.

    With `for_load` it has no limits for one address, which would stop the load, and connections stay open. It gives
    the id of nginx's first process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    servers = "; server ".join(f"{url.removeprefix('http://')} max_fails=1 fail_timeout=2s" for url in urls)
    snippets = ["nginx-file-cache.conf"] if file_cache else []
    text = _configuration(servers, port, folder, snippets=snippets, file_cache=file_cache)
    text = re.sub(r"(?m)^\s*ssl_.*\n", "", text).replace(f"127.0.0.1:{port} ssl http2", f"127.0.0.1:{port}")
    text = text.replace("$host", "$http_host")  # with its port, which is in the registry's address here
    if for_load:
        text = re.sub(r"(?m)^\s*(?:limit_|access_log \").*\n", "", text)
        text = text.replace("access_log off;", f"access_log off; {FOREVER}")
    (folder / "nginx.conf").write_text(text)
    words = [str(PROGRAM), "-e", f"{folder}/start.log", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    checked = subprocess.run([*words, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=20)


def _configuration(
    registry: str, port: int, folder: Path, *, snippets: Sequence[str] = (), file_cache: bool = False
) -> str:
    text = (DEPLOY / "nginx.conf").read_text()
    above = "    ssl_protocols "
    assert above in text
    for snippet in snippets:
        text = text.replace(above, f"{(DEPLOY / snippet).read_text()}\n{above}")
    if file_cache:
        zone, kept = (DEPLOY / "nginx-file-cache-zone.conf").read_text(), "/var/cache/nginx/embhub-files"
        assert kept in zone
        text = zone.replace(kept, f'"{folder}/files"') + text
    for before, after in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("127.0.0.1:8642", registry),
        ("/etc/ssl/embhub-registry/", ""),  # beside the configuration
        ("/var/log/nginx/access.log", f'"{folder}/access.log"'),
    ):
        assert before in text
        text = text.replace(before, after)
    text = re.sub(r"(?m)^.*\[::\].*\n", "", text)
    user = "user root;" if os.geteuid() == 0 else ""  # its workers write below a folder that is the caller's alone
    return (
        f"daemon off; {user} worker_processes 1; pid nginx.pid; error_log error.log;"
        " events { worker_connections 1024; }\n"
        "http { access_log off; client_body_temp_path body; proxy_temp_path proxy;"
        f" fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n{text}}}\n"
    )


def _wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def write_certificate(folder: Path, *, days: float = 1.0) -> None:
    """`fullchain.pem` and `privkey.pem` for HOST and this machine, signed by itself, good for so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = _certificate(HOST, key, issuer=HOST, issuer_key=key, days=days)
    _write(folder, made, key, names=("fullchain.pem", "privkey.pem"))


class Authority:
    """A certificate authority of a test's own; its certificate is `clients-ca.pem` in `folder`."""

    def __init__(self, folder: Path, *, name: str = "clients") -> None:
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        folder.mkdir(parents=True, exist_ok=True)
        made = _certificate(name, self._key, issuer=name, issuer_key=self._key, authority=True)
        (folder / "clients-ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, folder: Path) -> tuple[Path, Path]:
        """A client's certificate and key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(name, key, issuer=self._name, issuer_key=self._key)
        _write(folder, made, key, names=(f"{name}.pem", f"{name}.key"))
        return folder / f"{name}.pem", folder / f"{name}.key"


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    authority: bool = False,
    days: float = 1.0,
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(days=30))
        .not_valid_after(now() + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def _write(folder: Path, made: x509.Certificate, key: ec.EllipticCurvePrivateKey, *, names: tuple[str, str]) -> None:
    (folder / names[0]).write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / names[1]).write_bytes(private)
