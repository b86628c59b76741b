"""Studies of several sites at a registry: propose, fetch, join, withdraw. What is fetched is verified here first.

Nothing that a registry says of a study is believed: the proposal and each join count by the keyring that is pinned.
What it could do is to leave something out, such as a withdrawal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from embhub.client.account import accounts
from embhub.client.publishing.push import AskPassphrase, load_key
from embhub.client.trusted import trust_changes, vouching
from embhub.errors import ConfigError, PolicyError, RegistryError, UsageError
from embhub.refusals import RevokedKeyError
from embhub.release.checks import study as statements
from embhub.release.checks.study import Join, Proposal
from embhub.site import config
from embhub.site.signing import keys
from embhub.trust import bundle, kinds, p256, statement

if TYPE_CHECKING:
    from embhub.client.wire.hub import Hub
    from embhub.study.plan import Study
    from embhub.trust.bundle import Bundle
    from embhub.trust.keyring import KnownKey, Trust
    from embhub.trust.kinds import Kind
    from embhub.trust.statement import Statement

PATH = "/embhub/v1/studies"


@dataclass(frozen=True)
class Fetched:
    """A study as it stands, every signature checked.

    Attributes:
        proposal: the study (`proposal.plan`), and who proposed it.
        joins: of each site that joined, with its key of the study. Where the officer's key was revoked since, it is
            left out: the site joins anew with the same key of the study.
        withdrawn: when each namespace withdrew, by its own word.
        released: when a release was published, by the registry's unsigned word; None before.
    """

    proposal: Proposal
    joins: Mapping[str, Join]
    withdrawn: Mapping[str, str]
    released: str | None
    _proposed: Bundle
    _joined: Mapping[str, Bundle]

    @property
    def plan(self) -> Study:
        """The study itself."""
        return self.proposal.plan

    @property
    def missing(self) -> tuple[str, ...]:
        """The sites that did not join yet."""
        return tuple(site for site in self.plan.sites if site not in self.joins)

    @property
    def keys(self) -> dict[str, p256.PublicKey]:
        """The keys of the study, by site: what `embhub.study.wire.Step` takes."""
        return {site: one.key for site, one in self.joins.items()}

    def record(self, consents: Mapping[str, bytes] = MappingProxyType({})) -> bytes:
        """The file `study.json` with these consents (`embhub.study.consents.sign`), by site."""
        return statements.write_record(self._proposed, self._joined, consents)


def propose(
    study: Study, *, key: str | None = None, registry: str | None = None, ask_passphrase: AskPassphrase | None = None
) -> Fetched:
    """Sign a study, and send it.

    Args:
        study: The study. Its repository says in whose name.
        key: Name of the publishing key of that namespace. By default the setting `key`.
        registry: Address of the registry.
        ask_passphrase: Called where the key has one.

    Raises:
        ConfigError: there is no such key, or the keyring does not let it publish there.
        RegistryError: the registry refuses or cannot be reached.
    """
    hub, trusts = _connect(registry)
    trust, _ = _signer(trusts, key, kinds.STUDY, of=study.coordinator)
    made = statements.propose(study, registry=trust.origin, created=datetime.now(UTC))
    return _send(hub, trusts, PATH, made, key, ask_passphrase, digest=study.digest)


def fetch(digest: str, *, registry: str | None = None) -> Fetched:
    """A study with all that was signed about it, checked by the pinned keyring.

    Raises:
        UsageError: not the digest of a study.
        VerificationError: something in it does not hold.
        RegistryError: the registry refuses, knows no such study, or what it sent does not fit.
    """
    hub, trusts = _connect(registry)
    return _open(hub.call(f"{PATH}/{check_digest(digest)}", what=f"the study {digest[:12]}"), digest, trusts)


def listing(registry: str | None = None) -> list[dict[str, Any]]:
    """The studies that name a namespace of this account, the newest first, by the registry's word alone.

    Raises:
        RegistryError: the registry refuses or cannot be reached.
    """
    said = accounts.connect(registry).call(PATH, what="studies")
    rows = said.get("studies") if isinstance(said, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _no_study()
    return rows


def refuse_unconfirmed(fetched: Fetched, *, here: str) -> None:
    """Refuse other sites whose officer's key no person of this site, `here`, confirmed as that of an officer of theirs.

    Whoever holds a registry's root key can vouch for keys of its own as every other site's, also for keys that were
    confirmed for another namespace or another role. A sum over those sites would be this site's vector, with this
    site's share of the noise alone. What was in the keyring when the site first trusted it counts as confirmed: who
    held the root key even then is not found out here.

    Raises:
        PolicyError: says which.
    """
    others = [fetched.joins[site] for site in sorted(fetched.joins) if site != here]
    agreed = {one.site: trust_changes.agreed_roles(one.vouched_by, one.site, one.fingerprint) for one in others}
    new = [one for one in others if kinds.STUDY_JOIN.role_of(agreed[one.site], own=True) is None]
    if found := [f"{one.fingerprint} of {one.site}" for one in new]:
        raise PolicyError(
            f"nobody at this site confirmed the key {', '.join(found)} as an officer's",
            "ask each site by another way whether the key is theirs, then `embhub trust refresh --yes`",
        )


def find_site(fetched: Fetched, *, key: str | None = None, registry: str | None = None) -> str:
    """For which site a key would join, before anything is charged or signed. Asks for no passphrase.

    Raises:
        UsageError: its namespace is no site of the study or joined already, or somebody withdrew.
        ConfigError: there is no such key, or the keyring does not let it approve.
    """
    _, trusts = _connect(registry)
    _, known = _signer(trusts, key, kinds.STUDY_JOIN)
    _check_open(fetched, known.namespace)
    return known.namespace


def join(
    fetched: Fetched, public_key: p256.PublicKey, *, key: str | None = None, registry: str | None = None,
    ask_passphrase: AskPassphrase | None = None,
) -> Fetched:  # fmt: skip
    """Sign that a site takes part with this key of its own for the study, and send it.

    Args:
        fetched: The study that was shown.
        public_key: The public half of the site's key for this study.
        key: Name of the officer's key, with the role `approve` of the site's namespace. By default the setting `key`.
        registry: Address of the registry.
        ask_passphrase: Called where the key has one.

    Raises:
        UsageError, ConfigError: as `find_site`.
        RegistryError: the registry refuses or cannot be reached.
    """
    hub, trusts = _connect(registry)
    trust, known = _signer(trusts, key, kinds.STUDY_JOIN)
    _check_open(fetched, known.namespace)
    digest = fetched.plan.digest
    made = statements.join(
        digest, known.namespace, public_key, registry=trust.origin, created=datetime.now(UTC)
    )  # fmt: skip
    return _send(hub, trusts, f"{PATH}/{digest}/join", made, key, ask_passphrase, digest=digest)


def withdraw(
    digest: str, *, key: str | None = None, registry: str | None = None, ask_passphrase: AskPassphrase | None = None
) -> str:
    """Withdraw from a study, which ends it for everybody. Returns the namespace that withdrew.

    Args:
        digest: The study's.
        key: Name of a key of the site, or of the coordinator, that may approve or publish.
        registry: Address of the registry.
        ask_passphrase: Called where the key has one.

    Raises:
        ConfigError: there is no such key, or the keyring does not let it.
        RegistryError: the registry refuses, as once a release is published, or cannot be reached.
    """
    hub, trusts = _connect(registry)
    trust, known = _signer(trusts, key, kinds.STUDY_WITHDRAWAL)
    made = statements.withdraw(check_digest(digest), known.namespace, registry=trust.origin, created=datetime.now(UTC))
    _post(hub, f"{PATH}/{digest}/withdraw", made, key, ask_passphrase)
    return known.namespace


def _connect(registry: str | None) -> tuple[Hub, list[Trust]]:
    hub = accounts.connect(registry)
    return hub, vouching.trusted_by(hub.registry)[0]


def _send(
    hub: Hub, trusts: Sequence[Trust], path: str, made: Statement, key: str | None, ask: AskPassphrase | None, *,
    digest: str,
) -> Fetched:  # fmt: skip
    return _open(_post(hub, path, made, key, ask), digest, trusts)


def _post(hub: Hub, path: str, made: Statement, key: str | None, ask: AskPassphrase | None) -> Any:
    document = json.loads(bundle.to_json(statement.sign(made, key=load_key(key, ask))))
    return hub.call(path, what="the study", method="POST", send=document)


def _open(said: Any, digest: str, trusts: Sequence[Trust]) -> Fetched:
    if not isinstance(said, dict) or not isinstance(released := said.get("released"), str | None):
        raise _no_study()
    proposed = bundle.held_in(said, "proposal") if isinstance(said.get("proposal"), dict) else None
    if proposed is None:
        raise _no_study()
    proposal = statements.read_proposal(proposed, trusts=trusts)
    if proposal.study != digest:
        raise RegistryError(
            "the registry sent another study than the one asked for", "try again; then ask its operator"
        )
    joined, left = _bundles(said, "joins"), _bundles(said, "withdrawals")
    joins = _read(joined, lambda one: _join_that_counts(one, trusts))
    joined = {site: joined[site] for site in joins}
    withdrawn = _read(left, lambda one: statements.read_withdrawal(one, trusts=trusts))
    for one in joins.values():
        statements.check_place(one, proposal)
    return Fetched(
        proposal, joins, {name: one.created for name, one in withdrawn.items() if one.study == digest}, released,
        proposed, joined,
    )  # fmt: skip


def _read(given: Mapping[str, Bundle], read: Callable[[Bundle], Any]) -> dict[str, Any]:
    found = {name: said for name, one in given.items() if (said := read(one)) is not None}
    if any(one.site != name for name, one in found.items()):
        raise _no_study()
    return found


def _join_that_counts(signed: Bundle, trusts: Sequence[Trust]) -> Join | None:
    """A join; None where its key was revoked since: the site has to sign anew, and is missing until it does."""
    try:
        return statements.read_join(signed, trusts=trusts)
    except RevokedKeyError:
        return None


def _bundles(said: Mapping[str, Any], name: str) -> dict[str, Bundle]:
    rows = said.get(name)
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise _no_study()
    return {site: bundle.held_in(rows, site) for site in rows}


def _signer(trusts: Sequence[Trust], name: str | None, kind: Kind, *, of: str | None = None) -> tuple[Trust, KnownKey]:
    """The keyring that knows a key of this machine, and what it says of it; `of` is the namespace that it has to be."""
    which = name or config.load().key
    fingerprint = p256.fingerprint(p256.read_public(keys.public_pem(which)))
    for trust in trusts:
        found = trust.lookup(fingerprint)
        if found is None or found.revocation is not None or of not in (None, found.namespace):
            continue
        if kind.role_of(found.roles, own=True) is not None:
            return trust, found
    role, where = " or ".join(kind.own), f" in {of}" if of else ""
    raise ConfigError(
        f"the registry's keyring does not give the key {which!r} ({fingerprint}) the role {role}{where}",
        f"name another key (--key), or ask for it: `embhub key request NAMESPACE --key {which} --role {kind.own[0]}`",
    )


def _check_open(fetched: Fetched, site: str) -> None:
    plan = fetched.plan
    if site not in plan.sites:
        raise UsageError(f"{site} is no site of this study", f"its sites are {', '.join(plan.sites)}")
    if fetched.withdrawn:
        raise UsageError(f"{', '.join(fetched.withdrawn)} withdrew from this study, which ended it", "join no more")
    if site in fetched.joins:
        raise UsageError(f"{site} joined this study already", "`embhub study status` says how it stands")


def check_digest(digest: str) -> str:
    """The digest itself. Raises UsageError: not the digest of a study."""
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise UsageError(f"{digest[:80]!a} is no digest of a study", "a digest has 64 lower-case hex digits")
    return digest


def _no_study() -> RegistryError:
    return RegistryError("the registry's answer is no study", "ask its operator which version it runs")
