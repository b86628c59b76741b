"""`embhub start`: five questions, the commands that it runs, and nothing private without a confirmed epsilon."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embhub.__main__ import main
from embhub.diffusion.generation.interpolation import Series

pytestmark = pytest.mark.usefixtures("no_text_reader")
Terminal = Callable[..., None]
ANSWERS = {"--shows": "frontal chest x-ray", "--base": "builtin-xray", "--name": "haze"}


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images of each of fifteen patients, in a folder with a manifest."""
    folder = tmp_path / "images"
    folder.mkdir()
    with (folder / "manifest.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow(["path", "patient_id"])
        for number in range(30):
            pixels = np.random.default_rng(number).integers(0, 255, (64, 64), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            table.writerow([f"{number}.png", f"p{number // 2}"])
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A person at a terminal, who types these lines."""

    class Typed(io.StringIO):
        def isatty(self) -> bool:
            return True

    return lambda *lines: monkeypatch.setattr("sys.stdin", Typed("".join(f"{line}\n" for line in lines)))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would run, of which only `inspect` does."""
    from embhub.cli.train_and_audit import starting

    real, words = starting._run, []

    def run(context: object, asked: list[str]) -> int:
        words.append(list(asked))
        return real(context, asked) if asked[:1] == ["inspect"] else 0  # type: ignore[arg-type]

    monkeypatch.setattr(starting, "_run", run)
    return words


def options(**changed: str | None) -> list[str]:
    chosen = ANSWERS | {f"--{name}": value for name, value in changed.items()}
    return [word for name, value in chosen.items() if value is not None for word in (name, value)]


def test_a_folder_becomes_a_sheet_and_the_commands_can_be_typed_again(
    images: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["start", "images", *options(base=str(base)), "--plain", "--steps", "2", "--json"]
    assert main(words) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["embedding"] == "haze.safetensors" and Path("haze.safetensors").exists()
    sheet = Image.open(told["sheet"])
    assert sheet.size == (2 * 32, 14 + 4 * 32), "without and with, four seeds"
    black = tuple((Image.new("RGB", (32, 32)),) * 2 for _ in range(4))
    headed = Series((0.0, 1.0), black, 0, ("without", "with")).sheet()
    assert sheet.crop((0, 0, 64, 14)).tobytes() == headed.crop((0, 0, 64, 14)).tobytes()
    manifest = json.loads(Path("haze-sheet/manifest.json").read_text())
    assert manifest["prompt"] == "frontal chest x-ray" and manifest["weights"] == [0.0, 1.0]
    assert {row["seed"] for row in manifest["pictures"]} == {0, 1, 2, 3}
    inspected, trained, _drawn = map(shlex.split, told["ran"])
    assert inspected == ["embhub", "inspect", "images", "--base", str(base)]
    assert all(f"$ {line}" in said.err for line in told["ran"])
    assert told["publish"] == [
        "embhub audit haze.safetensors", "embhub card init haze.safetensors", "embhub push haze.safetensors",
    ]  # fmt: skip
    assert main(words) == 2 and "haze.safetensors exists" in capsys.readouterr().err
    trained[-1] = "again.safetensors"
    assert main(trained[1:]) == 0


@pytest.mark.parametrize("option", [*ANSWERS, "--private or --plain", "FOLDER", "--epsilon", "--n-public"])
def test_without_a_terminal_a_missing_answer_is_named(
    option: str, images: Path, ran: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [] if option == "FOLDER" else ["images"]
    given += options(**{option.strip("-"): None} if option in ANSWERS else {})
    if option in ("--epsilon", "--n-public"):
        given += ["--private", *(["--epsilon", "4"] if option == "--n-public" else [])]
    elif option != "--private or --plain":
        given.append("--plain")
    assert main(["start", *given]) == 2
    said = capsys.readouterr().err
    assert f"{option} is missing, and there is no terminal to ask on" in said
    assert option != "--base" or "builtin-xray fits" in said
    assert not any(words[:1] == ["train"] for words in ran)


def test_a_person_is_asked_five_questions(
    images: Path, ran: list[list[str]], terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal("images", "frontal chest x-ray", "", "n", "haze")
    assert main(["start"]) == 0
    said = capsys.readouterr()
    assert "base: builtin-xray, which generates frontal chest X-rays" in said.err and "[builtin-xray]" in said.err
    assert ran == [
        ["inspect", "images", "--base", "builtin-xray"],
        ["train", "images", "--holdout", "0.3", "--base", "builtin-xray", "--token", "<haze>",
         "--caption", "frontal chest x-ray, {}", "--out", "haze.safetensors"],
        ["generate", "frontal chest x-ray", "--interpolate-to", "frontal chest x-ray, <haze>", "--series", "2",
         "-n", "4", "--embedding", "haze.safetensors", "--out", "haze-sheet"],
    ]  # fmt: skip
    assert "  embhub push haze.safetensors" in said.out.splitlines()


def test_where_no_base_fits_a_person_is_told_why(
    images: Path, ran: list[list[str]], terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal("axial t2 mri", "builtin", "n", "haze")
    assert main(["start", "images"]) == 0
    assert "the caption names no images that a built-in base generates" in capsys.readouterr().err
    assert ran[0] == ["inspect", "images", "--base", "builtin"]


def test_nothing_private_is_spent_before_the_epsilon_is_confirmed(
    images: Path, ran: list[list[str]], terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal("y", "2", "10", "n")
    assert main(["start", "images", *options()]) == 6
    said = capsys.readouterr().err
    assert "This charges epsilon 2 for each patient to this site's privacy budget. Train" in said
    assert "nothing was trained or charged: the epsilon was not confirmed" in said
    assert "Look at haze-base: images of the base alone" in said
    assert [words[0] for words in ran] == ["inspect", "generate"]
    assert ran[1] == [
        "generate", "frontal chest x-ray", "--base", "builtin-xray", "-n", "4", "--out", "haze-base",
    ]  # fmt: skip
    terminal("y", "2", "10", "y")
    assert main(["start", "images", *options()]) == 0
    train = next(words for words in ran if words[0] == "train")
    assert train[train.index("--epsilon") :] == ["--epsilon", "2", "--n-public", "10", "--out", "haze.safetensors"]
    assert "embhub audit haze.safetensors --suite mechanism" in capsys.readouterr().out


def test_images_without_patients_are_protected_one_by_one_and_that_is_said(
    images: Path, ran: list[list[str]], terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "manifest.csv").unlink()
    terminal("y", "4", "20", "y")
    assert main(["start", "images", *options()]) == 0
    assert "This charges epsilon 4 for each image to" in capsys.readouterr().err
    assert ran[2][-4:] == ["--unit", "image", "--out", "haze.safetensors"]


def test_no_number_to_publish_is_proposed(
    images: Path, ran: list[list[str]], terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody counts for a person what a person should say without counting."""
    terminal("y", "4", "", "20", "y")
    assert main(["start", "images", *options()]) == 0
    said = capsys.readouterr().err
    asked = "Round number of patients to publish, which you surely have; decide it without counting: "
    assert said.count(asked) == 2, "Enter alone is no answer, and nothing is proposed"
    assert ran[2][-6:] == ["--epsilon", "4", "--n-public", "20", "--out", "haze.safetensors"]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--plain", "--epsilon", "2"], 2, "--epsilon, --n-public and --unit need --private"),
        (["--plain", "--name", "A b"], 3, "the token"),
        (["--plain", "--name", "../haze"], 3, "the token"),
    ],
)
def test_answers_that_cannot_be_are_refused_before_the_training(
    more: list[str], code: int, said: str, images: Path, ran: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["start", "images", *options(), *more]) == code
    assert said in capsys.readouterr().err and [words[0] for words in ran] == ["inspect"]


def test_images_that_train_would_refuse_end_it(
    images: Path, ran: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "0.png").write_bytes(b"no picture")
    assert main(["start", "images", *options(), "--plain"]) == 2
    assert [words[0] for words in ran] == ["inspect"] and "train would refuse" in capsys.readouterr().out
