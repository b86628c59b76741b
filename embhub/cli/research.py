"""`embhub research`: what studies need beside training and generating."""

from __future__ import annotations

from embhub.cli.lazy import LazyGroup

command = LazyGroup(
    "research",
    commands_in={
        "dataset": "datasets",
        "detect": "detecting",
        "reader-study": "reader_study",
        "adapt": "adapting",
        "port": "porting",
    },
    short_help="Labelled data sets, tracing, reader studies, adapters, other bases.",
    help="""Make labelled data sets and reader studies, trace images, and learn what an embedding cannot hold.

    \b
    Example:
      embhub research dataset prostate.yaml --out generated
      embhub research detect generated
      embhub research port prostate-csPCa.safetensors --to other-base --out ported.safetensors
    """,
)
