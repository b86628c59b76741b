"""The audit of an embedding: can its training images be told from others?

`quick` compares losses on the patients trained on and on patients kept back. `standard` also trains shadow embeddings
by the same recipe; its headline speaks of the recipe, its other attacks of the file. `thorough` adds every attack that
embhub has. What is decided from the scores stands in `embhub.audits.verdict`; why, in docs/explanation/audits.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from embhub.artifact import embedding as artifact_module
from embhub.artifact import fingerprint
from embhub.artifact.claimed import check_derived, read_claim
from embhub.artifact.embedding import Embedding
from embhub.audits import statistics
from embhub.audits.attack_figures import FIVES, in_fives
from embhub.audits.guesses import Guesses
from embhub.audits.report import Attempt, AuditReport, Bounds, Design, Split, Suite, Unit, build
from embhub.builtin_bases import NAMES as BUILT_IN
from embhub.diffusion.attacks import QUICK, THOROUGH, WITH_REFERENCES, planning, shadow_training
from embhub.diffusion.attacks import shadows as shadow_module
from embhub.diffusion.attacks.adapter_losses import measure_adapter
from embhub.diffusion.attacks.blind_baseline import score_blindly
from embhub.diffusion.attacks.evidence import BATCH, DRAWS, Evidence, Suspect, draw, measure_losses
from embhub.diffusion.attacks.exposure import Exposed, OnExposed, rank_members, rank_pooled
from embhub.diffusion.attacks.in_turn import REFERENCES, InTurn, attack_in_turn, guess_coins
from embhub.diffusion.attacks.losses import score_by_lira
from embhub.diffusion.attacks.mechanism_audit import audit_mechanism, claimed_mechanism
from embhub.diffusion.attacks.planning import WITH_SHADOWS as WITH_SHADOWS
from embhub.diffusion.attacks.shadow_recipes import plan_shadows
from embhub.diffusion.attacks.shadow_training import ShadowLossCache
from embhub.diffusion.attacks.shadows import Private
from embhub.diffusion.bases.found import FoundBase
from embhub.diffusion.bases.pipelines import find_base, load_pipeline, size_rule
from embhub.diffusion.dp.settings import Protection
from embhub.diffusion.families import check_trainable, detect
from embhub.diffusion.generation.loading import HasEmbedding, tensors
from embhub.diffusion.training.inversion import encode_images
from embhub.diffusion.training.prompts import join_prompts, prompts_of
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.errors import ArtifactError, UsageError
from embhub.images.member_split import Comparison, Source, choose_sides, compare
from embhub.ledger import audit_attempts, published_audits
from embhub.options.precision import Precision
from embhub.options.preprocessing import recorded
from embhub.privacy.claim import PrivacyClaim
from embhub.progress import OnProgress, Progress, announce
from embhub.release import files as release_files
from embhub.site.memory import runs
from embhub.site.memory import secret as site_secret

_HEADLINE = "lira-shadows"
_EXPOSING = "loss-difference"  # ranks the most exposed where no shadows were trained
_SPLITS: Mapping[Unit, Split] = {
    "patient": "by patient, held out before training",
    "image": "by image, held out before training",
}


@dataclass
class _Scores:
    """Unit scores of each attack, and whose they are; `pairs` is what the report is built from."""

    inside: Sequence[bool]
    units: Sequence[str]
    pairs: dict[str, tuple[list[float], list[float]]]
    exposed: tuple[Exposed, ...] = ()

    def add(self, name: str, image_scores: ArrayLike) -> None:
        """Average the scores of a unit's images; a unit is on one side with all of them."""
        names, means = statistics.average_by_unit(image_scores, self.units)
        side = dict(zip(self.units, self.inside, strict=True))
        members = {str(unit): float(mean) for unit, mean in zip(names, means, strict=True) if side[str(unit)]}
        others = [float(mean) for unit, mean in zip(names, means, strict=True) if not side[str(unit)]]
        self.pairs[name] = list(members.values()), others
        if name == _EXPOSING and not self.exposed:
            self.exposed = rank_members(members, others)


def audit(
    embedding: str | Path | Embedding | HasEmbedding,
    *,
    members: Source | None = None,
    nonmembers: Source | None = None,
    base: str | Path | None = None,
    suite: Suite = "quick",
    shadows: int = shadow_module.SHADOWS,
    bounds: Bounds | None = None,
    precision: Precision | None = None,
    replay: int | None = None,
    device: str = "auto",
    executor: Executor | None = None,
    on_exposed: OnExposed | None = None,
    on_progress: OnProgress | None = None,
) -> AuditReport:
    """Attack an embedding and report the membership leakage that the attacks found.

    The site's sealed ledger records the audit before it runs. Noise, coins, shadow embeddings and folds follow from
    that entry under the site's key. So nobody chooses a seed, and an auditor on site can repeat the audit. After an
    interruption, the same call continues after the shadow embeddings that were finished.

    Args:
        embedding: The file, or what `train` or `pull` returned.
        members: Folder or manifest of the images trained on. By default those that `train` recorded at this site.
        nonmembers: Folder or manifest of held-out images. By default those that `train` recorded at this site.
        base: The base model. By default the one trained on.
        suite: `quick` takes seconds to minutes and can only find leakage. `standard` also trains `shadows` shadow
            embeddings. `thorough` adds every other attack. `mechanism` tests the code behind a privacy claim and reads
            no image.
        shadows: Number of shadow embeddings that are attacked in turn, for `standard` and `thorough`. Four more are
            trained as references.
        bounds: What `no-leak-detected` has to rule out. By default an AUC of 0.60 and a true-positive rate of 0.10 at a
            false-positive rate of 1 %.
        precision: Number format in which shadow embeddings are trained: `auto`, `float32` or `bfloat16`. By default
            that of the audited training, whatever this machine has instructions for.
        replay: Number of an earlier audit of this file by this site, to repeat with its own randomness.
        device: `auto`, or a torch device.
        executor: Where shadow embeddings are trained, such as `executors.open_executor` returns. By default here.
        on_exposed: Called with every patient trained on and how exposed that patient is, by the site's own names. For
            the site alone.
        on_progress: Called with each step.

    Returns:
        The report. It names no patient and holds no score.

    Raises:
        UsageError: No record of the training and no images named, no held-out images, fewer than five patients on a
            side, too few patients or shadow embeddings, or no such audit to repeat.
        PrivacyError: A patient or an image is on both sides.
        ArtifactError: Not an embedding, or one for another base.
    """
    target, bounds = resolve(embedding), bounds or Bounds()
    check_derived(target, suite)
    if suite == "mechanism":
        read_claim(target)
        if replay is not None:
            raise UsageError("the mechanism suite takes noise from the operating system", "leave --replay out")
        pipe = _load_for_canaries(target, base, device)
        attempt = planning.begin(target, suite, 0, {}, None)
        counted = Attempt(number=attempt.number, count=attempt.number)
        report = audit_mechanism(target, pipe, attempt=counted, on_progress=on_progress)
        audit_attempts.finish_audit(attempt, report.verdict)
        return report
    run = runs.find(target.digest)
    announce(on_progress, "reading images")
    sides = compare(*choose_sides(run, members, nonmembers))
    if min(sides.members.group.units, sides.nonmembers.group.units) < FIVES:
        raise UsageError(
            f"an audit needs {FIVES} {sides.unit}s on each side: a report counts in fives", "hold out more of them"
        )
    if suite in WITH_SHADOWS and shadows < 1:
        raise UsageError("there is no shadow embedding to attack", "train eight of them")
    if suite in WITH_SHADOWS and run is None:
        raise UsageError(
            f"the {suite} suite trains again by the same recipe, which this site has no record of",
            "audit where the embedding was trained, or use the quick suite",
        )
    announce(on_progress, "loading the base")
    found = find_audited_base(target, base, run)
    pipe = load_pipeline(found, device=device)
    check_trainable(pipe)
    if suite == "thorough" and not detect(pipe).previews:
        raise UsageError(
            f"the thorough suite generates images, and a {type(pipe).__name__} alone cannot", "use another suite"
        )
    seen = recorded(target.training)
    images = torch.from_numpy(sides.load(size_rule(pipe).choose(seen.resolution), seen.fit))
    sealed = planning.seal(sides, bounds, precision, suite)
    attempt = planning.begin(target, suite, shadows if suite in WITH_SHADOWS else 0, sealed, replay)
    secret = site_secret.derive_seed({"embedding": target.digest, "audit": attempt.id})
    latents = encode_images(pipe, images)
    draws = draw(pipe, latents.shape[1:], count=DRAWS, seed=secret)
    caption = run.caption if run else str(target.training.get("caption", "{}"))
    known = (prompts_of(side.images, caption, target.token) for side in (sides.members, sides.nonmembers))
    prompts = join_prompts(*known)
    is_adapter = target.kind == "adapter"
    suspect = Suspect(
        pipe, latents, draws, caption, target.token, {} if is_adapter else tensors(target), seed=secret, images=images,
        units=sides.units, prompts=prompts,
    )  # fmt: skip
    evidence = measure_adapter(suspect, target) if is_adapter else _measure(suspect, on_progress)

    scores = _Scores(sides.inside, sides.units, {})
    design = Design(
        draws=DRAWS,
        bounds=bounds,
        split=_SPLITS[sides.unit] if members is None and nonmembers is None else "named by the caller",
    )
    guesses: Guesses | None = None
    loss_cache = ShadowLossCache(f"{target.digest} {secret}")
    if suite in WITH_SHADOWS and run is not None:
        setting = plan_shadows(
            shadow_module.Setting(
                pipe, latents, sides.units, run.caption, run.token, ResolvedRecipe(), draws,
                private=_how_private(target, run), prompts=prompts,
            ),
            run, precision,
        )  # fmt: skip
        design = design.model_copy(update={"shadows": shadows, "subject": "algorithm"})
        guesses = _attack_with_shadows(
            scores, setting, evidence, shadows, secret,
            thorough=suite == "thorough", fives=_choose_in_fives(sides, secret),
            base=found.folder, executor=executor, loss_cache=loss_cache, on_progress=on_progress,
        )  # fmt: skip
    attacks = THOROUGH if suite == "thorough" else QUICK
    for number, (name, attack) in enumerate(attacks.items(), start=1):
        scores.add(name, attack(evidence).numpy())
        if on_progress and suite == "thorough":
            on_progress(Progress("attacking", number, len(attacks), name))
    scores.add("blind", score_blindly(images, np.array(sides.inside), sides.units, seed=secret))
    report = build(
        artifact_digest=target.digest,
        base_digest=fingerprint.digest(target.base) if target.base else None,
        suite=suite,
        scores=scores.pairs,
        unit=sides.unit,
        members=sides.members.group,
        nonmembers=sides.nonmembers.group,
        design=design,
        guesses=guesses,
        attempt=Attempt(number=attempt.number, count=attempt.number, cohort=attempt.cohort_number),
        commitment=planning.commit(sealed, attempt),
    )
    audit_attempts.finish_audit(attempt, report.verdict)
    unit: Literal["patient", "image"] = "patient" if sides.unit == "patient" else "image"
    published_audits.remember_sides(release_files.digest(report.to_bytes()), **sides.facts(), unit=unit)
    loss_cache.clear()
    if on_exposed is not None:
        on_exposed(tuple(Exposed(sides.name(item.name), item.excess) for item in scores.exposed))
    return report


def _load_for_canaries(target: Embedding, base: str | Path | None, device: str) -> Any | None:
    """The base that made-up patients are trained on: the one that is named, else one that comes with embhub.

    None where neither is the file's: another would have to be fetched, and may take hours on a processor.
    """
    if base is None and target.base_name not in BUILT_IN:
        return None
    try:
        return load_pipeline(find_audited_base(target, base, None), device=device)
    except ArtifactError:
        if base is not None:
            raise
        return None  # this installation's is another version of it


def _how_private(target: Embedding, run: runs.Run) -> Private | None:
    """How the file was trained, if privately: shadows of another mechanism would audit another training.

    Raises:
        ArtifactError: the record says that it was, and the file claims nothing.
    """
    said, claim = run.settings.get("protection"), target.privacy
    if said is None:
        return None
    if not isinstance(claim, PrivacyClaim):
        raise ArtifactError("the file claims no privacy, and was trained with it", "train again")
    return Private(Protection(**said), claimed_mechanism(claim))


def resolve(embedding: str | Path | Embedding | HasEmbedding) -> Embedding:
    """The checked embedding behind any of these."""
    if isinstance(embedding, str | Path):
        return artifact_module.read(embedding)
    return embedding if isinstance(embedding, Embedding) else embedding.embedding


def find_audited_base(target: Embedding, base: str | Path | None, run: runs.Run | None) -> FoundBase:
    """The base on this machine, after a look at its fingerprint: on another one every loss would mean nothing."""
    found = find_base(base or (run.base if run else target.base_name))
    if target.base is not None:
        match = fingerprint.compare(target.base, fingerprint.take(found.folder))
        if match.level == "different":
            raise ArtifactError(
                f"the embedding was not made for the base {found.name}: {match.reason}",
                f"name its base, which calls itself {target.base_name}",
            )
    return found


def _measure(suspect: Suspect, on_progress: OnProgress | None) -> Evidence:
    done, batches = 0, 2 * len(suspect.draws.timesteps) * -(-len(suspect.latents) // BATCH)

    def on_batch() -> None:
        nonlocal done
        done += 1
        if on_progress:
            on_progress(Progress("measuring losses", done, batches))

    def losses(rows: Mapping[str, Tensor] | None) -> Tensor:
        return measure_losses(
            suspect.pipe, suspect.latents, suspect.draws, caption=suspect.caption, token=suspect.token, rows=rows,
            prompts=suspect.prompts, on_batch=on_batch,
        )  # fmt: skip

    return Evidence(losses(suspect.rows), losses(None), suspect=suspect)


def _choose_in_fives(sides: Comparison, seed: int) -> NDArray[np.bool_]:
    """Which units' coins are published: as many as both sides have by the report's counts, whichever side they are on.

    The length of an order would otherwise be an exact count.
    """
    counts = sides.members.group.units, sides.nonmembers.group.units
    chosen = np.zeros(sum(counts), dtype=bool)
    chosen[np.random.default_rng([seed, 3]).permutation(sum(counts))[: sum(map(in_fives, counts))]] = True
    return chosen


def _attack_with_shadows(
    scores: _Scores,
    setting: shadow_module.Setting,
    evidence: Evidence,
    count: int,
    seed: int,
    *,
    thorough: bool,
    fives: NDArray[np.bool_],
    **place: Any,
) -> Guesses:
    """Attack `count` shadows in turn, then the file beside all of them; some more are references only.

    Returns what each attack guesses of the shadows' coins.
    """
    names = tuple(dict.fromkeys(setting.units))
    coins = shadow_module.flip_coins(REFERENCES + count, len(names), seed=seed)
    trained = shadow_training.train(setting, coins, seed=seed + 1_000, stage="shadow embeddings", **place)
    suspect = evidence.suspect if thorough else None
    in_turn = attack_in_turn(trained, evidence.without, setting.units, suspect=suspect)
    published = {name: InTurn(found[:, fives], inside[:, fives]) for name, (found, inside) in in_turn.items()}
    for name, (found, inside) in published.items():
        scores.pairs[name] = found[inside].tolist(), found[~inside].tolist()
    side = dict(zip(scores.units, scores.inside, strict=True))
    ranked = rank_pooled(in_turn[_HEADLINE], names)
    scores.exposed = tuple(item for item in ranked if side[item.name])  # shadows learned from the others, too
    compared = Evidence(evidence.with_rows, evidence.without, trained.losses, ~trained.inside)
    scores.add("lira", score_by_lira(compared).numpy())
    for name, attack in WITH_REFERENCES.items():
        scores.add(name, attack(compared).numpy())
    return guess_coins(published, seed=seed)
