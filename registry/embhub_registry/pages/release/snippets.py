"""What a reader copies from an embedding's page: each snippet runs as it stands on a machine that has nothing yet.

Everything that a publisher wrote is quoted for the shell or for Python before it is put into one.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from embhub.artifact.adapter import LAYOUT as ADAPTER
from embhub.artifact.embedding import LAYOUTS, Embedding
from embhub.builtin_bases import NAMES
from embhub.cards import samples
from embhub.cards.card_schema import Card
from embhub.release.files import EMBEDDING
from embhub_registry.pages.release.page_facts import ProgramUse, Use

_PLAIN = re.compile(r"[A-Za-z0-9 ,.;:<>()\[\]{}_/+=-]*")
_CLIP_WIDTHS = (768, 1024)
_PROGRAMS: Mapping[str, tuple[str, str, str, tuple[str, ...]]] = {
    "comfyui": ("ComfyUI", "ComfyUI/models/embeddings", "embedding:{word}", ("sd", "sdxl", "sd3", "flux")),
    "a1111": ("AUTOMATIC1111’s web UI", "stable-diffusion-webui/embeddings", "{word}", ("sd", "sdxl")),
    "forge": ("Forge", "stable-diffusion-webui-forge/embeddings", "{word}", ("sd", "sdxl")),
}
"""Title, folder of embeddings, how a prompt calls one, layouts; as `embhub export` has them, which tests compare."""
_TOLD = "# Ask the operator whether this fingerprint is right (telephone, paper)."


@dataclass(frozen=True)
class Loading:
    """What a verified file says of loading it: its layout, the caption it was trained with, its encoders."""

    layout: str
    caption: str | None
    width: int
    clip: bool

    @classmethod
    def of(cls, embedding: Embedding) -> Loading:
        """Read it from the header of a file that verified."""
        caption = embedding.training.get("caption")
        kinds = {str(part.get("kind")) for part in (embedding.base or {}).get("encoders", {}).values()}
        return cls(
            embedding.layout,
            caption if isinstance(caption, str) else None,
            embedding.vectors[0].dim,
            clip="bert" not in kinds,
        )


@dataclass(frozen=True)
class Place:
    """Where the release is: its repository (with a commit, if it is not the newest), registry and root key."""

    repository: str
    url: str
    fingerprint: str
    revision: str | None = None
    closed: bool = False

    @property
    def reference(self) -> str:
        """`namespace/name`, or `namespace/name@commit`."""
        return f"{self.repository}@{self.revision}" if self.revision else self.repository


def write(card: Card, loading: Loading, place: Place) -> Use:
    """All snippets for one release."""
    prompt = samples.usual_prompt(card, loading.caption)
    return Use(
        token=card.token,
        prompt=prompt,
        command=_command(card, place, prompt),
        python=_python(card, place, prompt),
        diffusers=_diffusers(card, loading, place, prompt),
        programs=tuple(_program(to, card, place, prompt) for to in programs_for(loading)),
    )


def programs_for(loading: Loading) -> tuple[str, ...]:
    """The other programs that know a base of this kind."""
    known = loading.layout != "sd" or (loading.width in _CLIP_WIDTHS and loading.clip)
    return tuple(to for to, (*_, layouts) in _PROGRAMS.items() if known and loading.layout in layouts)


def _trust(place: Place) -> str:
    login = f"\nembhub login --registry {place.url}" if place.closed else ""
    return f"{_TOLD}\nembhub trust add {place.url} \\\n  --fingerprint {place.fingerprint}{login}\n"


def _command(card: Card, place: Place, prompt: str) -> str:
    return (
        f"{_trust(place)}embhub generate {_shell(prompt)} \\\n  --embedding {place.reference} \\\n"
        f"  --registry {place.url} \\\n  --base {_base(card)} -n 4 --out images"
    )


def _python(card: Card, place: Place, prompt: str) -> str:
    return (
        f"import embhub\n\n{_TOLD}\n"
        f'embhub.trust_registry(\n    "{place.url}",\n    fingerprint="{place.fingerprint}",\n)\n'
        f'{_login_first(place)}embedding = embhub.pull(\n    "{place.reference}",\n    registry="{place.url}",\n)\n'
        f'images = embhub.generate(\n    {_text(prompt)},\n    embeddings=[embedding],\n    base="{_base(card)}",\n)\n'
        'images[0].save("image.png")'
    )


def _login_first(place: Place) -> str:
    return f"# Once on this machine: embhub login --registry {place.url}\n" if place.closed else ""


def _base(card: Card) -> str:
    """The base as `--base` takes it: one without an owner is a folder that the reader must have."""
    name = card.base_model.id
    return name if name in NAMES or "/" in name else f"./{name}"


def _diffusers(card: Card, loading: Loading, place: Place, prompt: str) -> str | None:
    """With diffusers' own loader where it has one for this layout; None where only embhub can load the file."""
    calls = _CALLS.get(loading.layout)
    if calls is None:
        return None
    built_in = card.base_model.id in NAMES
    folder = f'folder("{card.base_model.id}")' if built_in else f'"{_base(card)}"'
    imports = ["from embhub_bases import folder"] if built_in else []
    if loading.layout != "sd":
        imports.append("from safetensors.torch import load_file")
    imports += ["from diffusers import DiffusionPipeline", "from huggingface_hub import hf_hub_download"]
    revision = f'\n    revision="{place.revision}",' if place.revision else ""
    return (
        "\n".join(sorted(imports))
        + f"\n\npipe = DiffusionPipeline.from_pretrained(\n    {folder},\n    use_safetensors=True,\n)\n"
        + f'file = hf_hub_download(\n    "{place.repository}",\n    "{EMBEDDING}",{revision}\n'
        + f'    endpoint="{place.url}",\n)\n'
        + calls.replace("TOKEN", f'"{card.token}"').replace("WORDS", _words(card))
        + f"\nimage = pipe({_asked(card, loading, prompt)}).images[0]\n"
        + 'image.save("image.png")'
    )


def _asked(card: Card, loading: Loading, prompt: str) -> str:
    if loading.layout == "sd3":
        return f'{_text(prompt)}.replace(\n    "{card.token}", " ".join(words)\n)'
    return _text(prompt)


def _words(card: Card) -> str:
    """One word for each vector, none inside another."""
    name, count = card.token.strip("<>"), max(part.count for part in card.vectors)
    return f'[f"<{name}|{{n}}>" for n in range({count})]'


_XL = """rows = load_file(file)
pipe.load_textual_inversion(
    rows["clip_l"], token=TOKEN,
    tokenizer=pipe.tokenizer, text_encoder=pipe.text_encoder,
)
pipe.load_textual_inversion(
    rows["clip_g"], token=TOKEN,
    tokenizer=pipe.tokenizer_2, text_encoder=pipe.text_encoder_2,
)
# The pooled text is read at the end of the prompt, not at a new word.
pipe.text_encoder_2.text_model.eos_token_id = pipe.tokenizer_2.eos_token_id"""
_SD3 = """rows = load_file(file)
parts = {
    "clip_l": (pipe.tokenizer, pipe.text_encoder),
    "clip_g": (pipe.tokenizer_2, pipe.text_encoder_2),
    "t5xxl": (pipe.tokenizer_3, pipe.text_encoder_3),
}
words = WORDS
for name, (tokenizer, encoder) in parts.items():
    tokenizer.add_tokens(words)
    ids = tokenizer.convert_tokens_to_ids(words)
    if max(ids) >= encoder.get_input_embeddings().num_embeddings:
        encoder.resize_token_embeddings(max(ids) + 1)
    table = encoder.get_input_embeddings().weight.data
    table[ids] = rows.get(name, rows.get("t5")).to(table)
    if name != "t5xxl":  # the pooled text is read at the end of the prompt, not at a new word
        encoder.text_model.eos_token_id = tokenizer.eos_token_id"""
_FLUX = """rows = load_file(file)
pipe.load_textual_inversion(
    rows["clip_l"], token=TOKEN,
    tokenizer=pipe.tokenizer, text_encoder=pipe.text_encoder,
)
pipe.load_textual_inversion(
    rows.get("t5xxl", rows.get("t5")), token=TOKEN,
    tokenizer=pipe.tokenizer_2, text_encoder=pipe.text_encoder_2,
)
# The pooled text is read at the end of the prompt, not at a new word.
clip = getattr(pipe.text_encoder, "text_model", pipe.text_encoder)
clip.eos_token_id = pipe.tokenizer.eos_token_id"""
_CALLS = {
    ADAPTER: "pipe.load_lora_weights(load_file(file))",
    "sd": "pipe.load_textual_inversion(file, token=TOKEN)",
    "sdxl": _XL,
    "sd3": _SD3,
    "flux": _FLUX,
}
assert set(_CALLS) <= {*LAYOUTS, ADAPTER}  # noqa: S101  # layouts have no other names


def _program(to: str, card: Card, place: Place, prompt: str) -> ProgramUse:
    title, folder, called, _ = _PROGRAMS[to]
    name = place.repository.rpartition("/")[2]
    word = called.format(word=card.token.strip("<>"))
    code = (
        f"{_trust(place)}embhub pull {place.reference} --registry {place.url} --out {name}\n"
        f"embhub export {name}/{name}.safetensors --to {to} \\\n  --out {folder}"
    )
    return ProgramUse(program=to, title=title, command=code, prompt=prompt.replace(card.token, word))


def _shell(text: str) -> str:
    return f'"{text}"' if _PLAIN.fullmatch(text) else shlex.quote(text)


def _text(text: str) -> str:
    """Python's spelling of a text of one printable line."""
    return json.dumps(text, ensure_ascii=False)
