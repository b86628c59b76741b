"""Sign what a release consists of, and check it: one DSSE envelope with an in-toto statement for each file.

    python .ci/attest.py sign KEY FILE...          writes FILE.intoto.json; KEY is the name of a key of `embhub key new`
    python .ci/attest.py verify PUBLIC.pem FILE...  reads FILE.intoto.json

The predicate is SLSA provenance v1 (https://slsa.dev/spec/v1.0/provenance): from which commit, built by what. It works
without a network and checks with any DSSE implementation. PEP 740 attestations, which need an identity that Sigstore
knows, are made beside it when a release is uploaded: docs/how-to/release.md.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import rfc8785

from embhub import project
from embhub.errors import EmbhubError, UsageError, VerificationError
from embhub.site.signing import keys
from embhub.trust import dsse, p256

ROOT = Path(__file__).parents[1]
STATEMENT, PROVENANCE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"


def describe(file: Path, *, source: str, commit: str, epoch: str) -> dict[str, Any]:
    """The in-toto statement about one file.

    Args:
        file: The artefact.
        source: Address of the source repository.
        commit: The commit that it was built from, 40 hex digits.
        epoch: SOURCE_DATE_EPOCH of the build.

    Returns:
        The statement, with SLSA provenance v1 as its predicate.
    """
    return {
        "_type": STATEMENT,
        "subject": [{"name": file.name, "digest": {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}}],
        "predicateType": PROVENANCE,
        "predicate": {
            "buildDefinition": {
                "buildType": f"{source}#make-dist",
                "externalParameters": {"command": "make dist", "SOURCE_DATE_EPOCH": epoch},
                "resolvedDependencies": [{"uri": f"git+{source}", "digest": {"gitCommit": commit}}],
            },
            "runDetails": {"builder": {"id": f"{source}#release-manager"}},
        },
    }


def sign(file: Path, *, key: dsse.Signer, source: str, commit: str, epoch: str) -> Path:
    """Write the attestation of one file beside it; returns its path."""
    statement = describe(file, source=source, commit=commit, epoch=epoch)
    envelope = dsse.sign(rfc8785.dumps(statement), key=key)
    out = file.with_name(f"{file.name}.intoto.json")
    out.write_text(json.dumps(envelope.to_json()) + "\n")
    return out


def verify(file: Path, *, public_key: p256.PublicKey) -> str:
    """Check the attestation beside a file; returns the commit that it names.

    Raises:
        VerificationError: signed by another key, or about another file.
    """
    envelope = dsse.parse(file.with_name(f"{file.name}.intoto.json").read_bytes())
    dsse.verify(envelope, public_key=public_key)
    statement = json.loads(envelope.payload)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if statement.get("subject") != [{"name": file.name, "digest": {"sha256": digest}}]:
        raise VerificationError(f"the attestation is about another file than {file.name}", "do not install it")
    return str(statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"]["gitCommit"])


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Run one of the two commands; returns an exit code of docs/reference/errors.md."""
    try:
        verb, name, *files = sys.argv[1:]
        if verb == "verify":
            public = p256.read_public(Path(name).read_bytes())
            for file in map(Path, files):
                print(f"{file.name}: built from {verify(file, public_key=public)}")  # noqa: T201
            return 0
        if (source := project.find_url("Source")) is None:
            raise UsageError("[project.urls] of pyproject.toml still holds placeholders", "fill them in first")
        try:
            key = keys.load(name)
        except keys.PassphraseRequiredError:
            key = keys.load(name, passphrase=getpass.getpass(f"passphrase of {name}: "))
        facts = {"source": source, "commit": _git("rev-parse", "HEAD"), "epoch": _git("log", "-1", "--format=%ct")}
        for file in map(Path, files):
            print(sign(file, key=key, **facts))  # noqa: T201
        return 0
    except ValueError:
        print(__doc__, file=sys.stderr)  # noqa: T201
        return 2
    except EmbhubError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
