"""What an embedding's page says, from what verification found and what the database holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from embhub.cards import identifiers, samples
from embhub.cards.card_schema import Card, Code
from embhub.cards.vocabulary import DEIDENTIFICATION, MODALITIES
from embhub.formats.names import is_another
from embhub.formats.plain_text import join_alike
from embhub.privacy import wording
from embhub.privacy.claim import PrivacyClaim
from embhub.privacy.composition import SiteTotal
from embhub.release.checks import site_totals
from embhub.release.files import EMBEDDING, SAMPLES
from embhub.trust.keyring import Keyring
from embhub_registry.database import Connection
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import terms
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.database.releases.repositories import Entry, Revision
from embhub_registry.database.standing import yanks
from embhub_registry.database.statements.attestations import Attestation
from embhub_registry.pages.lists.list_page import member_names
from embhub_registry.pages.release import browser_preview, citation, commit_facts, related, snippets, timeline
from embhub_registry.pages.release.page_facts import (
    Audited,
    Checked,
    DroppedAudit,
    EmbeddingPage,
    File,
    Privacy,
    Problem,
    Provenance,
    Row,
    SampleSheet,
    Section,
    TermsShown,
    Version,
    Yanked,
)
from embhub_registry.pages.release.related import Related
from embhub_registry.pages.release.verification_cache import Judged, Shown
from embhub_registry.pages.wordings import NO_PRIVACY, describe
from embhub_registry.repositories import access, audit_designs, audit_standing, near_copies, repos
from embhub_registry.repositories.repos import MAIN, Snapshot

MOST_VERSIONS = 1000
OF_THE_SOURCE = (
    "This embedding is a port. The claim is that of its source, if the port learned from images generated with the"
    " source and from nothing else. The port's publisher vouches for that."
)


def collect(
    db: Connection,
    snapshot: Snapshot,
    judged: Judged | None,
    *,
    keyring: Keyring,
    opened: bool,
    reader: Account | None,
    registry: str,
    url: str,
    root: str,
) -> EmbeddingPage:
    """Everything that the page of this commit says; what did not verify is not quoted.

    What is in quarantine is left out for a `reader` who may not see it. `opened` is whether the reader may have the
    files: without, an audit is its verdict in the card. `root` is the fingerprint of the registry's root key.
    """
    repository, revision = snapshot.repository, snapshot.revision
    shown = judged.shown if judged else None
    problem = judged.problem if judged else None
    files = repositories.entries(db, repository.id, revision.id)
    line = repos.history(db, snapshot, reader, limit=MOST_VERSIONS)
    name = repository.full_name
    member = member_names(keyring).get(repository.namespace, repository.namespace)
    digest = next((entry.digest for entry in files if entry.path == EMBEDDING), None) if shown else None
    stands = audit_standing.of(db, digest, repository=name, keyring=keyring) if digest else audit_standing.NOTHING
    known = audit_standing.names_of(stands.audits, keyring)
    newest = repositories.find_ref(db, repository.id, MAIN) == revision.id
    place = snippets.Place(
        name, url, root, revision=None if newest else revision.id, closed=repository.private or bool(repository.gated)
    )
    taken_back = {
        y.revision: Yanked.model_validate({"by": y.by, "reason": y.reason, "date": y.date, "scope": y.scope})
        for y in yanks.of(db, repository.id)
    }
    versions = tuple(_version(item, name, yanked=item.id in taken_back) for item in line if item.parent is not None)
    said = [row for row in stands.audits if row.repository == name or access.may_read_statement(db, None, row)]
    audits = tuple(_audited(row, known) for row in said) if opened else ()
    others = related.find(db, repository, shown.card, digest, keyring=keyring) if shown and digest else Related()
    return EmbeddingPage(
        registry=registry, id=name, namespace=repository.namespace, name=repository.name, revision=revision.id,
        newest=newest, private=repository.private,
        opened=opened, gated=bool(repository.gated), terms=_terms(db, repository.id) if repository.gated else None,
        verdict=stands.verdict if shown else None, confirmation=stands.confirmation,
        auditors=tuple(known[auditor] for auditor in stands.auditors),
        audits=audits,
        dropped=_dropped(db, digest) if digest and opened else (),
        nearly=near_copies.say(db, digest, repository=name, keyring=keyring) if digest else (),
        misnamed=is_another(shown.card.publisher, member) if shown else False,
        state="empty" if judged is None else "verified" if shown else "refused",
        checked=Checked(at=stamp(judged.at), keyring=judged.keyring) if judged else None,
        problem=Problem(message=problem.message, remedy=problem.hint) if problem else None,
        yanked=taken_back.get(revision.id),
        set_aside=commit_facts.set_aside(db, repository, reader),
        version=shown.version if shown else None,
        sentence=describe(shown.card) if shown else None,
        description=shown.card.description if shown else None,
        provenance=_provenance(shown, opened=opened) if shown else None,
        privacy=privacy_of(shown.card, member, totals_of(db, repository.namespace)) if shown else None,
        audit=shown.audit.facts if opened and shown and shown.audit else None,
        samples=_samples(shown, name, revision.id) if opened and shown else None,
        use=snippets.write(shown.card, shown.loading, place) if shown else None,
        preview=browser_preview.offer(shown, name, revision.id) if opened and revision.id not in taken_back else None,
        sections=sections_of(shown.card) if shown else (),
        card=shown.card.to_dict() if shown else None,
        files=tuple(_file(entry, name, revision.id) for entry in files),
        versions=versions,
        history=timeline.collect(
            versions, audits,
            [(item, taken_back[item.revision]) for item in versions if item.yanked],
            commit_facts.approved(db, repository.id, versions), namespace=repository.namespace, keyring=keyring,
        ),
        citation=citation.cite(
            shown.card, repository=name, signed=shown.provenance.signed, sha256=digest, registry=registry,
            address=f"{url}/{quote(name)}/commit/{revision.id}",
        ) if shown and digest else None,
        related=others.finding, same_base=others.base, sources=others.sources, ports=others.ports,
    )  # fmt: skip


def _provenance(shown: Shown, *, opened: bool) -> Provenance:
    """The list of checks. The one on the audit's verdict quotes its figures, which are for who may have the files."""
    said = shown.provenance
    if opened:
        return said
    return said.model_copy(update={"findings": tuple(one for one in said.findings if one.check != "verdict")})


def _terms(db: Connection, repository_id: int) -> TermsShown | None:
    found = terms.find(db, repository_id)
    return TermsShown(version=found.version, text=found.text, written=found.written) if found else None


def _dropped(db: Connection, digest: str) -> tuple[DroppedAudit, ...]:
    """Audits of these bytes that were registered and have had no result for the set time."""
    rows = audit_designs.overdue(db, digest, now=now())
    return tuple(DroppedAudit(namespace=row.namespace, number=row.number, since=row.received) for row in rows)


def _audited(row: Attestation, names: Mapping[str, str]) -> Audited:
    return Audited.model_validate(
        {"namespace": row.namespace, "name": names[row.namespace], "own": row.own, "verdict": row.verdict,
         "repository": row.repository, "version": row.version, "date": row.created}
    )  # fmt: skip


def _samples(shown: Shown, name: str, revision: str) -> SampleSheet | None:
    if shown.sheet is None:
        return None
    return SampleSheet(
        address=f"/{quote(name)}/resolve/{revision}/{SAMPLES}", width=shown.sheet.width, height=shown.sheet.height,
        alt=samples.ALT, caption=samples.caption(shown.card),
    )  # fmt: skip


def privacy_of(card: Card, namespace: str, totals: Sequence[SiteTotal]) -> Privacy:
    """The privacy claim, as it stands in the card and in sentences."""
    claim = card.privacy
    if not isinstance(claim, PrivacyClaim):
        return Privacy(
            claim="none", epsilon=None, together=None, delta=None, unit=None, weak=True, sentences=(NO_PRIVACY,)
        )
    return Privacy(
        claim=claim.to_dict(),
        epsilon=claim.epsilon,
        together=wording.together(claim),
        delta=claim.delta,
        unit=claim.unit,
        weak=claim.is_weak,
        sentences=(*((OF_THE_SOURCE,) if card.derived_from else ()), *claim.words()),
        newer=None if card.derived_from else _newer(claim, namespace, totals),
    )


def totals_of(db: Connection, namespace: str) -> list[SiteTotal]:
    """What the public releases of a namespace state of its site."""
    return [SiteTotal.model_validate(total) for total in repositories.site_totals(db, namespace)]


def _newer(claim: PrivacyClaim, namespace: str, totals: Sequence[SiteTotal]) -> str | None:
    newest = max(totals, key=lambda total: total.order, default=None)
    return next((found.text for found in site_totals.say(claim, namespace, newest)), None)


def _file(entry: Entry, name: str, revision: str) -> File:
    address = f"/{quote(name)}/resolve/{revision}/{quote(entry.path)}"
    return File(path=entry.path, size=entry.size, sha256=entry.digest, address=address)


def _version(revision: Revision, name: str, *, yanked: bool) -> Version:
    return Version(
        revision=revision.id, version=revision.release_version, title=revision.title, date=revision.created,
        address=f"/{quote(name)}/commit/{revision.id}", yanked=yanked,
    )  # fmt: skip


def _numbers(card: Card) -> tuple[str, str]:
    if card.kind == "adapter":
        (part,) = card.vectors
        modules = "all attention layers" if card.target_modules else "keys and values of the cross-attention"
        return "Compact adapter", f"rank {part.count}, {modules}, text of width {part.dim}"
    return "Vectors", join_alike(f"{v.count} of {v.dim} numbers for {v.encoder}" for v in card.vectors)


def sections_of(card: Card) -> tuple[Section, ...]:
    """The card in words, in sections."""
    base, data = card.base_model, card.deidentification
    population, acquisition = card.population, card.acquisition
    return (
        _section(
            "Generated images",
            ("Modality", ", ".join(f"{MODALITIES[code]} ({code})" for code in card.modality)),
            ("Sequence", card.sequence),
            ("View", card.view),
            ("Anatomy", _codes(card.anatomy)),
            ("Finding", _codes(card.finding) or "none (healthy)"),
            _numbers(card),
            ("Base model", f"{base.id}, revision {base.revision} ({base.family})"),
            ("Fingerprint of the base", base.fingerprint),
            ("Origin", card.derived_from.sentence if card.derived_from else None),
            ("Evaluation by the publisher", "; ".join(_measured(item) for item in card.evaluation)),
        ),
        _section(
            "Permitted use",
            ("Intended use", card.intended_use),
            ("Out of scope", card.out_of_scope),
            ("Data sets of generated images", card.synthetic_data),
            ("Limitations", card.limitations),
            ("Licence", card.licence, card.licence_link),
            ("Licence of the base", base.licence),
        ),
        _section(
            "Training patients",
            (
                "Trained on",
                f"{card.images} images of {card.patients} patients, at most {card.max_images_per_patient} each",
            ),
            ("Ages", _cells(population.age_bands) if population else None),
            ("Sex", _cells(population.sex) if population else None),
            ("Region", population.region if population else None),
            ("Setting", population.setting if population else None),
            ("Scanners", ", ".join([*acquisition.manufacturer, *acquisition.model]) if acquisition else None),
            ("Years", acquisition.years if acquisition else None),
            ("Labels", f"{card.labels.source}; {card.labels.annotators}"),
            ("Preprocessing", card.preprocessing),
            ("De-identification", ", ".join(DEIDENTIFICATION[code] for code in data.profile)),
            ("Pixel review", data.pixel_review),
            ("Legal basis", card.legal_basis),
            ("Consent", card.consent_or_waiver),
            ("Ethics", card.ethics_ref),
        ),
        _section(
            "Responsible parties",
            ("Publisher, according to the card", card.publisher),
            ("Authors", "; ".join(card.authors)),
            *(("ORCID", name, orcid) for name, orcid in (card.orcid or {}).items()),
            *((("ROR of the publisher", card.ror, card.ror),) if card.ror else ()),
            *((("DOI", card.doi, f"{identifiers.DOI}{card.doi}"),) if card.doi else ()),
            ("Contact", card.contact_role),
        ),
    )


def _section(title: str, *rows: tuple[str, str | None] | tuple[str, str, str]) -> Section:
    """Name, value and, for some, an address; what was not said is left out."""
    found = (Row(name=row[0], value=row[1], link=row[2] if len(row) > 2 else None) for row in rows if row[1])
    return Section(title=title, rows=tuple(found))


def _codes(codes: tuple[Code, ...]) -> str:
    return ", ".join(f"{code.display} ({code.system} {code.code})" for code in codes)


def _cells(cells: object) -> str | None:
    return "; ".join(f"{name}: {count}" for name, count in cells.items()) if isinstance(cells, dict) else None


def _measured(item: object) -> str:
    names = ("task", "dataset", "metric", "value", "interval")
    task, dataset, metric, value, interval = (getattr(item, name) for name in names)
    spread = f" ({interval[0]:g} to {interval[1]:g})" if interval else ""
    return f"{task} on {dataset}: {metric} {value:g}{spread}"
