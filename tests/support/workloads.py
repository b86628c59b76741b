"""A CI provider: an issuer of workload tokens in this process, on loopback, over real HTTP, with keys that rotate."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from tests.support.servers import free_port

BEARER = "the job's own bearer"
CLAIMS = {
    "sub": "repo:radboud/ct:ref:refs/heads/main", "repository": "radboud/ct", "repository_id": "123456",
    "repository_owner_id": "789", "ref": "refs/heads/main", "environment": "release",
}  # fmt: skip


@dataclass
class Provider:
    """Signs what it is told to; `asked` are the paths that were read."""

    url: str
    key: ECKey
    asked: list[str] = field(default_factory=list)
    numbers: int = 0
    keys_at: str = ""  # its `jwks_uri`, where that is not at its own address
    drip: float = 0.0  # seconds before each byte of an answer

    def token(
        self, audience: Any, *, key: ECKey | None = None, header: dict[str, Any] | None = None, **said: Any
    ) -> str:
        """A token as GitHub makes them; a claim that is None is left out."""
        self.numbers += 1
        now = int(time.time())
        claims = {"iss": self.url, "aud": audience, "iat": now, "nbf": now - 5, "exp": now + 300,
                  "jti": f"job-{self.numbers}", **CLAIMS, **said}  # fmt: skip
        key = key or self.key
        return jwt.encode(
            {"alg": "ES256", "kid": key.kid, **(header or {})}, {k: v for k, v in claims.items() if v is not None}, key
        )

    def rotate(self) -> None:
        """Another key in place of the present one."""
        self.key = new_key(f"key-{self.numbers + 1000}")


def new_key(kid: str) -> ECKey:
    """A key of nobody yet."""
    return ECKey.generate_key("P-256", parameters={"kid": kid})


@contextmanager
def ci_provider(host: str = "127.0.0.1") -> Iterator[Provider]:
    """The provider while the block runs."""
    port = free_port()
    provider = Provider(f"http://{host}:{port}", new_key("key-1"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path)
            provider.asked.append(path.path)
            body: Any = None
            if path.path == "/.well-known/openid-configuration":
                body = {"issuer": provider.url, "jwks_uri": provider.keys_at or f"{provider.url}/jwks"}
            elif path.path == "/jwks":
                body = KeySet([provider.key]).as_dict(private=False)
            elif path.path == "/request" and self.headers["Authorization"] == f"Bearer {BEARER}":
                body = {"value": provider.token(parse_qs(path.query)["audience"][0])}
            data = json.dumps(body).encode()
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            for part in [bytes([byte]) for byte in data] if provider.drip else [data]:
                time.sleep(provider.drip)
                self.wfile.write(part)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((host, port), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # whoever hangs up is what is tested
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
