"""What works on this machine, and what would not: settings, keys, pinned registries, network, bases, disk, versions.

Nothing is changed. Without a network, or with `offline`, whatever needs none is still checked. Imports no torch.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata, util
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from embhub import builtin_bases
from embhub.client.account import accounts
from embhub.client.log import logged
from embhub.client.trusted import site_policy, vouching
from embhub.client.wire import connecting, guard, http_client
from embhub.client.wire.deadline import within
from embhub.client.wire.errors import AnswerTooSlowError
from embhub.client.wire.http_client import RegistryClient
from embhub.client.wire.hub import Hub
from embhub.errors import ConfigError, EmbhubError, VerificationError
from embhub.site import config
from embhub.site.pins import trust_store
from embhub.site.signing import keys
from embhub.trust import freshness
from embhub.trust import keyring as keyrings
from embhub.version import __version__

Outcome = Literal["ok", "note", "warning", "failed"]
_DIFFUSION = ("torch", "diffusers", "transformers", "accelerate", "opacus")
_CORE = ("numpy", "cryptography", "pydantic", "click")
_LOW = 2_000_000_000  # bytes: less than a base of Stable Diffusion takes
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    check: str
    outcome: Outcome
    text: str
    hint: str = ""


def examine(*, registry: str | None = None, offline: bool = False) -> list[Check]:
    """Every check but those of the graphics card, in the order in which a reader would mend things."""
    return [
        *_guarded("config", _check_config),
        *_guarded("config", _check_witnesses),
        *_guarded("keys", _check_keys),
        *_guarded("trust", _check_trust),
        *_check_proxy(os.environ),
        *_guarded("registry", lambda: _check_registry(registry, offline=offline)),
        *_check_versions(),
        *_check_bases(),
        *_check_disk(),
    ]


def has_torch() -> bool:
    """Whether torch is installed, without importing it."""
    return util.find_spec("torch") is not None


def _guarded(name: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """The checks; an error that stops one of them is its result."""
    try:
        yield from checks()
    except EmbhubError as error:
        yield Check(name, "failed", error.message, error.hint)


def _check_config() -> Iterator[Check]:
    folder = config.paths().config
    settings = config.load()
    site_policy.choose()
    file = folder / "config.yaml"
    yield Check("config", "ok", f"{file} is valid" if file.exists() else f"{file} is not there; defaults are used")
    stored = config.registries_logged_in()
    yield Check("config", "ok", f"registry {settings.registry or 'not set'}; access tokens stored: {len(stored)}")


def _check_witnesses() -> Iterator[Check]:
    """Whether the log policy has what the site's policy demands: else `verify` refuses every release."""
    if all(demand.name != "witnessed" for demand in site_policy.choose().demands):
        return
    policy = logged.site_policy()
    if policy.asks_for_witnesses:
        yield Check("config", "ok", f"the log policy names {len(policy.witnesses)} witnesses and a quorum")
    else:
        text = (
            "this site's policy asks for witnesses of the log, and its log policy names no quorum: releases are refused"
        )
        yield Check("config", "warning", text, "embhub log policy --witness KEY")


def _check_keys() -> Iterator[Check]:
    found = keys.list_keys()
    if not found:
        yield Check("keys", "note", "no signing key; publishing needs one", "embhub key new")
    for key in found:
        yield Check("keys", "ok", f"{key.name} {key.fingerprint}")


def _check_trust() -> Iterator[Check]:
    roots = trust_store.list_roots()
    if not roots:
        yield Check("trust", "warning", "no registry is trusted, so nothing can be verified", "embhub trust add URL")
    for root in roots:
        opened = trust_store.load(root.registry)  # an edited file is noticed
        if opened.root_fingerprint != root.root_fingerprint:
            text = f"{root.registry}, root key {root.root_fingerprint}, was replaced by {opened.root_fingerprint}"
            yield Check("trust", "warning", f"{text}; its keyring is used", f"embhub trust refresh {root.registry}")
            continue
        yield Check("trust", "ok", f"{root.registry}, root key {root.root_fingerprint}, keyring version {root.version}")


def _check_proxy(variables: Mapping[str, str]) -> Iterator[Check]:
    found = {name: value for name in _PROXIES if (value := variables.get(name) or variables.get(name.lower()))}
    for name, value in found.items():
        yield Check("proxy", "ok", f"{name} is {_without_password(value)}")
    if not found:
        yield Check("proxy", "note", "none is set; connections are direct")
    for name in _AUTHORITIES:
        if (path := variables.get(name)) and not Path(path).exists():
            yield Check("proxy", "failed", f"{name} names {path}, which is not there", f"correct or unset {name}")
        elif path:
            yield Check("proxy", "ok", f"certificate authorities are from {name}, {path}")


def _without_password(address: str) -> str:
    """The address of a proxy without the name and password that it may carry."""
    try:
        parts = urlsplit(address)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    except ValueError:
        return "set, and not readable as an address"


def _check_registry(registry: str | None, *, offline: bool) -> Iterator[Check]:
    address = config.load(registry=registry).registry or accounts.only_registry()
    if address is None:
        yield Check("registry", "note", "none is set", "set EMBHUB_REGISTRY, or pass --registry")
        return
    if offline:
        yield Check("registry", "note", f"{address} was not asked (--offline)")
        return
    token = config.load(registry=address).token
    hub = Hub(address, token=token)
    late = AnswerTooSlowError(f"{address} did not answer in {guard.LONGEST_QUESTION:.0f} s", "check network and proxy")
    export = within(guard.LONGEST_QUESTION, hub.trust_export, otherwise=late)
    keyrings.parse_export(export)
    yield Check("registry", "ok", f"{address} answers")
    yield from _check_certificate(address)
    pinned = {root.registry: root.root_fingerprint for root in trust_store.list_roots()}
    if address not in pinned:
        yield Check("registry", "warning", f"{address} is not trusted yet", f"embhub trust add {address}")
    else:
        yield from _check_root(address, export, pinned=pinned[address])
    if token is None:
        yield Check("registry", "note", "no access token; public embeddings need none", "embhub login")
    else:
        account = within(guard.LONGEST_QUESTION, hub.whoami, otherwise=late)
        yield Check(
            "registry", "ok", f"logged in as {account.name}; namespaces: {', '.join(account.namespaces) or '-'}"
        )


def _check_certificate(address: str) -> Iterator[Check]:
    """Who signed the certificate: the site's own authority there means that a proxy opens the connection."""
    client = connecting.open_client(address, None)
    if not isinstance(client, RegistryClient) or not address.startswith("https:"):
        return
    with http_client.in_words(address):
        client.read("/embhub/v1/trust", limit=4_000_000)
    text = f"its certificate is signed by {client.certificate_issuer}"
    yield Check("registry", "ok", f"{text}; if that is your own organisation, a proxy opens the connection")


def _check_root(address: str, export: bytes, *, pinned: str) -> Iterator[Check]:
    """What `verify` would say of the registry's root and keyring, by every pin of its name."""
    try:
        opened = trust_store.preview(address, export)
    except VerificationError as error:
        yield Check("registry", "failed", f"{address}: {error.message}", "do not use it")
        return
    if opened.passed:
        yield Check(
            "registry", "note", f"{address} has another root, which the pinned one signed", "embhub trust refresh"
        )
    else:
        for said in vouching.say_root(address, opened, pinned=pinned):
            yield Check("registry", said.outcome, said.text, "embhub trust refresh")
    found = freshness.judge(opened, datetime.now(UTC))
    yield Check("registry", "warning" if found.expected and found.state != "fresh" else "ok", f"keyring {found.text}")


def _check_versions() -> Iterator[Check]:
    yield Check("versions", "ok", f"embhub {__version__}, Python {platform.python_version()}, {platform.system()}")
    yield Check("versions", "ok", ", ".join(f"{name} {_version(name)}" for name in _CORE))
    if missing := [name for name in _DIFFUSION if _version(name) == "missing"]:
        text = f"{', '.join(missing)} not installed: pull, verify and push work, training and generating do not"
        yield Check("versions", "note", text, "install embhub with its extra `diffusion`")
    else:
        yield Check("versions", "ok", ", ".join(f"{name} {_version(name)}" for name in _DIFFUSION))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _check_bases() -> Iterator[Check]:
    for name in builtin_bases.NAMES:
        try:
            found = builtin_bases.info(name)
            yield Check("base", "ok", f"{name}, {found.resolution} pixels")
        except ConfigError as error:
            yield Check("base", "note", error.message, error.hint)


def _check_disk() -> Iterator[Check]:
    folders = config.paths()
    for name, folder in (("state", folders.state), ("cache", folders.cache)):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
        writable = os.access(there, os.W_OK)
        text = f"{name} folder {folder}: {free / 1e9:.1f} GB free"
        if not writable:
            yield Check("disk", "failed", f"{text}, and not writable", "choose another EMBHUB_HOME")
        else:
            low = free < _LOW
            yield Check("disk", "warning" if low else "ok", text, "free some space for base models" if low else "")
