"""What a base is meant to reach, beside what was counted: pure functions of `figures` in base.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embhub.artifact.fingerprint import digest, take
from embhub.builtin_bases import info
from embhub.copies.planted import FEWEST_CAUGHT, PLANTED


@dataclass(frozen=True)
class Goal:
    """One line of a gate: what was asked, the goal in words, what was measured in words, whether it was met."""

    asked: str
    goal: str
    measured: str
    met: bool


def describe(name_or_path: str | Path) -> dict[str, Any]:
    """All that is known of a base: its facts, `fingerprint` (SHA-256), `bytes` on disk, `gate` (one dict a goal).

    Raises UsageError where there is no such base, ArtifactError where its weights cannot be read.
    """
    base = info(name_or_path)
    return asdict(base) | {
        "fingerprint": digest(take(base.path)),
        "bytes": sum(path.stat().st_size for path in base.path.rglob("*") if path.is_file()),
        "gate": [asdict(row) for row in goals(base.figures)],
    }


def goals(figures: dict[str, Any]) -> list[Goal]:
    """The gate of a base of phantoms or of X-rays, as its figures say; empty where neither gate was run."""
    if "readers" in figures:
        return _phantoms(figures)
    return _xray(figures) if "judge" in figures else []


def _phantoms(figures: dict[str, Any]) -> list[Goal]:
    readers = ", ".join(f"{_interval(found['right'])} ({kind})" for kind, found in figures["readers"].items())
    rows = [Goal("every word read rightly off phantoms that the reader never saw", "reported", readers, True)]
    taught = {label: counted["recognised"]["share"] for label, counted in figures["taught"].items()}
    enough = sum(part >= 0.8 for part in taught.values())
    lowest = min(taught, key=lambda label: taught[label])
    worst = f"{_interval(figures['taught'][lowest]['recognised'])} ({lowest})"
    rows.append(
        Goal("taught findings recognised in samples, nothing amiss", "80% each",
             f"{enough} of {len(taught)} prompts; lowest {worst}", enough == len(taught))
    )  # fmt: skip
    for modality, found in figures["normals"].items():
        drawn, real = found["generated"], found["real"]
        rows.append(
            Goal(f"{modality}: generated normals called normal", "within 0.1 of real",
                 f"{_interval(drawn)}, real {_interval(real)}", abs(drawn["share"] - real["share"]) <= 0.1)
        )  # fmt: skip
        rows.append(_power(figures["power"][modality], f"{modality}: "))
    if copies := figures.get("copies"):
        rows += _copies(copies, "phantoms")
    for name, counted in figures["held_out"].items():
        rows += _held_out(name, counted)
    return [*rows, *_decibels(figures, 27)]


def _held_out(name: str, counted: dict[str, Any]) -> list[Goal]:
    """A held-out finding: target and nothing else before inversion, from taught words, after inversion."""
    words, fits = counted["words"], counted["inverted"]
    rows = [Goal(f"{name}: judge right on phantoms that it never saw", "reported",
                 _interval(counted["judge"]["right"]), True)]  # fmt: skip
    for kind, title, goal in (("before", "before inversion", 0.05), ("nearest words", "from the nearest words", 0.15)):
        found = words[kind]["target_only"]
        rows.append(
            Goal(f"{name}: target and nothing else {title}", f"under {goal:.0%}", _interval(found),
                 found["share"] < goal)
        )  # fmt: skip
    each = ", ".join(_interval(fit["target_only"]) for fit in fits.values())
    rows.append(
        Goal(f"{name}: target and nothing else after inversion, each seed", "at least 60%", each,
             min(fit["target_only"]["share"] for fit in fits.values()) >= 0.6)
    )  # fmt: skip
    return [*rows, _distance(counted["distance"], list(fits), f"{name}: ", "phantoms")]


def _interval(found: dict[str, float]) -> str:
    return f"{found['share']:.0%} [{found['low']:.0%}, {found['high']:.0%}]"


def _xray(figures: dict[str, Any]) -> list[Goal]:
    auc = ", ".join(f"{value:.3f} {pair}" for pair, value in figures["judge"]["auc"].items())
    rows = [Goal("judge's AUC on real films", "reported", auc, True)]
    if copies := figures.get("copies"):
        rows += _copies(copies)
    for label, counted in figures["taught"].items():
        generated, real = counted["called_pneumonia"], figures["real"][label]["called_pneumonia"]
        rows.append(
            Goal(f"{label}: generated ones called pneumonia", "at most 10 points above real ones",
                 f"{generated:.0%}, real {real:.0%}", round(generated - real, 3) <= 0.1)
        )  # fmt: skip
    inverted, words = figures["inverted"], figures["words"]
    called = [counted["called_pneumonia"] for counted in inverted.values()]
    each = ", ".join(f"{value:.0%}" for value in called)
    rows += [
        _under("the finding's own words, which it was never taught, called pneumonia", 0.2,
               words["before"]["called_pneumonia"]),
        _under("the nearest taught words called pneumonia", 0.2, words["nearest words"]["called_pneumonia"]),
        Goal("inverted bacterial pneumonia called pneumonia, each seed", "at least 85%", each, min(called) >= 0.85),
    ]  # fmt: skip
    rows += [_power(figures["power"]), _distance(figures["distance"], list(inverted))]
    for counted in figures.get("utility", {}).values():
        rows += [_gain(counted, over) for over in ("over real", "over real + drawn normals")]
    return [*rows, *_decibels(figures, 30)]


def _power(found: dict[str, float], whose: str = "") -> Goal:
    """Up to 24 cycles an image: what rebuilt and drawn films have of the real ones' detail."""
    below = {band: share for band, share in found.items() if int(band.partition("-")[2]) <= 24}
    words = ", ".join(f"{share:.2f} ({band})" for band, share in below.items())
    return Goal(f"{whose}power of drawn normals against real ones, by cycles an image", "at least 0.8 up to 24", words,
                min(below.values()) >= 0.8)  # fmt: skip


def _distance(found: dict[str, dict[str, float]], seeds: list[str], whose: str = "", what: str = "films") -> Goal:
    """Kernel distance to real images of the finding; intervals of two standard deviations over the subsets."""
    words = found["nearest words"]
    apart = all(found[name]["kid"] + 2 * found[name]["sd"] < words["kid"] - 2 * words["sd"] for name in seeds)
    values = ", ".join(f"{found[name]['kid']:.2f}" for name in seeds)
    return Goal(f"{whose}kernel distance of inverted {what} to real ones below that of the nearest words, each seed",
                "intervals apart", f"{values} against {words['kid']:.2f}", apart)  # fmt: skip


def _copies(found: dict[str, Any], what: str = "films") -> list[Goal]:
    """What the copy check found against images that the base saw, and what it would have found."""
    kind, (caught, tried) = min(found["planted"].items(), key=lambda item: item[1][0] / item[1][1])
    suspected = Goal(
        f"drawn images that come too near to one of the {found['films']} {what} that the base saw",
        "none",
        f"{found['suspected']} of {found['n']}",
        found["suspected"] == 0,
    )
    enough = caught * PLANTED >= FEWEST_CAUGHT * tried and tried >= PLANTED
    least = f"{caught} of {tried} of each" if caught == tried else f"{caught} of {tried} or more, fewest: {kind}"
    return [
        suspected,
        Goal(
            f"copies of its {what} planted among the drawn ones and caught, {len(found['planted'])} kinds",
            f"{FEWEST_CAUGHT} of {PLANTED} of each kind",
            least,
            enough,
        ),
    ]


def _under(asked: str, goal: float, share: float) -> Goal:
    return Goal(asked, f"under {goal:.0%}", f"{share:.1%}", share < goal)


def _gain(counted: dict[str, Any], over: str) -> Goal:
    mean, low, high = counted["gains"][f"real + synthetic {over}"]
    asked = f"classifier with {counted['per_class']} real images a class, gain in AUC {over}"
    measured = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}], {counted['seeds']} seeds"
    return Goal(asked, "interval above 0", measured, low > 0)


def _decibels(figures: dict[str, Any], goal: float) -> list[Goal]:
    found = {name: value for name, value in figures["autoencoder_db"].items() if name != "n"}
    words = ", ".join(f"{value} ({name})" for name, value in found.items())
    return [Goal("autoencoder, dB", f"at least {goal:g}", words, min(found.values()) >= goal)]
