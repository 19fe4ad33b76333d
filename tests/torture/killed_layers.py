"""Calibrated jobs killed at random layers and resumed: `python tests/torture/killed_layers.py [KILLS [SEED]]`.

GPTQ, AWQ and SmoothQuant with GPTQ in turn, on a random Llama of 30 layers, or on the model in the folder that
BITPRESS_TORTURE_MODEL names. Each job is done once by llmcompressor's stock pipeline. Then a worker that keeps a
checkpoint after every layer gets SIGKILL somewhere in a layer, and another takes up what it left. The tensors must be
those of the uninterrupted job, to the last bit, every time.

Saved time: the finished layers took the stock pipeline F seconds, set-up apart. It reached the resumed layer A seconds
after the model was loaded, and the resumed job B seconds after: (A - B) / F of the time was saved, at least 80 % over
all kills. Printed are each kill, that share, and what the checkpoints cost.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
# Spinning threads make a step many times slower beside any other busy program.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path[:0] = [str(ROOT), str(TESTS), str(TESTS / "worker"), str(TESTS / "torture")]

from worker_process import WorkerProcess, finished, worker_process  # noqa: E402

from core.calibration.spec import CalibrationSpec  # noqa: E402
from core.jobs.checkpoint import read_checkpoint  # noqa: E402
from core.jobs.protocol import AnyEvent, Checkpoints, Compress, FinishReason, Progress, StageFinished, StageStarted  # noqa: E402
from core.methods.catalogue import find  # noqa: E402
from core.methods.method import ModifierSpec  # noqa: E402
from core.paths import Home  # noqa: E402

METHODS = ("gptq-w4a16", "awq-w4a16", "smoothquant-gptq-w8a8")
SAVED = 0.8
"""Least share of the finished layers' time."""

CODE = """
import shutil, sys, torch
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM
folder, tokenizer = map(Path, sys.argv[1:3])
torch.manual_seed(0)
shape = dict(vocab_size=49152, hidden_size=128, intermediate_size=256, num_hidden_layers=30, num_attention_heads=4)
more = dict(num_key_value_heads=2, max_position_embeddings=1024, initializer_range=0.15, tie_word_embeddings=True)
config = LlamaConfig(**shape, **more, bos_token_id=1, eos_token_id=2, pad_token_id=2)
LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
    shutil.copy(tokenizer / name, folder / name)
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """What every job here shares."""

    model: Path
    spec: CalibrationSpec
    scratch: Path

    def command(self, name: str, method: str, checkpoints: Checkpoints | None = None) -> Compress:
        return Compress(
            job=name,
            model=str(self.model),
            output=str(self.scratch / name),
            modifiers=modifiers(method),
            calibration=self.spec,
            device="cpu",
            checkpoints=checkpoints,
        )


@dataclass(frozen=True, slots=True)
class Whole:
    """An uninterrupted job: its tensors and its events."""

    sha256: str
    events: tuple[AnyEvent, ...]

    def reached(self, stage: str, layers: int) -> float:
        return reached(self.events, stage, layers)

    def worked(self, stage: str, layers: int) -> float:
        """Seconds in layers until so many were finished in a stage, those of earlier stages included."""
        seconds = self.reached(stage, layers) - began(self.events, stage) - set_up(self.events, stage)
        for event in self.events:
            if isinstance(event, StageFinished) and event.stage.startswith("modifier-") and event.stage < stage:
                seconds += event.seconds - set_up(self.events, event.stage)
        return seconds


def modifiers(method: str) -> tuple[ModifierSpec, ...]:
    entry = find(method)
    parameters = {each.name: each.default for each in entry.parameters} | entry.defaults(None)
    if "group_size" in parameters:
        parameters["group_size"] = 64
    return entry.modifiers(parameters)


def began(events: tuple[AnyEvent, ...], stage: str) -> float:
    return next(event.time for event in events if isinstance(event, StageStarted) and event.stage == stage)


def set_up(events: tuple[AnyEvent, ...], stage: str) -> float:
    """Seconds until something passes a layer: drawing samples, tracing, observers."""
    return next(e.time for e in events if isinstance(e, Progress) and e.stage == stage and e.done > 0) - began(
        events, stage
    )


def reached(events: tuple[AnyEvent, ...], stage: str, layers: int) -> float:
    return next(e.time for e in events if isinstance(e, Progress) and e.stage == stage and e.total and e.done >= layers)


def whole_job(ground: Ground, worker: WorkerProcess, name: str, method: str, kept: Checkpoints | None = None) -> Whole:
    events = worker.run(ground.command(name, method, kept))
    end = finished(events)
    assert end.reason is FinishReason.COMPLETED, end.problem
    shutil.rmtree(ground.scratch / name)
    return Whole(end.result["tensors_sha256"], tuple(events))


def seconds(events: tuple[AnyEvent, ...]) -> float:
    """Of all modifiers together."""
    return sum(e.seconds for e in events if isinstance(e, StageFinished) and e.stage.startswith("modifier-"))


def killed(ground: Ground, method: str, stage: str, moment: float, kept: Checkpoints) -> None:
    """A worker that is killed as soon as it is so many layers far in a stage."""
    with worker_process(ground.scratch / "killed.log") as worker:
        worker.send(ground.command("killed", method, kept))
        for event in worker.events("killed"):
            if isinstance(event, Progress) and event.stage == stage and event.total and event.done >= moment:
                break
        worker.process.kill()
        worker.process.wait()
    shutil.rmtree(ground.scratch / "killed", ignore_errors=True)


def torture(ground: Ground, kills: int, chance: random.Random) -> bool:
    """So many kills, each resumed; whether everything held."""
    same, saved, spent = 0, 0.0, 0.0
    wholes: dict[str, Whole] = {}
    with worker_process(ground.scratch / "worker.log") as worker:
        for number in range(kills):
            method = METHODS[number % len(METHODS)]
            if method not in wholes:
                # The first job of a process is slower; what it takes must not count as saved.
                if not wholes:
                    whole_job(ground, worker, "first", method)
                wholes[method] = whole_job(ground, worker, f"whole-{method}", method)
                if len(wholes) == 1:
                    costs(ground, worker, method, wholes[method])
            whole = wholes[method]
            steps = [e.stage for e in whole.events if isinstance(e, StageStarted) and e.stage.startswith("modifier-")]
            # AWQ's second modifier rounds without data, in a moment.
            stage = steps[0] if method.startswith("awq") else chance.choice(steps)
            layers = next(
                int(e.total) for e in whole.events if isinstance(e, Progress) and e.stage == stage and e.total
            )
            kept = Checkpoints(folder=str(ground.scratch / "checkpoint"), seconds=0)
            killed(ground, method, stage, chance.uniform(1, layers - 0.5), kept)
            point = read_checkpoint(Path(kept.folder))
            assert point is not None, "nothing was kept"
            taken = worker.run(ground.command("resumed", method, kept))
            end = finished(taken)
            assert end.reason is FinishReason.COMPLETED, end.problem
            assert end.result["resumed"]["layer"] == point.layer
            right = end.result["tensors_sha256"] == whole.sha256
            same += right
            at, done = f"modifier-{point.modifier}", point.layer - 1
            first = whole.reached(at, done) - began(whole.events, "modifier-0")
            again = reached(tuple(taken), at, done) - began(tuple(taken), "modifier-0")
            work = whole.worked(at, done)
            saved, spent = saved + first - again, spent + work
            print(
                f"{number + 1:>3} {method:<22} killed in {stage}, resumed from layer {point.layer} of {layers}: "
                f"{'identical' if right else 'DIFFERENT'}; layers took {work:.1f} s, reached after {first:.1f} s and "
                f"again after {again:.1f} s; {point.bytes / 1e6:.0f} MB",
                flush=True,
            )
            shutil.rmtree(ground.scratch / "resumed")
            shutil.rmtree(kept.folder)
    share = saved / spent
    print(f"{same} of {kills} identical; {share:.1%} of the finished layers' time saved", flush=True)
    return same == kills and share >= SAVED


def costs(ground: Ground, worker: WorkerProcess, method: str, whole: Whole) -> None:
    """Print what checkpoints after every layer cost beside the stock pipeline; by default they are a minute apart."""
    kept = Checkpoints(folder=str(ground.scratch / "cost"), seconds=0)
    other = whole_job(ground, worker, "cost", method, kept)
    assert other.sha256 == whole.sha256, "other tensors with checkpoints than without"
    shutil.rmtree(kept.folder)
    more = seconds(other.events) / seconds(whole.events) - 1
    print(f"    {method}: {seconds(whole.events):.1f} s, {more:+.1%} with checkpoints after every layer", flush=True)


def main() -> int:
    import asyncio

    from limited_memory import starter_folder

    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    tokenizer = asyncio.run(starter_folder(Home(ROOT / ".test-home")))
    scratch = Path(tempfile.mkdtemp(prefix="bitpress-layers-"))
    text = scratch / "text.txt"
    text.write_text(" ".join(f"{number} and {number * 7} make {number * 8}." for number in range(3000)))
    if named := os.environ.get("BITPRESS_TORTURE_MODEL"):
        model = Path(named)
    else:
        model = scratch / "model"
        subprocess.run([sys.executable, "-P", "-c", CODE, str(model), str(tokenizer)], check=True)
    spec = CalibrationSpec(source=str(text), samples=8, max_length=256)
    held = torture(Ground(model, spec, scratch), kills, random.Random(seed))
    if held:
        shutil.rmtree(scratch)
    else:
        print(f"what was found lies in {scratch}", file=sys.stderr)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
