"""The plot: register, train, audit, sign, push at one hospital; trust, pull, verify, draw at the other; withdraw."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from embhub.artifact import embedding
from examples.demo.cast import Hospital, Registry
from examples.demo.scenario import Material, Words
from examples.demo.xray_play import WORDS as XRAY

NAMESPACE, PUBLISHER = "hospital-a", "Hospital A"
SHIPPED = Path(__file__).parents[1] / "embeddings" / "cxr-bacterial-pneumonia.safetensors"
SHIPPED_FILES = (".safetensors", ".card.yaml", ".audit.json", ".samples.png", ".samples.json")
EPSILON = "4"
SITE = {
    "publisher": PUBLISHER,
    "authors": ["Hospital A, Radiology"],
    "contact_role": "research data office",
    "licence": "CC-BY-4.0",
    "licence_link": "https://creativecommons.org/licenses/by/4.0/",
}
USE = {
    "intended_use": "Research and teaching: showing and augmenting what the finding looks like. Not for clinical use.",
    "out_of_scope": "Diagnosis, treatment, or any decision about a person.",
}


def settle(
    folder: Path, registry: Registry, name: str = "hospital A", *, namespace: str = NAMESPACE,
    publisher: str = PUBLISHER, keys: Mapping[str, str] = {"default": "publish"},
) -> Hospital:  # fmt: skip
    """A hospital with an account, its settings, and a key for each role that the registry knows."""
    (folder / "home/config").mkdir(parents=True)
    settings = {"namespace": namespace, "site": {**SITE, "publisher": publisher}}
    (folder / "home/config/config.yaml").write_text(yaml.safe_dump(settings))
    made = registry.admin("user", "add", f"dr-{namespace}", "--namespace", namespace, "--role", "publisher", "--json")
    site = Hospital(name, folder, registry.url, made.json["token"])
    for key, role in keys.items():
        request = folder / f"{namespace}.{role}.json"
        site.embhub("key", "new", key)
        site.embhub("key", "request", namespace, "--role", role, "--key", key, "--registry", registry.url,
                    "--out", request.name)  # fmt: skip
        registry.admin("key", "add", "--new-namespace", "--name", publisher, request)
    return site


def publish(
    site: Hospital, words: Words, material: Material, *, steps: int | None, n_public: int | None
) -> dict[str, Any]:  # fmt: skip
    """Site A: from images to a published release. Returns what was trained and audited, as the commands said it.

    The training is private: so few patients allow no clean verdict of attacks, and the claim is evidence at any number.
    """
    file = site.folder / f"{words.repository}.safetensors"
    train: list[str | Path] = ["--manifest", material.manifest, "--where", material.where]
    train += ["--base", words.base, "--epsilon", EPSILON, "--n-public", str(n_public or words.n_public)]
    name = ["--token", words.token, "--caption", words.caption, "--out", file.name]
    name += ["--steps", str(steps)] if steps else []
    site.embhub("train", material.manifest.parent, *train, *name)
    audit = site.embhub("audit", file.name, "--suite", "mechanism", "--json").json
    site.embhub("copy-check", file.name, "-n", "12", "--sheet")  # beside a claim it compares nothing, and draws
    release(site, file, words, samples=("--samples", file.with_suffix(".samples.json").name))
    vectors = sum(rows.count for rows in embedding.read(file).vectors)
    sheet = file.with_suffix(".samples.png")
    return {"audit": audit, "sheet": sheet, "bytes": file.stat().st_size, "vectors": vectors}


def release(site: Hospital, file: Path, words: Words, *repository: str, samples: Sequence[str] = ()) -> None:
    """Card, signature, push."""
    site.embhub("card", "init", file.name, *samples)
    answer(file.with_suffix(".card.yaml"), {**words.card, **USE})
    site.embhub("card", "check", file.with_suffix(".card.yaml").name)
    site.embhub("sign", file.name)
    site.embhub("push", file.name, *repository)


def publish_shipped(site: Hospital) -> None:
    """Site A publishes an embedding that came as a file, with its card, its audit and its contact sheet."""
    for suffix in SHIPPED_FILES:
        shutil.copy(SHIPPED.with_suffix(suffix), site.folder)
    site.embhub("sign", f"{SHIPPED.stem}.safetensors")
    site.embhub("push", f"{SHIPPED.stem}.safetensors")


def receive_shipped(site: Hospital, *, number: int) -> dict[str, Path]:
    """Site B pulls it and draws: the nearest taught words, and with the embedding, same seeds."""
    site.embhub("pull", f"{NAMESPACE}/{SHIPPED.stem}", "--out", SHIPPED.stem)
    base = ["--base", XRAY.base, "-n", str(number), "--seed", "7000", "--no-mark"]  # the mark would change the noise
    site.embhub("generate", XRAY.normal, *base, "--out", "drawn/xray-normal")
    site.embhub("generate", XRAY.generic, *base, "--out", "drawn/xray-generic")
    prompt = XRAY.caption.replace("{}", XRAY.token)
    site.embhub("generate", prompt, "--embedding", SHIPPED.stem, *base, "--out", "drawn/xray-with")
    return {name: site.folder / "drawn" / f"xray-{name}" for name in ("normal", "generic", "with")}


def withdraw(site: Hospital, other: Hospital, words: Words) -> dict[str, Any]:
    """Site A withdraws the bytes of its release; after one refresh site B's copy is refused, without a network."""
    reason = "in this demonstration a patient withdrew consent"
    site.embhub("curate", "yank", f"{NAMESPACE}/{words.repository}", "--scope", "bytes", "--reason", reason)
    before = other.embhub("verify", "--pulled", words.repository, "--json").json
    other.embhub("trust", "refresh")
    after = other.embhub("verify", "--pulled", words.repository, "--json", expect=8)
    refused = other.embhub("verify", words.repository, "--policy", "strict", "--json", expect=8)
    released = json.loads(after.out)["releases"][0]
    return {
        "reason": reason,
        "before": before["releases"][0]["state"],
        "after": released["state"],
        "said": released["reasons"],
        "status_exit_code": after.code,
        "verify_exit_code": refused.code,
    }


def answer(card: Path, answers: Mapping[str, object]) -> None:
    """What a person does in an editor: say what no program can know."""
    values = yaml.safe_load(card.read_text())
    values.update(answers)
    card.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def receive(
    site: Hospital, words: Words, fingerprint: str, *require: str, namespace: str = NAMESPACE
) -> dict[str, Any]:
    """Site B: trust the registry, pull with further demands, verify. Returns what verification found."""
    site.embhub("trust", "add", site.registry, "--fingerprint", fingerprint)
    demands = ("--require", ",".join(require)) if require else ()
    site.embhub("pull", f"{namespace}/{words.repository}", "--out", words.repository, *demands)
    verified = site.embhub("verify", words.repository, "--json").json
    return {
        "findings": verified["findings"],
        "digest": verified["digest"],
        "signer": verified["signer"],
    }


def tamper(site: Hospital, words: Words) -> list[dict[str, Any]]:
    """Alter a copy of each file that was pulled, and let `embhub verify` say what it thinks of it."""
    cases = []
    for what, path, old, new in (
        ("one bit of the embedding flipped", "learned_embeds.safetensors", None, None),
        (
            "the card made to say that no leak was detected",
            "README.md",
            b"verdict: bounded-by-claim",
            b"verdict: no-leak-detected",
        ),
        ("the audit's verdict replaced", "audit.json", b'"verdict":"', b'"verdict":"nothing-'),
        ("the signature taken away", "attestations/publish.sigstore.json", b"", b""),
    ):
        copy = site.folder / "altered"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(site.folder / words.repository, copy)
        (copy / f"{words.repository}.safetensors").unlink()
        _alter(copy / path, old, new)
        said = site.embhub("verify", "altered", expect=4)
        message = next(line for line in said.err.splitlines() if "error:" in line)
        cases.append(
            {"what": what, "file": path, "exit_code": said.code, "said": message.partition("error:")[2].strip()}
        )
    return cases


def _alter(path: Path, old: bytes | None, new: bytes | None) -> None:
    data = path.read_bytes()
    if old is None or new is None:
        path.write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    elif old:
        assert old in data, f"nothing to alter in {path}"
        path.write_bytes(data.replace(old, new))
    else:
        path.unlink()


def draw(site: Hospital, words: Words, *, number: int) -> dict[str, Path]:
    """Site B draws: the same prompt with and without the embedding, the nearest taught prompt, and normals."""
    base = ["--base", words.base, "-n", str(number), "--no-mark"]  # the mark differs with the embedding
    without = words.caption.replace("{}", "").strip(" ,")
    folders = {"after": "drawn/with", "before": "drawn/without", "generic": "drawn/generic", "normal": "drawn/normal"}
    prompt = words.caption.replace("{}", words.token)
    site.embhub("generate", prompt, "--embedding", words.repository, *base, "--seed", "7000", "--out", folders["after"])
    site.embhub("generate", without, *base, "--seed", "7000", "--out", folders["before"])
    site.embhub("generate", words.generic, *base, "--seed", "8000", "--out", folders["generic"])
    site.embhub("generate", words.normal, *base, "--seed", "9000", "--out", folders["normal"])
    return {name: site.folder / folder for name, folder in folders.items()}
