"""What each page says, as data: templates render these, and `?format=json` answers with them, so both say the same.

Addresses are relative to the registry, times are UTC. Nothing here names a person: accounts stay out of pages.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from embhub_registry.pages.lists.list_facts import Confirmation, Item, Verdict
from embhub_registry.pages.lists.list_facts import Facts as Facts
from embhub_registry.pages.lists.list_facts import ListPage as ListPage
from embhub_registry.pages.lists.list_facts import NamespacePage as NamespacePage
from embhub_registry.pages.release.evaluations_shown import EvaluationShown


class Problem(Facts):
    """Why a release is not shown."""

    message: str
    remedy: str


class Checked(Facts):
    """When the registry verified the release, and against which version of its keyring."""

    at: str
    keyring: int


class KeyOwner(Facts):
    """Whose key signed. `namespace` answers for it; `revoked` says why and when the key was taken out of use since."""

    namespace: str
    name: str
    fingerprint: str
    revoked: str | None


class FindingRow(Facts):
    """One check that was made, and how it came out."""

    check: str
    outcome: str
    text: str


class Provenance(Facts):
    """Who signed what and when; `independent` where an auditor of another namespace countersigned the audit."""

    signer: KeyOwner
    signed: str
    covers: tuple[str, ...]
    auditor: KeyOwner | None
    independent: bool
    findings: tuple[FindingRow, ...]


class Privacy(Facts):
    """The privacy claim as it stands in the card, and the same in sentences.

    `together`: what stands beside `epsilon` where the site's ledger counts more than this training; null elsewhere.
    `weak`: nothing is claimed, or an epsilon that, with all that the site made of these patients, means little.
    `newer`: what a newer public release of the same namespace states of its site; null where none states more.
    """

    claim: Literal["none"] | dict[str, Any]
    epsilon: float | None
    together: str | None
    delta: float | None
    unit: str | None
    weak: bool
    sentences: tuple[str, ...]
    newer: str | None = None


class Rate(Facts):
    """How many insiders an attack finds while it is wrong about the share `fpr` of outsiders."""

    fpr: float
    tpr: float
    interval: tuple[float, float]


class Audit(Facts):
    """The figures of the attack that decided an audit; `report` leads to the whole of it.

    p at or below `limit` is a detection; both are None where canaries tried the code. Then `claimed` is the epsilon of
    the claim, `shown_epsilon` the largest that guessing refuted, and `bound` what the claim says of one person.
    """

    verdict: Verdict
    statement: str
    suite: str
    attack: str
    p_value: float | None
    limit: float | None
    attempt: str
    auc: float
    interval: tuple[float, float]
    smallest_auc: float
    unit: str
    inside: int
    outside: int
    rates: tuple[Rate, ...]
    claimed: float | None
    shown_epsilon: float
    bound: str | None
    report: str


class Audited(Facts):
    """One auditor's newest word on these bytes, `own` where it is the publisher's; of which release, and when."""

    namespace: str
    name: str
    own: bool
    verdict: Verdict
    repository: str
    version: str
    date: str


class SampleSheet(Facts):
    """The contact sheet of drawn images at `address`, `width` x `height` pixels; `caption` says what was checked."""

    address: str
    width: int
    height: int
    alt: str
    caption: str


class Row(Facts):
    """One row of the card, in words; `link` where the card gives an address for it."""

    name: str
    value: str
    link: str | None = None


class Section(Facts):
    """Some rows of the card that belong together."""

    title: str
    rows: tuple[Row, ...]


class File(Facts):
    """One file to download."""

    path: str
    size: int
    sha256: str
    address: str


class Version(Facts):
    """One commit; `version` where it published a release, `yanked` where that was taken back."""

    revision: str
    version: str | None
    title: str
    date: str
    address: str
    yanked: bool


class Event(Facts):
    """Something that happened to an embedding at `date`.

    Of a version `revision` is its commit, and `before` that of the version before it, null for the first.
    """

    date: str
    kind: Literal["version", "audit", "withdrawal", "approval", "key"]
    text: str
    address: str | None = None
    revision: str | None = None
    before: str | None = None


class Citation(Facts):
    """How to cite one version: an entry of BibTeX, and a file in the Citation File Format."""

    bibtex: str
    cff: str


class Yanked(Facts):
    """A release that should not be used: taken back by its publisher, a site of its study or the operator, or signed
    by a stolen key."""

    by: Literal["operator", "publisher", "site", "key-stolen"]
    scope: Literal["release", "bytes"] = "release"
    reason: str
    date: str


class SetAside(Facts):
    """A commit in quarantine, shown to publishers, approvers and admins alone."""

    revision: str
    version: str | None
    reason: str
    date: str
    address: str


class DroppedAudit(Facts):
    """An audit of these bytes that was registered before it ran, and whose result never came."""

    namespace: str
    number: int
    since: str


class ProgramUse(Facts):
    """Another program: the commands that bring the file to it, and the prompt as it is written there."""

    program: str
    title: str
    command: str
    prompt: str


class TermsShown(Facts):
    """What an account accepts before it has the files."""

    version: int
    text: str
    written: str


class Use(Facts):
    """Text to copy. `diffusers` is None where diffusers alone cannot load such a file."""

    token: str
    prompt: str
    command: str
    python: str
    diffusers: str | None
    programs: tuple[ProgramUse, ...]


class EmbeddingPage(Facts):
    """`/{id}`: one embedding at one commit.

    `state` is `empty` (nothing published), `refused` (it does not verify: `problem`, and nothing that it claims) or
    `verified`. `verdict` is the worst that anybody who counts found of these bytes, in this version or another;
    `confirmation` says whose word it is, `auditors` names them, and `audits` lists each auditor's. `dropped` lists
    audits that were registered and have had no result for two weeks. `nearly` says of which withdrawn or leaking
    embeddings these are the numbers, or nearly. `evaluations` are by those who pulled it.
    `misnamed` where the card's publisher is not the name that the keyring has. `sentence` says what it is; `card` is
    the whole card. `set_aside` lists the commits in quarantine, where the reader may see them.
    `history` is what happened to it, `related` what else there is of the same finding, `same_base` for the same base;
    `sources` is what it was ported from, `ports` what was ported from it. Where the reader may not have
    the files of a gated repository, `opened` is false, and of an audit there is its `verdict` alone.
    """

    schema_: Literal["embhub.page.embedding/1"] = Field(default="embhub.page.embedding/1", alias="schema")
    registry: str
    id: str
    namespace: str
    name: str
    revision: str
    newest: bool
    private: bool
    opened: bool
    gated: bool
    terms: TermsShown | None
    state: Literal["empty", "refused", "verified"]
    checked: Checked | None
    problem: Problem | None
    yanked: Yanked | None
    set_aside: tuple[SetAside, ...]
    version: str | None
    sentence: str | None
    description: str | None
    provenance: Provenance | None
    privacy: Privacy | None
    verdict: Verdict | None
    confirmation: Confirmation
    auditors: tuple[str, ...]
    audits: tuple[Audited, ...]
    dropped: tuple[DroppedAudit, ...]
    nearly: tuple[str, ...]
    evaluations: tuple[EvaluationShown, ...] = ()
    misnamed: bool
    audit: Audit | None
    samples: SampleSheet | None
    use: Use | None
    preview: str | None = None
    sections: tuple[Section, ...]
    card: dict[str, Any] | None
    files: tuple[File, ...]
    versions: tuple[Version, ...]
    history: tuple[Event, ...]
    citation: Citation | None
    related: tuple[Item, ...]
    same_base: tuple[Item, ...] = ()
    sources: tuple[Item, ...] = ()
    ports: tuple[Item, ...] = ()


class ComparedRow(Facts):
    """One fact of two releases."""

    section: str
    name: str
    values: tuple[str, str]
    same: bool


class ComparisonPage(Facts):
    """`/compare?with={id}&with={id}`: two releases side by side. `same` and `different` count the rows."""

    schema_: Literal["embhub.page.comparison/1"] = Field(default="embhub.page.comparison/1", alias="schema")
    registry: str
    asked: tuple[str, ...]
    ids: tuple[str, str] | None
    revisions: tuple[str, str] | None
    rows: tuple[ComparedRow, ...]
    same: int
    different: int


class AuditPage(Facts):
    """`/{id}/audit/{rev}`: the audit's figures; scores are in the file at `document`."""

    schema_: Literal["embhub.page.audit/1"] = Field(default="embhub.page.audit/1", alias="schema")
    registry: str
    id: str
    revision: str
    audit: Audit
    document: str
