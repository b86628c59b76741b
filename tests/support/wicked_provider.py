"""An OpenID provider in a process of its own that does as it is told: `python -m tests.support.wicked_provider PORT`.

`PUT /_next` says which claims the next ID token has and how it errs; everything else is as OpenID Connect has it.
`oidc-provider-mock` is well-behaved, so that what must be refused comes from here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sys
import time
from typing import Any
from urllib.parse import parse_qsl, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "embhub-registry", "a secret of the client"
KEY, OTHER = (ECKey.generate_key("P-256", parameters={"kid": "one"}) for _ in range(2))
NEXT: dict[str, Any] = {}
CODES: dict[str, dict[str, str]] = {}


async def configuration(request: Request) -> Response:
    own = str(request.base_url).rstrip("/")
    issuer = NEXT.get("issuer_in_metadata", own)
    return JSONResponse(
        {"issuer": issuer, "authorization_endpoint": f"{own}/authorize", "token_endpoint": f"{own}/token",
         "jwks_uri": f"{own}/jwks", "response_types_supported": ["code"], "subject_types_supported": ["public"],
         "id_token_signing_alg_values_supported": ["ES256"]}
    )  # fmt: skip


async def jwks(_request: Request) -> Response:
    return JSONResponse(KeySet([KEY]).as_dict(private=False))


async def tell(request: Request) -> Response:
    NEXT.clear()
    NEXT.update(await request.json())
    return JSONResponse({})


async def authorize(request: Request) -> Response:
    asked = dict(request.query_params)
    assert (
        asked["response_type"] == "code" and asked["code_challenge_method"] == "S256" and asked["client_id"] == CLIENT
    )
    code = NEXT.get("code") or secrets.token_urlsafe(16)
    CODES[code] = asked
    answer = {"code": code, "state": NEXT.get("state", asked["state"]), **NEXT.get("answer", {})}
    return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", status_code=302)


async def token(request: Request) -> Response:
    form = dict(parse_qsl((await request.body()).decode()))
    sent = base64.b64decode(request.headers["authorization"].split()[1]).decode()
    asked = CODES.pop(str(form["code"]), None)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(str(form["code_verifier"]).encode()).digest()).rstrip(b"=")
    if sent.split(":")[0] != CLIENT or asked is None or asked["code_challenge"] != challenge.decode():
        return JSONResponse({"error": "invalid_grant"}, status_code=400)
    now, own = int(time.time()), str(request.base_url).rstrip("/")
    claims = {"iss": own, "aud": CLIENT, "sub": "s-1", "iat": now, "exp": now + 300, "nonce": asked["nonce"],
              "auth_time": now, **NEXT.get("claims", {})}  # fmt: skip
    claims = {name: value for name, value in claims.items() if value is not None}
    return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": sign(claims)})


def part(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def sign(claims: dict[str, Any]) -> str:
    match NEXT.get("signed", "well"):
        case "none":
            return ".".join(map(part, (json.dumps({"alg": "none"}), json.dumps(claims), "")))
        case "other":
            return jwt.encode({"alg": "ES256", "kid": "one"}, claims, OTHER)
        case "hmac":  # the public key as a shared secret
            parts = [part(json.dumps({"alg": "HS256", "kid": "one"})), part(json.dumps(claims))]
            signature = hmac.digest(KEY.as_pem(private=False), ".".join(parts).encode(), "sha256")
            return ".".join([*parts, base64.urlsafe_b64encode(signature).decode().rstrip("=")])
    return jwt.encode({"alg": "ES256", "kid": "one"}, claims, KEY)


ROUTES = [
    Route("/.well-known/openid-configuration", configuration), Route("/jwks", jwks), Route("/authorize", authorize),
    Route("/token", token, methods=["POST"]), Route("/_next", tell, methods=["PUT"]),
]  # fmt: skip

if __name__ == "__main__":
    uvicorn.run(Starlette(routes=ROUTES), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
