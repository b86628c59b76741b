"""Reports on base models: written, signed where this machine has a key, checked, and sent to a registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from embhub import destinations
from embhub.client.account import accounts, origins
from embhub.client.publishing.push import AskPassphrase, load_key
from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.refusals import ReleaseRefusedError
from embhub.release import files as release_files
from embhub.release.checks import base_report
from embhub.release.checks.base_report import Reported, Unsigned
from embhub.site import config
from embhub.site.pins import trust_store
from embhub.site.signing import keys
from embhub.trust import bundle, kinds, statement
from embhub.trust.bundle import Bundle

if TYPE_CHECKING:
    from embhub.trust.dsse import Signer


@dataclass(frozen=True)
class Pen:
    """The key that signs a report, and the origin that it is signed for."""

    key: Signer
    origin: str


@dataclass(frozen=True)
class Sent:
    """What a registry took, and its page; `replaced` is the date of the earlier report, if any."""

    base: str
    fingerprint: str
    report: str
    registry: str
    replaced: str | None
    files: tuple[str, ...]


def begin(
    out: Path, *, key: str | None = None, registry: str | None = None, ask_passphrase: AskPassphrase | None = None
) -> Pen | None:
    """Before a report runs for hours: whether it can be written, and what signs it. None on a machine without a key.

    Raises:
        UsageError: `out` does not end in .json or is there, or no registry is known to sign for.
        ConfigError: it cannot be written, the key that was named is not there, or its passphrase is wrong.
    """
    if out.suffix != ".json" or out.exists():
        raise UsageError(f"{out} {'exists' if out.exists() else 'does not end in .json'}", "name a new file: r.json")
    destinations.check_file(out)
    if key is None and config.load().key not in {held.name for held in keys.list_keys()}:
        return None
    if key is None and registry is None and accounts.only_registry() is None:
        return None
    return Pen(load_key(key, ask_passphrase), origins.to_sign_for(registry))


def write(made: Unsigned, out: Path, pen: Pen | None) -> None:
    """Write a report, signed where there is a `pen`.

    Raises:
        ConfigError: it cannot be written.
    """
    write_atomic(out, made.to_bytes() if pen is None else bundle.to_json(_sign(made, pen).envelope))


def verify(path: Path) -> Reported:
    """A signed report, by the keyrings that are pinned here. Needs no network.

    Raises:
        UsageError: there is no such file.
        ArtifactError: it is no report.
        VerificationError: it is not signed, or not by a key that may.
        ConfigError: no keyring is trusted.
    """
    found = base_report.parse(_read(path))
    if isinstance(found, Unsigned):
        raise ReleaseRefusedError(f"{path} is a report that nobody signed", "`embhub push` signs it")
    return base_report.read(found, trusts=trust_store.load_some())


def send(
    path: Path, *, registry: str | None = None, key: str | None = None, ask_passphrase: AskPassphrase | None = None,
    on_note: Callable[[str], None] = lambda _: None,
) -> Sent:  # fmt: skip
    """Send a report to the registry. If nobody signed it, say on `on_note` what it states, and sign it.

    Raises:
        UsageError: there is no such file.
        ArtifactError: it is no report.
        VerificationError: what is signed is malformed, or was signed for another registry.
        ConfigError: no registry is set, or no key to sign with.
        RegistryError: the registry refuses or cannot be reached.
    """
    found = base_report.parse(_read(path))
    hub = accounts.connect(registry)
    if isinstance(found, Unsigned):
        on_note(f"signing a report on the base {found.fingerprint}: {found.report.in_words()}")
        found = _sign(found, Pen(load_key(key, ask_passphrase), origins.to_sign_for(hub.registry)))
    digest, facts = base_report.read_facts(found.envelope.payload)
    origins.check_destination(facts.registry, hub.registry)
    said = hub.submit(
        kinds.BASE_REPORT.listed.name, digest, json.loads(bundle.to_json(found.envelope)),
        what=f"reports on {facts.report.base.name}",
    )  # fmt: skip
    replaced = said.get("replaced") if isinstance(said, dict) else None
    return Sent(
        base=facts.report.base.name, fingerprint=digest, report=facts.report.in_words(), registry=hub.registry,
        replaced=replaced if isinstance(replaced, str) else None, files=(path.name,),
    )  # fmt: skip


def _sign(made: Unsigned, pen: Pen) -> Bundle:
    stated = base_report.build(made.fingerprint, made.report, registry=pen.origin, created=datetime.now(UTC))
    return bundle.parse(bundle.to_json(statement.sign(stated, key=pen.key)))


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise UsageError(f"there is no report {path}", "`embhub report --base ID --out FILE` writes one")
    return release_files.read_file(path, limit=kinds.BASE_REPORT.bytes)
