"""What the card of a base of varied phantoms says: how it was made, and tables of what was counted."""

from __future__ import annotations

from typing import Any

from bases.workshop.card_tables import copies, decibels, percent

VARIED_STORY = """\
An autoencoder, a frozen random text encoder and a small denoiser, trained from nothing on phantoms of 128 pixels: the
autoencoder by `python -m bases.workshop.run builtin`, the denoiser by `python -m bases.workshop.large_batches`, in
6,564 steps of 1,024 noisy images of 588,000 and then 185,000 phantoms on one GPU. Phantoms are drawn by a program
(`embhub.phantoms.varied`): chest films, prostate slices and stained tissue. Each is another patient, with tens of
parameters, a smooth deformation, a pose, blur and noise. Findings combine a tone, a size, an edge, a shape, a place
and a side. They look like medical images from afar and mean nothing clinically."""

Counted = dict[str, Any]


def varied_figures(figures: Counted) -> str:
    """The tables, with Wilson's 95% intervals."""
    lines = [decibels(figures["autoencoder_db"]), "", "Intervals are Wilson's, 95 %."]
    lines += _judges(figures) + _taught(figures["taught"]) + _normals(figures)
    if found := figures.get("copies"):
        lines += copies(found, "phantoms")
    for name, counted in figures["held_out"].items():
        lines += _held_out(name, counted)
    return "\n".join(lines)


def _judges(figures: Counted) -> list[str]:
    lines = ["", "| judge, on phantoms that it never saw | right | n |", "|---|---|---|"]
    for modality, found in figures["readers"].items():
        lines.append(f"| {modality}: every word, and nothing amiss | {interval(found['right'])} | {found['n']} |")
    for name, counted in figures["held_out"].items():
        judged = counted["judge"]
        lines.append(f"| {name}: target and nothing else | {interval(judged['right'])} | {judged['n']} |")
        for kind, found in judged["target_only"].items():
            lines.append(f"| {name}: {kind} called target and nothing else | {interval(found)} | {_each(judged)} |")
    return lines


def _each(judged: Counted) -> int:
    return int(judged["n"] // len(judged["target_only"]))


def _taught(taught: Counted) -> list[str]:
    lines = [
        "",
        "| taught | all words read, nothing amiss | the same of real phantoms with these words | each word | n |",
        "|---|---|---|---|---|",
    ]
    for label, counted in taught.items():
        words = ", ".join(f"{word} {percent(share)}" for word, share in counted["each_word"].items())
        shares = f"{interval(counted['recognised'])} | {interval(counted['real'])}"
        lines.append(f"| {label} | {shares} | {words} | {counted['n']} |")
    return lines


def _normals(figures: Counted) -> list[str]:
    bands = list(next(iter(figures["power"].values())))
    lines = ["", "| normals | generated, called normal | real, called normal | n |", "|---|---|---|---|"]
    for modality, found in figures["normals"].items():
        lines.append(f"| {modality} | {interval(found['generated'])} | {interval(found['real'])} | {found['n']} |")
    lines += ["", f"| power of generated normals as a share of real ones | {' | '.join(bands)} |"]
    lines.append("|---" * (len(bands) + 1) + "|")
    for modality, shares in figures["power"].items():
        lines.append(f"| {modality} | {' | '.join(f'{value:.2f}' for value in shares.values())} |")
    return lines


def _held_out(name: str, counted: Counted) -> list[str]:
    lines = [
        "",
        f"| {name} | called target | target and nothing else | KID to real ones | n |",
        "|---|---|---|---|---|",
    ]
    words = {kind: (f"`{found['prompt']}`", found) for kind, found in counted["words"].items()}
    fits = {
        kind: (f"inverted: {found['images']} images, {found['vectors']} vectors, {found['steps']} steps, {kind}", found)
        for kind, found in {**counted["inverted"], **counted.get("per_layer", {})}.items()
    }
    for kind, (title, found) in {**words, **fits}.items():
        shares = f"{interval(found['target'])} | {interval(found['target_only'])}"
        lines.append(f"| {title} | {shares} | {_kid(counted['distance'][kind])} | {found['n']} |")
    normal = counted["distance"]["real normal"]
    return [*lines, f"| real normal ones | | | {_kid(normal)} | {normal['n']} |"]


def _kid(found: Counted) -> str:
    return f"{found['kid']:.3f} ± {found['sd']:.3f}"


def interval(found: Counted) -> str:
    """A share with its interval."""
    return f"{found['share']:.0%} [{found['low']:.0%}, {found['high']:.0%}]"
