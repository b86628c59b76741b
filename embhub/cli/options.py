"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from embhub.errors import UsageError
from embhub.options.preprocessing import HIGHEST, LOWEST

FILE = click.Path(path_type=Path)
F = TypeVar("F", bound=Callable[..., Any])


def ask_secret(what: str, *, twice: bool = False) -> str:
    """A token or passphrase: asked without showing it on a terminal, else one line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True))
    if not (line := sys.stdin.readline().rstrip("\n")):
        raise UsageError(f"{what}: standard input holds none", "pipe it in, or run this on a terminal to be asked")
    return line


def ask_new_passphrase() -> str | None:
    """A passphrase for a new key, asked twice on a terminal; None for none, which is said."""
    secret = ""
    if sys.stdin.isatty():
        asking = "Passphrase of the new key (empty: not encrypted)"
        secret = click.prompt(
            asking, hide_input=True, confirmation_prompt=True, default="", show_default=False, err=True
        )
    if not secret:
        click.echo("the key is not encrypted: whoever can read its file can sign in your name", err=True)
    return secret or None


def ask_passphrase(key: str) -> str:
    """The passphrase of a key."""
    return ask_secret(f"Passphrase of the key {key}")


manifest = click.option(
    "--manifest",
    type=FILE,
    metavar="CSV",
    help="Manifest (CSV or .xlsx) with the columns path,patient_id and optionally label,split.",
)


def where(verb: str) -> Callable[[F], F]:
    """`--where`: a filter on the rows of the manifest."""
    return click.option("--where", metavar="COLUMN=VALUE", help=f"Filter: {verb} only manifest rows with this value.")


def dicom_copies(command: Any) -> Any:
    """`--dicom` and `--burn-in`."""
    word = click.option("--burn-in", is_flag=True, help="Burn the word SYNTHETIC into the DICOM copies.")
    copies = click.option("--dicom", is_flag=True, help="Write a DICOM copy of each image too (Secondary Capture).")
    return copies(word(command))


def _open_signer(context: click.Context, _: click.Parameter, key: str | None) -> Any:
    from embhub.images.c2pa_manifests.signing import open_signer

    return open_signer(key, certificates=context.meta.get("embhub.c2pa"), ask_passphrase=ask_passphrase)


def _note_certificates(context: click.Context, _: click.Parameter, chain: Path | None) -> None:
    context.meta["embhub.c2pa"] = chain


def c2pa(what: str) -> Callable[[F], F]:
    """`--c2pa` and `--c2pa-certificate`: signing a manifest, which the command gets as a signer."""
    key = click.option("--c2pa", metavar="KEY", callback=_open_signer, help=f"{what}, signed with this signing key.")
    chain = click.option(
        "--c2pa-certificate", type=FILE, metavar="PEM", is_eager=True, expose_value=False, callback=_note_certificates,
        help="Certificate chain of that key for C2PA  [default: the key certifies itself, an unknown signer to others]",
    )  # fmt: skip
    return lambda command: key(chain(command))


number = click.option(
    "-n", "--number", "n", type=click.IntRange(1, 100_000), metavar="N",
    help="Number of images; for an interpolation, of rows  [default: 8; with --from 1 of each]",
)  # fmt: skip
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def _allow_plain_http(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        from embhub.site.pins import transport

        context.with_resource(transport.plain_http_allowed())


insecure = click.option(
    "--insecure", is_flag=True, expose_value=False, callback=_allow_plain_http,
    help="Allow plain http to a registry on another machine: not encrypted, others can read and change it.",
)  # fmt: skip
_registry = click.option(
    "--registry",
    metavar="URL|DIR",
    help="URL of the registry, or folder of an export  [default: EMBHUB_REGISTRY, config.yaml, or the only known one]",
)


def registry(command: F) -> F:
    """`--registry`, and whether it may be asked by plain http."""
    return _registry(insecure(command))


device = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Torch device: auto, cpu, cuda or mps; auto selects the fastest.",
)
seed = click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    metavar="N",
    default=0,
    show_default=True,
    help="Random seed.",
)


def _note_replacements(context: click.Context, _: click.Parameter, words: tuple[str, ...]) -> None:
    context.meta["embhub.replace"] = words


def _with_replacements(context: click.Context, _: click.Parameter, base: str | None) -> str | None:
    if not (words := context.meta.get("embhub.replace")):
        return base
    from embhub.diffusion.bases.replacements import replace_in

    if base is None:
        raise UsageError("--replace without --base", "name the base as well")
    return replace_in(base, words)


_replace = click.option(
    "--replace",
    multiple=True,
    metavar="PART=SOURCE",
    is_eager=True,  # read before the base, whose value it becomes a part of
    expose_value=False,
    callback=_note_replacements,
    help="Replace a component of the base model: unet=DIR, vae=owner/name@rev, text_encoder=DIR, lora=FILE.",
)


def base_option(text: str) -> Callable[[F], F]:
    """`--base` in the words of a command, and `--replace` with it."""
    option = click.option(
        "--base",
        metavar="NAME|PATH|HUB-ID",
        callback=_with_replacements,
        help=text,
    )
    return lambda command: option(_replace(command))


base = base_option(
    "Base model; see `embhub base list`  [default: the built-in one that generates what the caption names]"
)
base_made_for = base_option("Base model  [default: the one that the embedding was made for, or builtin without one]")
base_trained_on = base_option("Base model  [default: the one used in training]")


def base_argument(command: F) -> F:
    """The base as an argument, and what is replaced in it."""
    return click.argument("base", metavar="BASE", callback=_with_replacements)(_replace(command))


card = click.option(
    "--card", type=FILE, metavar="FILE", help="Embedding card (YAML)  [default: STEM.card.yaml beside the embedding]"
)
audit = click.option(
    "--audit", type=FILE, metavar="FILE", help="Audit report (JSON)  [default: STEM.audit.json, if it exists]"
)
key = click.option("--key", metavar="NAME", help="Signing key  [default: EMBHUB_KEY, config.yaml or `default`]")
policy = click.option(
    "--policy",
    type=click.Choice(["standard", "strict"]),
    default="standard",
    show_default=True,
    help="Acceptance policy beyond valid signatures. strict refuses releases that are yanked, that leak, or that no"
    " independent auditor or privacy claim confirms. It also asks for witnesses of the registry's log.",
)
require = click.option(
    "--require",
    metavar="LIST",
    default="",
    help="Additional policy demands, comma-separated: countersigned, confirmed, no-leak, not-yanked,"
    " known-signer, fresh, logged, witnessed, preregistered, one-ledger, approved, approved-by-key, epsilon<=X.",
)
embeddings = click.option(
    "--embedding",
    "embeddings",
    multiple=True,
    metavar="FILE|NS/NAME",
    help="Embedding to load; repeat for several.",
)
also = click.option(
    "--and",
    "also",
    multiple=True,
    metavar="PROMPT[:WEIGHT]",
    help="Additional prompt for the same image, with its weight [1]; PROMPT may then end in :WEIGHT, too.",
)
sampling_steps = click.option(
    "--steps",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Number of sampling (inference) steps  [default: depends on the base]",
)
guidance_scale = click.option(
    "--guidance-scale",
    type=click.FloatRange(0, 100),
    metavar="X",
    help="Guidance scale (classifier-free guidance)  [default: depends on the base]",
)
resolution = click.option(
    "--resolution",
    type=click.IntRange(LOWEST, HIGHEST),
    metavar="N",
    help="Image resolution: side in pixels  [default: as the embeddings were trained]",
)
negative = click.option("--negative", metavar="PROMPT", help="Negative prompt: what the images should not show.")
negative_embeddings = click.option(
    "--negative-embedding",
    "negative_embeddings",
    multiple=True,
    metavar="FILE|NS/NAME",
    help="Embedding of what the images should not show: its token goes into the negative prompt; repeat for several.",
)
