"""The `embhub` command: runs the command line and turns every error into words and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from embhub import own_process
from embhub.cli import json_errors
from embhub.errors import ConfigError, EmbhubError, UsageError
from embhub.formats.plain_text import printable
from embhub.project import how_to_install, where_to_report

INTERRUPTED = 130
BROKEN_PIPE = 141
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_EXTRAS = {"torch": "diffusion", "diffusers": "diffusion", "transformers": "diffusion", "accelerate": "diffusion"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (docs/reference/errors.md). `--debug` shows the traceback of an error.

    Without `arguments` those of this process are meant, and the process is settled as one of embhub's own.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        own_process.settle()
    debug = "--debug" in words
    as_json = json_errors.wanted(words)
    try:
        return _run([word for word in words if word != "--debug"])
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        if as_json:
            json_errors.print_other("interrupted", "interrupted", INTERRUPTED)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # or Python complains about flushing it on the way out
        return BROKEN_PIPE
    except click.ClickException as error:
        error.show()
        if as_json:
            json_errors.print_other("UsageError", error.format_message(), error.exit_code)
        return error.exit_code
    except Exception as error:  # noqa: BLE001  # the last place before a user: no traceback without --debug
        if debug:
            traceback.print_exc()
        known = in_words(error)
        colour = False if os.environ.get("NO_COLOR") else None  # None: as the terminal can
        click.echo(click.style("error: ", fg="red", bold=True) + printable(known.message), err=True, color=colour)
        if known.hint:
            click.echo(click.style(" hint: ", bold=True) + printable(known.hint), err=True, color=colour)
        if as_json:
            json_errors.print_error(known)
        return known.exit_code


def _run(words: list[str]) -> int:
    from embhub.cli import root

    result = root.main(words, prog_name="embhub", standalone_mode=False)
    sys.stdout.flush()
    return result if isinstance(result, int) else 0


def in_words(error: BaseException) -> EmbhubError:
    """Any error as an EmbhubError: the operating system's in words, the unforeseen named as a bug.

    Of what others raise only the kinds below are quoted: any other text may hold a patient's name or a path, and ends
    up in logs and reports. `--debug` shows it, to whoever asks for it.
    """
    match error:
        case EmbhubError():
            return error
        case MemoryError():
            return ConfigError("not enough memory", "close other programs, or use fewer or smaller images at a time")
        case ModuleNotFoundError(name=str(name)) if extra := _EXTRAS.get(name.partition(".")[0]):
            return ConfigError(f"this command needs {name}", how_to_install(extra))
        case UnicodeEncodeError():
            return UsageError(
                "an argument or a file name is no text that this system can write", "use other characters"
            )
        case FileNotFoundError():
            return UsageError(f"{error.filename} is not there", "check the path")
        case IsADirectoryError() | NotADirectoryError():
            return UsageError(f"{error.filename}: {error.strerror}", "check the path")
        case OSError(errno=code) if code in _FULL:
            return ConfigError(f"the disk is full{_where(error)}", "free space or choose another folder")
        case OSError(errno=code) if code in _FORBIDDEN:
            return ConfigError(f"{error.strerror}{_where(error)}", "choose a folder that you may read and write")
        case OSError():
            reason = error.strerror or f"the system failed with {type(error).__name__}"
            return ConfigError(f"{reason}{_where(error)}", "run again with --debug to see where")
        case _:
            return EmbhubError(
                f"unexpected {type(error).__name__}",
                f"run again with --debug to see where and why; report it to {where_to_report('Issues')}, and remove"
                " patient and path names first",
            )


def _where(error: OSError) -> str:
    return f": {error.filename}" if error.filename else ""


def run() -> NoReturn:
    """What the `embhub` command runs: `main`, and the end of the process."""
    own_process.end(main())


if __name__ == "__main__":
    run()
