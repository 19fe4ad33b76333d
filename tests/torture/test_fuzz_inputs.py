"""The torture of inputs at a size for every day; `make torture` does ten thousand."""

from __future__ import annotations

from pathlib import Path

import fuzz_inputs
import pytest

INPUTS = 300


def test_that_spoiled_inputs_are_taken_or_refused_in_words_and_nothing_else_happens(tmp_path: Path) -> None:
    verdicts = fuzz_inputs.run(range(1, INPUTS + 1), keep=tmp_path / "found")
    assert [(one.number, one.kind, one.found) for one in verdicts if one.found] == []
    assert len(verdicts) == INPUTS
    assert len({one.kind for one in verdicts}) > 15
    assert sum(one.code == "accepted" for one in verdicts) > INPUTS // 20


@pytest.mark.parametrize(
    ("reader", "found"),
    [
        ("import os; os.system('true')", "os.system"),
        ("import pickle; pickle.loads(b'cos\\nsystem\\n.')", "pickle.find_class"),
        ("open('left-behind', 'w').write('x')", "wrote to"),
        ("open(folder.parent / 'outside/secret').read()", "outside the input"),
        ("(folder / 'link').symlink_to('../outside/secret'); open(folder / 'link').read()", "outside the input"),
        ("bytearray(3 << 30)", "MemoryError"),
        ("[][1]", "IndexError"),
        ("import os; os.abort()", "the reader died"),
        ("while True: pass", "no end within"),
        ("from core.errors import BitpressError; raise BitpressError('a', 'b')", "lacks something"),
        ("import canary_module", "import canary_module"),
    ],
)
def test_that_the_harness_sees_what_it_is_there_to_see(
    reader: str, found: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fuzz_inputs, "SECONDS", 2.0)
    monkeypatch.setenv("BITPRESS_TORTURE_READER", reader)
    (verdict,) = fuzz_inputs.run([1], only=["settings"])
    assert found in verdict.found
