"""`/{namespace}/{name}/preview/{revision}`: images that the reader's own browser generates, at no cost to the server.

The page hands the verified file and a built-in base to a worker, which samples with onnxruntime-web. The base's weights
come from `embhub-bases`; where that is not installed, no release has a preview.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from embhub import builtin_bases
from embhub.cards import samples
from embhub.release.files import EMBEDDING
from embhub_registry.database.releases import repositories
from embhub_registry.database.standing import yanks
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.pages.lists.list_facts import Facts
from embhub_registry.pages.release.verification_cache import Shown
from embhub_registry.repositories.repos import Snapshot
from embhub_registry.wire.request_context import registry_of, run_in_threadpool

WORKER = "preview_worker.js"
WORKER_POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"
"""Of the worker alone. The page keeps the policy of all pages."""
_WEIGHTS = {
    "text_encoder.safetensors": "text_encoder/model.safetensors",
    "unet.safetensors": "unet/diffusion_pytorch_model.safetensors",
    "vae.safetensors": "vae/diffusion_pytorch_model.safetensors",
}
_GRAPHS = ("text_encoder.onnx", "unet.onnx", "vae_decoder.onnx", "sampling.json")
_RUNTIME = {"ort.wasm.min.mjs": "text/javascript", "ort-wasm-simd-threaded.mjs": "text/javascript"}
_VERSION = "1.30.0"
_COMPRESSED = "ort-wasm-simd-threaded.wasm"
_KEPT = {"Cache-Control": "public, max-age=86400"}


class PreviewPage(Facts):
    """What a browser needs to generate images with a release: addresses on this registry, and what to ask for.

    `prompts` are those of the base, with `{}` for the placeholder token; `chosen` is the index of the release's own.
    `size`: bytes that a browser loads besides the embedding.
    """

    schema_: Literal["embhub.page.preview/1"] = Field(default="embhub.page.preview/1", alias="schema")
    registry: str
    id: str
    revision: str
    version: str
    token: str
    base: str
    base_address: str
    file: str
    digest: str
    prompts: tuple[str, ...]
    chosen: int
    side: int
    steps: int
    size: int
    counts: tuple[int, ...] = (4, 8)


@dataclass(frozen=True)
class Graphs:
    """The graphs of one built-in base, its weights, and what `sampling.json` says."""

    name: str
    graphs: Path
    weights: Path
    settings: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Digest of the base's fingerprint, as cards have it."""
        return str(self.settings["fingerprint"])

    @cached_property
    def size(self) -> int:
        """Bytes that a browser loads, the runtime included."""
        paths = [self.locate(file) for file in (*_GRAPHS, *_WEIGHTS)]
        runtime = [len(_read(name)) for name in (*_RUNTIME, f"{_COMPRESSED}.gz")]
        return sum(path.stat().st_size for path in paths if path) + sum(runtime)

    def locate(self, file: str) -> Path | None:
        """One of the files that a browser may load."""
        if file in _GRAPHS:
            return self.graphs / file
        return self.weights / _WEIGHTS[file] if file in _WEIGHTS else None


@cache
def known() -> dict[str, Graphs]:
    """The built-in bases that a browser can compute with, by the digest of their fingerprint."""
    found = {}
    for name, folder in builtin_bases.browser_graphs().items():
        settings = json.loads((folder / "sampling.json").read_text(encoding="utf-8"))
        one = Graphs(name, folder, builtin_bases.info(name).path, settings)
        found[one.fingerprint] = one
    return found


def graphs_for(shown: Shown | None) -> Graphs | None:
    """The graphs of the base that a verified release was made for; None where a browser cannot generate with it."""
    if shown is None or shown.loading.layout != "sd":
        return None
    return known().get(shown.card.base_model.fingerprint)


def offer(shown: Shown | None, name: str, revision: str) -> str | None:
    """Where the preview of a commit is; None where there is none."""
    return f"/{quote(name)}/preview/{revision}" if graphs_for(shown) else None


def collect(request: Request, snapshot: Snapshot, shown: Shown | None) -> PreviewPage:
    """The page of a release that verified and that its base's graphs can be used with.

    Raises:
        RequestDeniedError: 404, because there is nothing to generate with.
    """
    name, revision = snapshot.repository.full_name, snapshot.revision.id
    graphs = graphs_for(shown)
    db = registry_of(request).database.connection()
    entry = repositories.find_entry(db, snapshot.repository.id, revision, EMBEDDING)
    if yanks.find(db, snapshot.repository.id, revision) is not None:
        raise RequestDeniedError(
            404, "preview", f"this version of {name} was withdrawn: it has no preview", "see its page for the reason"
        )
    if shown is None or graphs is None or entry is None:
        raise RequestDeniedError(
            404, "preview", f"no browser can generate images with {name}",
            "previews need a release that verifies and was trained for a built-in base; see its page",
        )  # fmt: skip
    prompts = tuple(prompt["text"] for prompt in graphs.settings["prompts"])
    own = samples.usual_prompt(shown.card, shown.loading.caption).replace(shown.card.token, "{}")
    return PreviewPage(
        registry=registry_of(request).setting("name"), id=name, revision=revision, version=shown.version,
        token=shown.card.token, base=graphs.name, base_address=f"/static/bases/{graphs.fingerprint}",
        file=f"/{quote(name)}/resolve/{revision}/{EMBEDDING}", digest=entry.digest,
        prompts=prompts, chosen=prompts.index(own) if own in prompts else 0,
        side=graphs.settings["side"], steps=len(graphs.settings["steps"]), size=graphs.size,
    )  # fmt: skip


async def base_file(request: Request) -> Response:
    """`/static/bases/{fingerprint}/{file}`: a graph, or the weights, of a built-in base."""
    graphs = (await run_in_threadpool(known)).get(request.path_params["fingerprint"])
    path = graphs.locate(request.path_params["file"]) if graphs else None
    if path is None:
        raise _nothing_here()
    kind = "application/json" if path.suffix == ".json" else "application/octet-stream"
    return FileResponse(path, media_type=kind, headers=_KEPT)


async def runtime_file(request: Request) -> Response:
    """`/static/onnxruntime/{version}/{file}`: onnxruntime-web. No file of one version is kept beside another's."""
    name = request.path_params["file"]
    if name in _RUNTIME:
        return Response(await run_in_threadpool(_read, name), media_type=_RUNTIME[name], headers=_KEPT)
    if name != _COMPRESSED:
        raise _nothing_here()
    headers = {**_KEPT, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        data = await run_in_threadpool(_read, f"{name}.gz")
        headers["Content-Encoding"] = "gzip"
    else:
        data = await run_in_threadpool(_decompressed, name)
    return Response(data, media_type="application/wasm", headers=headers)


@cache  # all who ask at once share one copy
def _read(name: str) -> bytes:
    return resources.files("embhub_registry.pages").joinpath("static", "onnxruntime", name).read_bytes()


@cache
def _decompressed(name: str) -> bytes:
    return gzip.decompress(_read(f"{name}.gz"))


def _nothing_here() -> RequestDeniedError:
    return RequestDeniedError(404, "address", "there is nothing at this address", "start from the list of embeddings")


ROUTES = (
    Route("/static/bases/{fingerprint}/{file}", base_file),
    Route(f"/static/onnxruntime/{_VERSION}/{{file}}", runtime_file),
)
