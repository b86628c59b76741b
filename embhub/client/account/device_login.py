"""Logging in by the device flow (RFC 8628): a person approves in a browser, this machine gets the access token."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embhub.client.account import accounts
from embhub.client.wire import connecting, http_client
from embhub.client.wire.http_client import StatusError
from embhub.errors import ConfigError, RegistryError
from embhub.formats.plain_text import plain
from embhub.site import config
from embhub.site.pins import transport

if TYPE_CHECKING:
    from embhub.client.wire.answers import Account

CODE, TOKEN, PAGE = "/embhub/v1/device/code", "/embhub/v1/device/token", "/login/device"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER = 5  # seconds that `slow_down` adds (RFC 8628 section 3.5)
LONGEST_WAIT, LONGEST_LIFE = 60, 3600  # seconds between two questions, and in all, whatever the registry says
LONGEST_CLIENT = 60  # characters, as the registry has it
_USER_CODE = re.compile(r"[A-Z0-9]{2,8}(-[A-Z0-9]{2,8}){0,3}")
_ENDS = {
    "access_denied": ("the request was denied in the browser", "run the command again, and approve it"),
    "expired_token": ("nobody approved the request in time", "run the command again"),
}


@dataclass(frozen=True)
class Prompt:
    """What the person is shown: where to go, and the code to compare there."""

    address: str
    code: str
    seconds: int


def log_in(
    registry: str | None, *, scope: str = "read", days: int = 90, show: Callable[[Prompt], None],
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Account, Path]:  # fmt: skip
    """Ask a registry for an access token, wait until a person approves it in a browser, and keep it.

    Args:
        registry: address of the registry, None for the one that is set.
        scope: what the token may do: `read`, `publish` or `admin`.
        days: lifetime of the token.
        show: is called once with what to tell the person.
        sleep: waits between two questions.

    Returns:
        the account, and the file (mode 0600) that holds the token.

    Raises:
        RegistryError: it was denied, nobody approved it in time, or the registry does not answer as RFC 8628 has it.
        ConfigError: no registry is set, it is a folder, or the file cannot be written.
    """
    address = config.load(registry=registry).registry
    if address is None or config.folder_of(address) is not None:
        raise ConfigError("log in to which registry?", "pass --registry https://…: a folder has no accounts")
    address = config.check_registry(address)
    transport.check(address)
    client = connecting.open_client(address, None)
    asked = {
        "client": f"embhub on {platform.node() or 'a machine'}"[:LONGEST_CLIENT],
        "scope": scope,
        "days": str(days),
    }
    with _translated(address):
        begun = client.ask(CODE, method="POST", send=asked)
    device_code, prompt, interval = _read(begun, address)
    show(prompt)
    token = _wait(client, address, device_code, interval=interval, seconds=prompt.seconds, sleep=sleep)
    return accounts.log_in(address, token=token)


def _wait(
    client: connecting.Client, address: str, device_code: str, *, interval: float, seconds: float,
    sleep: Callable[[float], None],
) -> str:  # fmt: skip
    waited = 0.0
    while waited < seconds:
        sleep(interval)
        waited += interval
        try:
            with http_client.in_words(address):
                answer = client.ask(TOKEN, method="POST", send={"grant_type": GRANT, "device_code": device_code})
        except StatusError as error:
            if error.said in _ENDS:
                raise RegistryError(*_ENDS[error.said]) from error
            if error.said == "slow_down" or error.status == 429:
                interval = min(interval + SLOWER, LONGEST_WAIT)
            elif error.said != "authorization_pending" and error.status < 500:
                raise _refused(address, error) from error
            continue
        except ValueError as error:
            raise _invalid(address) from error
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise _invalid(address)
        return token
    raise RegistryError(*_ENDS["expired_token"])


def _read(begun: Any, address: str) -> tuple[str, Prompt, float]:
    """The device code, what to show, and how long to wait; the page is the registry's own, whatever it answers."""
    try:
        device_code, user_code = begun["device_code"], begun["user_code"]
        seconds, interval = begun["expires_in"], begun.get("interval", 5)
    except (TypeError, KeyError, AttributeError) as error:
        raise _invalid(address) from error
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in (seconds, interval))
    if not whole or not isinstance(device_code, str) or not isinstance(user_code, str):
        raise _invalid(address)
    if not _USER_CODE.fullmatch(user_code) or not 0 < len(device_code) <= 200:
        raise _invalid(address)
    prompt = Prompt(f"{address}{PAGE}?code={user_code}", user_code, min(max(seconds, 1), LONGEST_LIFE))
    return device_code, prompt, float(min(max(interval, 1), LONGEST_WAIT))


@contextmanager
def _translated(address: str) -> Iterator[None]:
    """What goes wrong when a registry is asked, in words."""
    try:
        with http_client.in_words(address):
            yield
    except StatusError as error:
        raise _refused(address, error) from error
    except ValueError as error:
        raise _invalid(address) from error


def _refused(address: str, error: StatusError) -> RegistryError:
    if error.status in (404, 405):
        return RegistryError(f"{address} has no login by a browser", "run `embhub login` with an access token")
    return RegistryError(f"{address} refused: {plain(error.said) or error.status}", "ask its operator")


def _invalid(address: str) -> RegistryError:
    return RegistryError(f"{address} gave an invalid answer", "inform the registry's operator")
