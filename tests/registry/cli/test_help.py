"""`embhub-registry --help`: at most twenty-one commands, each under a heading and with a whole sentence."""

from __future__ import annotations

import re

from embhub_registry.cli import SECTIONS
from tests.support.servers import run_here

MOST = 21


def test_help_lists_few_commands_each_under_a_heading() -> None:
    parts = re.split(r"^([A-Z][a-z ]+):\n", run_here("--help").stdout, flags=re.M)
    listed = {
        heading: re.findall(r"^  ([a-z-]+)  ", rows, re.M)
        for heading, rows in zip(parts[1::2], parts[2::2], strict=True)
    }
    del listed["Options"]
    assert listed == {heading: list(section) for heading, section in SECTIONS.items()}
    assert sum(map(len, listed.values())) <= MOST and "Commands" not in listed


def test_no_sentence_of_a_list_is_cut() -> None:
    for words in ([], ["curate"], ["backup"], ["storage"]):
        assert "..." not in run_here(*words, "--help").stdout.partition("\n")[2]


def test_a_misspelled_command_of_a_group_is_answered_with_the_right_one() -> None:
    done = run_here("curate", "yan", check=False)
    assert done.returncode == 2 and "Did you mean 'yank'" in done.stderr
