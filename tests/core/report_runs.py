"""Test data for the report: runs made up by hand, with figures that only look like measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from report_figures import (
    BYTES,
    MORE_TITLES,
    ORIGINAL,
    TITLES,
    around,
    conditions,
    evaluation,
    output_of,
    sensitivity,
    served,
    sweep,
)
from report_recordings import events, samples

from core.errors import BitpressError
from core.jobs.protocol import AnyEvent, FinishReason, decode_event, encode
from core.jobs.run import Run, RunKind
from core.jobs.snapshot import Phase
from core.measure.gates import BUILT_IN
from core.measure.results import (
    BenchCase,
    Comparison,
    Fidelity,
    GeneratedToken,
    Generation,
    ModelBenchmark,
    ProofCheck,
    ProofResult,
    Sampling,
    plain,
)
from core.methods.method import Kind, Method, ModifierSpec, Parameter, Source, Standing
from core.models.local_model import LocalModel, Origin, Remark, TensorGroup, Weights
from core.paths import Home
from core.plan.estimates import Estimates
from core.report.collect import Sources, collect
from core.report.data import Judgement, LimitKept, ReportData
from core.value import Range

NOW = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)


@dataclass(frozen=True)
class MadeUpStore:
    """The store's three questions, answered from a tuple."""

    kept: tuple[Run, ...]

    def get(self, run_id: int) -> Run:
        found = next((run for run in self.kept if run.id == run_id), None)
        if found is None:
            raise BitpressError("no-such-run", f"There is no run {run_id}.", "`bitpress runs` lists them.")
        return found

    def runs(self, kind: RunKind | None = None, limit: int | None = None) -> tuple[Run, ...]:
        return tuple(run for run in self.kept if kind is None or run.kind is kind)[:limit]

    def about(self, path: str) -> tuple[Run, ...]:
        measuring = (RunKind.EVALUATE, RunKind.BENCHMARK, RunKind.COMPARE)
        return tuple(run for run in self.kept if run.kind in measuring and path in run.models)


def compress_run(identity: int, method: str, *, name: str = "Testling-135M-Instruct", **changes: object) -> Run:
    parameters: dict[str, object] = {"group_size": 64, "actorder": "static", "dampening": 0.01, "ignore": ["lm_head"]}
    if method == "fp8-dynamic":
        parameters = {"ignore": ["lm_head"]}
    calibration = {
        "source": "self-chat",
        "samples": 128,
        "tokens": 21_480,
        "max_length": 512,
        "seed": 0,
        "truncated": 3,
        "sha256": "5f" * 32,
        "shortest": 38,
        "longest": 512,
    }
    run = Run(
        id=identity,
        kind=RunKind.COMPRESS,
        title=f"{name} to {TITLES.get(method, method)}",
        models=(ORIGINAL,),
        model_name=name,
        method=method,
        settings={
            "method": method,
            "parameters": parameters,
            "calibration": None if method == "fp8-dynamic" else {"source": "self-chat", "samples": 128},
            "seed": 0,
            "estimates": plain(expected(method)),
        },
        output=output_of(method),
        created=NOW - timedelta(hours=2),
        started=NOW - timedelta(hours=2),
        finished=NOW - timedelta(hours=2) + timedelta(seconds=312),
        phase=Phase.FINISHED,
        reason=FinishReason.COMPLETED,
        versions={"python": "3.11.7", "torch": "2.11.0", "transformers": "5.17.2", "llmcompressor": "0.14.0.1"},
        result={
            "output": output_of(method),
            "seconds": 312.4,
            "bytes": BYTES.get(method, 120_000_000),
            "original_bytes": 269_060_552,
            "peak_bytes": 1_830_000_000,
            "host_peak_bytes": 1_830_000_000,
            "disk_bytes": BYTES.get(method, 120_000_000) + 3_600_000,
            "proof": plain(proof()),
            "calibration": None if method == "fp8-dynamic" else calibration,
            "versions": {"compressed-tensors": "0.19.0"},
            "tensors_sha256": "c4" * 32,
            "expected_modules": [f"model.layers.{i}.mlp.down_proj" for i in range(210)],
            "ignored_modules": ["lm_head"],
        },
    )
    return run.model_copy(update=changes)


def expected(method: str) -> Estimates:
    size = BYTES.get(method, 120_000_000)
    return Estimates(
        artifact_bytes=size,
        device_bytes=Range(value=0, low=0, high=0),
        host_bytes=Range(value=1.3e9, low=1.04e9, high=1.63e9),
        disk_bytes=size + 33_000_000,
        seconds=Range(value=281.0, low=225.0, high=360.0),
        run_bytes=2 * size,
        basis=f"From 3 earlier runs of {TITLES.get(method, method)} with this model on this machine.",
    )


def proof(*, passed: bool = True) -> ProofResult:
    return ProofResult(
        passed=passed,
        seconds=24.6,
        checks=(
            ProofCheck(name="quantization_config", passed=True, detail="compressed-tensors, pack-quantized"),
            ProofCheck(name="quantized modules", passed=True, detail="210 of 210 expected modules are quantized"),
            ProofCheck(name="tensors", passed=True, detail="no NaN and no infinity in 783 tensors"),
            ProofCheck(name="forward pass", passed=True, detail="logits are finite"),
            ProofCheck(name="divergence", passed=passed, detail="mean KL 0.0061 nats, bound 1.0"),
            ProofCheck(name="generation", passed=True, detail="200 tokens, no loop; 71 % distinct, original 69 %"),
        ),
        kl=0.0061,
        text="The sea is wide and blue.",
        original_text="The sea is wide and deep.",
    )


def evaluate_run(identity: int, methods: Sequence[str], *, old: bool = False) -> Run:
    """An evaluation with every figure; `old` has those that the first versions measured."""
    return measurement(identity, RunKind.EVALUATE, methods, plain(evaluation(methods, old=old)))


def serving_run(identity: int, methods: Sequence[str]) -> Run:
    """A benchmark in a serving engine, at several concurrencies."""
    models = [served(ORIGINAL, "Testling-135M-Instruct", None)]
    models += [served(output_of(method), f"Testling-135M-Instruct-{method}", method) for method in methods]
    run = measurement(identity, RunKind.BENCHMARK, methods, {"models": [plain(model) for model in models]})
    return run.model_copy(update={"settings": {"suite": {"use_case": "chat"}}})


def benchmark_run(identity: int, methods: Sequence[str], *, original: bool = True) -> Run:
    def one(path: str, name: str, size: int, speed: float, *, compressed: bool) -> ModelBenchmark:
        return ModelBenchmark(
            path=path,
            name=name,
            bytes=size,
            load_seconds=0.84 + compressed,
            peak_bytes=int(size * 1.9),
            cases=tuple(
                BenchCase(
                    batch=batch,
                    prompt_tokens=128,
                    output_tokens=32,
                    repeats=3,
                    ttft_ms=around(92.0 * batch / speed, 0.04),
                    itl_ms=around(41.3 / speed, 0.05),
                    tokens_per_second=around(22.7 * batch**0.8 * speed, 0.06),
                    prefill_tokens_per_second=around(1391 * speed, 0.03),
                )
                for batch in (1, 4)
            ),
            conditions=conditions(compressed=compressed),
        )

    models = [one(ORIGINAL, "Testling-135M-Instruct", 269_060_552, 1.0, compressed=False)] if original else []
    models += [
        one(output_of(m), f"Testling-135M-Instruct-{m}", BYTES.get(m, 10**8), 0.91, compressed=True) for m in methods
    ]
    return measurement(identity, RunKind.BENCHMARK, methods, {"models": [plain(model) for model in models]})


def answer(path: str, name: str, pieces: Sequence[str]) -> Generation:
    return Generation(
        path=path,
        name=name,
        text="".join(pieces),
        tokens=tuple(GeneratedToken(id=index, text=piece) for index, piece in enumerate(pieces)),
        prompt_tokens=38,
        ttft_ms=96.4,
        tokens_per_second=23.1,
        peak_bytes=742_000_000,
        stopped="end",
        conditions=conditions(compressed=path != ORIGINAL),
    )


def pieces(text: str) -> list[str]:
    words = text.split(" ")
    return [words[0], *(f" {word}" for word in words[1:])]


SAID = (
    "The capital of France is Paris. It lies on the river Seine, in the north of the country, and about two million "
    "people live there. Visitors come for its museums, its bridges and its bread."
)
SAID_INSTEAD = (
    "The capital of France is Paris. It lies on the river Seine, and it has been the seat of kings, of emperors and of "
    "five republics. Around two million people live in the city itself."
)


def compare_run(
    identity: int, methods: Sequence[str], *, prompt: str = "Tell me about the capital of France.", said: str = SAID
) -> Run:
    result = Comparison(
        prompt=prompt,
        sampling=Sampling(max_tokens=128),
        outputs=(
            answer(ORIGINAL, "Testling-135M-Instruct", pieces(said)),
            *(answer(output_of(method), method, pieces(SAID_INSTEAD)) for method in methods),
        ),
        first_difference=(
            None,
            *(
                next((i for i, (a, b) in enumerate(zip(pieces(said), pieces(SAID_INSTEAD), strict=False)) if a != b), 0)
                for _ in methods
            ),
        ),
    )
    return measurement(identity, RunKind.COMPARE, methods, plain(result))


def measurement(identity: int, kind: RunKind, methods: Sequence[str], result: object) -> Run:
    return Run(
        id=identity,
        kind=kind,
        title=f"{kind} of test data",
        models=(ORIGINAL, *(output_of(method) for method in methods)),
        model_name="Testling-135M-Instruct",
        created=NOW - timedelta(hours=1),
        phase=Phase.FINISHED,
        reason=FinishReason.COMPLETED,
        result=result,
    )


def method(identity: str) -> Method:
    """A catalogue entry in the form of the real one."""
    titles = {**TITLES, **MORE_TITLES}
    if identity not in titles:
        raise BitpressError("unknown-method", f"There is no method {identity}.")
    bits = 4 if identity.endswith("w4a16") else 8
    return Method(
        id=identity,
        title=titles[identity],
        summary=f"INT{bits} weights in groups",
        explanation="Test data for an explanation: it rounds the weights, column by column, and lets the columns that "
        "come later make up for the error. Choose it when memory is what is short.",
        family="gptq",
        scheme="W4A16" if bits == 4 else "W8A8",
        weight_bits=bits,
        activation_bits=None if bits == 4 else 8,
        needs_calibration=identity != "fp8-dynamic",
        standing=Standing.RECOMMENDED,
        sources=(Source(title="A paper on rounding (test data)", url="https://example.org/paper"),),
        parameters=(
            Parameter("group_size", "Group size", "Columns that share a scale.", Kind.CHOICE, 128),
            Parameter("actorder", "Activation order", "Which columns are rounded first.", Kind.CHOICE, "static"),
            Parameter("dampening", "Dampening", "Added to the diagonal, as a share of its mean.", Kind.NUMBER, 0.01),
            Parameter("ignore", "Left as they are", "Modules that are not compressed.", Kind.PATTERNS, ["lm_head"]),
        ),
        modifiers=lambda used: (ModifierSpec(name="GPTQModifier", arguments={**used, "targets": ["Linear"]}),),
        defaults=lambda _: {},
        rules=lambda _parameters: (),
    )


def inspect(path: Path) -> LocalModel:
    """A model's facts in the form of the real ones."""
    compressed = str(path) != ORIGINAL
    identity = path.name.removeprefix("Testling-135M-Instruct-")
    return LocalModel(
        path=path,
        name=path.name,
        origin=Origin.ARTIFACT if compressed else Origin.FOLDER,
        weights=Weights.SAFETENSORS,
        bytes=BYTES.get(identity, 120_000_000) if compressed else 269_060_552,
        architecture="LlamaForCausalLM",
        model_type="llama",
        parameters=134_515_008,
        dtypes=(
            TensorGroup(dtype="BF16", tensors=62, elements=28_348_992, bytes=56_697_984),
            TensorGroup(dtype="I8", tensors=210, elements=106_168_320, bytes=106_168_320),
        ),
        precision="INT8" if compressed else "BF16",
        layers=30,
        hidden_size=576,
        intermediate_size=1536,
        heads=9,
        kv_heads=3,
        context_length=8192,
        vocabulary=49152,
        tied_embeddings=True,
        chat_template=True,
        tokenizer=True,
        quantization="compressed-tensors int-quantized" if compressed else None,
        licence="apache-2.0",
        shards=1,
        remarks=() if compressed else (Remark(code="small", level="notes", message="Test data for a remark."),),
    )


def sources(*, gpu: bool = True, inspect_model: object = inspect) -> Sources:
    return Sources(
        inspect=inspect_model,  # type: ignore[arg-type]
        find_method=method,
        read_samples=lambda _: samples(1_000.0, gpu=gpu),
        read_events=read_events,
        judge=judge,
        command_line=lambda run: (
            f"bitpress compress '{run.models[0]}' --method {run.method} --set group_size=64 --seed 0"
        ),
        python_script=lambda run, _: SCRIPT.format(model=run.models[0], output=run.output),
        serve_command=lambda run: f"vllm serve '{run.output}' --max-model-len 8192",
    )


SCRIPT = """from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = "{model}"
OUTPUT = "{output}"

model = AutoModelForCausalLM.from_pretrained(MODEL, dtype="auto")
tokenizer = AutoTokenizer.from_pretrained(MODEL)
recipe = [GPTQModifier(targets=["Linear"], scheme="W4A16", ignore=["lm_head"], dampening_frac=0.01)]
oneshot(model=model, tokenizer=tokenizer, recipe=recipe, dataset=samples, num_calibration_samples=128)
model.save_pretrained(OUTPUT, save_compressed=True)
tokenizer.save_pretrained(OUTPUT)
"""


def read_events(folder: Path) -> tuple[AnyEvent, ...]:
    lines = (folder / "events.jsonl").read_bytes().splitlines()
    return tuple(event for line in lines if (event := decode_event(line)) is not None)


def span(quantity: Range) -> Range:
    return Range(value=quantity.value, low=quantity.low, high=quantity.high)


def judge(found: Fidelity, original: int | None, compressed: int | None) -> Judgement:
    """A judgement in the form of the real one."""
    within = found.kl_interval.high < 0.1
    return Judgement(
        level="production" if within else "damaged",
        sentence=f"{'Close to' if within else 'Clearly worse than'} the original (test data), at "
        f"{(compressed or 0) / (original or 1):.0%} of its size.",
        limits=(
            LimitKept(
                title="Perplexity over the original's",
                limit=1.1,
                standing="within",
                figure="perplexity_ratio",
                measured=found.perplexity_ratio.value,
                value=span(found.perplexity_ratio),
                bound=found.perplexity_ratio.at_most,
            ),
            LimitKept(
                title="KL divergence, nats per token",
                limit=0.1,
                standing="within" if within else "beyond",
                figure="kl",
                measured=found.kl_interval.value,
                value=span(found.kl_interval),
                bound=found.kl_interval.at_most,
            ),
        ),
    )


def write_events(home: Home, run: int, made: Sequence[AnyEvent]) -> None:
    folder = home.run_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events.jsonl").write_bytes(b"".join(encode(event) for event in made))


def one_run(home: Home, method_id: str = "gptq-w4a16", *, gpu: bool = True) -> ReportData:
    """A report on one run with everything measured."""
    store = MadeUpStore(
        (
            compress_run(3, method_id),
            evaluate_run(4, [method_id]),
            benchmark_run(5, [method_id]),
            compare_run(6, [method_id]),
        )
    )
    write_events(home, 3, events(1_000.0))
    return collect([3], store, home, sources=sources(gpu=gpu), now=NOW)


def three_runs(home: Home) -> ReportData:
    """A report on three runs of one original."""
    methods = list(TITLES)
    store = MadeUpStore(
        (
            *(compress_run(identity, name) for identity, name in enumerate(methods, 1)),
            evaluate_run(4, methods),
            benchmark_run(5, methods),
            compare_run(6, methods[:2]),
            compare_run(7, methods[2:]),
        )
    )
    for identity in (1, 2, 3):
        write_events(home, identity, events(1_000.0, errors=identity > 1))
    return collect([1, 2, 3], store, home, sources=sources(), now=NOW)


def six_runs(home: Home, *, gate: str | None = "production") -> ReportData:
    """A report on six runs of one original with everything that can be measured, a sweep and a map of sensitivity."""
    methods = [*TITLES, *MORE_TITLES]
    store = MadeUpStore(
        (
            *(compress_run(identity, name) for identity, name in enumerate(methods, 1)),
            evaluate_run(11, methods),
            benchmark_run(12, methods),
            serving_run(13, methods),
            compare_run(14, methods[:2]),
        )
    )
    for identity in range(1, 7):
        write_events(home, identity, events(1_000.0, errors=identity > 1))
    return collect(
        list(range(1, 7)),
        store,
        home,
        gate=next((one for one in BUILT_IN if one.name == gate), None),
        sweep=sweep(methods, range(1, 7)),
        sensitivity=sensitivity(),
        sources=sources(),
        now=NOW,
    )


def old_runs(home: Home) -> ReportData:
    """A report on two runs whose measurements hold only what the first versions kept."""
    methods = list(TITLES)[1:]
    store = MadeUpStore(
        (
            *(
                compress_run(identity, name, settings={"method": name, "parameters": {"group_size": 64}, "seed": 0})
                for identity, name in enumerate(methods, 1)
            ),
            evaluate_run(3, methods, old=True),
            benchmark_run(4, methods),
        )
    )
    return collect([1, 2], store, home, sources=sources(), now=NOW)
