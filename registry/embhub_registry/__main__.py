"""The `embhub-registry` command: runs the command line and turns every error into words and an exit code."""

from __future__ import annotations

import errno
import sys

from embhub import own_process
from embhub.errors import ConfigError, EmbhubError, UsageError
from embhub.project import where_to_report

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main() -> None:
    """Run one command; every error becomes a message, a hint and an exit code. `--debug` shows its traceback."""
    try:
        from embhub_registry.cli import root  # here, so that a package that is missing is told in words

        root.main(prog_name="embhub-registry", standalone_mode=True)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        known = in_words(error)
        _say(f"error: {known.message}")
        if known.hint:
            _say(f"  hint: {known.hint}")
        own_process.end(known.exit_code)


def in_words(error: Exception) -> EmbhubError:
    """Any error as an EmbhubError: the operating system's in its own words, the unforeseen named as a bug."""
    match error:
        case EmbhubError():
            if detail := getattr(error, "detail", ""):  # what a database server said, for the operator alone
                return ConfigError(f"{error.message}: {detail}", error.hint)
            return error
        case ModuleNotFoundError(name=str(name)):
            return ConfigError(
                f"this command needs the package {name.partition('.')[0]}, which is not installed",
                "install the registry with its dependencies, from the source: `pip install ./embhub ./embhub/registry`",
            )
        case OSError(errno=code) if code in _FULL:
            return ConfigError(f"the disk is full{_where(error)}", "free space, then try again")
        case OSError():
            reason = error.strerror or f"the system failed with {type(error).__name__}"
            return ConfigError(f"{reason}{_where(error)}", "check --dir and the rights of this user")
        case UnicodeError():
            return UsageError("an argument is not valid UTF-8 text", "type it again")
        case Exception() if type(error).__module__.partition(".")[0] in (
            "sqlite3",
            "psycopg",
        ):  # of the database's folder
            return ConfigError(
                f"the registry's database failed: {error}", "check --dir; `embhub-registry check` says what is damaged"
            )
        case _:
            return EmbhubError(
                f"unexpected {type(error).__name__}",
                f"run again with `embhub-registry --debug …` to see where; report it to {where_to_report('Issues')}",
            )


def _where(error: OSError) -> str:
    return f": {error.filename}" if error.filename else ""


def _say(line: str) -> None:
    print(line.encode("utf-8", "replace").decode(), file=sys.stderr)  # noqa: T201  # click may be what is missing


if __name__ == "__main__":
    main()
