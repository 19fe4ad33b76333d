"""Whether this machine has room for a job, and can run what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from core.calibration.spec import CalibrationSpec
from core.methods.catalogue import METHODS
from core.methods.method import Method, Standing
from core.methods.recipe import Recipe
from core.plan.estimates import Estimates
from core.plan.finding import Finding, Severity
from core.plan.hardware import PROCESSOR_SCHEMES, SUPPORT, Runs, needs_loader, on_processor, runs_at_all, runs_natively
from core.plan.lighter import lighter
from core.plan.machine import Gpu, Machine
from core.plan.words import duration, memory, size
from core.value import Json

_WORTH_SAYING = 512 * 2**20
"""Memory of other programs on the GPU that is worth a line, in bytes."""

_USABLE = 0.9
"""Share of a GPU's memory that vLLM takes by default."""


Fitted = Callable[[Callable[[Estimates], bool]], dict[str, Json] | None]
"""From what must hold of the estimates to less calibration data for which it does, as a fix."""


def fitted(recipe: Recipe, estimated: Callable[[Recipe], Estimates]) -> Fitted:
    """Asks how much less calibration data would do; an estimate is made for each amount that is tried, once."""
    made: dict[CalibrationSpec, Estimates] = {}

    def figures(data: CalibrationSpec) -> Estimates:
        if data not in made:
            made[data] = estimated(recipe.model_copy(update={"calibration": data}))
        return made[data]

    def least(fits: Callable[[Estimates], bool]) -> dict[str, Json] | None:
        return lighter(recipe.calibration, lambda data: fits(figures(data)))

    return least


def room_findings(estimates: Estimates, machine: Machine, less: Fitted) -> Iterator[Finding]:
    """Findings about disk and memory for making the artifact."""
    if estimates.disk_bytes > machine.disk_free:
        yield Finding(
            code="disk-too-small",
            severity=Severity.BLOCKS,
            message=f"The output's disk has {size(machine.disk_free)} free and the job needs "
            f"{size(estimates.disk_bytes)}. Free some space or choose another output folder.",
        )
    elif estimates.disk_bytes * 1.1 > machine.disk_free:
        yield Finding(
            code="disk-tight",
            severity=Severity.WARNS,
            message=f"The output's disk has {size(machine.disk_free)} free, hardly more than the "
            f"{size(estimates.disk_bytes)} that the job needs.",
        )
    if estimates.disk_bytes <= machine.disk_free < estimates.disk_bytes + estimates.checkpoint_bytes:
        yield Finding(
            code="no-room-for-checkpoints",
            severity=Severity.NOTES,
            message=f"The output's disk has {size(machine.disk_free)} free: enough for the job, and not for "
            f"checkpoints of up to {size(estimates.checkpoint_bytes)} beside it. Without room it keeps none, and "
            "begins with the first layer again if it is interrupted.",
        )
    need = estimates.host_bytes
    least = estimates.host_least_bytes or need.low
    if least > machine.memory_available:
        fix = less(lambda figures: (figures.host_least_bytes or figures.host_bytes.low) <= machine.memory_available)
        yield Finding(
            code="memory-too-small",
            severity=Severity.BLOCKS,
            message=f"The job needs at least {memory(least)} of memory and {memory(machine.memory_available)} of "
            f"{memory(machine.memory_total)} are available. "
            + (
                "Close other programs."
                if need.high < machine.memory_total
                else "Use a machine with more memory, or a smaller model."
            )
            + _data_words(fix),
            fix=fix,
        )
    elif need.high > machine.memory_available:
        fix = less(lambda figures: figures.host_bytes.high <= machine.memory_available)
        yield Finding(
            code="memory-tight",
            severity=Severity.WARNS,
            message=f"The job is expected to take {memory(need.low)} to {memory(need.high)} of memory, and "
            f"{memory(machine.memory_available)} are available. Close other programs.{_data_words(fix)}",
            fix=fix,
        )
    if machine.gpus and machine.jobs_on_gpu:
        yield from _gpu_room(estimates, machine.gpus[0], less)


def processor_findings(method: Method, recipe: Recipe, estimates: Estimates, machine: Machine) -> Iterator[Finding]:
    """Findings about methods whose search takes long without a GPU; llmcompressor's own figures are from GPUs."""
    if machine.gpus and machine.jobs_on_gpu:
        return
    names = {modifier.name for modifier in method.modifiers(recipe.parameters)}
    long = f"about {duration(estimates.seconds.value)}, and up to {duration(estimates.seconds.high)}"
    if "AutoRoundModifier" in names:
        yield Finding(
            code="autoround-on-processor",
            severity=Severity.WARNS,
            message=f"AutoRound takes many small steps for each layer, which take minutes on a processor: {long} in "
            "all. GPTQ W4A16 takes a fraction of that.",
            fix={"method": "gptq-w4a16"},
        )
    elif "AWQModifier" in names:
        yield Finding(
            code="awq-on-processor",
            severity=Severity.NOTES,
            message=f"llmcompressor 0.14 runs AWQ on accelerators alone; Bitpress makes it run on the processor as "
            f"well, which takes {long}.",
        )


def kernel_findings(method: Method, estimates: Estimates, machine: Machine, device: str = "auto") -> Iterator[Finding]:
    """Findings about where the job runs and whether this machine can run the artifact with kernels of its own."""
    if not machine.gpus:
        serves = f"The artifact is for a GPU elsewhere; on processors choose {_titles(PROCESSOR_SCHEMES.__contains__)}."
        if method.scheme in PROCESSOR_SCHEMES:
            serves = "vLLM's processor build can serve the artifact here."
        elif needs_loader(method.scheme):
            serves = "This application and transformers run the artifact here, slowly; vLLM does not know its format."
        elif on_processor(method.scheme) in (Runs.NATIVE, Runs.WEIGHT_ONLY):
            serves = SUPPORT[method.scheme].on_processor
        yield Finding(
            code="no-gpu",
            severity=Severity.NOTES,
            message=f"{machine.no_gpu_reason or 'There is no NVIDIA GPU.'} The job runs on the processor "
            f"({machine.cores} cores) and takes about {duration(estimates.seconds.value)}. {serves}",
        )
        return
    gpu = machine.gpus[0]
    if not machine.jobs_on_gpu and device != "cpu":
        yield Finding(
            code="torch-without-cuda",
            severity=Severity.NOTES,
            message=f"{gpu.name} is here, but the installed torch is built without CUDA, so the job runs on the "
            f"processor ({machine.cores} cores). Install a CUDA build of torch to use the GPU.",
        )
    if gpu.capability is None:
        return
    native, sentence = runs_natively(method.scheme, gpu.capability)
    if not native:
        capability = gpu.capability
        others = _suited(lambda scheme: runs_natively(scheme, capability)[0])
        titles = " or ".join(each.title for each in others)
        suit = "suits" if len(others) == 1 else "suit"
        yield Finding(
            code="no-kernels",
            severity=Severity.NOTES if runs_at_all(method.scheme, capability) else Severity.WARNS,
            message=sentence + (f" To run it here, {titles} {suit} {gpu.name} better." if others else ""),
            fix={"method": others[0].id} if others else None,
        )
    total = sum(each.memory_total for each in machine.gpus)
    if estimates.run_bytes > _USABLE * total:
        yield Finding(
            code="too-large-to-run",
            severity=Severity.WARNS,
            message=f"To run, the artifact needs about {memory(estimates.run_bytes)} with 8,192 tokens of context, and "
            f"the GPU{'s have' if len(machine.gpus) > 1 else ' has'} {memory(total)}."
            + ("" if (method.weight_bits or 16) <= 4 else " A 4-bit method may fit."),
        )


def _suited(serves: Callable[[str], bool]) -> list[Method]:
    """The recommended methods whose scheme serves."""
    return [each for each in METHODS if each.standing is Standing.RECOMMENDED and serves(each.scheme)]


def _titles(serves: Callable[[str], bool]) -> str:
    return " or ".join(each.title for each in _suited(serves))


def _data_words(fix: dict[str, Json] | None) -> str:
    """What less data would do, as a sentence behind others."""
    if not fix:
        return ""
    parts = []
    if "samples" in fix:
        parts.append(f"{fix['samples']} samples")
    if "max_length" in fix:
        parts.append(f"at most {fix['max_length']} tokens each")
    return f" With {' of '.join(parts)} it fits."


def _gpu_room(estimates: Estimates, gpu: Gpu, less: Fitted) -> Iterator[Finding]:
    need = estimates.device_bytes
    if need.low > gpu.memory_free:
        holds = (
            f" Other programs hold {memory(gpu.others_bytes)}: close them."
            if need.low <= gpu.memory_total and gpu.others_bytes
            else ""
        )
        fix = less(lambda figures: figures.device_bytes.low <= gpu.memory_free)
        yield Finding(
            code="gpu-too-small",
            severity=Severity.BLOCKS,
            message=f"The job needs at least {memory(need.low)} on {gpu.name} and {memory(gpu.memory_free)} of "
            f"{memory(gpu.memory_total)} are free.{holds} Or choose the device cpu in the settings.{_data_words(fix)}",
            fix=fix,
        )
        return
    if need.high > gpu.memory_free:
        fix = less(lambda figures: figures.device_bytes.high <= gpu.memory_free)
        yield Finding(
            code="gpu-tight",
            severity=Severity.WARNS,
            message=f"The job is expected to take {memory(need.low)} to {memory(need.high)} on {gpu.name}, and "
            f"{memory(gpu.memory_free)} are free.{_data_words(fix) or ' Close other programs if it runs out.'}",
            fix=fix,
        )
    if gpu.others_bytes > _WORTH_SAYING:
        yield Finding(
            code="gpu-shared",
            severity=Severity.NOTES,
            message=f"Other programs hold {memory(gpu.others_bytes)} of {gpu.name}'s memory.",
        )
