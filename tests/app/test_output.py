"""Facts about what the command line prints."""

import json

import pytest

from app.cli.output import Output, literal
from core.errors import Problem


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("over\rwritten", "over\\x0dwritten"),
        ("\x9b2J", "\\x9b2J"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("\u2066isolated\u2069", "\\u2066isolated\\u2069"),
        ("\u200fmarked\u061c", "\\u200fmarked\\u061c"),
        ("tag \U000e0041", "tag \\U000e0041"),
        ("lone \udcff", "lone \\udcff"),
        ("line\u2028separator", "line\\u2028separator"),
    ],
)
def test_that_what_steers_a_terminal_is_made_visible(text: str, shown: str) -> None:
    assert literal(text) == shown


@pytest.mark.parametrize(
    "text",
    ["Two lines\n\tand a tab", "Grüße, Żółć, 東京　駅, עברית, می‌خواهم", "12\u00a0000\u202f€", "👩‍👩‍👧 [b]bold[/b] <i>"],
)
def test_that_what_people_write_stays_as_it_is(text: str) -> None:
    assert literal(text) == text


def test_that_a_script_reads_every_character_of_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).line("run", kind="compress", name="\x1b[31m\u202e„ü\n")
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert "\x1b" not in printed
    assert json.loads(printed) == {"type": "run", "kind": "compress", "name": "\x1b[31m\u202e„ü\n"}


def test_that_a_script_gets_no_sentences_and_a_person_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).say("Done.")
    Output(as_json=False).line("result", run=1)
    assert capsys.readouterr().out == ""


def test_that_a_problem_is_words_for_a_person_and_one_line_for_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    problem = Problem(code="disk-full", message="The disk is full: \x1b[2J.", hint="Free some space.", details="trace")
    Output(as_json=False).problem(problem)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "Error (disk-full): The disk is full: \\x1b[2J.\nWhat to do: Free some space.\n"
    Output(as_json=True).problem(problem)
    said = capsys.readouterr()
    assert said.err == ""
    assert json.loads(said.out) == {
        "type": "error",
        "code": "disk-full",
        "message": "The disk is full: \x1b[2J.",
        "hint": "Free some space.",
    }


def test_that_the_details_of_what_nobody_foresaw_are_printed_beside_the_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output(as_json=True).problem(Problem(code="unexpected", message="KeyError", details="Traceback \x1b"))
    said = capsys.readouterr()
    assert said.err == "Traceback \\x1b\n"
    assert len(said.out.splitlines()) == 1
