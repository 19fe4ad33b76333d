"""The checks of this machine: pure functions over what was found, each with what to do where it is not well."""

from __future__ import annotations

from collections.abc import Iterator

from core.care.check import Check, Outcome
from core.care.surroundings import EngineFacts, Library, Place, Surroundings, TorchFacts
from core.engines.environment import State
from core.plan.machine import Gpu
from core.plan.words import memory, size

LEAST_PLACE, ROOM = 128 * 10**6, 10 * 10**9
"""Bytes free: under the first nothing can be kept; under the second a model of a few billion parameters has no room."""
LEAST_MEMORY = 4 * 2**30
"""Bytes available: the libraries take one and a half GiB before the first weight is read."""
MAIN = ("torch", "transformers", "llmcompressor", "compressed-tensors", "tokenizers", "safetensors", "lm-eval")
"""Libraries that shape a result: another version than the tested one is worth a word for these alone."""


def examine(found: Surroundings) -> tuple[Check, ...]:
    """Every check, in the order in which one depends on another."""
    return (
        _python(found),
        *_libraries(found.libraries),
        _torch(found),
        _gpu(found),
        _memory(found),
        *_memory_limit(found),
        *_sleep(found),
        *map(_place, found.places),
        _store(found),
        _window(found),
        _font(found),
        *map(_engine, found.engines),
        _leftovers(found),
    )


def _ok(name: str, found: str) -> Check:
    return Check(name=name, outcome=Outcome.OK, found=found)


def _attention(name: str, found: str, advice: str) -> Check:
    return Check(name=name, outcome=Outcome.ATTENTION, found=found, advice=advice)


def _failed(name: str, found: str, advice: str) -> Check:
    return Check(name=name, outcome=Outcome.FAILED, found=found, advice=advice)


def _python(found: Surroundings) -> Check:
    said = f"{'.'.join(map(str, found.python))}, {found.interpreter}"
    if (3, 11) <= found.python[:2] < (3, 14):
        return _ok("Python", said)
    return _failed("Python", said, "Install Bitpress with Python 3.11, 3.12 or 3.13.")


def _libraries(found: tuple[Library, ...]) -> Iterator[Check]:
    if not found:
        yield _attention("Libraries", "Which versions were tested is not known.", "Use `make install`.")
        return
    missing = [one.name for one in found if not one.found]
    if missing:
        yield _failed("Libraries", f"Missing: {', '.join(missing)}.", "`make install` installs them.")
    other = [one for one in found if one.found and not one.fits]
    grave = any(one.name in MAIN for one in other)
    if other:
        said = "; ".join(f"{one.name} {one.found}, tested {one.tested}" for one in other)
        advice = "`make install` brings back the tested ones."
        # Newer ones often work, and sometimes give other bytes.
        yield _attention("Libraries", f"{said}.", advice + (" Results may differ." if grave else ""))
    if not missing and not other:
        main = ", ".join(f"{one.name} {one.found}" for one in found if one.name in MAIN)
        yield _ok("Libraries", f"All {len(found)} are within the tested versions: {main}.")


def _torch(found: Surroundings) -> Check:
    torch, gpus = found.torch, found.machine.gpus
    if torch is None:
        return _failed("torch", f"It cannot be imported: {found.torch_said}.", "`make install` installs it again.")
    build = f"CUDA {torch.cuda}" if torch.cuda else "processors"
    said = f"{torch.version}, built for {build}."
    if not gpus:
        return _ok("torch", said)
    if torch.cuda is None:
        return _attention(
            "torch",
            f"{said} This machine has a GPU that jobs cannot use.",
            "Install torch's build for CUDA into the same environment: pytorch.org says which.",
        )
    if not torch.available:
        return _failed(
            "torch",
            f"{said} It sees no GPU.",
            "Update the NVIDIA driver to one for this CUDA version, or restart.",
        )
    strange = [name for name, capability in torch.devices if not _has_code_for(torch, capability)]
    if strange:
        return _attention(
            "torch", f"{said} It holds no code for {', '.join(strange)}.", "Install a build that names this GPU."
        )
    return _ok("torch", f"{said} It sees {', '.join(name for name, _ in torch.devices)}.")


def _has_code_for(torch: TorchFacts, capability: tuple[int, int]) -> bool:
    """Code for the same major version and at most the same minor one runs; where the build tells nothing, it may."""
    kinds = [int(kind.partition("_")[2]) for kind in torch.kinds if kind.partition("_")[2].isdigit()]
    return not kinds or any(kind // 10 == capability[0] and kind % 10 <= capability[1] for kind in kinds)


def _gpu(found: Surroundings) -> Check:
    if not found.machine.gpus:
        reason = found.machine.no_gpu_reason or "No NVIDIA GPU was found."
        return _attention("GPU", reason, "Jobs run on the processor, which does for small models.")
    driver = f"driver {found.driver}" if found.driver else "driver of an unknown version"
    return _ok("GPU", f"{'; '.join(map(_gpu_words, found.machine.gpus))}; {driver}.")


def _gpu_words(gpu: Gpu) -> str:
    return f"{gpu.name}, {memory(gpu.memory_free)} of {memory(gpu.memory_total)} free"


def _memory(found: Surroundings) -> Check:
    machine = found.machine
    said = f"{memory(machine.memory_available)} of {memory(machine.memory_total)} are available, {machine.cores} cores."
    if machine.memory_available < LEAST_MEMORY:
        return _attention("Memory", said, "Close other programs: the libraries alone take 1.5 GiB.")
    return _ok("Memory", said)


def _memory_limit(found: Surroundings) -> Iterator[Check]:
    if found.memory_limit:
        yield _ok("Memory limit", f"A job may hold {found.memory_limit}.")


def _sleep(found: Surroundings) -> Iterator[Check]:
    if found.sleep is None:
        yield _ok("Sleep", "Jobs do not keep this machine awake: it is turned off in Settings.")
    elif found.sleep.held:
        yield _ok("Sleep", f"{_sentence(found.sleep.words)}.")
    else:
        yield _attention(
            "Sleep",
            f"{_sentence(found.sleep.words)}.",
            "Before a long job turn automatic suspend off in the system's power settings.",
        )


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _place(place: Place) -> Check:
    said = f"{place.path}, {'unknown space' if place.free is None else size(place.free)} free."
    if place.problem:
        return _failed(place.title, f"{place.path} cannot be written: {place.problem}.", _WRITE)
    if place.free is not None and place.free < LEAST_PLACE:
        return _failed(place.title, said, "Free some space: `bitpress clean` shows what can go.")
    if place.free is not None and place.free < ROOM:
        return _attention(place.title, said, "Large models do not fit: `bitpress clean` shows what can go.")
    return _ok(place.title, said)


_WRITE = "Change its permissions, free space on its disk, or choose another folder (BITPRESS_HOME, Settings, TMPDIR)."


def _store(found: Surroundings) -> Check:
    problem = found.store_problem
    if problem is None:
        return _ok("List of runs", f"{found.store} is sound, or not there yet.")
    advice = problem.hint
    if problem.code == "store-damaged":
        advice = f"{advice} `bitpress doctor --set-store-aside` puts it aside and begins a new list."
    return _failed("List of runs", problem.message, advice)


def _window(found: Surroundings) -> Check:
    if found.qt_missing:
        return _attention(
            "Window",
            f"Qt lacks {', '.join(found.qt_missing)}, so the window may not open.",
            "Install the system packages that hold them; `make install` does on Debian and Ubuntu.",
        )
    if not found.display:
        return _attention("Window", "There is no display in this session.", "Use the command line: `bitpress --help`.")
    return _ok("Window", "Qt finds its libraries and a display.")


def _font(found: Surroundings) -> Check:
    if found.font:
        return _ok("Report", "The PDF's own font is there.")
    return _failed("Report", "The PDF's font or typesetter cannot be loaded.", "`make install` brings them back.")


def _engine(engine: EngineFacts) -> Check:
    name = f"Engine {engine.name}"
    match engine.state:
        case State.READY:
            return _ok(name, f"{engine.version}; `bitpress engine check {engine.name}` tries it.")
        case State.ABSENT:
            return _ok(name, "Not installed; speeds are measured in transformers then.")
        case State.UNFINISHED:
            return _attention(name, "Its installation was not finished.", f"`bitpress engine install {engine.name}`.")


def _leftovers(found: Surroundings) -> Check:
    if not found.leftover_bytes:
        return _ok("Leftovers", "None.")
    return _ok("Leftovers", f"{size(found.leftover_bytes)} may go; `bitpress clean` shows what.")
