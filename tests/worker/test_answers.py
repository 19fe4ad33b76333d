"""Self-made calibration chat: made once, kept, continued, the same for the same seed."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch
from tiny_llama import Memory, reporter, write_tiny_llama

from core.calibration.builtin import Prompt
from core.jobs.protocol import AnyEvent, Progress
from core.worker import answers
from core.worker.loading import Loaded, load
from core.worker.reporter import JobCancelledError

pytestmark = pytest.mark.model

PROMPTS = tuple(
    Prompt(
        id=f"p{number:02}",
        category="even" if number % 2 == 0 else "odd",
        language="en",
        messages=({"role": "user", "content": "Say " + "something about birds " * (1 + number % 3)},),
    )
    for number in range(12)
)


@pytest.fixture(scope="module")
def loaded(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load(str(write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", starter)), "cpu")


def make(loaded: Loaded, folder: Path | None, samples: int, *, seed: int = 0, batch: int = 4) -> list[tuple[str, str]]:
    made = answers.answer(
        loaded, PROMPTS, folder, samples=samples, seed=seed, report=reporter(Memory()), max_tokens=8, batch=batch
    )
    return [(answer.id, answer.answer) for answer in made]


def test_that_answers_do_not_depend_on_the_batches(loaded: Loaded, tmp_path: Path):
    assert make(loaded, tmp_path / "one", 7, batch=7) == make(loaded, tmp_path / "other", 7, batch=2)


def test_that_more_answers_only_add_to_those_that_are_there(loaded: Loaded, tmp_path: Path):
    first = make(loaded, tmp_path, 4)
    before = (tmp_path / answers.FILE).read_bytes()
    assert make(loaded, tmp_path, 9)[:4] == first
    assert (tmp_path / answers.FILE).read_bytes().startswith(before)


def test_that_another_seed_gives_other_answers_beside_the_first(loaded: Loaded, tmp_path: Path):
    first = make(loaded, tmp_path, 5)
    assert make(loaded, tmp_path, 5, seed=1) != first
    assert make(loaded, tmp_path, 5) == first


def test_that_a_torn_last_line_is_made_again(loaded: Loaded, tmp_path: Path):
    whole = make(loaded, tmp_path, 6)
    file = tmp_path / answers.FILE
    file.write_bytes(file.read_bytes()[:-20])
    assert len(answers.kept_answers(tmp_path, 0, 8)) == 5
    assert make(loaded, tmp_path, 6) == whole
    assert {json.loads(line)["id"] for line in file.read_text().splitlines()} == {identity for identity, _ in whole}


def test_that_an_answer_to_another_wording_is_not_used(loaded: Loaded, tmp_path: Path):
    make(loaded, tmp_path, 3)
    file = tmp_path / answers.FILE
    file.write_text(file.read_text().replace("birds", "bats"))
    assert len(answers.split(answers.in_order(PROMPTS, 0), answers.kept_answers(tmp_path, 0, 8), 3)[1]) == 3


def test_that_a_blank_answer_gives_way_to_the_next_prompt(loaded: Loaded, tmp_path: Path):
    whole = make(loaded, tmp_path, 5)
    lines = [json.loads(line) for line in (tmp_path / answers.FILE).read_text().splitlines()]
    (blank,) = [line for line in lines if line["id"] == whole[1][0]]
    blank["answer"] = " \n"
    (tmp_path / answers.FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    again = make(loaded, tmp_path, 5)
    assert again[:4] == [whole[0], *whole[2:]]
    assert len(again) == 5


def test_that_prompts_run_out_without_an_error(loaded: Loaded):
    assert len(make(loaded, None, 100)) == len(PROMPTS)


def test_that_cancelling_keeps_the_batches_that_are_done(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("core.worker.reporter.PROGRESS_INTERVAL", 0)
    flag = threading.Event()

    def stop(event: AnyEvent) -> None:
        if isinstance(event, Progress) and event.done >= 4:
            flag.set()

    with pytest.raises(JobCancelledError):
        answers.answer(
            loaded, PROMPTS, tmp_path, samples=12, seed=0, report=reporter(Memory(stop), flag), max_tokens=8, batch=4
        )
    assert len(answers.kept_answers(tmp_path, 0, 8)) == 4


def test_that_drawn_numbers_choose_tokens_with_the_models_own_probabilities():
    probabilities = torch.tensor([0.5, 0.0, 0.3, 0.2])
    draws = (torch.arange(1000) + 0.5) / 1000
    chosen = answers.Drawn(draws[:, None], lambda _done: None)(None, probabilities.log().expand(1000, 4)).argmax(-1)
    assert torch.bincount(chosen, minlength=4).tolist() == [500, 0, 300, 200]
