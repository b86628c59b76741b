"""The command line: one file a command, bodies of at most ten lines, no business logic.

A command's file imports click and nothing heavy; what it calls is imported inside its function.
"""

from __future__ import annotations

import os

import click

from embhub.cli.lazy import LazyGroup
from embhub.version import __version__

COMMANDS = {
    "start": "train_and_audit.starting",
    "inspect": "train_and_audit.inspecting",
    "train": "train_and_audit.training",
    "import": "train_and_audit.importing",
    "export": "train_and_audit.exporting",
    "audit": "train_and_audit.auditing",
    "copy-check": "train_and_audit.copy_check",
    "study": "train_and_audit.studying",
    "budget": "train_and_audit.budgeting",
    "card": "publish.cards",
    "key": "publish.keys",
    "sign": "publish.signing",
    "push": "publish.pushing",
    "curate": "publish.curate",
    "login": "publish.login",
    "trust": "find_and_verify.trusting",
    "search": "find_and_verify.searching",
    "show": "find_and_verify.showing",
    "pull": "find_and_verify.pulling",
    "verify": "find_and_verify.verifying",
    "log": "find_and_verify.log",
    "evidence": "find_and_verify.intake",
    "generate": "generate.generating",
    "evaluate": "generate.evaluating",
    "research": "generate.research",
    "base": "generate.bases",
    "config": "this_machine.config",
    "doctor": "this_machine.doctor",
    "report": "this_machine.reporting",
    "help": "this_machine.helping",
}

FIRST = {
    "Train and publish": ["start", "inspect", "train", "audit", "card", "push"],
    "Find and use": ["search", "pull", "verify", "show", "generate"],
    "This machine": ["login", "doctor"],
}
"""What `embhub --help` lists; the rest stands in `embhub help all`."""

SECTIONS = {
    "Train and audit": ["start", "inspect", "train", "import", "export", "audit", "copy-check", "study", "budget"],
    "Publish": ["card", "key", "sign", "push", "curate", "login"],
    "Find and verify": ["trust", "search", "show", "pull", "verify", "log", "evidence"],
    "Generate": ["generate", "evaluate", "research", "base"],
    "This machine": ["config", "doctor", "report", "help"],
}


@click.group(
    cls=LazyGroup,
    commands_in=COMMANDS,
    sections=SECTIONS,
    first=FIRST,
    epilog="All commands: embhub help all",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="embhub")
@click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error (accepted in any position)."
)
@click.pass_context
def root(context: click.Context) -> None:
    """Train, audit, publish and use textual-inversion embeddings of medical images.

    A site trains an embedding on its own images, audits it for membership leakage, signs it and pushes it to a
    registry. Another site pulls and verifies it, and loads it into a diffusion model. Results go to stdout, progress
    and warnings to stderr.

    \b
    Example:
      embhub start images
      embhub train images --base prostate-base \\
        --token "<cspca>" --caption "axial t2 prostate mri, {}" --out prostate-csPCa.safetensors
      embhub audit prostate-csPCa.safetensors
      embhub card init prostate-csPCa.safetensors
      embhub push prostate-csPCa.safetensors
      embhub pull radboud/prostate-csPCa
      embhub generate "axial t2 prostate mri, <cspca>" --embedding radboud/prostate-csPCa -n 8 --out samples
    """
    if os.environ.get("NO_COLOR"):
        context.color = False
