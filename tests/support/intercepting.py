"""A hospital's proxy that opens TLS: an authority of its own signs a certificate for each host that is asked for.

Hosts are led to servers on this machine, so that a client can ask for `https://hub.example.org` without a name service.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from embhub_registry.database.clock import now

AUTHORITY = "Radboud Inspection CA"
Alter = Callable[[str, bytes], bytes]
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "proxy-connection"}


class Authority:
    """Signs a certificate for whoever is asked for; its own is in `file`."""

    def __init__(self, folder: Path) -> None:
        self._key, self._folder = ec.generate_private_key(ec.SECP256R1()), folder
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._guard = threading.Lock()
        self.file = folder / "hospital-ca.pem"
        self.file.write_bytes(self._sign(AUTHORITY, self._key.public_key(), ca=True))

    def context(self, host: str) -> ssl.SSLContext:
        """What a server that pretends to be `host` uses."""
        with self._guard:
            if host not in self._contexts:
                key = ec.generate_private_key(ec.SECP256R1())
                pem = key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                file = self._folder / f"{host}.pem"
                file.write_bytes(pem + self._sign(host, key.public_key(), ca=False))
                self._contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._contexts[host].load_cert_chain(file)
            return self._contexts[host]

    def _sign(self, name: str, public: ec.EllipticCurvePublicKey, *, ca: bool) -> bytes:
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, AUTHORITY)]
        usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[0])
            .issuer_name(names[1])
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - timedelta(days=1))
            .not_valid_after(now() + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False)
            .add_extension(usage, True)
        )
        if not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass
class Intercepting:
    """A running proxy.

    Attributes:
        url: For HTTPS_PROXY.
        authority: The PEM file for SSL_CERT_FILE.
        seen: Method and path of each request, as the proxy could read it.
        bodies: What clients sent, as the proxy could read it.
        alter: Changes the body of an answer, by its path.
    """

    url: str
    authority: Path
    seen: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    alter: Alter = staticmethod(lambda _path, body: body)  # noqa: RUF009  # a function, never changed

    def variables(self) -> dict[str, str]:
        """What a hospital's IT department tells its users to set."""
        return {"HTTPS_PROXY": self.url, "SSL_CERT_FILE": str(self.authority), "NO_PROXY": ""}


@contextmanager
def intercepting(hosts: Mapping[str, str], folder: Path) -> Iterator[Intercepting]:
    """Run it until the block ends; `hosts` leads names to addresses such as `127.0.0.1:8642`."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder)
    proxy = Intercepting("", authority.file)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        host = ""

        def do_CONNECT(self) -> None:
            name = self.path.rpartition(":")[0]
            if name not in hosts:
                self.send_error(502)
                return
            self.send_response_only(200)
            self.end_headers()
            self.host = name
            with suppress(OSError):  # a client that does not trust the authority hangs up
                self.connection = authority.context(name).wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
                self.close_connection = False

        def forward(self) -> None:
            proxy.seen.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            proxy.bodies.append(body)
            sent = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            sent |= {"X-Forwarded-For": "192.0.2.77", "X-Forwarded-Proto": "https"}
            line = http.client.HTTPConnection(hosts[self.host], timeout=60)
            try:
                line.request(self.command, self.path, body=body or None, headers=sent)
                answer = line.getresponse()
                data = proxy.alter(self.path, answer.read())
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                self.wfile.write(data)
                self.wfile.flush()
            finally:
                line.close()

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = forward

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join(timeout=20)
