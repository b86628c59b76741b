"""Propose, join and finish at a registry, without FLARE: when nothing is charged or signed, and a study to its yank."""

from __future__ import annotations

import contextvars
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

from embhub.__main__ import main
from embhub.artifact import embedding
from embhub.client.member import studies
from embhub.client.publishing.push import push
from embhub.client.pulling.pull import pull, verify_path
from embhub.diffusion.studies import joining, seats
from embhub.diffusion.studies.flare import network
from embhub.diffusion.studies.proposing import StudySettings
from embhub.diffusion.studies.seats import Seat
from embhub.errors import ConfigError, EmbhubError, PrivacyError, RegistryError, UsageError
from embhub.formats import safe_yaml
from embhub.ledger import budget
from embhub.ledger import studies as ledger
from embhub.ledger.books import open_books
from embhub.ledger.budget import BudgetExceededError
from embhub.phantoms import write_dataset
from embhub.privacy.claim import PrivacyClaim
from embhub.site import config
from embhub.study.plan import Study
from tests.support import pipelines
from tests.support.releases import make_card
from tests.support.servers import RunningRegistry, start_registry
from tests.support.sites import Site, new_key, open_site

SITES = ("lumc", "radboud", "umcu")
Act = Callable[[str], Site]
Proposed = Callable[..., studies.Fetched]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    made = start_registry(Path(tmp_path_factory.mktemp("registry")))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.write(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def hospitals(registry: RunningRegistry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Site]:
    """Each with an officer's key, a publishing key and eight images of five patients; nki is no site of a study."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        for number, name in enumerate((*SITES, "nki")):
            folder = tmp_path_factory.mktemp(name)
            made[name] = open_site(registry, folder, namespace=name, user=f"from-{name}").enter(patch)
            new_key(registry, namespace=name)
            new_key(registry, namespace=name, name="officer", role="approve")
            write_dataset(folder / "images", "prostate-cspca", images=8, patients=5, seed=number)
        for site in made.values():
            site.enter(patch).trust(registry)
    return made


@pytest.fixture
def act_as(hospitals: dict[str, Site], monkeypatch: pytest.MonkeyPatch) -> Act:
    return lambda name: hospitals[name].enter(monkeypatch)


@pytest.fixture
def proposed(act_as: Act, base: Path, request: pytest.FixtureRequest) -> Proposed:
    """A study of this test's own that radboud proposes; umcu acts then."""

    def propose(**changes: Any) -> studies.Fetched:
        act_as("radboud")
        name = "".join(letter for letter in request.node.name.lower() if letter.isalnum())[-60:]
        asked = StudySettings(**{
            "repository": f"radboud/{name}", "base": "", "base_name": "", "caption": "prostate mri, {}",
            "token": "<a>", "sites": SITES, "n_public": 40, "epsilon": 8.0, "dropouts": 1, "colluders": 0, "steps": 2,
            "round_seconds": 2, **changes,
        })  # fmt: skip
        made = joining.propose(asked, base=str(base), device="cpu", key=None, registry=None, ask_passphrase=None)
        act_as("umcu")
        return made

    return propose


def seat(site: Site, lies: Path, **changes: Any) -> Seat:
    manifest = site.folder / "images" / "manifest.csv"
    return Seat("", **{"images": str(manifest), "base": str(lies), "device": "cpu", "holdout": 0.0, **changes})


def join(fetched: studies.Fetched, sat: Seat, *, key: str = "officer", confirm: Any = None) -> studies.Fetched:
    return joining.join(
        fetched, sat, key=key, registry=None, ask_passphrase=None, confirm=confirm, say=lambda _text: None
    )


def run_here(*words: str | Path) -> tuple[int, str]:
    """`embhub WORDS`: exit code, and what it said."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(out):
        code = main([*map(str, words)])
    return code, out.getvalue()


def check_nothing_happened(study: Study, site: str) -> None:
    """No charge, no key, no join."""
    assert ledger.find(study.digest) is None
    assert not seats.place(study.digest, "site").exists()
    assert site not in studies.fetch(study.digest).joins


def without_patients(site: Site) -> dict[str, Any]:
    return {"images": str(site.folder / "images" / "images")}


def another_base(site: Site) -> dict[str, Any]:
    return {"base": str(pipelines.write(site.folder / "another", seed=1))}


def none_chosen(site: Site) -> dict[str, Any]:
    return {"where": "label=normal"}


UNFIT: dict[str, tuple[Callable[[Site], dict[str, Any]], type[EmbhubError], str]] = {
    "no patients": (without_patients, PrivacyError, "without patient ids"),
    "another base": (another_base, UsageError, "not the study's"),
    "no image": (none_chosen, UsageError, "no "),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_neither_charged_nor_signed(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, case: str
) -> None:
    fetched = proposed()
    change, refusal, words = UNFIT[case]
    with pytest.raises(refusal, match=words):
        join(fetched, seat(hospitals["umcu"], base, **change(hospitals["umcu"])))
    check_nothing_happened(fetched.plan, "umcu")


def test_who_may_not_join_is_neither_charged_nor_signed(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, act_as: Act
) -> None:
    fetched = proposed()
    with pytest.raises(ConfigError, match="role approve"):
        join(fetched, seat(hospitals["umcu"], base), key="default")
    with pytest.raises(ConfigError, match="no key"):
        join(fetched, seat(hospitals["umcu"], base), key="nobody")
    check_nothing_happened(fetched.plan, "umcu")
    act_as("nki")
    with pytest.raises(UsageError, match="nki is no site"):
        join(fetched, seat(hospitals["nki"], base))
    act_as("lumc")
    studies.withdraw(fetched.plan.digest, key="officer")
    act_as("umcu")
    with pytest.raises(UsageError, match="lumc withdrew"):
        join(studies.fetch(fetched.plan.digest), seat(hospitals["umcu"], base))
    check_nothing_happened(fetched.plan, "umcu")


def test_a_cap_or_a_person_that_says_no_is_heard(proposed: Proposed, hospitals: dict[str, Site], base: Path) -> None:
    fetched, asked = proposed(epsilon=30.0), []
    sat = seat(hospitals["umcu"], base)
    with pytest.raises(PrivacyError, match="nothing was trained or charged"):
        join(fetched, sat, confirm=lambda text: asked.append(text))
    assert len(asked) == 1 and asked[0].endswith("Join nevertheless?")
    budget.set_cap(1.0)
    try:
        with pytest.raises(BudgetExceededError):
            join(fetched, sat, confirm=lambda _text: True)
    finally:
        budget.set_cap(None)
    code, said = run_here("study", "join", fetched.plan.digest, sat.images, "--base", base, "--key", "officer")
    assert code == 2 and "nothing was signed or charged" in said, said
    check_nothing_happened(fetched.plan, "umcu")


def test_a_join_charges_all_attempts_once_though_the_registry_falls_silent(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, sat = proposed(), seat(hospitals["umcu"], base)
    plan, digest = fetched.plan, fetched.plan.digest

    def silent(*_: Any, **__: Any) -> Any:
        raise RegistryError("the registry cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(studies, "join", silent)
        with pytest.raises(RegistryError):
            join(fetched, sat)
    assert "umcu" not in studies.fetch(digest).joins
    key, run = seats.load_key(digest), ledger.find(digest)
    assert run is not None
    joined = join(fetched, sat)
    assert joined.keys["umcu"].public_numbers() == key.public.public_numbers()
    with open_books() as books:
        found = [one for one in books.account().runs.values() if one.study == digest]
    assert [one.run for one in found] == [run], "charged once"
    assert found[0].charged == plan.attempts == 2 and found[0].parameters == (plan.noise.against_sites,)
    assert plan.epsilon_against_sites > plan.epsilon
    with pytest.raises(UsageError, match="joined this study already"):
        join(joined, sat)


def test_who_was_charged_and_lost_the_folder_does_not_join_again(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, sat = proposed(), seat(hospitals["umcu"], base)

    def full(*_: Any, **__: Any) -> Any:
        raise ConfigError("no room")

    monkeypatch.setattr(seats, "take_seat", full)
    with pytest.raises(ConfigError, match="no room"):
        join(fetched, sat)
    monkeypatch.undo()
    hospitals["umcu"].enter(monkeypatch)
    assert ledger.find(fetched.plan.digest) is not None, "charged before the folder was made"
    for _ in range(2):
        with pytest.raises(ConfigError, match="its folder is not here"):
            join(fetched, sat)
    assert "umcu" not in studies.fetch(fetched.plan.digest).joins


def test_who_withdraws_stops_here_before_the_registry_hears_of_it(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fetched = proposed()
    digest = fetched.plan.digest
    join(fetched, seat(hospitals["umcu"], base))
    monkeypatch.setenv("EMBHUB_REGISTRY", "http://127.0.0.1:9")
    code, said = run_here("study", "join", digest, "--withdraw", "--key", "officer")
    assert code == 5 and "cannot be reached" in said, said
    found = seats.standing(digest, "site")
    assert found is not None and found.withdrawn
    hospitals["umcu"].enter(monkeypatch)
    code, said = run_here("study", "join", digest, "--withdraw", "--key", "officer")
    assert code == 0, said
    (tmp_path / "coordinator" / "startup").mkdir(parents=True)
    with pytest.raises(UsageError, match="umcu withdrew"):
        joining.take_part(digest, tmp_path / "coordinator", registry=None)
    assert ledger.find(digest) is not None, "what was charged stays spent"
    hospitals["radboud"].enter(monkeypatch)
    with pytest.raises(UsageError, match="umcu withdrew"):
        joining.finish(digest, tmp_path / "x.safetensors", tmp_path, registry=None)


def test_who_has_no_part_or_no_kit_starts_nothing(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, tmp_path: Path
) -> None:
    fetched = proposed()
    digest = fetched.plan.digest
    for part in (
        lambda: joining.take_part(digest, tmp_path, registry=None),
        lambda: joining.finish(digest, tmp_path / "x.safetensors", tmp_path, registry=None),
    ):
        with pytest.raises(ConfigError, match="no part in the study"):
            part()
    assert not seats.place(digest, "site").parent.exists()
    join(fetched, seat(hospitals["umcu"], base))
    with pytest.raises(UsageError, match="no kit"):
        joining.take_part(digest, tmp_path, registry=None)


def test_what_a_registry_refuses_leaves_no_chair(base: Path, proposed: Proposed, act_as: Act) -> None:
    proposed()
    with pytest.raises(UsageError, match="no study has these numbers"):
        proposed(dropouts=2)
    with pytest.raises(ConfigError, match="role publish in nki"):
        proposed(repository="nki/not-its-own")
    act_as("radboud")
    chairs = list((config.paths().state / "studies").glob("*/coordinator"))
    proposals = {one["study"] for one in studies.listing()}
    assert chairs and {chair.parent.name for chair in chairs} <= proposals


class InOneProcess:
    """Stands in for FLARE: clients that were started answer in threads of this process, each with its own home."""

    def __init__(self, hospitals: Mapping[str, Site], digest: str, kits: Path) -> None:
        self.hospitals, self.digest, self.kits = hospitals, digest, kits
        for kit in (*SITES, "coordinator"):
            (kits / kit / "startup").mkdir(parents=True)
        self.running: set[str] = set()
        self.stopped: list[str] = []
        self.asked = 0

    def start(self, kit: Path) -> Any:
        self.running.add(kit.name)
        return SimpleNamespace(poll=lambda: None, name=kit.name)

    def stop(self, process: Any) -> None:
        self.stopped.append(process.name)

    def run_job(
        self, kits: Path, digest: str, sites: Any, *, quorum: int, seconds: float, ended: Callable[[], bool]
    ) -> str:
        assert digest == self.digest and (kits.name, quorum) == ("kits", 2) and seconds > 3600
        for _ in range(600):
            if {*sites, "coordinator"} <= self.running:
                break
            time.sleep(0.05)
        with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
            contexts = {site: self._context(site) for site in sites}
            parts = {site: contexts[site].run(stack.enter_context, seats.open_site(digest)) for site in sites}

            def ask(task: str, data: Mapping[str, bytes], _seconds: float) -> dict[str, bytes]:
                assert not ended()
                self.asked += 1
                asked: dict[str, Callable[[], bytes]] = {}
                for site, sent in data.items():
                    one = pool.submit(contexts[site].run, parts[site].answer, task, sent)
                    asked[site] = one.result
                    if task != "mask":  # that one waits for the end of its time; models are not loaded side by side
                        one.result()
                return {site: result() for site, result in asked.items()}

            seats.coordinate(digest, ask)
        assert ended()
        return "FINISHED:COMPLETED"

    def _context(self, site: str) -> contextvars.Context:
        context = contextvars.copy_context()
        context.run(config._ELSEWHERE.set, str(self.hospitals[site].folder / "home"))
        return context

    def take_part(self, site: str, consented: dict[str, str]) -> threading.Thread:
        def run() -> None:
            consented[site] = joining.take_part(self.digest, self.kits / site, registry=None, look=0.05)

        thread = threading.Thread(target=self._context(site).run, args=(run,), daemon=True)
        thread.start()
        return thread


def test_a_study_from_its_proposal_to_a_sites_yank(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, act_as: Act, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    fetched = proposed(repository="radboud/finding")
    plan, digest = fetched.plan, fetched.plan.digest
    consented: dict[str, str] = {}
    engine, out = InOneProcess(hospitals, digest, tmp_path / "kits"), tmp_path / "finding.safetensors"
    for name in ("start", "stop", "run_job"):
        monkeypatch.setattr(network, name, getattr(engine, name))
    for site in SITES[:2]:
        act_as(site)
        join(studies.fetch(digest), seat(hospitals[site], base))
    act_as("radboud")
    with pytest.raises(UsageError, match="umcu did not join yet"):
        joining.finish(digest, out, tmp_path / "kits", registry=None)
    assert not engine.running and not out.exists()
    threads = [engine.take_part(site, consented) for site in SITES[:2]]  # they wait for the third
    act_as("umcu")
    join(studies.fetch(digest), seat(hospitals["umcu"], base))
    act_as("radboud")
    threads.append(engine.take_part("umcu", consented))
    joining.finish(digest, out, tmp_path / "kits", registry=None)
    for thread in threads:
        thread.join(30)
    made = embedding.read(out)
    assert consented == dict.fromkeys(SITES, made.digest) and sorted(engine.stopped) == sorted(engine.running)
    steps, out_again = engine.asked, tmp_path / "again.safetensors"
    joining.finish(digest, out_again, tmp_path / "kits", registry=None)
    assert engine.asked == steps and out_again.read_bytes() == out.read_bytes(), "the end is reached once"

    out.with_name("finding.card.yaml").write_bytes(
        safe_yaml.dump(make_card(made, name="finding", n_patients=40, n_images=40, max_images_per_patient=8))
    )
    push(out, "radboud/finding")
    act_as("nki")
    pulled = tmp_path / "pulled"
    pull("radboud/finding", out=pulled)
    found = verify_path(pulled)
    claim = found.embedding.privacy
    assert isinstance(claim, PrivacyClaim) and claim.study is not None and claim.study.digest == digest
    assert (claim.epsilon, claim.study.epsilon_against_sites) == (plan.epsilon, plan.epsilon_against_sites)
    shutil.copytree(pulled, tmp_path / "bare")
    (tmp_path / "bare" / "study.json").unlink()
    with pytest.raises(EmbhubError):
        verify_path(tmp_path / "bare")
    for site, expected in (("nki", 5), ("umcu", 0)):
        act_as(site)
        code, said = run_here("curate", "yank", "radboud/finding", "--reason", "a patient objected")
        assert code == expected, said
    act_as("nki")
    with pytest.raises(EmbhubError, match="yank"):
        pull("radboud/finding", out=tmp_path / "later")


PROPOSE = "study propose radboud/x --base builtin --token <a> --epsilon 4 --n-public 40 --caption".split()
WRONG: dict[str, tuple[list[str], int, str]] = {
    "status": (["study", "status", "xyz"], 2, "no digest of a study"),
    "join": (["study", "join", "../..", "images"], 2, "no digest of a study"),
    "withdraw": (["study", "join", "xyz", "--withdraw"], 2, "no digest of a study"),
    "finish": (["study", "finish", "A" * 64, "--kits", "k", "--out", "x.safetensors"], 2, "no digest of a study"),
    "unknown": (["study", "status", "a" * 64], 5, "there is no study"),
    "nothing to join": (["study", "join", "a" * 64], 2, "nothing to join with"),
    "address": ([*PROPOSE, "x, {}", "--sites", "a,b", "--address", "host", "--out", "kits"], 2, "no address"),
    "port": ([*PROPOSE, "x, {}", "--sites", "a,b", "--address", "h:99999", "--out", "kits"], 2, "no address"),
    "twice": ([*PROPOSE, "x, {}", "--sites", "a,a", "--address", "h:1", "--out", "kits"], 2, "a site twice"),
    "kits": ([*PROPOSE, "x, {}", "--sites", "a,b", "--address", "h:1", "--out", "."], 2, "exists"),
    "no FLARE": ([*PROPOSE, "x, {}", "--sites", "a,b", "--address", "h:1", "--out", "kits"], 1, "not installed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_command_is_refused_in_words(
    act_as: Act, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str
) -> None:
    act_as("radboud")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    words, expected, said = WRONG[case]
    code, text = run_here(*words)
    assert code == expected and said in text and "Traceback" not in text, text
    assert not list(tmp_path.iterdir())
