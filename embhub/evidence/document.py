"""`evidence.json`, schema `embhub.evidence/1`: everything that the page says, for programs."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from embhub.audits.attack_figures import Coins, Count, Epsilon, Power, Range, Rate, Share, Strict, UpperLimits
from embhub.audits.report import Digest, Suite, ToolVersion, Unit
from embhub.audits.report_facts import Deciding
from embhub.audits.verdict import Verdict
from embhub.evidence.written import Written
from embhub.formats.instants import Instant
from embhub.privacy.second_opinion import SecondOpinion

Positive = Annotated[float, Field(gt=0)]


class Tool(Strict):
    """What made the pack."""

    name: Literal["embhub"] = "embhub"
    version: ToolVersion


class Rows(Strict):
    """Learned rows of one text encoder."""

    encoder: str
    count: Count
    dim: Count


class Subject(Strict):
    """The embedding."""

    name: str
    sha256: Digest
    bytes: Count
    token: str
    rows: tuple[Rows, ...]
    base: str
    base_sha256: Digest | None


class CardFacts(Strict):
    """The card as it would be published: the digest of its README.md, and what it says that a decision needs.

    `fault` says why there is no digest: no card, or one with open questions.
    """

    sha256: Digest | None
    version: str | None
    patients: str | None
    fault: str | None
    says: dict[str, str]


class ShippedFile(Strict):
    """A file of the release; bytes and digest are null for one that is made when the release is signed."""

    name: str
    bytes: Count | None
    sha256: Digest | None
    holds: str
    of_patients: str


class Shipment(Strict):
    """What `push` sends, and what stays."""

    files: tuple[ShippedFile, ...]
    also_sent: tuple[str, ...]
    stays: tuple[str, ...]


class Limit(Strict):
    """What the claim says of one person: the chance of being named without taking part, and the most with it."""

    named_without: Share
    named_with_at_most: Share


class Rebuilt(Strict):
    """The largest chance that any attack rebuilds one unit's images, which without the file would be `chance_without`.

    `together_at_most` counts the site's other trainings too; null where nothing bounds them, or there are none.
    """

    candidates: Count
    chance_without: Share
    rebuilt_at_most: Share
    together_at_most: Share | None


class Ledger(Strict):
    """What the site's ledger counts for those who were in this training: the worst-off of them, by all trainings.

    `epsilon` is null where it is infinite. It tells whether cohorts overlap, so it stands in no signed claim.
    """

    trainings: Count
    epsilon: Positive | None


class Privacy(Strict):
    """The claim, recomputed, in words and in shares; `together` counts the site's other trainings on the same units.

    `weak`: nothing is claimed, or an epsilon that means little. `refuted` says how the audit contradicts the claim.
    `against_sites` are limits by the larger figure of a study of several sites. `ported`: the claim is the source's.
    `ledger` is null where the site's ledger knows nothing of it, `second_opinion` where the site has no record of one.
    """

    claim: Literal["none"] | dict[str, Any]
    epsilon: Positive | None
    delta: Positive | None
    words: tuple[str, ...]
    limits: tuple[Limit, ...]
    together_epsilon: Positive | None
    together: tuple[Limit, ...]
    reconstruction: tuple[Rebuilt, ...]
    weak: bool
    refuted: str | None
    ledger: Ledger | None = None
    second_opinion: SecondOpinion | None = None
    against_sites: tuple[Limit, ...] = ()
    ported: bool = False


class Figures(Strict):
    """One attack's figures, without its order of labels."""

    name: str
    paper: str
    kind: Literal["attack", "baseline"]
    models: Count
    auc: Share
    auc_interval: Range
    upper_limits: UpperLimits | None
    p_value: Share
    tpr_at_fpr: tuple[Rate, ...]
    epsilon: Epsilon | None


class Audit(Strict):
    """The audit report that the pack is about; `leaves_the_site` is false where it must stay."""

    sha256: Digest
    suite: Suite
    unit: Unit
    members: Count
    nonmembers: Count
    verdict: Verdict
    statement: str
    means: str
    does_not_mean: str
    advice: str
    headline: str
    deciding: Deciding
    power: Power
    attacks: tuple[Figures, ...]
    found_nothing: tuple[str, ...]
    coins: Coins | None
    leaves_the_site: bool


class Coverage(Strict):
    """One kind of attack, and whether this audit tried it."""

    source: str
    family: str
    asks: str
    status: Literal["tried", "partly", "not tried"]
    by: tuple[str, ...]
    note: str


class Rule(Strict):
    """A public rule, what it asks, what the pack has for it, and what it has not."""

    source: str
    asks: str
    here: str
    missing: str


class Regulation(Strict):
    """Statements about rules: dated, and no advice."""

    as_of: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    not_advice: str
    rules: tuple[Rule, ...]


class SignOff(Strict):
    """What a signature under the form is bound to."""

    embedding_sha256: Digest
    card_sha256: Digest | None
    report_sha256: Digest


class FormField(Strict):
    """A line of the form: what a person answers there. `from_card` is what the card says to it, null where nothing."""

    name: str
    asks: str
    from_card: str | None = None


class Evidence(Written):
    """The whole pack, but for the drawings."""

    KIND: ClassVar[str] = "evidence"
    COMMAND: ClassVar[str] = "embhub audit FILE --report DIR"
    MAX_BYTES: ClassVar[int] = 1_000_000

    schema_: Literal["embhub.evidence/1"] = Field(default="embhub.evidence/1", alias="schema")
    made: Instant
    audit_again_by: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    tool: Tool
    subject: Subject
    card: CardFacts
    concerns: tuple[str, ...]
    shipment: Shipment
    privacy: Privacy
    audit: Audit
    coverage: tuple[Coverage, ...]
    triggers: tuple[str, ...]
    after_release: tuple[str, ...]
    regulation: Regulation
    sign_off: SignOff
    form: tuple[FormField, ...] = ()
