"""Build wheel and source archive of each distribution twice, from the last commit alone, and compare the bytes. Beside
them is the digest of the build of embhub, as privacy claims state it: a line for `KNOWN` of embhub/site/builds.py.

    python .ci/dist.py [OUT]

The two builds differ in folder, time zone, umask and hash seed. Needs the extra `release`; asks no network.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from embhub.site import builds

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = (".", "registry", "bases")


def build(folder: Path, *, zone: str, umask: int, epoch: str) -> dict[str, Path]:
    """Build the last commit in a folder; returns the artefacts by name."""
    source = folder / "source"
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(source, filter="data")
    surroundings = {**os.environ, "SOURCE_DATE_EPOCH": epoch, "TZ": zone, "PYTHONHASHSEED": str(umask)}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "out")]
    for part in DISTRIBUTIONS:
        subprocess.run(
            [*command, str(source / part)], env=surroundings, umask=umask, check=True, stdout=subprocess.DEVNULL
        )
    return {path.name: path for path in sorted((folder / "out").iterdir())}


def write_known(wheel: Path) -> None:
    """Write version and digest of a wheel of embhub to build.txt beside it, as a line of `embhub.site.builds.KNOWN`."""
    with zipfile.ZipFile(wheel) as archive:
        digest = builds.digest_of({name: archive.read(name) for name in archive.namelist()})
    wheel.with_name("build.txt").write_text(f'"{wheel.name.split("-")[1]}": "{digest}",\n')


def main() -> int:
    """Build, compare, and copy to OUT with SHA256SUMS; returns 1 where a byte differs."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist")
    when = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True)
    epoch = when.stdout.strip()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        first = build(Path(one), zone="UTC", umask=0o022, epoch=epoch)
        second = build(Path(other) / "elsewhere", zone="Asia/Kathmandu", umask=0o077, epoch=epoch)
        digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in first.items()}
        repeated = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in second.items()}
        if digests != repeated:
            print(f"the builds differ: {digests} and {repeated}", file=sys.stderr)  # noqa: T201
            return 1
        out.mkdir(exist_ok=True)
        for path in first.values():
            shutil.copyfile(path, out / path.name)
    write_known(next(out / name for name in first if name.startswith("embhub-") and name.endswith(".whl")))
    (out / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))
    for name, digest in digests.items():
        print(f"{digest}  {name}: built twice, the same bytes")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
