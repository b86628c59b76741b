"""Every setting of a site, with one precedence: argument > environment > file > default.

`SETTINGS` is the whole list; docs/reference/settings.md is held to it by a test. Files live in the folders of
`paths()`: `config/config.yaml` (what a person writes), `config/credentials.yaml` (tokens, for the owner alone).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from embhub.durable import write_atomic
from embhub.errors import ConfigError
from embhub.formats import safe_yaml
from embhub.site.addresses import check_registry as check_registry
from embhub.site.addresses import folder_of as folder_of


class Setting(NamedTuple):
    """One row of the reference, which says what it means: `variable` or `file_key` is "" where it has none."""

    name: str
    variable: str
    file_key: str
    default: str


SETTINGS = (
    Setting("home", "EMBHUB_HOME", "", ""),
    Setting("registry", "EMBHUB_REGISTRY", "registry", ""),
    Setting("token", "EMBHUB_TOKEN", "", ""),
    Setting("insecure", "EMBHUB_INSECURE", "insecure", ""),
    Setting("fallback", "EMBHUB_FALLBACK", "fallback", ""),
    Setting("namespace", "EMBHUB_NAMESPACE", "namespace", ""),
    Setting("key", "EMBHUB_KEY", "key", "default"),
    Setting("policy_file", "EMBHUB_POLICY_FILE", "policy_file", "config/policy.yaml"),
    Setting("site", "", "site", ""),
)

# Card fields that a site may answer once for all its releases.
SITE_FIELDS = (
    "publisher",
    "ror",
    "authors",
    "orcid",
    "contact_role",
    "licence",
    "licence_link",
    "legal_basis",
    "consent_or_waiver",
    "ethics_ref",
    "deidentification",
    "intended_use",
    "out_of_scope",
)


@dataclass(frozen=True)
class Paths:
    """Folders of this site; none is created by asking."""

    config: Path
    state: Path
    cache: Path


@dataclass(frozen=True)
class Settings:
    """The settings in force."""

    registry: str | None = None
    token: str | None = field(default=None, repr=False)
    namespace: str | None = None
    site: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    key: str = "default"


_ELSEWHERE: ContextVar[str | None] = ContextVar("elsewhere", default=None)


@contextmanager
def elsewhere(folder: Path) -> Iterator[None]:
    """While open, this thread has all folders of the site in `folder`: for a ledger and keys that are thrown away."""
    token = _ELSEWHERE.set(str(folder))
    try:
        yield
    finally:
        _ELSEWHERE.reset(token)


def paths() -> Paths:
    """Folders from EMBHUB_HOME (config, state, cache inside it), else the XDG folders (platformdirs)."""
    home = _ELSEWHERE.get() or variable("EMBHUB_HOME")
    if home:
        folder = Path(home).expanduser().absolute()
        return Paths(folder / "config", folder / "state", folder / "cache")
    import platformdirs as dirs  # it imports what makes temporary files

    return Paths(dirs.user_config_path("embhub"), dirs.user_state_path("embhub"), dirs.user_cache_path("embhub"))


def load(
    *, registry: str | None = None, token: str | None = None, namespace: str | None = None, key: str | None = None
) -> Settings:
    """Settle every setting: argument > environment > `config.yaml` > default.

    The token belongs to a registry: the argument, else EMBHUB_TOKEN where EMBHUB_REGISTRY names that registry, else
    the one stored for it.

    Raises:
        ConfigError: an unreadable file, an unknown or malformed setting, an unsafe file mode.
    """
    file = read_config()
    address = registry or variable("EMBHUB_REGISTRY") or file.get("registry")
    address = check_registry(address) if address else None
    credential = token or _token_of_environment(address) or (token_for(address) if address else None)
    return Settings(
        registry=address,
        token=check_token(credential) if credential else None,
        namespace=namespace or variable("EMBHUB_NAMESPACE") or file.get("namespace"),
        site=MappingProxyType(file.get("site", {})),
        key=key or variable("EMBHUB_KEY") or file.get("key") or "default",
    )


def token_kept_back(registry: str) -> bool:
    """Whether EMBHUB_TOKEN is set, but not for this registry. Raises ConfigError: EMBHUB_REGISTRY is no address."""
    return variable("EMBHUB_TOKEN") is not None and _token_of_environment(registry) is None


def _token_of_environment(registry: str | None) -> str | None:
    """EMBHUB_TOKEN, where it may go to `registry`; with None there is nobody yet to send it to."""
    own = variable("EMBHUB_REGISTRY")
    if registry is None or (own is not None and same_origin(own, registry)):
        return variable("EMBHUB_TOKEN")
    return None


def same_origin(one: str, other: str) -> bool:
    """Whether two addresses of registries have the same scheme, host and port. Raises ConfigError: one is none."""
    return _origin(one) == _origin(other)


def _origin(address: str) -> tuple[str, str | None, int]:
    checked = check_registry(address)
    if folder_of(checked) is not None:
        return checked, None, 0
    parts = urlsplit(checked)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def insecure_registries() -> tuple[str, ...]:
    """Addresses of the registries that may be asked by plain http: EMBHUB_INSECURE > `insecure` in config.yaml.

    Raises:
        ConfigError: it names something else; or as `load`.
    """
    named = variable("EMBHUB_INSECURE") or read_config().get("insecure") or ""
    try:
        return tuple(check_registry(address) for address in named.split(",") if address.strip())
    except ConfigError as error:
        raise ConfigError(
            f"the setting insecure (EMBHUB_INSECURE) names no registries: {error.message}",
            "give addresses, such as http://hub.intern:8642, separated by commas",
        ) from error


def read_policy() -> tuple[Path, dict[str, Any]]:
    """The policy file, and its members `policy` and `require` as far as they are there.

    Raises:
        ConfigError: it is named and missing, cannot be read, or has unknown members.
    """
    folder = paths().config
    named = variable("EMBHUB_POLICY_FILE") or read_config().get("policy_file")
    path = (
        folder / Path(named).expanduser() if named else folder / "policy.yaml"
    )  # a path in config.yaml starts from its folder
    if named and not path.is_file():
        raise ConfigError(f"the policy file is not there: {path}", "restore it, or correct the setting policy_file")
    values = _read_mapping(path, forbidden_mode=stat.S_IWOTH)
    if unknown := sorted(set(values) - {"policy", "require"}):
        raise ConfigError(f"unknown setting in {path}: {', '.join(unknown)}", "known settings: policy, require")
    return path, values


def check_token(token: str) -> str:
    """The token without surrounding white space.

    Raises:
        ConfigError: it cannot travel in an HTTP header.
    """
    token = token.strip()
    if not token or len(token) > 512 or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("the registry token is not one word of ASCII text", "copy the token again, without quotes")
    return token


def save_credentials(registry: str, token: str) -> Path:
    """Store `token` for `registry` in `credentials.yaml`, mode 0600; returns the file's path.

    Raises:
        ConfigError: malformed address or token, unwritable folder, or an unsafe existing file.
    """
    path = _credentials_path()
    tokens = _read_credentials(path)
    tokens[check_registry(registry)] = check_token(token)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(path, safe_yaml.dump(dict(sorted(tokens.items()))), mode=0o600)
    return path


def remove_credentials(registry: str) -> Path:
    """Forget the token stored for `registry`; returns the file's path.

    Raises:
        ConfigError: malformed address, unwritable folder, or an unsafe existing file.
    """
    path = _credentials_path()
    tokens = _read_credentials(path)
    tokens.pop(check_registry(registry), None)
    write_atomic(path, safe_yaml.dump(tokens), mode=0o600)
    return path


def read_config() -> dict[str, Any]:
    """What `config.yaml` says, by key. Raises ConfigError as `load`."""
    path = paths().config / "config.yaml"
    values = _read_mapping(path, forbidden_mode=stat.S_IWOTH)
    known = [setting.file_key for setting in SETTINGS if setting.file_key]
    if "token" in values:
        raise ConfigError(f"{path} holds a token, and is not a private file", "remove it and run `embhub login`")
    if unknown := sorted(set(values) - set(known)):
        raise ConfigError(f"unknown setting in {path}: {', '.join(unknown)}", f"known settings: {', '.join(known)}")
    for name in ("registry", "insecure", "fallback", "namespace", "key", "policy_file"):
        if values.get(name) is not None and not isinstance(values[name], str):
            raise ConfigError(f"{name} in {path} is not text", "put the value in quotes")
    site = values["site"] = values.get("site") or {}
    if not isinstance(site, dict):
        raise ConfigError(f"site in {path} is not a block of `field: value` lines", "see docs/reference/settings.md")
    if unknown := sorted(str(name) for name in set(site) - set(SITE_FIELDS)):
        raise ConfigError(
            f"unknown card field under site in {path}: {', '.join(unknown)}", f"known fields: {', '.join(SITE_FIELDS)}"
        )
    return values


def variable(name: str) -> str | None:
    """An environment variable; an empty one counts as unset."""
    return os.environ.get(name, "").strip() or None


def token_for(registry: str) -> str | None:
    """The token stored for `registry`, or None.

    Raises:
        ConfigError: `credentials.yaml` is malformed or open to other users.
    """
    return _read_credentials(_credentials_path()).get(check_registry(registry))


def registries_logged_in() -> tuple[str, ...]:
    """Addresses of the registries for which a token is stored. Raises as `token_for`."""
    return tuple(map(check_registry, _read_credentials(_credentials_path())))


def _credentials_path() -> Path:
    return paths().config / "credentials.yaml"


def _read_credentials(path: Path) -> dict[str, str]:
    values = _read_mapping(path, forbidden_mode=stat.S_IRWXG | stat.S_IRWXO)
    for registry, token in values.items():
        if not isinstance(token, str):
            raise ConfigError(f"the token for {registry} in {path} is not text", "run `embhub login` again")
    return values


def _read_mapping(path: Path, *, forbidden_mode: int) -> dict[str, Any]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & forbidden_mode:
            raise ConfigError(
                f"{path} can be used by other users of this machine (mode {mode:04o})",
                f"run: chmod {mode & ~forbidden_mode:04o} {path}",
            )
        values = safe_yaml.load(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "check the file and its folder") from error
    except safe_yaml.YamlError as error:
        raise ConfigError(f"cannot read {path}: {error}", "correct the file; see docs/reference/settings.md") from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ConfigError(f"{path} is not a list of `name: value` lines", "see docs/reference/settings.md")
    return values
