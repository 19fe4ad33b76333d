"""Calibration data looked at with a real tokenizer: planted repeats, cuts, languages and evaluation text are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import Memory, reporter
from transformers import AutoTokenizer

from core.calibration.builtin import prompts
from core.calibration.inspection import CalibrationInspection
from core.calibration.kept_answers import FILE, MAX_TOKENS, in_order
from core.calibration.overlap import evaluation_texts
from core.calibration.sets import SetStore
from core.calibration.spec import BUILT_IN, SELF_CHAT, CalibrationSample, CalibrationSpec, MixPart
from core.errors import BitpressError
from core.jobs.protocol import InspectCalibration, Warned
from core.plan.finding import Severity
from core.worker import inspect_calibration
from core.worker.calibrate import Rendered
from core.worker.mixture import Mixture, refuse_overlap

pytestmark = pytest.mark.model

TOWNS = ("Aldham", "Birk", "Corve", "Dunley", "Elmet", "Farrow", "Gorse", "Hollin", "Ivel", "Kelso")


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def chat(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def talk(number: int, words: int = 12) -> dict[str, Any]:
    town = TOWNS[number % 10]
    answer = " ".join(f"{town.lower()}{number}-{word} is there" for word in range(words))
    return chat(f"What can you tell me about {town} number {number}?", answer)


def inspect(model: Path, spec: CalibrationSpec, **more: Any) -> CalibrationInspection:
    command = InspectCalibration(job="i", model=str(model), calibration=spec, **more)
    return CalibrationInspection.model_validate(inspect_calibration.run(command, reporter(Memory())))


def severities(found: CalibrationInspection) -> dict[str, Severity]:
    return {finding.code: finding.severity for finding in found.findings}


@pytest.fixture(scope="module")
def tokenizer(starter: Path) -> Any:
    return AutoTokenizer.from_pretrained(starter)


def test_that_good_data_has_no_findings_and_its_figures_add_up(starter: Path, tmp_path: Path):
    path = write(tmp_path / "good.jsonl", *(talk(number) for number in range(40)))
    found = inspect(starter, CalibrationSpec(source=str(path), samples=40, max_length=256), shown=3)
    assert found.findings == ()
    assert (found.samples, found.chats, found.roles) == (40, 40, {"user": 40, "assistant": 40})
    assert sum(one.count for one in found.histogram) == 40
    assert found.histogram[-1].high == found.lengths.longest
    assert found.lengths.shortest <= found.lengths.p10 <= found.lengths.median <= found.lengths.p90
    assert found.tokens == round(found.lengths.mean * 40)
    assert [one.name for one in found.languages] == ["English"]
    assert [sample.origin for sample in found.shown] == ["good.jsonl:1", "good.jsonl:2", "good.jsonl:3"]
    first = found.shown[0]
    assert "".join(token.text for token in first.tokens) == first.text


def test_that_planted_repeats_are_counted_and_named(starter: Path, tmp_path: Path):
    records = [talk(number) for number in range(40)]
    copies = [talk(3), talk(3), talk(7)]
    near = talk(5, words=30)
    nearly = json.loads(json.dumps(near).replace("is there", "was there", 1))
    path = write(tmp_path / "a.jsonl", *records, near, nearly, *copies)
    found = inspect(starter, CalibrationSpec(source=str(path), samples=100))
    assert (found.samples, found.exact_duplicates, found.near_duplicates) == (45, 3, 1)
    alike = {one.origin: (one.kind, one.other) for one in found.offenders if "copy" in one.kind}
    assert alike == {
        "a.jsonl:42": ("near-copy", "a.jsonl:41"),
        "a.jsonl:43": ("copy", "a.jsonl:4"),
        "a.jsonl:44": ("copy", "a.jsonl:4"),
        "a.jsonl:45": ("copy", "a.jsonl:8"),
    }
    assert "calibration-duplicates" not in severities(found), "four of 45 are under a tenth"
    assert severities(found)["calibration-short"] is Severity.WARNS
    more = write(tmp_path / "b.jsonl", *records, *copies, *copies)
    assert severities(inspect(starter, CalibrationSpec(source=str(more))))["calibration-duplicates"] is Severity.WARNS


def test_that_cut_samples_and_lost_tokens_are_counted(starter: Path, tmp_path: Path, tokenizer: Any):
    records = [talk(number, words=3 if number < 30 else 60) for number in range(60)]
    path = write(tmp_path / "a.jsonl", *records)
    found = inspect(starter, CalibrationSpec(source=str(path), samples=60, max_length=128))
    whole = [len(tokenizer.apply_chat_template(one["messages"])["input_ids"]) for one in records]
    assert found.truncated == sum(length > 128 for length in whole) == 30
    assert found.tokens_lost == sum(max(0, length - 128) for length in whole)
    assert found.tokens_lost_share == pytest.approx(found.tokens_lost / sum(whole))
    assert severities(found) == {"calibration-truncated": Severity.WARNS}
    worst = [one for one in found.offenders if one.kind == "cut"]
    assert len(worst) == 10
    assert worst[0].share == pytest.approx(1 - 128 / max(whole))


def test_that_copied_evaluation_text_blocks_and_is_named(starter: Path, tmp_path: Path):
    texts = evaluation_texts()
    name = "prose-07-report-tool-library.txt"
    path = write(tmp_path / "a.jsonl", *(talk(number) for number in range(40)), {"text": texts[name]})
    found = inspect(starter, CalibrationSpec(source=str(path), samples=100))
    assert found.blocked
    assert severities(found)["calibration-overlap"] is Severity.BLOCKS
    assert found.overlaps[0].name == name
    assert found.overlap == pytest.approx(sum(one.share for one in found.overlaps))
    worst = found.offenders[0]
    assert (worst.kind, worst.origin, worst.other) == ("overlap", "a.jsonl:41", name)
    assert worst.share > 0.9


def test_that_languages_are_told_apart(starter: Path, tmp_path: Path):
    german = chat("Wie ist das Wetter heute in der Stadt?", "Es ist kalt und der Wind kommt von den Bergen.")
    greek = chat("Πού είναι ο σταθμός;", "Είναι δίπλα στην αγορά.")
    path = write(tmp_path / "a.jsonl", *(talk(number) for number in range(6)), german, greek)
    found = inspect(starter, CalibrationSpec(source=str(path), samples=100))
    assert {one.name: one.share for one in found.languages} == {"English": 0.75, "German": 0.125, "Greek": 0.125}
    assert {one.name for one in found.scripts} == {"Latin", "Greek"}


def test_that_self_chat_shows_prompts_until_they_are_answered(starter: Path, tmp_path: Path):
    spec = CalibrationSpec(samples=8)
    found = inspect(starter, spec, answers=str(tmp_path), shown=3)
    assert [sample.note for sample in found.shown] == [inspect_calibration.NOT_ANSWERED] * 3
    assert found.shown[0].text.endswith("<|im_start|>assistant\n")
    assert found.unanswered == 8
    assert severities(found)["calibration-unanswered"] is Severity.NOTES
    first = in_order(prompts(), 0)[0]
    kept = {
        "id": first.id,
        "messages": list(first.messages),
        "answer": "Quite so.",
        "tokens": 3,
        "finished": True,
        "seed": 0,
        "max_tokens": MAX_TOKENS,
    }
    (tmp_path / FILE).write_text(json.dumps(kept) + "\n")
    again = inspect(starter, spec, answers=str(tmp_path), shown=3)
    assert again.unanswered == 7
    assert again.shown[0].note == ""
    assert "Quite so." in again.shown[0].text
    assert [sample.origin for sample in again.shown] == [sample.origin for sample in found.shown]


def test_that_a_mix_of_every_kind_is_drawn_by_weight(starter: Path, tmp_path: Path):
    store = SetStore(tmp_path / "sets")
    own = [CalibrationSample(kind="text", text=f"A letter of the number {number} to nobody.") for number in range(50)]
    store.create("letters", CalibrationSpec(source="/gone"), own)
    path = write(tmp_path / "a.jsonl", *(talk(number) for number in range(5)))
    mix = (
        MixPart(source="set:letters", weight=2),
        MixPart(source=str(path), weight=2),
        MixPart(source=BUILT_IN),
        MixPart(source=SELF_CHAT),
    )
    spec = store.pinned(CalibrationSpec(mix=mix, samples=60))
    found = inspect(starter, spec, shown=4)
    assert [(part.wanted, part.samples) for part in found.parts] == [(20, 27), (20, 5), (10, 14), (10, 14)]
    assert (found.samples, found.unanswered) == (60, 14)
    assert severities(found)["calibration-part-short"] is Severity.WARNS
    assert [sample.origin.split(":")[0] for sample in found.shown[:2]] == ["letters", "a.jsonl"]
    assert found.shown[2].text.endswith("<|im_start|>assistant\n")


def test_that_chats_which_the_model_did_not_make_are_given_by_the_other_parts(tokenizer: Any, tmp_path: Path):
    path = write(tmp_path / "a.jsonl", *(talk(number) for number in range(40)))
    spec = CalibrationSpec(mix=(MixPart(source=SELF_CHAT), MixPart(source=str(path))), samples=20)
    memory = Memory()
    mixture = Mixture(tokenizer, spec, reporter(memory))
    assert mixture.chats_wanted() == 10
    made = tuple(CalibrationSample(kind="chat", messages=tuple(talk(n)["messages"]), origin=f"p{n}") for n in range(4))
    drawn = mixture.draw(made)
    assert [len(part) for part in drawn.parts] == [4, 16]
    said = [event.message for event in memory.events if isinstance(event, Warned)]
    assert said == ["self-chat gives 4 of the 10 samples that are its share; the other parts give the rest."]
    facts = drawn.facts()
    assert [(part.source, part.samples) for part in facts.parts] == [(SELF_CHAT, 4), (str(path), 16)]
    assert facts.tokens == sum(part.tokens for part in facts.parts)
    assert facts.files == (str(path),)
    assert drawn == Mixture(tokenizer, spec, reporter(Memory())).draw(made)


def test_that_a_job_stops_at_evaluation_text_that_preflight_did_not_see(tokenizer: Any, tmp_path: Path):
    path = write(
        tmp_path / "a.jsonl", *({"text": text} for text in evaluation_texts().values()), *(talk(n) for n in range(9))
    )
    spec = CalibrationSpec(source=str(path), samples=16)
    with pytest.raises(BitpressError) as stopped:
        refuse_overlap(Mixture(tokenizer, spec, reporter(Memory())).draw(), reporter(Memory()))
    assert stopped.value.problem.code == "calibration-overlap"


def test_that_every_rendered_sample_keeps_what_it_was_made_of(tokenizer: Any, tmp_path: Path):
    path = tmp_path / "book.txt"
    path.write_text("\n\n".join(f"Chapter {number} of a long book about nothing." for number in range(60)))
    drawn = Mixture(tokenizer, CalibrationSpec(source=str(path), samples=8, max_length=32), reporter(Memory())).draw()

    def words(one: Rendered) -> str:
        assert one.sample is not None
        return one.sample.text

    assert [words(one) for one in drawn.chosen] == [one.text for one in drawn.chosen]
    assert all(one.lost == 0 for one in drawn.chosen)


def test_that_a_model_without_a_tokenizer_is_refused(tmp_path: Path):
    with pytest.raises(BitpressError) as refused:
        inspect(tmp_path, CalibrationSpec(source=BUILT_IN))
    assert refused.value.problem.code == "no-tokenizer"
