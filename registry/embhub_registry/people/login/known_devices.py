"""Browsers that logged in before: strangers' wrong codes do not lock them out (OWASP, device cookies).

https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies
"""

from __future__ import annotations

import secrets

from embhub_registry.people.secret_box import SealedElsewhereError, open_sealed, seal
from embhub_registry.storage.folder import Registry

LONGEST = 400


def make(registry: Registry, user: str) -> str:
    """What a browser that has just logged in as `user` keeps."""
    return seal(registry, secrets.token_hex(16).encode(), about=f"known device of {user}").hex()


def find(registry: Registry, user: str, cookie: str | None) -> str | None:
    """The name of the browser's own bucket of tries; None for one that did not log in as `user`."""
    if not cookie or len(cookie) > LONGEST:
        return None
    try:
        return open_sealed(registry, bytes.fromhex(cookie), about=f"known device of {user}").decode()
    except (SealedElsewhereError, ValueError):
        return None
