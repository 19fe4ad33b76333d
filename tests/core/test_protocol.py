"""Facts about the lines between the application and its worker."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.calibration.spec import CalibrationSpec
from core.errors import Problem
from core.jobs import protocol
from core.jobs.event import StayedAwake
from core.jobs.protocol import (
    Accepted,
    AnyEvent,
    Benchmark,
    Cancel,
    Compress,
    Finished,
    FinishReason,
    Generate,
    Hello,
    Metric,
    Progress,
    Prove,
    RunTasks,
    Shutdown,
    Stage,
    StageFinished,
    StageStarted,
    Token,
    Warned,
    decode_command,
    decode_event,
    encode,
)
from core.methods.method import ModifierSpec

TEXT = st.text()
NUMBER = st.floats(allow_nan=False, allow_infinity=False)

COMMANDS = st.one_of(
    st.builds(
        Compress,
        job=TEXT,
        model=TEXT,
        output=TEXT,
        modifiers=st.tuples(
            st.builds(ModifierSpec, name=TEXT, arguments=st.dictionaries(TEXT, TEXT | NUMBER | st.booleans()))
        ),
        calibration=st.none() | st.just(CalibrationSpec(samples=3)),
        seed=st.integers(0, 2**31),
    ),
    st.builds(Prove, job=TEXT, original=st.none() | TEXT, artifact=TEXT, expected_modules=st.tuples(TEXT, TEXT)),
    st.builds(Generate, job=TEXT, prompt=TEXT),
    st.builds(Benchmark, job=TEXT, model=TEXT),
    st.builds(RunTasks, job=TEXT, model=TEXT, tasks=st.just(()), folder=TEXT, output=TEXT, cache=st.none() | TEXT),
    st.builds(Cancel, job=TEXT),
    st.just(Shutdown()),
)

STAMP: dict[str, Any] = {"job": TEXT, "seq": st.integers(0, 2**40), "time": st.floats(0, 2e9)}
EVENTS = st.one_of(
    st.builds(Hello, protocol=st.integers(0, 9), app=TEXT, pid=st.integers(0, 2**22), **STAMP),
    st.builds(Accepted, stages=st.tuples(st.builds(Stage, id=TEXT, title=TEXT, unit=TEXT)), **STAMP),
    st.builds(StageStarted, stage=TEXT, **STAMP),
    st.builds(StageFinished, stage=TEXT, seconds=NUMBER, **STAMP),
    st.builds(Progress, stage=TEXT, done=NUMBER, total=st.none() | NUMBER, detail=TEXT, **STAMP),
    st.builds(Metric, name=TEXT, value=NUMBER, layer=TEXT, relative=st.none() | NUMBER, **STAMP),
    st.builds(Warned, code=TEXT, message=TEXT, **STAMP),
    st.builds(
        Token,
        index=st.integers(0, 9999),
        id=st.integers(0, 2**20),
        text=TEXT,
        probability=st.none() | NUMBER,
        alternatives=st.tuples(st.tuples(TEXT, NUMBER)),
        **STAMP,
    ),
    st.builds(StayedAwake, held=st.booleans(), words=TEXT, **STAMP),
    st.builds(Finished, reason=st.just(FinishReason.COMPLETED), result=st.dictionaries(TEXT, NUMBER | TEXT), **STAMP),
    st.builds(
        Finished,
        reason=st.just(FinishReason.FAILED),
        problem=st.builds(Problem, code=TEXT, message=TEXT, hint=TEXT, details=TEXT),
        **STAMP,
    ),
)


@given(COMMANDS)
def test_that_a_command_survives_its_line(command: Any) -> None:
    assert decode_command(encode(command)) == command


@given(EVENTS)
def test_that_an_event_survives_its_line(event: AnyEvent) -> None:
    assert decode_event(encode(event)) == event


@given(EVENTS)
def test_that_nothing_in_a_message_breaks_its_line(event: AnyEvent) -> None:
    line = encode(event)
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    json.loads(line)


def test_that_every_event_has_a_type_of_its_own_and_a_round_trip_here() -> None:
    kinds = get_args(AnyEvent)
    assert len({kind.model_fields["type"].default for kind in kinds}) == len(kinds)
    tested = {Hello, StayedAwake, Accepted, StageStarted, StageFinished, Progress, Metric, Warned, Token, Finished}
    assert set(kinds) == tested


def test_that_a_command_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError):
        decode_command('{"type":"survey","job":"1","model":"m","shred":true}')


@pytest.mark.parametrize("line", ["", "{}", "not json", '{"type":"format_disk"}', '{"type":"survey"}', "[]", "\xff"])
def test_that_a_line_that_is_no_command_is_refused(line: str) -> None:
    with pytest.raises(ValidationError):
        decode_command(line)


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"Loading: 3%", b'{"type":"confetti"}', b'{"type":"progress"}', b"\xff\xfe"]
)
def test_that_a_line_that_is_no_known_event_decodes_to_none(line: bytes) -> None:
    assert decode_event(line) is None


def test_that_a_field_of_a_later_version_is_ignored() -> None:
    event = decode_event('{"type":"stage_started","job":"1","stage":"load","colour":"red"}')
    assert event == StageStarted(job="1", stage="load")


def test_that_the_protocol_is_version_two() -> None:
    assert protocol.PROTOCOL_VERSION == 2
