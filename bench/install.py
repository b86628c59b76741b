"""What installing, `make see-it` and `make demo` take in a fresh clone: `python -m bench.install`.

Each installation goes into a new environment; its download is the size of the packages of others that pip fetches for
it. The two targets run in a clone of the last commit, one after the other, after `make setup` and with an empty HOME.
`--write` keeps the figures in bench/results/install.json and writes README's two tables. `--part` measures one of the
two and leaves the other as it was kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import marked

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench/results/install.json"
PAGE = ROOT / "README.md"

WAYS: Mapping[str, tuple[str, Sequence[str]]] = {
    "pulls, verifies and signs; neither torch nor a GPU": ("pip install .", ("-e", ".")),
    "a registry": ("pip install '.[registry]' ./registry", ("-e", ".[registry]", "-e", "./registry")),
    "trains and generates": ("pip install '.[diffusion]' ./bases", ("-e", ".[diffusion]", "-e", "./bases")),
    "reads DICOM and NIfTI too": ("pip install '.[dicom,nifti]'", ("-e", ".[dicom,nifti]")),
    "`make see-it`, `make demo`": (
        "make setup", ("-e", ".[diffusion,registry]", "-e", "./bases", "-e", "./registry"),
    ),
    "develops: everything and the test tools": (
        "make develop",
        ("-e", ".[diffusion,dicom,nifti,ocr,cluster,judge,study,registry,dev]", "-e", "./bases", "-e", "./registry"),
    ),
}  # fmt: skip
"""Who, the command that README names, and what pip installs for it."""

TARGETS: Mapping[str, str] = {
    "see-it": "pulls, verifies and generates; `see-it/see-it.png`",
    "demo": "trains with differential privacy, audits, publishes, pulls, tampers, traces, watches the log and "
    "withdraws; `demo-out/index.html` and `demo-out/summary.json`",
}
"""What each target does, and leaves."""

OUT = {"demo": "demo-out"}
PARTS = ("ways", "targets")


def size(folder: Path) -> int:
    """Bytes of all files below the folder; links are not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def installed(tree: Path, what: Sequence[str], room: Path) -> dict[str, int]:
    """Install `what` of the source tree into a new environment below `room`: bytes on disk, and bytes fetched.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    home, wheels = room / "environment", room / "wheels"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(home / "bin/python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    needs_torch = any("diffusion" in word for word in what)
    every = ["-c", "constraints.txt", *(["torch"] if needs_torch else []), *(word for word in what if word != "-e")]
    subprocess.run([*pip, "download", "--dest", str(wheels), *every], cwd=tree, check=True)
    if needs_torch:
        subprocess.run([*pip, "install", "-c", "constraints.txt", "torch"], cwd=tree, check=True)
    subprocess.run([*pip, "install", "-c", "constraints.txt", *what], cwd=tree, check=True)
    ours = sum(size for path in wheels.glob("embhub*") for size in [path.stat().st_size])
    return {"disk": size(home), "download": size(wheels) - ours}


def timed(tree: Path, target: str, out: Path, home: Path) -> dict[str, float]:
    """Run a target of the tree: seconds of the clock, of processors, and bytes left in `out`.

    Raises:
        ChildProcessError: it failed.
    """
    begun = time.monotonic()
    process = subprocess.Popen(["make", target], cwd=tree, env={**os.environ, "HOME": str(home)})
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise ChildProcessError(f"make {target} failed")
    cpu = used.ru_utime + used.ru_stime
    return {"seconds": round(time.monotonic() - begun), "cpu_seconds": round(cpu), "disk": size(out)}


def measure(parts: Sequence[str]) -> dict[str, Any]:
    """These parts, `ways` and `targets`, in a clone of the last commit."""
    found: dict[str, Any] = {"python": sys.version.split()[0]}
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        tree, home = room / "tree", room / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tree)], check=True)
        if "ways" in parts:
            found["ways"] = {}
            for who, (_, what) in WAYS.items():
                (room / "way").mkdir()
                found["ways"][who] = installed(tree, what, room / "way")
                shutil.rmtree(room / "way")
        if "targets" in parts:
            subprocess.run(["make", "setup"], cwd=tree, check=True)
            found["targets"] = {name: timed(tree, name, tree / OUT.get(name, name), home) for name in TARGETS}
    return found


def _bytes(number: float) -> str:
    megabytes = number / 1e6
    return f"{megabytes / 1e3:.1f} GB" if megabytes >= 1e3 else f"{max(megabytes, 1):.0f} MB"


def _seconds(number: float) -> str:
    minutes, seconds = divmod(round(number), 60)
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def ways_table(found: Mapping[str, Any]) -> str:
    """README's table of installations."""
    rows = ["| who | command | disk | download |", "|---|---|---|---|"]
    for who, (command, _) in WAYS.items():
        row = found["ways"][who]
        rows.append(f"| {who} | `{command}` | {_bytes(row['disk'])} | {_bytes(row['download'])} |")
    return "\n".join(rows)


def targets_table(found: Mapping[str, Any]) -> str:
    """README's table of what the two targets take."""
    rows = ["| target | what it does | CPU time | on the clock | disk |", "|---|---|---|---|---|"]
    for target, does in TARGETS.items():
        row = found["targets"][target]
        times = f"{_seconds(row['cpu_seconds'])} | {_seconds(row['seconds'])}"
        rows.append(f"| `make {target}` | {does} | {times} | {_bytes(row['disk'])} |")
    return "\n".join(rows)


def page(text: str, found: Mapping[str, Any]) -> str:
    """The README with both tables.

    Raises:
        ValueError: it has no place for them.
    """
    return marked.put(marked.put(text, ways_table(found), name="installed"), targets_table(found), name="targets")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, measure and print, and write where asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.install", description="What installing takes.")
    parser.add_argument("--write", action="store_true", help="keep the figures, and write README's tables")
    parser.add_argument("--part", action="append", choices=PARTS, help="measure this part alone")
    chosen = parser.parse_args(argv)
    kept = json.loads(RESULTS.read_text()) if chosen.part and RESULTS.exists() else {}
    found = kept | measure(chosen.part or PARTS)
    sys.stdout.write(f"{json.dumps(found, indent=2)}\n")
    if chosen.write:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
        PAGE.write_text(page(PAGE.read_text(), found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
