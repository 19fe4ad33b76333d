"""What reports, cards and kept commands say of a recovery."""

from __future__ import annotations

import shlex

from report_runs import compress_run

from core.jobs.run import RunKind
from core.methods.recovery import CurvePoint, Recovered, RecoverySpec
from core.methods.resolve_recipe import resolve_recipe
from core.report.blocks import Chart, Facts, Paragraph, Table
from core.report.chapters.recovery import recovery_blocks, recovery_line
from core.report.reproduce import command_line, python_script
from core.value import Estimate


def recovered(*, helped: bool = True) -> Recovered:
    return Recovered(
        helped=helped,
        before=Estimate(value=0.27, low=0.25, high=0.29),
        after=Estimate(value=0.13, low=0.12, high=0.14),
        change=Estimate(value=-0.14, low=-0.16, high=-0.12),
        trained={"scales": 1_658_880, "norms": 35_136},
        changed_tensors=("a.weight_scale",),
        steps=20,
        best_step=20,
        tokens=20_000,
        seconds=95.0,
        judged_samples=16,
        judged_tokens=3000,
        curve=(
            CurvePoint(step=0, tokens=0, seconds=0, held_out=0.27),
            CurvePoint(step=10, tokens=10_000, seconds=50, training=0.2, held_out=0.16),
            CurvePoint(step=20, tokens=20_000, seconds=95, training=0.14, held_out=0.13),
        ),
        stopped="The time was over.",
    )


def test_that_the_report_shows_before_after_curve_and_what_was_trained() -> None:
    blocks = recovery_blocks(recovered(), 1)
    (table,) = [block for block in blocks if isinstance(block, Table)]
    assert [(row[0].text, row[1].text) for row in table.rows] == [
        ("Before", "0.270"),
        ("After", "0.130"),
        ("Change", "-0.140"),
    ]
    assert table.rows[1][1].note == "0.12 to 0.14"
    (chart,) = [block for block in blocks if isinstance(block, Chart)]
    assert chart.svg.lstrip().startswith("<")
    assert "held-out text" in chart.svg
    (facts,) = [block for block in blocks if isinstance(block, Facts)]
    assert dict(facts.rows)["Trained parameters"].text == "1,658,880 scales, 35,136 norms"
    assert recovery_blocks(None, 1) == ()


def test_that_a_recovery_that_did_not_help_is_said_to_have_left_the_model_alone() -> None:
    said = [block.text for block in recovery_blocks(recovered(helped=False), 1) if isinstance(block, Paragraph)]
    assert any("stays as it was" in text for text in said)
    assert "did not help" in recovery_line(recovered(helped=False))
    assert "0.270 became 0.130" in recovery_line(recovered())


def test_that_the_command_of_a_recovered_run_asks_for_the_recovery_again() -> None:
    run = compress_run(1, "gptq-w4a16")
    recipe = resolve_recipe("gptq-w4a16", {}, None, None, recovery=RecoverySpec(minutes=3))
    asked = run.model_copy(update={"settings": {"recipe": recipe.model_dump(mode="json")}})
    words = shlex.split(command_line(asked))
    assert "--recover" in words
    assert words[words.index("--recovery") + 1] == "minutes=3"
    assert python_script(asked) == ""
    alone = asked.model_copy(
        update={
            "kind": RunKind.RECOVER,
            "models": ("/models/smol", "/artifacts/smol-w4"),
            "settings": {
                "recovery": RecoverySpec(minutes=3).model_dump(mode="json"),
                "calibration": {"samples": 64, "max_length": 256},
            },
        }
    )
    words = shlex.split(command_line(alone))
    assert words[:5] == ["bitpress", "recover", "/artifacts/smol-w4", "--original", "/models/smol"]
    assert words[words.index("--samples") + 1] == "64"
