"""Reading an embedding's file: every byte and header field checked, beside safetensors' own loader."""

from __future__ import annotations

import safetensors.numpy

from bench.measurement import clocked, compare
from bench.scale import Scale
from bench.table import Section, timed
from embhub.artifact import embedding
from embhub.formats import tensors
from tests.support.releases import make_embedding

PEER = (
    "Peer: `safetensors.numpy.load` on the same bytes. It checks offsets and types, and reads no field of the header."
)


def run(scale: Scale) -> Section:
    """Parsing from memory: the container alone, and all that `embhub.artifact.embedding.parse` asks for."""
    data, calls = make_embedding().data, 10 * scale.calls
    peer = clocked(lambda: safetensors.numpy.load(data), times=calls)
    rows = [
        timed(what, compare(clocked(act, times=calls), peer, repeats=scale.repeats))
        for what, act in (
            ("the container: strict JSON, ranges, finite numbers", lambda: tensors.parse(data)),
            ("the whole file: header, token, training facts, fingerprint too", lambda: embedding.parse(data)),
        )
    ]
    notes = (f"A file of {len(data):,} bytes, {calls:,} calls a turn. Strictness is paid for in microseconds.",)
    return Section("Reading a file", PEER, tuple(rows), notes)
