"""What the verbs that know a base model leave on disk: an embedding, a card, a report and its page, images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embhub import builtin_bases as bases
from embhub import destinations
from embhub.artifact import embedding
from embhub.artifact.embedding import Embedding
from embhub.audits.attack_figures import FIVES, in_fives
from embhub.audits.explanation import describe_attempt, describe_deciding
from embhub.audits.report import AuditReport, Bounds
from embhub.cards import card_draft, confirmation, evaluation_on_card, proposals
from embhub.cards import evaluation as evaluation_report
from embhub.cards import reader_study as reader_studies
from embhub.cards import samples as sample_record
from embhub.cards.card_schema import FIELDS
from embhub.client.pulling.overview import describe_embedding
from embhub.diffusion.preflight.auditing import check_audit
from embhub.durable import write_atomic
from embhub.errors import ArtifactError, UsageError
from embhub.formats import safe_yaml
from embhub.images.prepared import describe_preprocessing
from embhub.options.audit import AuditOptions
from embhub.privacy.claim import PrivacyClaim
from embhub.privacy.claim_or_none import plain
from embhub.progress import OnProgress, say_loading
from embhub.refusals import ReleaseRefusedError
from embhub.release import at_the_site
from embhub.release import files as release_files
from embhub.release.checks import consistency
from embhub.release.files import Release
from embhub.site import config
from embhub.site.memory import runs
from embhub.version import __version__

if TYPE_CHECKING:
    from embhub.diffusion.train import TrainResult


@dataclass(frozen=True)
class Drafted:
    """A card's file, `field: what to say` for each open field, the site's answers that are to be confirmed, and what
    caption and base say of open fields."""

    path: Path
    questions: list[str]
    unconfirmed: list[str]
    proposed: Mapping[str, Any] = field(default_factory=dict)


def describe_training(result: TrainResult) -> dict[str, Any]:
    """What is told of a training that wrote a file, as data; in words: `embhub.client.pulling.overview.in_words`."""
    facts: dict[str, Any] = {"wrote": str(result.path), **describe_embedding(result.embedding)}
    facts["trained on"] = _count(result.run.members)
    facts["held out"] = _count(result.run.holdout)
    facts |= _second_opinion(result.run)
    if result.heldout_before is not None and result.heldout_after is not None:
        facts["held-out loss"] = {"without": result.heldout_before, "with": result.heldout_after}
    return facts


def adapt_to_file(images: Path, **choices: Any) -> dict[str, Any]:
    """Train a compact adapter (`embhub.diffusion.adaptation.compact.train_adapter`); returns what a person is told."""
    from embhub.diffusion.adaptation.compact import train_adapter

    made = train_adapter(images, **choices)
    facts: dict[str, Any] = {"wrote": str(made.path), **describe_embedding(made.adapter)}
    facts |= {"trained on": _count(made.run.members), "held out": _count(made.run.holdout)}
    if made.heldout_before is not None and made.heldout_after is not None:
        facts["held-out loss"] = {"without": made.heldout_before, "with": made.heldout_after}
    return facts


def _second_opinion(run: runs.Run) -> dict[str, Any]:
    if (opinion := run.second_opinion) is None:
        return {}
    return {"second opinion": {**opinion.model_dump(mode="json"), "sentence": opinion.sentence}}


_OF_THE_IMAGES = (
    "description", "modality", "sequence", "view", "anatomy", "finding", "n_patients", "n_images",
    "max_images_per_patient", "population", "acquisition", "labels", "preprocessing", "deidentification",
    "consent_or_waiver", "ethics_ref", "licence", "licence_link", "intended_use", "out_of_scope", "limitations",
    "synthetic_data",
)  # fmt: skip
"""Answers of a source's card that hold for its port, too: all that is about the patients' images and their use."""


def port_to_file(source: Path, *, out: Path, **choices: Any) -> dict[str, Any]:
    """Port (`embhub.diffusion.adaptation.porting.port`), and begin a card with the source's answers.

    Returns:
        What a person is told of it.

    Raises:
        EmbhubError: as `port`.
    """
    from embhub.diffusion.adaptation.porting import port

    made = port(source, out=out, **choices)
    target, answers = at_the_site.beside(out, at_the_site.CARD), _answers_of(source)
    if answers and not target.exists():
        write_atomic(target, safe_yaml.dump(answers))
    return {
        "wrote": str(out),
        **describe_embedding(made.embedding),
        **({"source attestation": str(at_the_site.beside(out, at_the_site.SOURCE_BUNDLE))} if made.source else {}),
    }


def _answers_of(source: Path) -> dict[str, Any]:
    """What the card of a source says of the patients' images; nothing where there is no complete card."""
    try:
        release = Release.from_folder(source) if source.is_dir() else at_the_site.read(source)
        told = release.card.to_dict()
    except (ArtifactError, ReleaseRefusedError):
        return {}
    return {name: told[name] for name in _OF_THE_IMAGES if name in told}


def audit_to_file(
    file: Path,
    options: AuditOptions | None = None,
    *,
    base: str | Path | None = None,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> tuple[AuditReport, dict[str, Any]]:
    """Audit (see `embhub.diffusion.attacks.auditing.audit`) and write the report and its page beside the embedding.

    A report on patients of an embedding with a privacy claim gets a name of its own, which `sign` does not take along.
    `options.worst` adds the ten most exposed patients to what is returned, and writes them nowhere.

    Args:
        file: the embedding.
        options: what is attacked, how hard, and where the report goes.
        base: the base model; by default the one trained on.
        device: `auto`, or a torch device.
        on_progress: called with the progress of each stage.

    Returns:
        The report, and what a person is told of it.

    Raises:
        PrivacyError: somebody exceeds `options.worst_limit`; the report and its page are written all the same.
        EmbhubError: as `audit`.
    """
    chosen = options or AuditOptions()
    target = chosen.out or at_the_site.beside(file, _report_name(file, chosen.suite))
    if (chosen.worst or chosen.worst_limit is not None) and chosen.suite == "mechanism":
        raise UsageError("the mechanism suite attacks no patient, so it has no exposures", "use another suite")
    destinations.check_file(target)
    page = target.with_suffix(".html")
    destinations.check_file(page)
    check_audit(file, chosen, base=base, device=device)
    say_loading(on_progress)
    from embhub.audits import audit_page
    from embhub.diffusion.attacks.auditing import audit
    from embhub.diffusion.attacks.executors import open_executor
    from embhub.diffusion.attacks.exposure import MOST, Exposed, check_limit

    ranked = list[Exposed]()
    with open_executor(workers=chosen.workers, cluster=chosen.cluster) as executor:
        report = audit(
            file,
            members=chosen.members,
            nonmembers=chosen.nonmembers,
            base=base,
            suite=chosen.suite,
            shadows=chosen.shadows,
            bounds=Bounds(auc=chosen.auc_bound, tpr=chosen.tpr_bound),
            precision=chosen.precision,
            replay=chosen.replay,
            device=device,
            executor=executor,
            on_exposed=ranked.extend,
            on_progress=on_progress,
        )
    write_atomic(target, report.to_bytes())
    write_atomic(page, audit_page.render(report).encode())
    if chosen.worst_limit is not None:
        check_limit(ranked, chosen.worst_limit)
    shown = {"worst": tuple(ranked[:MOST])} if chosen.worst else {}
    return report, {
        "verdict": report.verdict,
        "meaning": report.statement,
        "decided by": describe_deciding(report),
        "audit": describe_attempt(report),
        "counted": f"{report.members.units} canaries in, {report.nonmembers.units} out"
        if report.unit == "canary"
        else f"{report.members.units} {report.unit}s trained on, {report.nonmembers.units} held out, in fives",
        "report": str(target),
        "page": str(page),
        **shown,
    }


def _report_name(file: Path, suite: str) -> str:
    stays = suite != "mechanism" and isinstance(embedding.read(file).privacy, PrivacyClaim)
    return at_the_site.SITE_AUDIT if stays else at_the_site.AUDIT


def draft_card(
    file: Path,
    *,
    out: Path | None = None,
    evaluation: Path | None = None,
    reader_study: Path | None = None,
    samples: Path | None = None,
    force: bool = False,
) -> Drafted:
    """Write a card with everything computed filled in; returns its path and what a person must still say.

    Site defaults come from config.yaml; counts, as ranges of five, from this site's memory of the training; the verdict
    from the report beside the file; the base's licence from the base, where it came with embhub. A card that is there
    keeps its answers, but beside another claim no figures and no preprocessing; what file, base and report say is
    renewed; `force` begins anew. `evaluation` is a report of `embhub evaluate`, `reader_study` the result of a reader
    study: each replaces the card's figures of its kind. `samples` is the record of `embhub copy-check --sheet`.
    """
    artifact = embedding.read(file)
    target = out or at_the_site.beside(file, at_the_site.CARD)
    earlier = {} if force else read_answers(target)
    if not _drew(artifact, earlier.get("samples")):
        earlier.pop("samples", None)
    if isinstance(artifact.privacy, PrivacyClaim) and earlier.get("privacy") != plain(artifact.privacy):
        earlier = {name: said for name, said in earlier.items() if name not in ("evaluation", "preprocessing")}
    facts = {"name": file.stem, **_run_facts(artifact), **_base_facts(artifact), **_audit_facts(file)}
    facts = {name: value for name, value in facts.items() if name in ("audit", "base_model") or name not in earlier}
    facts |= _evaluation_facts(artifact, earlier, evaluation, reader_study) | _samples_facts(artifact, file, samples)
    site = config.load().site
    unconfirmed = confirmation.choose(site, earlier, facts)
    values, questions = card_draft.draft(artifact, defaults={**site, **earlier}, facts=facts)
    proposed = _propose(artifact, values)
    write_atomic(target, card_draft.write_draft(values, questions, unconfirmed, proposed))
    return Drafted(target, questions, unconfirmed, proposed)


def open_card(file: Path) -> Drafted:
    """The card of an embedding, drafted as `draft_card` does, or the card that `file` is, as it stands.

    Raises:
        ArtifactError: it is neither.
    """
    if file.suffix not in (".yaml", ".yml"):
        return draft_card(file)
    if not (values := read_answers(file)):
        raise ArtifactError(f"{file} is no card", "name a .card.yaml, or an embedding")
    listed = values.pop(confirmation.KEY, None) or []
    unconfirmed = [name for name in listed if name in confirmation.OF_ONE_RELEASE.values()]
    beside = file.with_name(file.name.removesuffix(at_the_site.CARD) + ".safetensors")
    proposed = _propose(embedding.read(beside), values) if beside.is_file() else {}
    return Drafted(file, card_draft.find_questions(values), unconfirmed, proposed)


def _propose(artifact: Embedding, known: Mapping[str, Any]) -> dict[str, Any]:
    """What caption and base say of fields that are open."""
    caption, base = str(artifact.training.get("caption", "")), bases.GENERATES.get(artifact.base_name)
    return {name: value for name, value in proposals.propose(caption, base).items() if known.get(name) is None}


def answer_card(drafted: Drafted, answers: Mapping[str, Any], confirmed: Collection[str]) -> Drafted:
    """Write a person's answers into a draft; `base_model.family` and the like go into that block."""
    values = read_answers(drafted.path)
    values.pop(confirmation.KEY, None)
    for name, value in answers.items():
        block, _, inner = name.partition(".")
        values[block] = {**values.get(block, {}), inner: value} if inner else value
    known = {name: values[name] for name in FIELDS if name in values}
    questions, unconfirmed = card_draft.find_questions(known), [n for n in drafted.unconfirmed if n not in confirmed]
    proposed = {name: value for name, value in drafted.proposed.items() if name not in known}
    write_atomic(drafted.path, card_draft.write_draft(known, questions, unconfirmed, proposed))
    return Drafted(drafted.path, questions, unconfirmed, proposed)


def kept_evaluation(card_path: Path) -> bool:
    """Whether a card that was just drafted has figures of an evaluation: nothing in it says of which embedding."""
    return bool(read_answers(card_path).get("evaluation"))


def read_answers(path: Path) -> dict[str, Any]:
    """What a person said in an earlier card, complete or not."""
    if not path.exists():
        return {}
    try:
        values = safe_yaml.load(release_files.read_file(path, limit=release_files.LIMITS[release_files.CARD]))
    except safe_yaml.YamlError as error:
        raise ArtifactError(
            f"{path} is not readable YAML: {error}", "correct it, or pass --force to start again"
        ) from error
    if not isinstance(values, dict):
        raise ArtifactError(f"{path} is not a list of `field: value` lines", "pass --force to start again")
    return {name: value for name, value in values.items() if value is not None}


def _base_facts(artifact: Embedding) -> dict[str, Any]:
    if artifact.base_name not in bases.NAMES:
        return {}
    known = bases.info(artifact.base_name)
    shown = {"revision": f"embhub {__version__}", "family": known.family, "licence": known.licence}
    return {"base_model": shown, "preprocessing": describe_preprocessing(artifact, known.resolution)}


def _run_facts(artifact: Embedding) -> dict[str, Any]:
    run = runs.find(artifact.digest)
    if run is None:
        return {}
    counts = Counter(sample.patient_id for sample in run.members)
    stated = run.settings.get("deidentification")
    said = {name: stated[name] for name in ("profile", "pixel_review")} if isinstance(stated, dict) else None
    facts: dict[str, Any] = {"deidentification": said} if said else {}
    if isinstance(artifact.privacy, PrivacyClaim):  # beside a claim stands what was declared
        return facts
    return facts | {
        "n_images": _in_fives(len(run.members)),
        "n_patients": _in_fives(len(counts)),
        "max_images_per_patient": _in_fives(max(counts.values())),
    }


def _in_fives(count: int) -> str:
    """The five numbers that a count is one of, such as "20-24": an audit report publishes the first of them."""
    low = in_fives(count)
    return f"{max(low, 1)}-{low + FIVES - 1}"


def _audit_facts(file: Path) -> dict[str, Any]:
    path = at_the_site.beside(file, at_the_site.AUDIT)
    if not path.exists():
        return {}
    report = AuditReport.parse(path.read_bytes())
    return {"audit": {"verdict": report.verdict, "suite": report.suite, "power": consistency.power(report)}}


def _evaluation_facts(
    artifact: Embedding, earlier: Mapping[str, Any], evaluation: Path | None, study: Path | None
) -> dict[str, Any]:
    """Figures of both kinds; those of a kind for which no file is given stay."""
    if evaluation is None and study is None:
        return {}
    private = isinstance(artifact.privacy, PrivacyClaim)
    present: list[dict[str, Any]] = [item for item in earlier.get("evaluation") or () if isinstance(item, dict)]
    figures = [item for item in present if item.get("task") != reader_studies.TASK]
    of_readers = [item for item in present if item.get("task") == reader_studies.TASK]
    if evaluation is not None:
        report = evaluation_report.parse(release_files.read_file(evaluation, limit=evaluation_report.MAX_BYTES))
        figures = evaluation_on_card.card_figures(report, artifact.digest, private=private)
    if study is not None:
        result = reader_studies.parse_result(release_files.read_file(study, limit=reader_studies.MAX_BYTES))
        of_readers = reader_studies.card_figures(result, artifact.digest, private=private)
    return {"evaluation": [*figures, *of_readers]}


def _samples_facts(artifact: Embedding, file: Path, path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    sheet = at_the_site.beside(file, at_the_site.SHEET)
    digest = release_files.digest(release_files.read_file(sheet, limit=release_files.LIMITS[release_files.SAMPLES]))
    record = release_files.read_file(path, limit=sample_record.MAX_BYTES)
    said = sample_record.read(record, sheet=digest, embedding=artifact.digest, claim=artifact.privacy)
    return {"samples": said}


def _drew(artifact: Embedding, record: Any) -> bool:
    """Whether a card's samples are of this embedding, and not of one that lay here before."""
    return isinstance(record, dict) and record.get("embedding") == artifact.digest


def _count(samples: Sequence[runs.Sample]) -> dict[str, int]:
    return {"images": len(samples), "patients": len({sample.patient_id for sample in samples})}
