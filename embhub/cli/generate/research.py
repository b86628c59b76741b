"""`embhub research`: what studies need beside training and generating."""

from __future__ import annotations

from embhub.cli.lazy import LazyGroup

command = LazyGroup(
    "research",
    commands_in={
        "dataset": "generate.datasets",
        "detect": "generate.detecting",
        "reader-study": "generate.reader_study",
        "adapt": "generate.adapting",
        "port": "generate.porting",
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
