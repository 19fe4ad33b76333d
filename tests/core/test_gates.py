"""Gates: thresholds over any figure, judged by one-sided bounds, kept as documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import BitpressError
from core.measure.evidence import Evidence, evidence_of
from core.measure.figures import FIGURES, confident_agreement
from core.measure.gate_document import gate_text, read_gate
from core.measure.gate_store import add_gate, find_gate, gates, remove_gate
from core.measure.gates import BUILT_IN, EACH, Gate, Threshold
from core.measure.judgement import Outcome, judge
from core.measure.results import (
    BenchCase,
    Bucket,
    Conditions,
    EvaluationResult,
    Fidelity,
    KlSummary,
    ModelBenchmark,
    TextFidelity,
)
from core.measure.task_results import TaskOther
from core.paths import Home
from core.value import Estimate, Range

SURE = 0.0001


def estimate(value: float, spread: float = SURE) -> Estimate:
    return Estimate(
        value=value, low=value - 1.2 * spread, high=value + 1.2 * spread, lower=value - spread, upper=value + spread
    )


def fidelity(
    *, ratio: float = 1.0, kl: float = 0.001, same: float = 0.99, spread: float = SURE, measurable: bool | None = None
) -> Fidelity:
    return Fidelity(
        path="/pressed",
        name="pressed",
        perplexity=10.0 * ratio,
        perplexity_ratio=estimate(ratio, spread),
        kl=KlSummary(mean=kl, median=kl / 4, p90=2 * kl, p95=3 * kl, p99=8 * kl, p999=20 * kl, max=50 * kl),
        kl_interval=estimate(kl, spread),
        same_top1=estimate(same, spread),
        measurable=measurable,
    )


def gate(*thresholds: Threshold) -> Gate:
    return Gate(name="mine", title="Mine", thresholds=thresholds)


def task(recovery: float = 0.97, spread: float = 0.01, difference: float = -0.02) -> TaskOther:
    return TaskOther(
        path="/pressed",
        name="pressed",
        accuracy=estimate(0.6),
        difference=estimate(difference, spread),
        lost=8,
        gained=4,
        changed=15,
        p_value=0.4,
        p_adjusted=0.4,
        recovery=recovery,
        recovery_low=recovery - spread,
        recovery_high=recovery + spread,
    )


def test_that_the_wide_side_of_a_bound_decides_between_pass_fail_and_inconclusive() -> None:
    asked = gate(Threshold(figure="kl.mean", at_most=0.03))
    for kl, spread, outcome in (
        (0.028, 0.002, Outcome.PASS),
        (0.028, 0.0021, Outcome.INCONCLUSIVE),
        (0.031, 0.001, Outcome.INCONCLUSIVE),
        (0.0311, 0.001, Outcome.FAIL),
    ):
        assert judge(asked, Evidence("x", fidelity=fidelity(kl=kl, spread=spread))).outcome is outcome, (kl, spread)
    more = gate(Threshold(figure="same_top1", at_least=0.9))
    for same, spread, outcome in (
        (0.91, 0.01, Outcome.PASS),
        (0.91, 0.011, Outcome.INCONCLUSIVE),
        (0.88, 0.019, Outcome.FAIL),
    ):
        assert judge(more, Evidence("x", fidelity=fidelity(same=same, spread=spread))).outcome is outcome, (
            same,
            spread,
        )


def test_that_one_failure_outweighs_what_is_open_and_all_have_to_pass() -> None:
    kl, same = Threshold(figure="kl.mean", at_most=0.03), Threshold(figure="same_top1", at_least=0.9)
    evidence = Evidence("x", fidelity=fidelity(kl=0.1, same=0.9, spread=0.001))
    assert [row.outcome for row in judge(gate(kl, same), evidence).rows] == [Outcome.FAIL, Outcome.INCONCLUSIVE]
    assert judge(gate(kl, same), evidence).outcome is Outcome.FAIL
    assert judge(gate(same), evidence).outcome is Outcome.INCONCLUSIVE


def test_that_an_open_threshold_says_how_much_more_text_would_tell() -> None:
    judged = judge(
        gate(Threshold(figure="kl.mean", at_most=0.03)), Evidence("x", fidelity=fidelity(kl=0.029, spread=0.002))
    )
    (row,) = judged.rows
    assert row.times == pytest.approx(4.0)
    assert "within the limit (at most 0.03)" in row.sentence
    assert "only known to be at most 0.031" in row.sentence
    assert "about 4 times as many tokens" in judged.sentence or "about 5 times" in judged.sentence
    beyond = judge(
        gate(Threshold(figure="kl.mean", at_most=0.03)), Evidence("x", fidelity=fidelity(kl=0.031, spread=0.002))
    )
    assert "beyond the limit" in beyond.rows[0].sentence
    assert "only known to be at least 0.029" in beyond.rows[0].sentence


def test_that_a_figure_on_its_limit_is_not_promised_an_end() -> None:
    judged = judge(gate(Threshold(figure="kl.mean", at_most=0.03)), Evidence("x", fidelity=fidelity(kl=0.03)))
    assert judged.outcome is Outcome.INCONCLUSIVE
    assert judged.rows[0].times is None
    assert "lies on the limit" in judged.sentence
    near = judge(
        gate(Threshold(figure="kl.mean", at_most=0.03)), Evidence("x", fidelity=fidelity(kl=0.0299, spread=0.01))
    )
    assert near.rows[0].times == pytest.approx(10_000)
    assert "more than 100 times as many tokens" in near.sentence


def test_that_a_quantile_is_judged_by_its_value_and_says_so() -> None:
    evidence = Evidence("x", fidelity=fidelity(kl=0.01))
    judged = judge(gate(Threshold(figure="kl.p999", at_most=0.2)), evidence)
    assert judged.outcome is Outcome.PASS
    failed = judge(gate(Threshold(figure="kl.max", at_most=0.4)), evidence)
    assert failed.outcome is Outcome.FAIL
    assert "no interval" in failed.sentence


def test_that_what_was_not_measured_is_inconclusive_and_names_the_command() -> None:
    evidence = Evidence("x", path="/some where/x", original="/o", fidelity=fidelity())
    for threshold, said in (
        (Threshold(figure="recovery", at_least=0.98), "bitpress evaluate /o '/some where/x' --tasks NAME"),
        (Threshold(figure="accuracy_difference", at_least=-0.02, task="sums"), "--tasks sums"),
        (Threshold(figure="tokens_per_second_ratio", at_least=1.2), "bitpress bench /o"),
        (Threshold(figure="kl.mean", at_most=0.03, text="code"), "code"),
        (Threshold(figure="top5", at_least=0.9), "was not measured"),
    ):
        judged = judge(gate(threshold), evidence)
        assert judged.outcome is Outcome.INCONCLUSIVE, threshold
        assert said in judged.sentence


def test_that_a_guard_stops_a_sure_loss_and_nothing_else() -> None:
    asked = gate(Threshold(figure="recovery", at_least=0.98, guard=True))
    assert judge(asked, Evidence("x", fidelity=fidelity())).outcome is Outcome.PASS
    assert judge(asked, Evidence("x", tasks={"a": task(0.97, 0.02)})).outcome is Outcome.PASS
    assert judge(asked, Evidence("x", tasks={"a": task(0.97, 0.02), "b": task(0.9, 0.02)})).outcome is Outcome.FAIL


def test_that_the_worst_task_and_the_worst_text_speak() -> None:
    asked = gate(Threshold(figure="recovery", at_least=0.9))
    judged = judge(asked, Evidence("x", tasks={"facts": task(0.99), "sums": task(0.8)}))
    assert judged.outcome is Outcome.FAIL
    assert judged.rows[0].title == "Accuracy kept, chance subtracted (sums)"
    texts = {"chat": fidelity(kl=0.01), "code": fidelity(kl=0.05)}
    each = judge(gate(Threshold(figure="kl.mean", at_most=0.03, text=EACH)), Evidence("x", texts=texts))
    assert each.outcome is Outcome.FAIL
    assert "(code)" in each.sentence
    one = judge(gate(Threshold(figure="kl.mean", at_most=0.03, text="chat")), Evidence("x", texts=texts))
    assert one.outcome is Outcome.PASS


def test_that_no_measurable_difference_is_said() -> None:
    judged = judge(BUILT_IN[0], Evidence("x", fidelity=fidelity(kl=0.00001, measurable=False)))
    assert judged.measurable is False
    assert judged.sentence.startswith("No measurable difference from the original.")


def test_that_size_and_speed_are_held_against_the_original() -> None:
    def speed(value: float) -> ModelBenchmark:
        spread = Range(value=value, low=0.9 * value, high=1.1 * value)
        case = BenchCase(
            batch=1,
            prompt_tokens=8,
            output_tokens=8,
            repeats=3,
            ttft_ms=spread,
            prefill_tokens_per_second=spread,
            itl_ms=spread,
            tokens_per_second=spread,
        )
        conditions = Conditions(engine="transformers", engine_version="5", device="cpu", dtype="bfloat16")
        return ModelBenchmark(
            path="/x", name="x", bytes=1, load_seconds=1.0, peak_bytes=1, cases=(case,), conditions=conditions
        )

    evidence = evidence_of("/x", "x", None, bytes=40, original_bytes=100, speed=speed(20.0), original_speed=speed(10.0))
    small = Threshold(figure="size_share", at_most=0.42)
    assert (
        judge(gate(small, Threshold(figure="tokens_per_second_ratio", at_least=1.6)), evidence).outcome is Outcome.PASS
    )
    # The slowest repeat is 18 and the original's fastest 11.
    unsure = judge(gate(Threshold(figure="tokens_per_second_ratio", at_least=1.7)), evidence)
    assert unsure.outcome is Outcome.INCONCLUSIVE
    assert "repeats" in unsure.sentence
    assert judge(gate(Threshold(figure="size_share", at_most=0.39)), evidence).outcome is Outcome.FAIL


def test_that_agreement_where_the_original_is_sure_takes_the_confident_buckets() -> None:
    def bucket(low: float, tokens: int, same: float) -> Bucket:
        return Bucket(
            low=low,
            high=low + 0.25,
            tokens=tokens,
            kl=estimate(0.01),
            same_top1=estimate(same, 0.01),
            perplexity_ratio=estimate(1.0),
        )

    found = confident_agreement(
        fidelity().model_copy(
            update={"by_confidence": (bucket(0.0, 500, 0.6), bucket(0.5, 100, 0.9), bucket(0.75, 300, 0.98))}
        )
    )
    assert found is not None
    assert found.value == pytest.approx(0.96)
    assert found.at_least == pytest.approx(0.95)
    assert confident_agreement(fidelity()) is None


def test_that_evidence_takes_texts_and_tokens_from_an_evaluation() -> None:
    conditions = Conditions(engine="transformers", engine_version="5", device="cpu", dtype="bfloat16")
    code = TextFidelity(text="code", tokens=100, perplexity=3.0, others=(fidelity(kl=0.5),))
    evaluation = EvaluationResult(
        original="/o",
        original_perplexity=4.0,
        tokens=300,
        documents=4,
        window=64,
        sha256="",
        others=(fidelity(kl=0.2),),
        texts=(code,),
        conditions=conditions,
        seconds=1.0,
    )
    found = evidence_of("/pressed", "pressed", evaluation)
    assert found.texts["code"].kl.mean == 0.5
    assert found.fidelity is not None
    assert found.fidelity.kl.mean == 0.2
    assert evidence_of("/another", "another", evaluation).fidelity is None


def test_that_the_limits_of_top1_do_not_contradict_those_of_kl() -> None:
    # What 8B files and our 135M model show: the share of changed tokens is 0.45 to 0.57 times the root of mean KL.
    for built_in in BUILT_IN:
        kl, top1 = built_in.limit_of("kl.mean"), built_in.limit_of("same_top1")
        assert kl is not None
        assert top1 is not None
        assert 1 - 0.60 * kl**0.5 <= top1 <= 1 - 0.55 * kl**0.5


# Documents --------------------------------------------------------------------------------------------------------

MINE = """\
name: mine
title: Good enough for us
thresholds:
  - {figure: kl, at_most: 0.05}
  - figure: code:kl.p99
    at_most: 1.5
  - figure: sums:recovery
    at_least: 0.95
    guard: true
"""


def test_that_a_document_is_read_and_written_back() -> None:
    found = read_gate(MINE)
    assert found.title == "Good enough for us"
    assert [one.figure for one in found.thresholds] == ["kl.mean", "kl.p99", "recovery"]
    assert found.thresholds[1].text == "code"
    assert found.thresholds[2].task == "sums"
    assert found.thresholds[2].guard
    for known in (found, *BUILT_IN):
        assert read_gate(gate_text(known)) == known


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("thresholds:\n  - {figure: kl.meen, at_most: 1}\n", "2:14: There is no figure kl.meen. Did you mean kl.mean?"),
        ("thresholds:\n  - {figure: kl, at_moast: 1}\n", "2:18: A threshold has no at_moast. Did you mean at_most?"),
        ("thresholds:\n  - {figure: kl}\n", "2:5: Give either at_most or at_least."),
        ("thresholds:\n  - {figure: kl, at_most: 1, at_least: 0}\n", "2:5: Give either at_most or at_least."),
        ("thresholds:\n  - {figure: kl, at_most: '1'}\n", "2:27: at_most must be a number"),
        ("thresholds:\n  - {figure: kl, at_most: .nan}\n", "2:5: A limit is a finite number."),
        ("thresholds:\n  - {figure: code:size, at_most: 1}\n", "2:5: Size_share is not measured text by text."),
        ("thresholds: []\n", "1:13: thresholds must be a list"),
        ("treshholds: []\n", "1:1: A gate has no treshholds. Did you mean thresholds?"),
        ("name: [\n", "This is not YAML"),
        ("- 1\n", "A gate must be a mapping"),
        ("", "A gate must be a mapping"),
        ("a: &x 1\nb: *x\n", "*x stands for something else"),
        ("name: !!python/object/apply:os.system ['x']\nthresholds:\n  - {figure: kl, at_most: 1}\n", "mine.yaml:1:7"),
    ],
)
def test_that_a_fault_is_told_with_its_place_and_what_was_meant(text: str, said: str) -> None:
    with pytest.raises(BitpressError) as error:
        read_gate(text, name="mine", place="mine.yaml")
    assert error.value.problem.code == "bad-gate"
    assert said in error.value.problem.message


def test_that_gates_are_kept_found_and_removed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    file = tmp_path / "mine.yaml"
    file.write_text(MINE, encoding="utf-8")
    assert find_gate(home, str(file)).name == "mine"
    assert add_gate(home, file).name == "mine"
    assert find_gate(home, "MINE").title == "Good enough for us"
    with pytest.raises(BitpressError, match="There is a gate mine already"):
        add_gate(home, file)
    assert add_gate(home, file, replace=True).name == "mine"
    with pytest.raises(BitpressError, match="comes with Bitpress"):
        add_gate(home, file, name="production")
    (home.gates / "broken.yaml").write_text("thresholds: 1\n", encoding="utf-8")
    assert [one.name for one in gates(home)] == ["near-lossless", "production", "aggressive", "broken", "mine"]
    with pytest.raises(BitpressError, match=r"broken\.yaml:1:13"):
        find_gate(home, "broken")
    assert remove_gate(home, "Mine") == "mine"
    with pytest.raises(BitpressError, match="There is no gate called mine"):
        find_gate(home, "mine")
    with pytest.raises(BitpressError) as error:
        find_gate(home, "produktion")
    assert "Did you mean production?" in error.value.problem.hint
    with pytest.raises(BitpressError, match="stays"):
        remove_gate(home, "production")


def test_that_every_figure_can_be_asked_for_in_a_document() -> None:
    for name, figure in FIGURES.items():
        side = "at_most" if figure.less else "at_least"
        found = read_gate(f"thresholds:\n  - {{figure: {name}, {side}: 0.5}}\n", name="x")
        assert found.thresholds[0].figure == name
