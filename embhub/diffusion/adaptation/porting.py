"""An embedding moved to another base: images generated with it on the old one, learned from on the new one.

No image of a patient is read. So a privacy claim carries over by post-processing (Dwork and Roth 2014, proposition
2.1), as long as the new base learned from none of these patients; `embhub.release.checks.derivations` checks the link.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from embhub import destinations
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.derivation import FEWEST, MOST, TOOL, Derivation
from embhub.artifact.embedding import LAYOUTS, Embedding
from embhub.client.pulling.opening import open_path
from embhub.diffusion.bases import live_fingerprint as live_base
from embhub.diffusion.bases import live_weights
from embhub.diffusion.bases.adapted import refuse_claim
from embhub.diffusion.bases.found import FoundBase
from embhub.diffusion.bases.pipelines import find_base, load_pipeline, size_rule
from embhub.diffusion.families import check_configured, check_trainable, detect
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.generation.base_choice import choose_base
from embhub.diffusion.generation.generation import Studio, draw_seeds, prepare
from embhub.diffusion.generation.loading import HasEmbedding, open_embedding
from embhub.diffusion.training import inversion, memory, per_layer
from embhub.diffusion.training.captions import check_caption, check_words
from embhub.diffusion.training.recipes import ResolvedRecipe, default_recipe, describe, resolve
from embhub.diffusion.training.remarks import Remarks, Say
from embhub.durable import write_atomic
from embhub.errors import PrivacyError, UsageError
from embhub.images import pixels
from embhub.options.preprocessing import Preprocessing
from embhub.options.training import Recipe
from embhub.privacy.claim import PrivacyClaim
from embhub.progress import OnProgress, Progress, announce
from embhub.release import at_the_site
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.site.memory import runs

Source = str | Path | Embedding | Release | HasEmbedding

IMAGES = 64
"""How many images are generated to learn from, by default."""


@dataclass(frozen=True)
class Ported:
    """The result of a port.

    Attributes:
        embedding: The embedding for the new base.
        path: The file written, or None.
        notes: Warnings of the port.
        losses: Training loss of every step.
        source: The publish attestation of the source, by which its privacy claim is checked; None where the source is
            not signed.
    """

    embedding: Embedding
    path: Path | None
    notes: tuple[str, ...]
    losses: tuple[float, ...]
    source: bytes | None


def port(
    source: Source,
    *,
    to: str | Path,
    base: str | Path | None = None,
    caption: str | None = None,
    images: int = IMAGES,
    seed: int = 0,
    steps: int | None = None,
    guidance_scale: float | None = None,
    recipe: Recipe | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    on_note: Say | None = None,
) -> Ported:
    """Move an embedding to another base. No image of a patient is read.

    Images are generated with the embedding on its own base, and an embedding for the new base is learned from them.
    A privacy claim of the source carries over, because the port sees nothing of the patients but the source. Then the
    source must be signed: the file `NAME.source.sigstore.json` beside `out` is what others check the claim by. Without
    a claim the port says `none`.

    The same source, bases, seed and versions give the same bytes on one machine. So whoever holds the source can repeat
    a port.

    Args:
        source: The embedding: a file, a folder that `pull` wrote, a `Release`, or what `train` or `pull` returned.
        to: The new base: a built-in name, a pipeline folder, or `owner/name` of the Hub.
        base: The old base. By default the one that the embedding was made for.
        caption: Prompt template with `{}` where the placeholder token goes, for both bases. By default the one that the
            embedding was trained with.
        images: Number of images to generate.
        seed: Image i follows from `seed + i`. The learning follows from `seed`. It is published in the header.
        steps: Sampling steps. By default what the old base recommends.
        guidance_scale: Classifier-free guidance scale. By default what the old base recommends.
        recipe: How token embeddings are learned. By default what suits the new base.
        device: `auto`, or a torch device.
        out: Embedding file to write. Refused where it exists, unless `overwrite`.
        overwrite: Whether `out` may be replaced.
        on_progress: Called with the progress of each stage.
        on_note: Called with each warning. The result holds them, too.

    Returns:
        The embedding and what belongs to it.

    Raises:
        UsageError: No such file or base; no prompt template; settings out of range; or a base that cannot generate or
            cannot be trained on.
        ArtifactError: A malformed file, or an embedding that is not made for the old base.
        PrivacyError: The source has a privacy claim, and is not signed or is a port itself; or the old base is not the
            one that the claim is about; or one of the bases was fine-tuned on a site's images without privacy.
        VerificationError: A signed source that is not what a trusted publisher or this site signed.
        ConfigError: `out` cannot be written.

    Example:
        >>> import embhub
        >>> moved = embhub.port("prostate-cspca.safetensors", to="builtin-next", images=16)  # doctest: +SKIP
        >>> moved.embedding.base_name, moved.embedding.derived_from.images  # doctest: +SKIP
        ('builtin-next', 16)
    """
    path, remarks = destinations.check_embedding(out, overwrite=overwrite), Remarks(on_note)
    old, signed = _open(source, remarks)
    if old.kind == "adapter":
        raise UsageError("a compact adapter is not ported", "train an adapter for the new base, or port an embedding")
    if not FEWEST <= images <= MOST:
        raise UsageError(f"{images} images to generate", f"choose {FEWEST} to {MOST:,}")
    if not 0 <= seed < 2**53:
        raise UsageError(f"the random seed {seed} cannot be published exactly", "choose one from 0 to 2**53 - 1")
    caption = check_caption(caption or _recorded_caption(old), old.token)
    base = choose_base(base, [old])
    origin, target = find_base(base), find_base(to)
    _check_claim(old, signed, origin, target)
    check_configured(target.folder, target.kind)
    chosen = recipe or Recipe()
    if chosen.per_layer:
        per_layer.check_kind(target.kind)
    check_words("initializer text", chosen.initializer_text or "")
    identity = fingerprint.take(target.folder)
    if old.base is not None and fingerprint.digest(identity) == fingerprint.digest(old.base):
        raise UsageError(f"the embedding is made for {target.name} already", "name another base with --to")
    announce(on_progress, "loading the old base")
    studio = prepare(
        [old], base=base, steps=steps, guidance_scale=guidance_scale, device=device,
        check_loaded=lambda pipe: _check_weights(old, pipe),
    )  # fmt: skip
    derived = _derive(old, studio, images, seed)
    drawn = draw_seeds(
        studio.pipe, studio.fill(caption), range(seed, seed + images), steps=studio.steps,
        guidance_scale=studio.guidance, side=studio.side, on_progress=on_progress,
    )  # fmt: skip
    del studio
    announce(on_progress, "loading the new base")
    with memory.explain_out_of_memory(None):
        pipe = load_pipeline(target, device=device)
    check_trainable(pipe)
    settled = resolve(chosen, default_recipe(pipe), device=pipe.device.type)
    if settled.per_layer:
        per_layer.check_size(pipe, settled.num_vectors, settled.dtype)
    side = size_rule(pipe).choose(None)
    shown = torch.stack([torch.from_numpy(pixels.fit(image, side)) for image in drawn])
    with memory.explain_out_of_memory(settled):
        learned = inversion.fit(
            pipe, inversion.encode_images(pipe, shown), token=old.token, caption=caption, recipe=settled, seed=seed,
            on_step=_stepper(on_progress, settled),
        )  # fmt: skip
    preprocessing = Preprocessing(resolution=side)
    made = artifact.build(
        _tensors(pipe, learned),
        token=old.token,
        base=identity,
        base_name=target.name,
        training=describe(pipe, caption, settled, preprocessing) | {"tool": TOOL},
        privacy=old.privacy,
        dtype=settled.dtype,
        derived_from=derived,
    )
    _remember(old, made, str(to), caption, preprocessing)
    if path is not None:
        _write(path, made, signed)
    return Ported(made, path, remarks.kept, learned.losses, signed)


def _open(source: Source, remarks: Remarks) -> tuple[Embedding, bytes | None]:
    """The source, verified where it is signed, and its publish attestation where that is at hand."""
    if isinstance(source, str | Path):
        opened = open_path(source)
        remarks.warn(*opened.warnings)
        if opened.verified is None:
            return opened.embedding, None
        path = Path(source)
        release = Release.from_folder(path) if path.is_dir() else at_the_site.read(path)
        return opened.embedding, release.files[release_files.PUBLISH_BUNDLE]
    if isinstance(source, Release):
        return source.embedding, source.files.get(release_files.PUBLISH_BUNDLE)
    return open_embedding(source), None


def _recorded_caption(old: Embedding) -> str:
    """The prompt template that the embedding was trained with.

    Raises:
        UsageError: its header has none.
    """
    caption = old.training.get("caption")
    if not isinstance(caption, str):
        raise UsageError("the file does not tell which prompt it was trained with", 'pass --caption "mri, {}"')
    return caption


def _check_claim(old: Embedding, signed: bytes | None, origin: FoundBase, target: FoundBase) -> None:
    """What a claim needs to carry over: images from the base that the embedding was made for, and from no other.

    Raises:
        PrivacyError: it does not.
    """
    if not isinstance(old.privacy, PrivacyClaim):
        return
    if old.derived_from is not None:
        raise PrivacyError(
            "the source is a port itself, and a privacy claim is checked over one link alone",
            f"port the embedding that it came from: sha256 {old.derived_from.source}",
        )
    if old.privacy.study is not None:
        raise PrivacyError(
            "the sites of a study consented to its file alone, so no port of it could be published",
            "generate images on its own base",
        )
    if signed is None:
        raise PrivacyError(
            "the source has a privacy claim and is not signed, so nobody could check the claim of a port",
            "pass the signed file or the folder that `embhub pull` wrote; `embhub sign FILE` signs your own",
        )
    refuse_claim(origin)
    refuse_claim(target)
    if (reason := _differs(old, origin.folder)) is not None:
        raise _not_the_base(old, reason)


def _differs(old: Embedding, folder: Path) -> str | None:
    """Why a base is not the one of the source's header, as far as a fingerprint tells; or None."""
    if old.base is None:
        return "the file does not tell its base's weights"
    match = fingerprint.compare(old.base, fingerprint.take(folder))
    if match.level != "exact":
        return match.reason
    if old.base_weights is None:
        return "the file is without a digest of all weights of its base"
    return None


def _check_weights(old: Embedding, pipe: Pipeline) -> None:
    """With a claim, every number of the base that is about to generate images has to be that of the training.

    Raises:
        PrivacyError: one is not.
    """
    if isinstance(old.privacy, PrivacyClaim) and old.base_weights != live_weights.digest(pipe):
        raise _not_the_base(
            old, "its weights, as loaded here, are not the same in every number and number format as in the training"
        )


def _not_the_base(old: Embedding, reason: str) -> PrivacyError:
    return PrivacyError(
        f"this is not known to be the base that the privacy claim is about: {reason}",
        f"generate with {old.base_name} itself: leave out --base, or name an unchanged copy. Large bases are loaded in"
        " another number format on a GPU: use --device as the training did",
    )


def _derive(old: Embedding, studio: Studio, images: int, seed: int) -> Derivation:
    if not detect(studio.pipe).previews:
        raise UsageError(f"a {type(studio.pipe).__name__} alone generates no images", "choose a base that does")
    return Derivation(
        source=old.digest,
        source_base=_drawn_on(old, studio),
        source_base_name=old.base_name,
        images=images,
        seed=seed,
        steps=studio.steps,
        guidance=float(studio.guidance),
        resolution=studio.side,
    )


def _drawn_on(old: Embedding, studio: Studio) -> str | None:
    """The fingerprint digest of the base that generated the images; of an exact copy that of the source's header."""
    if old.base is None:
        return None
    live = live_base.take(studio.pipe)
    same = fingerprint.compare(old.base, live).level == "exact"
    return fingerprint.digest(old.base if same else live)


def _tensors(pipe: Pipeline, learned: inversion.Fit) -> dict[str, NDArray[Any]]:
    rows = learned.rows
    if "text_encoder" in rows and rows["text_encoder"].ndim == 3:
        return dict(per_layer.named(rows["text_encoder"]))
    return {name: rows[component].numpy() for name, component in LAYOUTS[detect(pipe).layout].items()}


def _remember(old: Embedding, made: Embedding, to: str, caption: str, preprocessing: Preprocessing) -> None:
    """At the site that trained the source: the port has to do with the same patients, in audits and in erasures."""
    run = runs.find(old.digest)
    if run is None:
        return
    settings = {"ported_from": old.digest, "preprocessing": asdict(preprocessing)}
    if "protection" in run.settings:
        settings["protection"] = run.settings["protection"]
    changes = {
        "embedding_digest": made.digest,
        "base": to,
        "caption": caption,
        "vectors": made.vectors[0].count,
        "settings": settings,
        "second_opinion": None,
    }
    runs.save(run.model_copy(update=changes))


def _write(path: Path, made: Embedding, signed: bytes | None) -> None:
    """The file, and beside it the attestation of its source; one of another source that lay there goes."""
    beside = at_the_site.beside(path, at_the_site.SOURCE_BUNDLE)
    if signed is None:
        beside.unlink(missing_ok=True)
    else:
        write_atomic(beside, signed)
    write_atomic(path, made.data)


def _stepper(on_progress: OnProgress | None, recipe: ResolvedRecipe) -> inversion.OnStep | None:
    if on_progress is None:
        return None
    return lambda step, loss: on_progress(Progress("learning", step, recipe.steps, f"loss {loss:.3f}"))
