"""What a commit would make of a repository, as admission sees it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from embhub.privacy.claim_or_none import is_claim
from embhub.release import files as release_files
from embhub.release import verification
from embhub.release.files import CARD, EMBEDDING, PUBLISH_BUNDLE, Release
from embhub.release.verification import Verified
from embhub.trust.keyring import Trust

GIT_ATTRIBUTES = ".gitattributes"
MAX_GIT_ATTRIBUTES = 4_000


def limit_of(path: str) -> int | None:
    """The most bytes of a repository's file of this name; None where a repository holds no such file."""
    return MAX_GIT_ATTRIBUTES if path == GIT_ATTRIBUTES else release_files.limit_of(path)


@dataclass(frozen=True)
class Proposal:
    """What a repository would hold after a commit, and what is needed to judge it.

    `before` maps the present files to their SHA-256; `versions` are those that were ever admitted here; `words` are
    the commit's title and message. `caller` is the namespace of who commits, `admin` whether it is an admin, and
    `attested` the present attestations, by path. `void` are the versions that rest on a stolen key's signature alone,
    and `withdrawn` says why the bytes of the embedding may not be published here, if they may not. `studies` are those
    that were proposed in this repository's name, by digest, with who withdrew from each, or None.
    """

    repository: str
    files: Mapping[str, bytes]
    before: Mapping[str, str]
    versions: tuple[str, ...]
    audit_required: bool
    trust: Trust
    now: datetime
    words: str = ""
    caller: str = ""
    admin: bool = False
    attested: Mapping[str, bytes] = field(default_factory=dict)
    void: frozenset[str] = frozenset()
    withdrawn: str | None = None
    studies: Mapping[str, str | None] = field(default_factory=dict)

    @cached_property
    def release(self) -> Release:
        """The files as a release."""
        return Release.from_files({path: data for path, data in self.files.items() if path != GIT_ATTRIBUTES})

    @property
    def study(self) -> str | None:
        """The digest of the study that the embedding's claim is of, or None."""
        claim = self.release.embedding.privacy
        return claim.study.digest if is_claim(claim) and claim.study is not None else None

    @cached_property
    def is_the_present_release(self) -> bool:
        """Whether embedding, card and statement stay: only an auditor's report or attestation comes or goes."""
        kept = (EMBEDDING, CARD, PUBLISH_BUNDLE)
        return all(
            path in self.files and self.before.get(path) == release_files.digest(self.files[path]) for path in kept
        )

    @cached_property
    def keeps_embedding_and_card(self) -> bool:
        """Whether it is the same version: signed anew, by another key perhaps, or only an audit comes or goes."""
        kept = (EMBEDDING, CARD)
        return all(
            path in self.files and self.before.get(path) == release_files.digest(self.files[path]) for path in kept
        )

    @cached_property
    def verified(self) -> Verified:
        """The core's verdict; its refusals pass through. Whether an audit is asked for is a rule of its own."""
        return verification.verify(self.release, trust=self.trust, repository=self.repository, now=self.now)
