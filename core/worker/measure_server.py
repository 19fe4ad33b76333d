"""Measures a server over HTTP: starts vLLM under a guardian where it is ours, and ends it. Loads no heavy library."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from core.engines.closed_loop import REQUESTS_EACH, Loop, dialect_notes, real_prompt_tokens, together, understood
from core.engines.figures import Round, case_of
from core.engines.loopback import HOST, free_port, listener, loopback_endpoint, port_of
from core.engines.openai_stream import Asking, Dialect, listed_models, open_client
from core.engines.prompts import plain_ids
from core.engines.readings import Readings
from core.engines.server import POLL_SECONDS, GuardedServer, ServerLaunch, log_text
from core.engines.vllm_command import NAME, VllmPlan, kv_gibibytes, vllm_command, vllm_environment, vllm_plan
from core.errors import BitpressError
from core.jobs.protocol import EnginePlace, MeasureServer, Stage
from core.measure.results import BenchCase, BenchmarkSuite, Conditions, ModelBenchmark
from core.measure.speed_verdict import BUSY_PERCENT
from core.models.inspect import inspect
from core.models.local_files import shown
from core.models.local_model import LocalModel
from core.telemetry.host import cores
from core.value import Json
from core.worker.reporter import Reporter

START = Stage(id="start", title="Start the server")
CONNECT = Stage(id="connect", title="Find the server")
WARM_UP = Stage(id="warm-up", title="Warm up", unit="round")

LOOP = (
    f"Closed loop over HTTP with streaming: `batch` clients at once, each of which sends {REQUESTS_EACH} requests "
    "one after the other in a round; greedy, each prompt random tokens of its own from a fixed seed. Median of the "
    "rounds, with the smallest and the largest; client and server share this machine, and its noise is in them."
)
MEMORY_CPU = "Memory is the largest sum over the server's processes, with {kv} of KV cache that it sets aside at once."
MEMORY_GPU = "Memory is what the server's processes hold on the GPU, with the KV cache that this suite fills."
EAGER = "The CPU build runs without graph compilation (enforce_eager), and its threads do not spin while they wait."
GRAPHS = "Graphs as vLLM makes them by default."
ENERGY = "Energy is the power of the whole board over the rounds, its idle share included."
BUSY_SECONDS = 0.5
_DTYPE = re.compile(r"\bdtype=torch\.(\w+)")


@dataclass(slots=True)
class _Served:
    """A server that answers: how to reach it and what is known of it."""

    address: str
    key: str
    asking: Asking
    conditions: Conditions
    pid: int | None = None
    seconds: float = 0.0
    negotiates: bool = False
    explain: Callable[[BitpressError], BitpressError] = lambda error: error


def run(command: MeasureServer, report: Reporter) -> Json:
    """The ModelBenchmark as JSON: reach a server, warm up, then one stage for each concurrency.

    Raises BitpressError: `bad-suite`, what starting and streaming raise, and `server-died` instead of a broken stream
    where it was our server that ended. The server is gone when this returns or raises.
    """
    suite = command.suite
    _check(suite)
    first = START if command.place is not None else CONNECT
    stages = tuple(
        Stage(id=f"batch-{batch}", title="1 request" if batch == 1 else f"{batch} requests at once", unit="round")
        for batch in suite.batches
    )
    report.plan((first, WARM_UP, *stages))
    model = None if command.model is None else inspect(Path(command.model))
    busy = _busy(report)
    with _opened(command, model, report) as served, _readings(command, served) as readings:
        try:
            cases, notes = asyncio.run(_measured(served, suite, stages, readings, report))
        except BitpressError as error:
            raise served.explain(error) from error
    found = _benchmark(model, served, readings, cases, notes)
    conditions = found.conditions.model_copy(
        update={"busy_percent": busy, "notes": (*found.conditions.notes, *_busy_notes(busy))}
    )
    return found.model_copy(update={"conditions": conditions}).model_dump(mode="json")


@contextmanager
def _opened(command: MeasureServer, model: LocalModel | None, report: Reporter) -> Iterator[_Served]:
    """A server that answers; one of ours is gone after the block."""
    with ExitStack() as stack:
        if command.place is None:
            with report.stage(CONNECT.id):
                served = _endpoint(command, model, report)
        elif model is None:
            raise BitpressError("needs-model", "vLLM is started for a model, and none is named.", "Name a model.")
        else:
            with report.stage(START.id):
                served = _vllm(command, command.place, model, report, stack)
        yield served


def _vllm(command: MeasureServer, place: EnginePlace, model: LocalModel, report: Reporter, stack: ExitStack) -> _Served:
    """A vLLM server that is ready; the stack ends it."""
    suite = command.suite
    plan = vllm_plan(model, suite, port=free_port(), cpu=place.cpu, threads=_threads() if place.cpu else None)
    ids = plain_ids(model.path)
    key = secrets.token_urlsafe(24)
    home = Path(place.home)
    home.mkdir(parents=True, exist_ok=True)
    launch = ServerLaunch(
        command=vllm_command(Path(place.interpreter), plan),
        environment=vllm_environment(plan, key=key, home=home, inherited=_inherited(command.device)),
        interpreter=place.interpreter,
        log=Path(command.log),
    )
    server = stack.enter_context(GuardedServer(launch))

    def beat(seconds: float) -> None:
        report.check()
        report.progress(START.id, seconds, None, "seconds")

    seconds = server.wait_until_ready(_health(plan.port), beat=beat)

    def explain(error: BitpressError) -> BitpressError:
        # The guardian hears of the end a moment after the connection broke.
        time.sleep(2 * POLL_SECONDS)
        return error if server.alive else server.died()

    return _Served(
        address=f"http://{HOST}:{plan.port}/v1",
        key=key,
        asking=_asking(NAME, suite, ids),
        conditions=_conditions(place, plan, server.log),
        pid=server.pid,
        seconds=seconds,
        explain=explain,
    )


def _endpoint(command: MeasureServer, model: LocalModel | None, report: Reporter) -> _Served:
    """The server that the suite names, and the model that it is asked for."""
    suite = command.suite
    address = loopback_endpoint(suite.endpoint or "")

    async def names() -> tuple[str, ...]:
        async with open_client(address, command.api_key, connections=1) as client:
            (found,) = await together([listed_models(client)], report.check)
            return found

    listed = asyncio.run(names())
    name = suite.served_model or (listed[0] if listed else "")
    if not name or (listed and name not in listed):
        raise BitpressError(
            "unknown-served-model",
            f"The server at {address} does not serve {shown(name)!r}."
            if name
            else f"The server at {address} serves no model.",
            f"It serves {', '.join(map(shown, listed[:5]))}." if listed else "Load a model there first.",
        )
    pid = listener(port_of(address))
    return _Served(
        address=address,
        key=command.api_key,
        asking=_asking(name, suite, () if model is None else plain_ids(model.path)),
        conditions=Conditions(
            engine="endpoint",
            engine_version="",
            device="not known" if pid is None else "cpu",
            dtype="as served",
            notes=(f"Measured at {address}, a server that was there already: how it was started is not known.", LOOP),
        ),
        pid=pid,
        negotiates=True,
    )


async def _measured(
    served: _Served, suite: BenchmarkSuite, stages: Sequence[Stage], readings: Readings, report: Reporter
) -> tuple[list[BenchCase], tuple[str, ...]]:
    """The cases, and what must be said of how the server was asked."""
    cases: list[BenchCase] = []
    async with open_client(served.address, served.key, connections=max(suite.batches)) as client:
        asking = served.asking
        with report.stage(WARM_UP.id):
            if served.negotiates:
                asking = await understood(client, asking, report.check)
            loop = Loop(client=client, asking=asking, check=report.check)
            done, total = 0, len(suite.batches) * suite.warmups
            for batch in suite.batches:
                for _ in range(suite.warmups):
                    await loop.round(batch)
                    done += 1
                    report.progress(WARM_UP.id, done, total)
        rounds: list[Round] = []
        for batch, stage in zip(suite.batches, stages, strict=True):
            with report.stage(stage.id):
                own: list[Round] = []
                for number in range(suite.repeats):
                    found = await loop.round(batch)
                    own.append(replace(found, joules=readings.joules(found.started, found.ended)))
                    report.progress(stage.id, number + 1, suite.repeats)
                cases.append(case_of(suite, batch, own))
                rounds += own
    return cases, dialect_notes(asking.dialect, suite.prompt_tokens, real_prompt_tokens(rounds))


def _benchmark(
    model: LocalModel | None, served: _Served, readings: Readings, cases: Sequence[BenchCase], notes: Sequence[str]
) -> ModelBenchmark:
    conditions = served.conditions
    if any(case.joules_per_token is not None for case in cases):
        notes = (*notes, ENERGY)
    if readings.board_names:
        conditions = conditions.model_copy(update={"device": readings.board_names[0]})
    return ModelBenchmark(
        path=served.address if model is None else str(model.path),
        name=served.asking.model if model is None else model.name,
        bytes=0 if model is None else sum(file.stat().st_size for file in model.path.glob("*.safetensors")),
        load_seconds=served.seconds,
        peak_bytes=readings.host_peak if conditions.device == "cpu" else readings.device_peak,
        cases=tuple(cases),
        conditions=conditions.model_copy(update={"notes": (*conditions.notes, *notes)}),
    )


def _busy(report: Reporter) -> float:
    """Percent of the processor that other programs take before anything of ours runs; a warning where it is much."""
    import psutil

    share = psutil.cpu_percent(interval=BUSY_SECONDS)
    for note in _busy_notes(share):
        report.warn("busy-machine", note)
    return share


def _busy_notes(share: float) -> tuple[str, ...]:
    if share < BUSY_PERCENT:
        return ()
    return (
        f"Other programs took {share:.0f} % of the processor when this began: these figures are lower and less certain "
        "than on a quiet machine, and models measured at different times saw different disturbance.",
    )


def _asking(name: str, suite: BenchmarkSuite, ids: Sequence[int]) -> Asking:
    return Asking(
        model=name,
        dialect=Dialect(),
        prompt_tokens=suite.prompt_tokens,
        output_tokens=suite.output_tokens,
        seed=suite.seed,
        ids=ids,
    )


def _conditions(place: EnginePlace, plan: VllmPlan, log: Path) -> Conditions:
    """Before any reading of a board: `device` is mended where one was heard."""
    found = _DTYPE.search(log_text(log))
    memory = MEMORY_CPU.format(kv=f"{kv_gibibytes(plan)} GiB") if place.cpu else MEMORY_GPU
    return Conditions(
        engine="vllm",
        engine_version=place.version,
        device="cpu" if place.cpu else "gpu",
        dtype=found[1] if found else "auto",
        threads=plan.threads,
        notes=(LOOP, EAGER if place.cpu else GRAPHS, memory),
    )


def _health(port: int) -> Callable[[], bool]:
    """Whether the server at that port says that it is ready."""

    def healthy() -> bool:
        import httpx

        try:
            found = httpx.get(f"http://{HOST}:{port}/health", timeout=POLL_SECONDS * 5, trust_env=False)
        except httpx.TransportError:
            return False
        return found.status_code == 200

    return healthy


def _threads() -> int:
    """Threads of a CPU build: as set for workers, else one for each processor."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    return int(chosen) if chosen.isdecimal() and int(chosen) > 0 else cores()


def _inherited(device: str) -> dict[str, str]:
    """This process's variables, with the one GPU that was chosen where one was."""
    inherited = dict(os.environ)
    if (chosen := _index(device)) is not None:
        inherited["CUDA_VISIBLE_DEVICES"] = str(chosen)
    return inherited


def _readings(command: MeasureServer, served: _Served) -> Readings:
    """Boards whose power counts: none beside a CPU build, the chosen one, or those that the server is on."""
    if command.place is not None and command.place.cpu:
        return Readings(served.pid, gpus=())
    chosen = None if command.place is None else _index(command.device)
    gpus = None if chosen is None else (chosen,)
    return Readings(served.pid, gpus=gpus, all_else=command.place is not None)


def _index(device: str) -> int | None:
    _, _, number = device.partition("cuda:")
    return int(number) if number.isdecimal() else None


def _check(suite: BenchmarkSuite) -> None:
    sizes = (*suite.batches, suite.prompt_tokens, suite.output_tokens, suite.repeats)
    if not suite.batches or min(sizes) < 1 or suite.warmups < 0 or len(set(suite.batches)) < len(suite.batches):
        raise BitpressError(
            "bad-suite",
            "A benchmark needs at least one number of requests, each once, and lengths and repeats of at least 1.",
            "Correct the numbers, lengths and repeats.",
        )
