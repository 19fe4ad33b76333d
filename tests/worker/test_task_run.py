from __future__ import annotations

import json
import socket
import string
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llama import Memory, reporter, write_tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import BitpressError
from core.jobs.protocol import RunTasks, StageStarted
from core.measure.task_answers import Answered
from core.measure.task_files import TaskFile, built_in_tasks, find_tasks
from core.measure.task_prepared import write_tasks
from core.worker import task_run
from core.worker.reporter import JobCancelledError

pytestmark = pytest.mark.model

ITEMS = 12


@pytest.fixture(scope="module")
def model(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", starter)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def ask(
    model: Path, tasks: tuple[TaskFile, ...], folder: Path, *, memory: Memory | None = None, **more: Any
) -> tuple[dict[str, Any], dict[str, list[Answered]]]:
    """The worker's result, and its answers by task."""
    prepared = folder / "prepared"
    if not prepared.exists():
        write_tasks(tasks, prepared)
    command = RunTasks(
        job="job",
        model=str(model),
        tasks=tuple(task.asked for task in tasks),
        folder=str(prepared),
        output=str(folder / "answers"),
        **more,
    )
    result = task_run.run(command, reporter(memory or Memory()))
    lines = {task.name: (folder / "answers" / f"{task.name}.jsonl").read_text().splitlines() for task in tasks}
    return result, {name: [Answered.model_validate_json(line) for line in found] for name, found in lines.items()}


class Plain:
    """The same questions asked with transformers alone, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()

    @torch.inference_mode()
    def likeliest(self, prompt: str, choices: list[str]) -> str:
        scores = []
        for choice in choices:
            start = len(self.tokenizer(prompt)["input_ids"])
            ids = torch.tensor([self.tokenizer(f"{prompt} {choice}")["input_ids"]])
            likely = self.model(ids).logits[0].double().log_softmax(-1)
            scores.append(sum(float(likely[place - 1, ids[0, place]]) for place in range(start, ids.shape[1])))
        return choices[scores.index(max(scores))]

    @torch.inference_mode()
    def written(self, prompt: str, tokens: int, stop: str = "\n") -> str:
        ids = self.tokenizer(prompt, return_tensors="pt")["input_ids"]
        start = ids.shape[1]
        for _ in range(tokens):
            best = self.model(ids).logits[0, -1].argmax()
            if int(best) == self.tokenizer.eos_token_id:
                break
            ids = torch.cat([ids, best.view(1, 1)], dim=1)
            if stop in self.tokenizer.decode(ids[0, start:], skip_special_tokens=True):
                break
        text: str = self.tokenizer.decode(ids[0, start:], skip_special_tokens=True)
        return text.partition(stop)[0].strip()


def plainly(text: str) -> str:
    return text.lower().translate(str.maketrans("", "", string.punctuation))


def exact_task(folder: Path, items: list[dict[str, str]], **more: Any) -> tuple[TaskFile, ...]:
    folder.mkdir(exist_ok=True)
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    config = {
        "task": "short",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "items.jsonl"}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}\nAnswer:",
        "doc_to_target": "answer",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
        "filter_list": [{"name": "first", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}],
        "metric_list": [{"metric": "exact_match", "ignore_case": True, "ignore_punctuation": True}],
        **more,
    }
    (folder / "short.yaml").write_text(json.dumps(config))
    return find_tasks([str(folder / "short.yaml")])


def test_that_choices_are_those_of_a_plain_script_over_the_same_items(model: Path, tmp_path: Path, no_network: None):
    tasks = tuple(task for task in built_in_tasks() if task.kind == "multiple_choice")
    result, answers = ask(model, tasks, tmp_path, items=ITEMS)
    plain = Plain(model)
    rows = tasks[0].data["test"][:ITEMS]
    expected = [plain.likeliest(f"Question: {row['question']}\nAnswer:", row["choices"]) for row in rows]
    found = answers["bitpress_choice"]
    assert [one.answer for one in found] == expected
    right = [answer == row["choices"][row["answer"]] for answer, row in zip(expected, rows, strict=True)]
    assert [one.right for one in found] == right
    assert result["right"] == {"bitpress_choice": sum(right)}
    assert [one.doc_id for one in found] == list(range(ITEMS))


def test_that_written_answers_are_those_of_a_plain_script_over_the_same_items(
    model: Path, tmp_path: Path, no_network: None
):
    plain = Plain(model)
    questions = [f"Question {number}: what follows {number * 7} in a row?" for number in range(ITEMS)]
    expected = [plain.written(f"{question}\nAnswer:", 8) for question in questions]
    # Every second item is made right by asking for what the model writes.
    items = [
        {"question": question, "answer": f"{text}!".upper() if number % 2 and text else "a lighthouse"}
        for number, (question, text) in enumerate(zip(questions, expected, strict=True))
    ]
    result, answers = ask(model, exact_task(tmp_path / "task", items), tmp_path)
    assert [one.answer for one in answers["short"]] == expected
    right = [plainly(text) == plainly(item["answer"]) for text, item in zip(expected, items, strict=True)]
    assert [one.right for one in answers["short"]] == right
    assert 0 < result["right"]["short"] == sum(right)


def test_that_kept_answers_save_loading_the_model_and_other_items_are_asked_anew(model: Path, tmp_path: Path):
    tasks = tuple(task for task in built_in_tasks() if task.kind == "multiple_choice")
    first, answers = ask(model, tasks, tmp_path, items=4, cache=str(tmp_path / "cache"))
    memory = Memory()
    again, kept = ask(model, tasks, tmp_path, items=4, cache=str(tmp_path / "cache"), memory=memory)
    assert (first["reused"], again["reused"]) == ([], ["bitpress_choice"])
    assert kept == answers
    assert again["conditions"] == first["conditions"]
    assert "load" not in [event.stage for event in memory.events if isinstance(event, StageStarted)]
    more, _ = ask(model, tasks, tmp_path, items=5, cache=str(tmp_path / "cache"))
    assert more["reused"] == []


def test_that_a_cancel_ends_a_batch_in_its_middle(model: Path, tmp_path: Path):
    tasks = tuple(task for task in built_in_tasks() if task.kind == "generate_until")
    cancelled = threading.Event()

    def cancel(event: Any) -> None:
        if isinstance(event, StageStarted) and event.stage != "load":
            cancelled.set()

    write_tasks(tasks, tmp_path / "prepared")
    command = RunTasks(
        job="job",
        model=str(model),
        tasks=tuple(task.asked for task in tasks),
        folder=str(tmp_path / "prepared"),
        output=str(tmp_path / "answers"),
        items=2,
    )
    with pytest.raises(JobCancelledError):
        task_run.run(command, reporter(Memory(cancel), cancelled))
    assert not list((tmp_path / "answers").iterdir())


def test_that_every_layer_asks_whether_to_go_on(model: Path):
    from core.worker.task_model import checked_layers

    loaded = AutoModelForCausalLM.from_pretrained(model).eval()
    asked: list[int] = []

    def stop_at_the_second() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise JobCancelledError

    with pytest.raises(JobCancelledError), checked_layers(loaded, stop_at_the_second):
        loaded(torch.tensor([[1, 2, 3]]))
    loaded(torch.tensor([[1, 2, 3]]))
    assert len(asked) == 2


def test_that_a_chat_template_is_used_where_the_task_asks_for_it_and_the_conditions_say_so(model: Path, tmp_path: Path):
    items = [{"question": "What is two plus two?", "answer": "4"}]
    plain, _ = ask(model, exact_task(tmp_path / "one", items), tmp_path / "first")
    tasks = exact_task(tmp_path / "two", items, metadata={"chat_template": True})
    in_chat, answers = ask(model, tasks, tmp_path / "second")
    assert "without a chat template" in plain["conditions"]["notes"][-1]
    assert "in the model's chat template" in in_chat["conditions"]["notes"][-1]
    tokenizer = AutoTokenizer.from_pretrained(model)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is two plus two?\nAnswer:"}], tokenize=False, add_generation_prompt=True
    )
    assert answers["short"][0].answer == Plain(model).written(prompt, 8)


def test_that_the_models_own_generation_settings_change_no_answer(model: Path, starter: Path, tmp_path: Path):
    punished = write_tiny_llama(tmp_path / "punished", starter)
    (punished / "generation_config.json").write_text(
        json.dumps({"do_sample": True, "temperature": 2.0, "repetition_penalty": 5.0, "eos_token_id": 2})
    )
    tasks = exact_task(tmp_path / "task", [{"question": f"Say {n}", "answer": "1"} for n in range(4)])
    _, usual = ask(model, tasks, tmp_path / "first")
    _, found = ask(punished, tasks, tmp_path / "second")
    assert [one.answer for one in found["short"]] == [one.answer for one in usual["short"]]


def test_that_lm_evaluation_harness_renders_templates_in_the_sandbox(model: Path, tmp_path: Path):
    import lm_eval.utils

    tasks = tuple(task for task in built_in_tasks() if task.kind == "multiple_choice")
    ask(model, tasks, tmp_path, items=1)
    with pytest.raises(Exception, match=r"unsafe|no attribute"):
        lm_eval.utils.apply_template("{{ question.__class__.__mro__ }}", {"question": "x"})


def test_that_worked_examples_come_first_and_in_order(model: Path, tmp_path: Path):
    items = [{"question": f"What is {n} plus {n}?", "answer": str(2 * n)} for n in range(1, 6)]
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "shown.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items[:2]))
    tasks = exact_task(
        tmp_path / "task",
        items[2:],
        dataset_kwargs={"data_files": {"test": "items.jsonl", "dev": "shown.jsonl"}},
        fewshot_split="dev",
        num_fewshot=2,
    )
    _, answers = ask(model, tasks, tmp_path)
    shown = "".join(f"{item['question']}\nAnswer: {item['answer']}\n\n" for item in items[:2])
    plain = Plain(model)
    expected = [plain.written(f"{shown}{item['question']}\nAnswer:", 8) for item in items[2:]]
    assert [one.answer for one in answers["short"]] == expected


def test_that_an_answer_longer_than_the_context_is_refused(model: Path, tmp_path: Path):
    items = [{"question": "How long?", "answer": "long"}]
    tasks = exact_task(tmp_path / "task", items, generation_kwargs={"until": ["\n"], "max_gen_toks": 600})
    with pytest.raises(BitpressError) as refused:
        ask(model, tasks, tmp_path)
    assert refused.value.problem.code == "context-too-short"
