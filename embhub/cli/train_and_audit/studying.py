"""`embhub study`: one embedding from the patients of several sites."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.option_groups import option_group
from embhub.cli.output import ask_on_terminal, note, print_result, print_rows, progress_bar, remark
from embhub.cli.whole_help import WholeHelpGroup
from embhub.errors import UsageError
from embhub.formats.plain_text import plain
from embhub.options.training import Selection
from embhub.progress import say_loading

if TYPE_CHECKING:
    from embhub.client.member.studies import Fetched


def _check_digest(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    from embhub.client.member import studies

    return None if value is None else studies.check_digest(value)


_digest = click.argument("study", metavar="DIGEST", callback=_check_digest)


@click.group("study", cls=WholeHelpGroup, short_help="Train one embedding with other sites.")
def command() -> None:
    """Train one embedding on the patients of several sites, with one epsilon for each patient.

    Images, counts and losses are not sent. What patients contribute is masked: only the sum over sites can be read,
    with noise on it. NVIDIA FLARE carries the messages (the extra `study`); sites connect outwards.

    \b
    Example:
      embhub study propose consortium/effusion --sites lumc,nki,radboud --base builtin --token "<effusion>" \\
        --caption "chest x-ray, {}" --epsilon 4 --n-public 200 --address hub.example.org:8102 --out effusion
      embhub study join DIGEST images --manifest m.csv --holdout 0.2 --key officer --kit radboud
      embhub study finish DIGEST --kits effusion/kits --out effusion.safetensors
    """


@command.command("propose")
@click.argument("repository", metavar="NS/NAME")
@click.option("--sites", required=True, metavar="NS,NS", help="Namespaces of the sites that train.")
@click.option("--base", required=True, metavar="NAME|PATH|OWNER/NAME", help="Base model, the same at every site.")
@click.option("--token", required=True, metavar="TOKEN", help='Placeholder token, such as "<effusion>".')
@click.option("--caption", required=True, metavar="TEXT", help='Training prompt template: "chest x-ray, {}".')
@click.option(
    "--epsilon", required=True, type=click.FloatRange(0, min_open=True), metavar="E",
    help="DP epsilon for each patient against those who are no site of the study.",
)  # fmt: skip
@click.option(
    "--n-public", required=True, type=click.IntRange(10), metavar="N",
    help="Declared number of patients of all sites together: round, and at most the true number.",
)  # fmt: skip
@click.option(
    "--dropouts", type=click.IntRange(0), default=0, show_default=True, help="How many sites may be missing in a step."
)
@click.option(
    "--colluders", type=click.IntRange(0), default=1, show_default=True,
    help="How many sites may join with the coordinator: the second epsilon counts them.",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(1, 100_000), help="Steps  [default: as a private training]")
@click.option(
    "--round-seconds", type=click.IntRange(1, 86_400), default=60, show_default=True,
    help="Seconds that a site has for its patients in a step; it answers at the end of them.",
)  # fmt: skip
@click.option("--address", required=True, metavar="HOST:PORT", help="Where sites reach the coordinator's FLARE server.")
@click.option("--out", required=True, type=options.FILE, metavar="DIR", help="New folder for the kits of the sites.")
@options.device
@options.key
@options.registry
@options.as_json
def propose(
    repository: str, base: str, sites: str, address: str, out: Path, device: str, key: str | None, registry: str | None,
    as_json: bool, **numbers: Any,
) -> None:  # fmt: skip
    """Propose a study at the registry, and write a FLARE kit for each site.

    The study says everything that a step depends on: base, recipe, caption, noise, sites. Its digest is what a site's
    officer approves. The release will be published as NS/NAME, and --key is a publishing key of NS.

    A kit holds a site's FLARE certificate. Give each site its own over a secure way. A site reads nothing else of it.

    \b
    Example:
      embhub study propose consortium/effusion --sites lumc,nki,radboud --base builtin --token "<effusion>" \\
        --caption "chest x-ray, {}" --epsilon 4 --n-public 200 --address hub.example.org:8102 --out effusion
    """
    host, port = _check_place(address, out)
    with progress_bar() as on_progress:
        say_loading(on_progress)
        from embhub.diffusion.studies import joining
        from embhub.diffusion.studies.proposing import StudySettings

        names = [site.strip() for site in sites.split(",")]
        asked = StudySettings(repository=repository, base="", base_name="", sites=names, **numbers)
        with _kits(out, host, port, names) as kits:
            made = joining.propose(
                asked, base=base, device=device, key=key, registry=registry, ask_passphrase=options.ask_passphrase
            )
    print_result({**describe(made), "kits": str(kits)}, as_json=as_json)


@command.command("join")
@_digest
@click.argument("images", required=False, type=options.FILE)
@option_group(Selection, "selection", defaults={"holdout": 0.2})
@click.option(
    "--base", default="", metavar="NAME|PATH|OWNER/NAME",
    help="The study's base, as this site has it  [default: by its name, if it comes with embhub]",
)  # fmt: skip
@click.option("--kit", type=options.FILE, metavar="DIR", help="This site's FLARE kit: then take part until the end.")
@click.option("--withdraw", is_flag=True, help="Withdraw, which ends the study for everybody. Nothing is refunded.")
@click.option("--yes", is_flag=True, help="Do not ask whether to join.")
@options.device
@options.key
@options.registry
@options.as_json
def join(
    study: str, images: Path | None, selection: Selection, base: str, kit: Path | None, withdraw: bool, yes: bool,
    device: str, key: str | None, registry: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Join a study with the patients in IMAGES; with --kit take part in it until its end.

    What is approved is shown first: both epsilons, the caption, the sites. The officer's key (role approve) signs the
    digest. Before that the site's ledger is charged for all steps, by the larger epsilon; nothing is given back.

    Without IMAGES, and with --kit, a site that joined takes part again, as after a restart. --withdraw ends the study
    before its release. Afterwards any site may yank the release.

    \b
    Example:
      embhub study join DIGEST images --manifest m.csv --holdout 0.2 --key officer --kit radboud
      embhub study join DIGEST --kit radboud
      embhub study join DIGEST --withdraw --key officer
    """
    _check_join(images, kit, withdraw=withdraw)
    if withdraw:
        print_result(_withdraw(study, key, registry), as_json=as_json)
        return
    facts = _join(study, images, selection, base, device, key, registry, yes) if images is not None else {}
    if kit is not None:
        facts |= _take_part(study, kit, registry)
    print_result({"study": study, **facts}, as_json=as_json)


@command.command("status")
@click.argument("study", metavar="[DIGEST]", required=False, callback=_check_digest)
@options.registry
@options.as_json
def status(study: str | None, registry: str | None, as_json: bool) -> None:
    """Show the studies that name your namespace, or one of them with its numbers; every signature is checked.

    \b
    Example:
      embhub study status
      embhub study status DIGEST
    """
    from embhub.client.member import studies

    if study is None:
        print_rows([_row(one) for one in studies.listing(registry)], as_json=as_json)
    else:
        print_result(describe(studies.fetch(study, registry=registry)), as_json=as_json)


@command.command("finish")
@_digest
@click.option("--kits", required=True, type=options.FILE, metavar="DIR", help="The folder of kits that propose wrote.")
@click.option("--out", required=True, type=options.FILE, metavar="FILE", help="Embedding file, .safetensors.")
@click.option("--overwrite", is_flag=True, help="Overwrite --out if it exists.")
@options.registry
@options.as_json
def finish(study: str, kits: Path, out: Path, overwrite: bool, registry: str | None, as_json: bool) -> None:
    """Run the study as its coordinator, and write the file that the sites consent to.

    All sites must have joined. Beside FILE, FILE's stem with .study.json holds who joined and who signed; `embhub push`
    publishes both. A study that was interrupted continues with the next step: run this again.

    \b
    Example:
      embhub study finish DIGEST --kits effusion/kits --out effusion.safetensors
      embhub card init effusion.safetensors
      embhub push effusion.safetensors consortium/effusion
    """
    from embhub import destinations

    destinations.check_embedding(out, overwrite=overwrite)
    with progress_bar() as on_progress:
        say_loading(on_progress)
        from embhub.diffusion.studies import joining

        made = joining.finish(study, out, kits, registry=registry, on_progress=on_progress)
    facts = {"wrote": str(out), "study": study, "repository": made.repository, "epsilon": made.epsilon}
    print_result({**facts, "epsilon against sites": made.epsilon_against_sites}, as_json=as_json)


def describe(fetched: Fetched) -> dict[str, Any]:
    """A study for a person: what an officer approves, and how it stands."""
    plan = fetched.plan
    return {
        "study": plan.digest, "repository": plan.repository,
        "base": f"{plan.base_name}, fingerprint {plan.base[:12]}", "caption": plan.caption, "token": plan.token,
        "patients": f"{plan.n_public:,} declared, {plan.batch} expected in a step",
        "images of a patient": f"{plan.max_images_per_patient} at most",
        "noise draws for a patient in a step": plan.noise_draws, "steps": plan.attempts,
        "seconds for a step": plan.round_seconds, "recipe": json.dumps(plan.recipe),
        "preprocessing": json.dumps(plan.preprocessing), "epsilon": plan.epsilon,
        "epsilon against sites": plan.epsilon_against_sites, "delta": plan.delta, "sites": ", ".join(plan.sites),
        "may be missing": plan.dropouts, "may collude": plan.colluders,
        "joined": ", ".join(f"{site} by {fetched.joins[site].fingerprint}" for site in sorted(fetched.joins))
        or "nobody yet",
        "withdrew": ", ".join(sorted(fetched.withdrawn)) or "nobody", "released": plain(fetched.released or "not yet"),
    }  # fmt: skip


def _row(one: dict[str, Any]) -> dict[str, Any]:
    stands = f"{one['withdrew']} withdrew" if one["withdrew"] else "released" if one["released"] else "open"
    joined = f"{len(one['joined'])} of {len(one['sites'])} joined"
    shown = {"study": one["study"], "repository": one["repository"], "joined": joined, "state": stands}
    return {name: plain(value) for name, value in shown.items()}  # the registry's word alone


def _check_place(text: str, out: Path) -> tuple[str, int]:
    if out.exists():
        raise UsageError(f"{out} exists", "name a new folder")
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise UsageError(f"{text[:80]!a} is no address", "give host and port, such as hub.example.org:8102")
    return host, int(port)


@contextmanager
def _kits(out: Path, host: str, port: int, names: list[str]) -> Iterator[Path]:
    """Made before anything is proposed, as FLARE may refuse; gone where proposing fails."""
    from embhub.diffusion.studies.flare import kits

    if "" in names or len(set(names)) != len(names):
        raise UsageError("--sites names a site twice, or none", "give namespaces, such as lumc,nki,radboud")
    try:
        yield kits.provision(out, host, port, names)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _check_join(images: Path | None, kit: Path | None, *, withdraw: bool) -> None:
    if withdraw and (images is not None or kit is not None):
        raise UsageError("--withdraw takes no images and no kit", "leave them out")
    if not withdraw and images is None and kit is None:
        raise UsageError("nothing to join with", "give the site's images, or the --kit of a site that joined")


def _join(
    study: str, images: Path, selection: Selection, base: str, device: str, key: str | None, registry: str | None,
    yes: bool,
) -> dict[str, Any]:  # fmt: skip
    from embhub.client.member import studies

    fetched, ask = studies.fetch(study, registry=registry), ask_on_terminal()
    remark(click.style("the study", bold=True))
    for name, value in describe(fetched).items():
        remark(f"  {name}: {value}")
    if not yes and not (ask and ask("Approve this study, and join it?")):
        raise UsageError("nothing was signed or charged", "pass --yes, or run this on a terminal and confirm")
    with progress_bar() as on_progress:
        say_loading(on_progress)
        from embhub.diffusion.studies import joining
        from embhub.diffusion.studies.seats import Seat

        manifest = str(Path(selection.manifest).absolute()) if selection.manifest else None
        seat = Seat(
            "", str(images.absolute()), manifest, selection.where, selection.holdout, base=base, device=device
        )  # fmt: skip
        done = joining.join(
            fetched, seat, key=key, registry=registry, ask_passphrase=options.ask_passphrase, confirm=ask, say=note,
            on_progress=on_progress,
        )  # fmt: skip
    return {"joined": ", ".join(sorted(done.joins)), "missing": ", ".join(done.missing) or "nobody"}


def _take_part(study: str, kit: Path, registry: str | None) -> dict[str, Any]:
    with progress_bar() as on_progress:
        say_loading(on_progress)
        from embhub.diffusion.studies import joining

        return {"consented to": joining.take_part(study, kit, registry=registry, on_progress=on_progress)}


def _withdraw(study: str, key: str | None, registry: str | None) -> dict[str, Any]:
    from embhub.client.member import studies
    from embhub.diffusion.studies import seats

    seats.withdraw(study)
    return {"withdrew": studies.withdraw(study, key=key, registry=registry, ask_passphrase=options.ask_passphrase)}
