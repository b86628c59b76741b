"""A registry in memory, and a thief who holds some of its keys and every document that it ever showed.

Everything is signed as the registry signs it; the clock is the world's own. `tests.embhub.site.test_trust_model` has
the events, and what has to hold after each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from embhub.formats import instants
from embhub.release.files import Release
from embhub.site.pins import signed_keyrings
from embhub.site.signing.keys import SigningKey
from embhub.trust import advisories, dsse, keyring_review, proposal, root_keys
from embhub.trust import keyring as keyrings
from embhub.trust import timestamp as stamping
from embhub.trust.advisories import Advisories, Advisory
from embhub.trust.keyring import Keyring, TrustExport
from embhub.trust.keyring_review import Remembered
from embhub.trust.multisig import SignedDocument
from embhub.trust.proposal import Proposal
from tests.support.releases import ORIGIN, REGISTRY, make_embedding, make_key, make_keyring, make_release, member

MOST = 12
ROOTS, LISTS, STAMPS, PUBLISHERS = (
    [make_key(f"{kind} {number}") for number in range(MOST)]
    for kind in ("root", "advisories", "timestamp", "publisher")
)
THIEF = make_key("a thief")


@cache
def release_of(key: SigningKey) -> Release:
    """A release of radboud's, signed by this key; each key signs another embedding."""
    number = [*PUBLISHERS, THIEF].index(key)
    return make_release(artifact=make_embedding(seed=number), repository="radboud/one", audited=False, key=key)


class World:
    """The honest registry, the machine of the person who signs its keyrings, and what a thief copied.

    Attributes:
        keyrings: every keyring that the root signed, the one in force last.
        lists: every list of advisories that the registry signed, the newest last; `stamps` and `answers` likewise.
        digests: of the file that each advisory named, those that a restored backup forgot included.
        root, online: how often the root, and the online keys, were replaced.
    """

    def __init__(self, home: Path) -> None:
        self.home = home  # of the person who signs keyrings
        self.now = datetime(2026, 11, 20, 10, tzinfo=UTC)
        self.root = self.online = self.made = 0
        self.publishers: list[SigningKey] = []
        self.revoked: dict[str, dict[str, str]] = {}
        self.withdrawn: dict[str, Advisory] = {}
        self.digests: dict[str, str] = {}
        self.withdrawn_then: dict[str, dict[str, Advisory]] = {}
        self.chain: tuple[SignedDocument, ...] = ()
        self.keyrings: list[SignedDocument] = []
        self.lists: list[dsse.Envelope] = []
        self.stamps: list[dsse.Envelope] = []
        self.answers: list[TrustExport] = []
        self.add_publisher()

    @property
    def current(self) -> Keyring:
        """The keyring in force."""
        return keyrings.parse_keyring(self.keyrings[-1].payload)

    def pass_time(self, span: timedelta) -> str:
        """The clock goes on; the time then."""
        self.now += span
        return instants.write(self.now)

    # what the operator does

    def add_publisher(self) -> None:
        """A key that was never seen before."""
        self.publishers.append(PUBLISHERS[self.made])
        self.made += 1
        self.issue()

    def revoke(self, key: SigningKey, reason: str) -> None:
        """Revoke a key as stolen, or let it go: the reason `left` takes it out of the list of members."""
        at = self.pass_time(timedelta(minutes=1))
        self.revoked[key.fingerprint] = {"fingerprint": key.fingerprint, "date": at, "reason": reason}
        if reason == "left":
            self.publishers.remove(key)
        self.issue()

    def replace_online(self) -> None:
        """Other keys for timestamps and advisories: what the guide says after a theft of these."""
        self.online += 1
        self.issue()

    def replace_root(self) -> None:
        """The old root and the new one sign the change."""
        self.root += 1
        self.issue(self.change(ROOTS[self.root - 1], ROOTS[self.root], number=self.root))

    def change(self, old: SigningKey, new: SigningKey, *, number: int) -> SignedDocument:
        """A change from one root to another, which nobody signed yet."""
        stated = root_keys.RootChange(
            registry=REGISTRY, number=number, issued=self.pass_time(timedelta(minutes=1)),
            before=root_keys.one_key(old.public), after=root_keys.one_key(new.public),
        )  # fmt: skip
        return root_keys.unsigned_change(stated)

    def restore(self, backup: SignedDocument) -> None:
        """The members of an earlier keyring, with every revocation and removal since, as `backup restore` lists them.

        Withdrawals since are lost.
        """
        listed = keyrings.parse_keyring(backup.payload).fingerprints()
        left = {key for key, row in self.revoked.items() if row["reason"] == "left"}
        self.withdrawn = dict(self.withdrawn_then[backup.digest])
        there = (listed | set(self.revoked)) - left
        self.publishers = [key for key in PUBLISHERS[: self.made] if key.fingerprint in there]
        self.issue()

    def withdraw(self) -> None:
        """The file of a publisher's release is withdrawn, of each in turn."""
        digest = release_of(PUBLISHERS[len(self.digests) % MOST]).embedding.digest
        made = advisories.new(
            scope="bytes", by="operator", namespace="radboud", repository="radboud/one", version=None, digest=digest,
            reason="consent withdrawn", published=self.pass_time(timedelta(minutes=1)),
        )  # fmt: skip
        self.withdrawn[made.id], self.digests[made.id] = made, digest
        self.publish()

    def lift(self, name: str) -> None:
        """A withdrawal is taken back."""
        self.withdrawn[name] = replace(self.withdrawn[name], withdrawn_on=self.pass_time(timedelta(minutes=1)))
        self.publish()

    def issue(self, change: SignedDocument | None = None) -> None:
        """The next keyring, proposed by the operator and signed by the person with the root key, then shown."""
        before = self.keyrings[-1] if self.keyrings else None
        made = self.ring(version=self.current.version + 1 if before else 1)
        self.sign(Proposal(keyrings.unsigned_keyring(made), before, change))
        self.publish()

    def ring(self, *, version: int) -> Keyring:
        """The operator's members and revocations, with today's keys."""
        online = {"advisories": LISTS[self.online], "timestamp": STAMPS[self.online]}
        return make_keyring(
            version=version,
            members=[member("radboud", [(key, "publish") for key in self.publishers])] if self.publishers else [],
            revoked=list(self.revoked.values()),
            root=root_keys.one_key(ROOTS[self.root].public).model_dump(),
            online={name: root_keys.named(key.public).model_dump() for name, key in online.items()},
            issued=self.pass_time(timedelta(minutes=1)),
        )

    def publish(self) -> None:
        """A new list of advisories and a new timestamp, as after each change and once a day."""
        self.pass_time(timedelta(minutes=1))
        self.lists.append(self.listed(tuple(self.withdrawn.values()), LISTS[self.online], ahead=timedelta()))
        self.stamps.append(self.stamped(self.keyrings[-1], self.lists[-1], STAMPS[self.online], ahead=timedelta()))
        shown = TrustExport(REGISTRY, self.keyrings[-1], self.chain, self.stamps[-1], self.lists[-1])
        self.answers.append(shown)

    # what keys sign, the operator's or the thief's

    def listed(self, entries: Sequence[Advisory], key: SigningKey, *, ahead: timedelta) -> dsse.Envelope:
        """A list of advisories; its number follows the clock, as the registry's does."""
        at = self.now + ahead
        return Advisories(ORIGIN, int(at.timestamp()), instants.write(at), tuple(entries)).sign(key)

    def stamped(
        self, keyring: SignedDocument, shown: dsse.Envelope | None, key: SigningKey, *, ahead: timedelta
    ) -> dsse.Envelope:
        """A timestamp of this keyring and this list."""
        current = None
        if shown is not None:
            number, digest = json.loads(shown.payload)["number"], hashlib.sha256(shown.payload).hexdigest()
            current = stamping.CurrentAdvisories(number=number, sha256=digest)
        stated = stamping.Timestamp(
            registry=ORIGIN,
            keyring=stamping.CurrentKeyring(
                version=keyrings.parse_keyring(keyring.payload).version, sha256=keyring.digest
            ),
            advisories=current,
            issued=instants.write(self.now + ahead),
            expires=instants.write(self.now + ahead + timedelta(days=7)),
        )
        return stamping.sign(stated, key=key)

    def sign(self, made: Proposal, *, remembers: bool = True) -> None:
        """The person with the root key has the machine compare a proposal, reads none of it, and signs.

        On a machine that remembers nothing they give the fingerprint of the newest keyring, from the binder.

        Raises:
            EmbhubError: the machine refuses.
        """
        opened = proposal.open_proposal(made)
        with at_home(self.home):
            roots = {opened.root.fingerprint} | ({opened.change.before.fingerprint} if opened.change else set())
            known = signed_keyrings.recall(REGISTRY, roots) if remembers else None
            reviewed = keyring_review.review(opened, known)
            if reviewed.asked is not None and self.keyrings:
                reviewed.check_answer(keyring_review.fingerprint(self.keyrings[-1]))
            for root in ROOTS[max(self.root - 1, 0) : self.root + 1]:
                if root.fingerprint in roots:
                    made = proposal.open_proposal(made).signed_by(root)
            signed_keyrings.remember(REGISTRY, roots, Remembered(made.keyring, made.before))
        self.keyrings.append(made.keyring)
        self.withdrawn_then[made.keyring.digest] = dict(self.withdrawn)
        self.chain += (made.change,) if made.change is not None else ()
        self.revoked = {row.fingerprint: row.model_dump() for row in opened.keyring.revoked}
        listed = opened.keyring.fingerprints()
        self.publishers = [key for key in PUBLISHERS[: self.made] if key.fingerprint in listed]


@contextmanager
def at_home(folder: Path) -> Iterator[None]:
    """What is written and read belongs to this person's machine."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("EMBHUB_HOME", str(folder))
        yield
