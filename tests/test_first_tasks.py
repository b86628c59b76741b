"""The first task of each of five people: the commands of the page, typed in an empty home against the real thing."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from embhub.client.publishing import push as publishing
from embhub.phantoms import write_dataset
from tests.support import packs, servers
from tests.support.servers import RunningRegistry, start_registry
from tests.support.sites import new_key, open_site

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/tutorial/first-tasks.md").read_text(encoding="utf-8")
MOST = {"Engineer": 1, "Data-protection officer": 1, "Researcher": 2, "IT lead": 4, "Auditor": 5}
PROGRAMS = {"embhub": ["-m", "embhub"], "embhub-registry": ["-m", "embhub_registry"], "python": []}
ADDRESS, FINGERPRINT = "http://127.0.0.1:8642", re.compile("SHA256:[A-Za-z0-9+/]{43}")
REPOSITORY = "hospital-a/cxr-bacterial-pneumonia"
SETTINGS = ("EMBHUB_", "XDG_")
SECONDS = 600


def section(role: str) -> str:
    return PAGE.split(f"## {role}\n")[1].split("\n## ")[0]


def commands(role: str) -> list[str]:
    return re.findall(r"^\$ (.+)$", section(role), re.M)


def words(line: str) -> list[str]:
    program, *rest = shlex.split(line)
    return [sys.executable, *PROGRAMS[program], *rest]


class Person:
    """Somebody in an empty folder, with an empty home and no setting of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder, home = folder / "work", folder / "home"
        self.folder.mkdir()
        home.mkdir()
        kept = {name: value for name, value in servers.environment().items() if not name.startswith(SETTINGS)}
        self.environment = {**kept, "HOME": str(home)}

    def type(self, line: str, *, answer: str = "") -> str:
        """Run a command; what it printed."""
        done = subprocess.run(
            words(line), cwd=self.folder, env=self.environment, input=answer, capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry in which hospital A published the embedding that comes with the source."""
    place = tmp_path_factory.mktemp("hub")
    registry = start_registry(place)
    try:
        with pytest.MonkeyPatch.context() as patch:
            site = open_site(registry, place / "site", namespace="hospital-a", user="dr-a").enter(patch)
            new_key(registry, namespace="hospital-a")
            for file in (ROOT / "examples/embeddings").glob("cxr-bacterial-pneumonia.*"):
                shutil.copy(file, site.folder)
            publishing.push(site.folder / "cxr-bacterial-pneumonia.safetensors")
        yield registry
    finally:
        registry.stop()


@pytest.mark.parametrize(("role", "most"), MOST.items())
def test_the_page_needs_no_more_commands_than_it_may(role: str, most: int) -> None:
    assert 1 <= len(commands(role)) <= most
    assert re.findall("^## (.+)$", PAGE, re.M) == list(MOST)


@pytest.mark.thorough
@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_engineer_to_a_sheet_of_his_own_images(person: Person) -> None:
    write_dataset(person.folder / "images", "cxr-effusion", images=24, patients=20, seed=0)
    (line,) = commands("Engineer")
    person.type(f"{line} --steps 20")  # how many are needed to see something, does not matter here
    with Image.open(person.folder / "pneumonia-sheet/series.png") as sheet:
        assert sheet.width == 2 * 128


def test_officer_to_a_pack_that_can_be_signed(person: Person) -> None:
    packs.make_site(person.folder, "standard")
    (line,) = commands("Data-protection officer")
    person.type(line)
    page = (person.folder / "evidence/index.html").read_text()
    assert "Sign-off" in page and "must not be signed" not in page


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_researcher_to_an_image_in_diffusers(person: Person, hub: RunningRegistry) -> None:
    (program,) = re.findall(r"^```python\n(.+?)^```$", section("Researcher"), re.S | re.M)
    (person.folder / "image.py").write_text(program)
    for line in commands("Researcher"):
        person.type(FINGERPRINT.sub(hub.root_fingerprint, line.replace(ADDRESS, hub.url)))
    with Image.open(person.folder / "xray.png") as image:
        assert image.size == (128, 128)


def test_it_lead_to_a_registry_that_answers(person: Person) -> None:
    url = f"http://127.0.0.1:{servers.free_port()}"
    *before, serving = (line.replace(ADDRESS, url) for line in commands("IT lead"))
    said = [person.type(line) for line in before]
    assert url in said[-1], "the invitation names the registry"
    log = person.folder / "registry.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            words(serving.removesuffix(" &")), cwd=person.folder, env=person.environment, stdout=subprocess.PIPE,
            stderr=stream, text=True,
        )  # fmt: skip
    registry = RunningRegistry(person.folder / "registry", url, "", "", process)
    try:
        servers.wait_until_ready(process, url, log=log)
        assert registry.get("/readyz").status == 200
    finally:
        registry.stop()


def test_auditor_to_a_signature_on_an_audit(person: Person, hub: RunningRegistry) -> None:
    invitation = hub.ask("invite", "make", "--namespace", "nki", "--role", "auditor")["invites"][0]["invite"]
    join, pull, *keys, countersign = commands("Auditor")
    person.type(join, answer=f"{invitation}\n")
    assert "verified" in person.type(pull)
    for line in keys:
        person.type(line)
    hub.run("key", "add", person.folder / "nki.audit.key-request.json")
    person.type(f"{countersign} --yes")  # nobody is there to be asked
    assert "countersigned by nki" in person.type(f"embhub verify {REPOSITORY}")
