"""The command line: light, quiet on stdout, in words on stderr, and thin."""

from __future__ import annotations

import ast
import errno
import functools
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from embhub.__main__ import in_words, main
from embhub.cli import root
from embhub.errors import ConfigError, EmbhubError, UsageError, VerificationError
from embhub.formats import safe_yaml
from embhub.version import __version__
from tests.support import hostile
from tests.support.releases import REGISTRY, ROOT, make_card, make_embedding, make_export, make_release

COMMANDS = Path(__file__).parents[2] / "embhub/cli"


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, (*path, name))


TREE = list(walk(root))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("EMBHUB_REGISTRY", "EMBHUB_TOKEN", "EMBHUB_NAMESPACE", "EMBHUB_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*words: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "embhub", *words]
    started: subprocess.Popen[str] = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )
    return started


@pytest.mark.parametrize(("path", "command"), TREE, ids=[path or "embhub" for path, _ in TREE])
def test_every_command_has_help_with_an_example(path: str, command: click.Command) -> None:
    text = command.get_help(click.Context(command, info_name=f"embhub {path}"))
    assert "Example:" in text
    assert path == "" or f"embhub {path.split(' ')[0]}" in text
    undocumented = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert not undocumented


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("trian",), "train"),
        (("copycheck",), "copy-check"),
        (("inspct", "images"), "inspect"),
        (("card", "chek"), "check"),
        (("train", "--tokn", "<a>"), "--token"),
    ],
)
def test_a_misspelled_word_is_answered_with_the_right_one(
    typed: tuple[str, ...], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed) == 2
    said = capsys.readouterr().err
    assert "did you mean" in said.lower() and f"'{meant}'" in said


def test_a_word_like_no_command_gets_no_guess(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zzzzzz"]) == 2
    assert "mean" not in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(COMMANDS.glob("*.py")), ids=lambda path: path.name)
def test_bodies_are_at_most_ten_lines(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and any("command" in ast.unparse(d) for d in node.decorator_list):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            statements = sum(isinstance(inner, ast.stmt) for part in body for inner in ast.walk(part))
            assert statements <= 10, node.name


@pytest.mark.thorough
def test_verify_loads_no_torch(home: Path) -> None:
    make_release().to_folder(home / "pulled")
    code = (
        "import sys\nfrom embhub.__main__ import main\n"
        "main(['trust', 'add', 'export.json', '--fingerprint', sys.argv[1]])\n"
        "code = main(['verify', 'pulled', '--json'])\nprint('LOADED', code, *sys.modules)"
    )
    (home / "export.json").write_bytes(make_export())
    out = subprocess.run(
        [sys.executable, "-c", code, ROOT.fingerprint], capture_output=True, text=True, check=True
    ).stdout
    loaded = out.rsplit("LOADED", 1)[1].split()
    assert loaded[0] == "0"
    assert not {name.split(".")[0] for name in loaded} & {"torch", "diffusers", "transformers", "huggingface_hub"}


def test_the_package_names_its_verbs_without_loading_them() -> None:
    code = "import sys, embhub\nassert set(dir(embhub)) == {*embhub.__all__, '__version__'}\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {name.split(".")[0] for name in loaded} & {"torch", "numpy", "click", "huggingface_hub"}


@pytest.mark.parametrize(
    ("typed", "own"), [("download", "pull"), ("list", "search"), ("run", "generate"), ("init", "card init")]
)
def test_words_of_other_programs_name_ours(typed: str, own: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([typed, "radboud/x"]) == 2
    assert f"Here it is `embhub {own}`." in capsys.readouterr().err


@pytest.mark.thorough
def test_the_package_is_a_plain_module_and_audit_the_verb() -> None:
    code = (
        "import types, embhub\nimport embhub.audits.report\nassert type(embhub) is types.ModuleType\n"
        "assert callable(embhub.audit), embhub.audit\nassert embhub.push and embhub.Hub"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    import embhub

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = embhub.nothing


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("words", [["nothing"], ["train"], ["push", "--nothing"], ["audit", "x", "--suite", "huge"]])
def test_a_wrong_call_is_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert not said.out and said.err


def test_an_adapter_with_an_epsilon_is_refused_and_the_way_to_a_claim_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["research", "adapt", "images", "--token", "<a>", "--caption", "mri, {}", "--out", "a.safetensors"]
    for more in (["--epsilon", "8"], ["--epsilon=2", "--n-public", "100"]):
        assert main([*words, *more]) == 2
        said = capsys.readouterr().err
        assert "adapters are not trained with differential privacy" in said and "embhub train --epsilon" in said


def test_an_error_is_words_and_a_hint_and_with_debug_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "nowhere.safetensors"]) == 2
    quiet = capsys.readouterr()
    assert "error: nowhere.safetensors is not there" in quiet.err and "hint: " in quiet.err
    assert "Traceback" not in quiet.err and not quiet.out
    for words in (["--debug", "verify", "nowhere.safetensors"], ["verify", "nowhere.safetensors", "--debug"]):
        assert main(words) == 2
        assert "Traceback" in capsys.readouterr().err


def test_a_refusal_lists_the_checks_and_json_says_so_too(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "export.json").write_bytes(make_export())
    assert main(["trust", "add", "export.json", "--fingerprint", ROOT.fingerprint]) == 0
    make_release().to_folder(home / "pulled")
    (home / "pulled/README.md").write_bytes((home / "pulled/README.md").read_bytes() + b"more\n")
    capsys.readouterr()
    assert main(["verify", "pulled", "--json"]) == VerificationError.exit_code
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["verified"] is False and document["rule"] == "card-mismatch"
    assert [f["outcome"] for f in document["findings"]][-1] == "failed"
    assert main(["verify", "pulled"]) == VerificationError.exit_code
    said = capsys.readouterr()
    assert "card-mismatch" in said.err and "signature" in said.err and not said.out


def test_a_pull_that_is_refused_lists_the_checks(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hostile.serve() as liar:
        liar.files, liar.export = make_release(repository="radboud/other").files, make_export()
        assert main(["trust", "add", liar.url, "--fingerprint", ROOT.fingerprint]) == 0
        capsys.readouterr()
        words = ["pull", "radboud/prostate-cspca", "--registry", liar.url]
        assert main(words) == VerificationError.exit_code
        assert "failed   wrong-repository" in capsys.readouterr().err
        assert main([*words, "--json"]) == VerificationError.exit_code
        assert json.loads(capsys.readouterr().out)["rule"] == "wrong-repository"


@pytest.mark.thorough
def test_colours_only_on_a_terminal_and_never_with_no_color(home: Path) -> None:
    out = start("show", "nowhere").communicate()[1]
    assert "\x1b[" not in out
    code = (
        "import os, pty, sys\n"
        "status = pty.spawn([sys.executable, '-m', 'embhub', 'show', 'nowhere'])\n"
        "sys.exit(os.waitstatus_to_exitcode(status))"
    )
    for extra, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"} | extra
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, env=environment, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 2
        assert (b"\x1b[" in done.stdout) is coloured


def test_what_an_error_quotes_is_no_command_to_the_terminal(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "\x1b]0;owned\x07.safetensors"]) == 2
    said = capsys.readouterr().err
    assert "owned" in said and all(line.isprintable() for line in said.split("\n"))


def test_interruption_is_code_130_without_a_traceback(home: Path) -> None:
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a background job starts with it ignored
    process = start("trust", "add", "/dev/stdin", stdin=subprocess.PIPE, preexec_fn=heard)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_reader_that_hangs_up_is_no_error(home: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-m", "embhub", "--help"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert process.stderr == ""


def test_json_is_alone_on_stdout(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "a.safetensors").write_bytes(make_embedding().data)
    assert main(["show", "a.safetensors", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["token"] == "<cspca>"
    assert facts["verified"].startswith("no: ")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (MemoryError(), ConfigError, "memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), ConfigError, "full"),
        (OSError(errno.EFBIG, "File too large", "/x/y"), ConfigError, "full"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), ConfigError, "/x/y"),
        (OSError(errno.EROFS, "Read-only file system", "/x/y"), ConfigError, "Read-only"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x/y"), UsageError, "/x/y is not there"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/x"), UsageError, "directory"),
        (ModuleNotFoundError("no torch", name="torch"), ConfigError, "needs torch"),
        (RuntimeError("a bug"), EmbhubError, "unexpected RuntimeError"),
    ],
)
def test_every_error_in_words(error: Exception, kind: type[EmbhubError], words: str) -> None:
    known = in_words(error)
    assert type(known) is kind
    assert words in known.message and known.hint


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("cannot open /data/Janssen_Maria_1954-03-12.dcm"),
        ValueError("Janssen"),
        KeyError("Janssen"),
        OSError("cannot identify image file '/data/Janssen.png'"),
        UnicodeDecodeError("utf-8", b"Janssen", 0, 1, "Janssen"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_others_raise_is_named_and_not_quoted(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_words: list[str]) -> int:
        raise error

    monkeypatch.setattr("embhub.__main__._run", fail)
    assert main(["show", "x"]) in (EmbhubError.exit_code, ConfigError.exit_code)
    said = capsys.readouterr().err
    assert "Janssen" not in said and "/data" not in said
    assert type(error).__name__ in said and "--debug" in said
    assert main(["show", "x", "--debug"])
    assert "Janssen" in capsys.readouterr().err


def test_keys_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "export"]) == ConfigError.exit_code
    assert "embhub key new" in capsys.readouterr().err
    assert main(["key", "new"]) == 0
    assert main(["key", "new"]) == ConfigError.exit_code
    capsys.readouterr()
    assert main(["key", "export"]) == 0
    assert capsys.readouterr().out.startswith("-----BEGIN PUBLIC KEY-----")
    assert main(["key", "list"]) == 0
    assert capsys.readouterr().out.startswith("default  SHA256:")


def test_secrets_come_from_a_pipe_where_there_is_no_terminal(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("open sesame\n"))
    monkeypatch.setenv("EMBHUB_REGISTRY", "https://hub.example.org")
    assert main(["key", "new", "locked", "--passphrase"]) == 0
    (home / "a.safetensors").write_bytes(make_embedding().data)
    (home / "a.card.yaml").write_bytes(safe_yaml.dump(make_card(make_embedding())))
    for said, code in (("wrong\n", ConfigError.exit_code), ("", UsageError.exit_code), ("open sesame\n", 0)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(said))
        assert main(["sign", "a.safetensors", "radboud/a", "--key", "locked"]) == code
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["login", "--registry", "http://127.0.0.1:9"]) == UsageError.exit_code


def test_trust_needs_a_person_or_a_fingerprint(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "export.json").write_bytes(make_export())
    done = start("trust", "add", "export.json", stdin=subprocess.DEVNULL)
    _, err = done.communicate()
    assert done.returncode == ConfigError.exit_code
    assert ROOT.fingerprint in err and "--fingerprint" in err
    assert main(["trust", "add", "export.json", "--fingerprint", "SHA256:" + "A" * 43]) == VerificationError.exit_code
    assert main(["trust", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["trust", "add", "export.json", "--fingerprint", ROOT.fingerprint]) == 0
    capsys.readouterr()
    assert main(["trust", "list"]) == 0
    assert REGISTRY in capsys.readouterr().out
    assert main(["trust", "remove", REGISTRY]) == 0
    assert main(["trust", "remove", REGISTRY]) == ConfigError.exit_code
