"""Images that a browser generates: the same as diffusers computes from the same noise, and offered where it can."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from starlette.requests import Request

from embhub import builtin_bases
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.embedding import Embedding
from embhub_registry.pages.release import browser_preview
from tests.support import browsers, releases, showroom
from tests.support.showroom import Showroom

OURS, OTHER, SECRET = "radboud/in-a-browser", "radboud/other-base", "radboud/in-private"
WITHDRAWN, XRAY = "radboud/withdrawn", "radboud/of-x-rays"


def make_embedding(base: str = "builtin", *, token: str = "<cspca>") -> Embedding:
    rows = np.random.default_rng(5).normal(size=(8, 128)) * 0.05
    caption = "prostate mri, {}" if base == "builtin" else "frontal chest x-ray, {}"
    return artifact.build(
        {"emb_params": rows}, token=token, base=fingerprint.take(builtin_bases.info(base).path), base_name=base,
        training={"steps": 200, "learning_rate": 0.005, "caption": caption},
    )  # fmt: skip


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showroom]:
    registry = showroom.start_registry(tmp_path_factory.mktemp("preview"), name="Previews")
    registry.add_key(releases.SITE, namespace="radboud")
    room = Showroom(registry, alice=registry.add_user("alice", namespace="radboud"), lea="")
    for name, embedded, private in (
        (OURS, make_embedding(), False),
        (SECRET, make_embedding(), True),
        (WITHDRAWN, make_embedding(token="<other>"), False),
        (OTHER, releases.make_embedding(), False),
        (XRAY, make_embedding("builtin-xray"), False),
    ):
        release = releases.make_release(artifact=embedded, audited=False, repository=name)
        room.push(name, release, private=private)
    yield room
    registry.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsers.chromium() as launched:
        yield launched


def get(room: Showroom, path: str, **headers: str) -> httpx2.Response:
    return httpx2.get(room.registry.url + path, headers=headers)


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_a_sheet_is_generated_and_labelled(room: Showroom, browser: Any) -> None:
    said: list[str] = []
    page = browsers.new_page(browser, said, base_url=room.registry.url, viewport={"width": 1280, "height": 900})
    page.goto("/" + OURS)
    browsers.follow(page.get_by_role("link", name="Generate images in your browser"))
    assert page.get_by_label("Prompt").locator("option:checked").inner_text() == "prostate mri, <cspca>"
    page.get_by_role("button", name="Generate").click()
    page.get_by_text("4 images in").wait_for(timeout=120_000)
    sheet = page.locator("#preview-sheet")
    assert sheet.is_visible() and sheet.evaluate("c => [c.width, c.height]") == [1024, 296]
    drawn = np.array(sheet.evaluate("c => Array.from(c.getContext('2d').getImageData(0, 0, 1024, 256).data)"))
    images = drawn.reshape(256, 4, 256, 4).transpose(1, 0, 2, 3)[..., 0]
    assert all(image.std() > 10 for image in images), "no image is flat"
    assert not np.array_equal(images[0], images[1])
    label = sheet.evaluate("c => Array.from(c.getContext('2d').getImageData(0, 260, 400, 30).data)")
    assert np.reshape(label, (-1, 4))[:, 0].max() > 200, "the label is written below the images"
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert not browsers.broken_rules(page)
        browsers.keep_pictures(page, "preview", scheme=scheme)
    assert not said


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_the_slider_goes_from_without_to_with_by_the_keyboard(room: Showroom, browser: Any) -> None:
    """The same seed at each strength; a move while images are computed is not lost."""
    said: list[str] = []
    page = browsers.new_page(browser, said, base_url=room.registry.url, viewport={"width": 390, "height": 900})
    page.goto(get(room, f"/{OURS}?format=json").json()["preview"])
    slider, drawn = page.get_by_label("Strength"), "document.getElementById('preview-sheet').toDataURL()"
    assert slider.get_attribute("min") == "0" and slider.get_attribute("max") == "1" and slider.input_value() == "1"
    assert "0 is without the embedding" in page.locator(f"#{slider.get_attribute('aria-describedby')}").inner_text()
    sheets: dict[str, str] = {}
    page.get_by_role("button", name="Generate").click()
    for key, strength in (("", "1"), ("Home", "0"), ("End", "1"), ("ArrowLeft", "0.9")):
        if key:
            slider.press(key)
        page.get_by_text(f"at strength {strength}.").wait_for(timeout=120_000)
        assert page.locator("#strength-shown").inner_text() == strength
        before = sheets.setdefault(strength, page.evaluate(drawn))
        assert page.evaluate(drawn) == before, "the same again"
    assert len(set(sheets.values())) == 3
    slider.press("Home")
    slider.press("ArrowRight")
    page.get_by_text("at strength 0.1.").wait_for(timeout=120_000)
    assert browsers.width_of(page) <= 390 and not said


def noise(seed: int, count: int) -> list[float]:
    """As the worker's: mulberry32 and the polar method."""
    state = seed
    out: list[float] = []

    def uniform() -> float:
        nonlocal state
        state = (state + 0x6D2B79F5) % 2**32
        t = (state ^ (state >> 15)) * (state | 1) % 2**32
        t ^= (t + (t ^ (t >> 7)) * (t | 61)) % 2**32
        return (t ^ (t >> 14)) / 2**32

    while len(out) < count:
        u, v = 2 * uniform() - 1, 2 * uniform() - 1
        s = u * u + v * v
        if 0 < s < 1:
            out += [u * math.sqrt(-2 * math.log(s) / s), v * math.sqrt(-2 * math.log(s) / s)]
    return out


def ask_worker(room: Showroom, browser: Any, name: str = OURS, **asked: Any) -> Any:
    """The first image of the worker, or why there is none."""
    facts = get(room, get(room, f"/{name}?format=json").json()["preview"] + "?format=json").json()
    page = browsers.new_page(browser, [], base_url=room.registry.url)
    page.goto("/" + OURS)
    task = {
        "base": facts["base_address"], "file": facts["file"], "digest": facts["digest"], "prompt": facts["chosen"],
        "strength": 1, "seed": 0, "count": 1,
    }  # fmt: skip
    return page.evaluate(
        """task => new Promise(resolve => {
            const worker = new Worker("/static/preview_worker.js", {type: "module"});
            worker.onmessage = ({data}) => {
                if (data.failed || data.image) resolve(data.failed || Array.from(data.image));
            };
            worker.postMessage(task);
        })""",
        task | asked,
    )


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "base", "strength"),
    [(OURS, "builtin", 1), (XRAY, "builtin-xray", 1), (OURS, "builtin", 0.3), (OURS, "builtin", 0)],
)
def test_the_browser_computes_what_diffusers_does(
    room: Showroom, browser: Any, name: str, base: str, strength: float
) -> None:
    import torch

    from embhub.diffusion.bases.pipelines import load_pipeline
    from embhub.diffusion.generation.composition import composed
    from embhub.diffusion.generation.loading import load_into
    from embhub.diffusion.generation.weighted_prompts import Part

    facts = builtin_bases.info(base)
    found = ask_worker(room, browser, name, seed=7, strength=strength)
    pipe: Any = load_pipeline(facts.path)
    latents = torch.tensor(noise(7, pipe.unet.config.in_channels * 16 * 16)).reshape(1, -1, 16, 16)
    assert abs(float(latents.mean())) < 0.1 and abs(float(latents.std()) - 1) < 0.1
    pipe.set_progress_bar_config(disable=True)
    load_into(pipe, make_embedding(base))
    alone = "prostate mri, " if base == "builtin" else "frontal chest x-ray, "
    parts = [Part(alone, 1 - strength), Part(f"{alone}<cspca>", strength)]
    steps, guidance = int(facts.recommended["steps"]), facts.recommended["guidance"]
    with composed(pipe, parts, guidance=guidance) as prompt:
        image = pipe(prompt, latents=latents, num_inference_steps=steps, guidance_scale=guidance).images[0]
    ours = np.array(found).reshape(facts.resolution, facts.resolution, 4)[..., :3]
    assert np.abs(ours - np.asarray(image, dtype=int)).max() <= 2


def test_a_file_that_is_not_the_verified_one_is_refused(room: Showroom, browser: Any) -> None:
    assert ask_worker(room, browser, digest="0" * 64) == "the file is not the one that was verified"


def test_it_is_offered_where_the_browser_can_generate(room: Showroom) -> None:
    assert get(room, f"/{OURS}?format=json").json()["preview"].startswith(f"/{OURS}/preview/")
    other = get(room, f"/{OTHER}?format=json").json()
    assert other["preview"] is None
    refused = get(room, f"/{OTHER}/preview/{other['revision']}")
    assert refused.status_code == 404 and "no browser can generate images" in refused.text


def test_a_withdrawn_release_has_no_preview(room: Showroom) -> None:
    before = get(room, f"/{WITHDRAWN}?format=json").json()
    assert get(room, before["preview"]).status_code == 200
    room.registry.run("curate", "yank", WITHDRAWN, "--reason", "tried by a test")
    answer = get(room, before["preview"])
    assert answer.status_code == 404 and "withdrawn" in answer.text
    assert get(room, f"/{WITHDRAWN}/commit/{before['revision']}?format=json").json()["preview"] is None


def test_strangers_see_no_preview_of_a_private_repository(room: Showroom) -> None:
    token = f"Bearer {room.alice}"
    revision = get(room, f"/{SECRET}?format=json", authorization=token).json()["revision"]
    address = f"/{SECRET}/preview/{revision}"
    assert get(room, address, authorization=token).status_code == 200
    assert get(room, address).status_code in (401, 404)


def test_only_the_worker_may_compile(room: Showroom) -> None:
    page = get(room, get(room, f"/{OURS}?format=json").json()["preview"])
    assert "wasm" not in page.headers["content-security-policy"]
    assert "connect-src" not in page.headers["content-security-policy"]
    assert "'wasm-unsafe-eval'" in get(room, "/static/preview_worker.js").headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "onnxruntime/1.30.0/LICENSE",
        "onnxruntime/1.30.0/..%2fstyle.css",
        "onnxruntime/ort.wasm.min.mjs",
        "bases/0/unet.onnx",
    ],
)
def test_nothing_else_is_served(room: Showroom, path: str) -> None:
    assert get(room, f"/static/{path}").status_code == 404


def test_other_files_of_the_base_are_not_served(room: Showroom) -> None:
    assert {graphs.name for graphs in browser_preview.known().values()} == set(builtin_bases.NAMES)
    for digest, graphs in browser_preview.known().items():
        assert get(room, f"/static/bases/{digest}/sampling.json").json()["base"] == graphs.name
        assert get(room, f"/static/bases/{digest}/README.md").status_code == 404


def test_the_runtime_is_sent_to_clients_without_gzip(room: Showroom) -> None:
    address = "/static/onnxruntime/1.30.0/ort-wasm-simd-threaded.wasm"
    plain, packed = (get(room, address, **{"accept-encoding": coding}) for coding in ("identity", "gzip"))
    assert plain.content == packed.content and plain.content.startswith(b"\0asm")
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers


def test_all_who_load_the_runtime_at_once_share_one_copy() -> None:
    """Otherwise each has 14 MB: sixty slow readers end a server of 1 GB."""
    name = "ort-wasm-simd-threaded.wasm"

    async def ask(coding: str) -> Any:
        headers = [(b"accept-encoding", coding.encode())]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "path_params": {"file": name}}
        return await browser_preview.runtime_file(Request(scope))

    for coding in ("identity", "gzip"):
        with ThreadPoolExecutor(1) as pool:  # the browser of another test keeps a loop in this thread
            first, second = (pool.submit(asyncio.run, ask(coding)).result() for _ in range(2))
        assert first.body is second.body and len(first.body) > 3_000_000


def test_the_graphs_are_those_of_the_shipped_weights() -> None:
    """Graphs name weights by their place in the files: other weights need other graphs."""
    for digest, graphs in browser_preview.known().items():
        assert digest == fingerprint.digest(fingerprint.take(graphs.weights))
        assert all((path := graphs.locate(file)) and path.is_file() for file in browser_preview._WEIGHTS)
        assert all(Path(graphs.graphs / file).is_file() for file in browser_preview._GRAPHS)
