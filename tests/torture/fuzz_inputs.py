"""Reads thousands of spoiled inputs of every format, each under limits, and says what came of them.

    python fuzz_inputs.py [--inputs N] [--seed FIRST] [--keep FOLDER] [--only KIND ...]

Each input is made from its own number, so a finding is repeated with `--seed NUMBER --inputs 1`. The reader runs in a
child process: 10 s and 1 GiB above its baseline for each input, canaries planted, and an audit hook that hears of every
file that is opened, program that is started and module that is imported. Accepted, or refused with a code, a reason
and a hint: anything else is a finding.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

SECONDS = 10.0
BEGIN_SECONDS = 300.0
"""Until the libraries are imported, and between two inputs, on however busy a machine."""
MEMORY = 1 << 30
"""Bytes above the child's baseline."""
_FORBIDDEN = (
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "socket.connect",
    "pickle.find_class",
    "marshal.loads",
)


@dataclass(frozen=True)
class Verdict:
    """What came of one input. `found` says what is wrong; empty where nothing is."""

    number: int
    kind: str
    code: str = ""
    found: str = ""
    seconds: float = 0.0


def run(
    numbers: Sequence[int],
    *,
    keep: Path | None = None,
    only: Sequence[str] = (),
    told: Callable[[Verdict], None] = lambda verdict: None,
) -> list[Verdict]:
    """The verdict on every input; inputs with a finding stay in `keep`."""
    waiting = list(numbers)
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="bitpress-torture-") as place:
        while waiting:
            for verdict in _one_child(tuple(waiting), Path(place), only):
                waiting.remove(verdict.number)
                verdicts.append(verdict)
                told(verdict)
                case = Path(place) / str(verdict.number)
                if verdict.found and keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    kept = keep / f"{verdict.number}-{verdict.kind}"
                    shutil.rmtree(kept, ignore_errors=True)
                    with suppress(OSError):  # A pipe cannot be copied.
                        shutil.copytree(case, kept, symlinks=True)
                shutil.rmtree(case, ignore_errors=True)
    return verdicts


def _one_child(numbers: Sequence[int], place: Path, only: Sequence[str]) -> Iterator[Verdict]:
    """Verdicts until the child is done, or is ended over an input.

    Raises RuntimeError where it does not even begin.
    """
    command = [sys.executable, "-P", __file__, "--child", str(place), "--only", *only]
    errors = place / "errors.log"
    judged, begun = 0, False
    with (
        errors.open("wb") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,
            env={**os.environ, "CANARY": "1"},
        ) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(list(numbers)).encode() + b"\n")
        number, kind, limit = numbers[0], "", BEGIN_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while True:
                if not selector.select(limit):
                    child.kill()
                    if not begun:
                        raise RuntimeError(f"the reader did not begin within {BEGIN_SECONDS:.0f} s")
                    yield Verdict(number, kind, found=f"no end within {SECONDS:.0f} s", seconds=SECONDS)
                    return
                line = child.stdout.readline()
                if not line:
                    break
                said = json.loads(line)
                if "found" in said:
                    judged, limit = judged + 1, BEGIN_SECONDS
                    yield Verdict(**said)
                    # Who dies before the next is named dies over it.
                    number, kind = numbers[min(judged, len(numbers) - 1)], ""
                else:
                    number, kind, limit, begun = said["number"], said["kind"], SECONDS, True
    tail = errors.read_text(errors="replace")[-1500:]
    if not begun:
        raise RuntimeError(tail)
    if judged < len(numbers):
        yield Verdict(number, kind, found=f"the reader died with status {child.returncode}: {tail}")


# The child --------------------------------------------------------------------------------------------------------


class _Watch:
    """Hears of what the reader does to the world around it."""

    def __init__(self) -> None:
        self.case: Path | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.case is None:
            return
        if event == "marshal.loads" and self._imports():
            return
        if event.startswith(_FORBIDDEN):
            self.seen.append(f"{event} {str(arguments)[:200]}")
        elif event == "import" and "canary" in str(arguments[0]).lower():
            self.seen.append(f"import {arguments[0]}")
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            self._opened(os.fsdecode(arguments[0]), arguments[2])

    def _imports(self) -> bool:
        """Whether Python reads the kept bytecode of a module that lies outside the input: one that is imported late."""
        frame = sys._getframe()
        while frame is not None and frame.f_code.co_name != "get_code":
            frame = frame.f_back  # type: ignore[assignment]
        if frame is None or "importlib" not in frame.f_code.co_filename:
            return False
        kept = frame.f_locals.get("bytecode_path")
        return self.case is not None and isinstance(kept, str) and not Path(kept).is_relative_to(self.case)

    def _opened(self, path: str, flags: Any) -> None:
        case, self.case = self.case, None  # What is done here is not the reader's.
        try:
            real = Path(os.path.realpath(path))
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            assert case is not None
            if isinstance(flags, int) and flags & os.O_NOFOLLOW and Path(path).is_symlink():
                return  # It is about to be refused.
            if real.is_relative_to(case / "outside") or str(real) in ("/etc/passwd", "/dev/zero"):
                self.seen.append(f"opened {real} outside the input, as {path[:200]}")
            elif writes and not real.is_relative_to(case / "home") and not real.is_relative_to(case / "input"):
                self.seen.append(f"wrote to {real}")
        except (OSError, ValueError):
            pass
        finally:
            self.case = case


def _child(place: Path, only: Sequence[str]) -> None:
    here = Path(__file__).parent
    sys.path[:0] = [str(here), str(here.parent / "core"), str(here.parents[1])]
    import importlib

    # Libraries print what they like; the verdicts go where they cannot.
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import hostile_cases as cases

    for library in cases.LIBRARIES:
        importlib.import_module(library)
    sound_folder = place / f"sound-{os.getpid()}"
    sound = cases.sound_inputs(sound_folder)
    shutil.rmtree(sound_folder)
    kinds = [kind for kind in cases.KINDS if not only or kind in only]
    for kind in kinds:
        # Once unspoiled: caches are filled, and a sound input is known to be accepted.
        error = _attempt(cases, place, -1, kind, sound[kind], None)
        if error is not None:
            raise error
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    watch = _Watch()
    for number in json.loads(sys.stdin.readline()):
        random = Random(number)
        kind = random.choice(kinds)
        files = cases.spoiled(random, kind, sound[kind])
        print(json.dumps({"number": number, "kind": kind}), file=told, flush=True)
        began = time.monotonic()
        error = _attempt(cases, place, number, kind, files, watch, random)
        seconds = time.monotonic() - began
        code, found = _judged(error)
        if seen := [*watch.seen, *_left_over(place / str(number))]:
            found = "; ".join(dict.fromkeys(seen))
        watch.seen.clear()
        verdict = {"number": number, "kind": kind, "code": code, "found": found, "seconds": seconds}
        print(json.dumps(verdict), file=told, flush=True)


def _attempt(
    cases: Any, place: Path, number: int, kind: str, files: dict[str, bytes], watch: _Watch | None, random: Any = None
) -> BaseException | None:
    from core.paths import Home

    case = place / str(number)
    for name in ("input", "outside", "home", "cwd"):
        (case / name).mkdir(parents=True)
    for name, content in files.items():
        (case / "input" / name).parent.mkdir(parents=True, exist_ok=True)
        (case / "input" / name).write_bytes(content)
    cases.outside(case / "outside")
    if random is not None:
        cases.plant(random, kind, case / "input")
    os.chdir(case / "cwd")
    if watch is not None:
        watch.case = case
    try:
        cases.read(kind, case / "input", Home(case / "home"))
    except BaseException as error:
        return error
    finally:
        if watch is not None:
            watch.case = None
        os.chdir("/")
        if number < 0:
            shutil.rmtree(case)
    return None


def _judged(error: BaseException | None) -> tuple[str, str]:
    """(code, what is wrong with it)."""
    from core.errors import BitpressError

    if error is None:
        return "accepted", ""
    if not isinstance(error, BitpressError):
        import traceback

        return type(error).__name__, "".join(traceback.format_exception(error))[-1500:]
    problem = error.problem
    if not (problem.code and problem.message.strip() and problem.hint.strip()):
        return problem.code, f"the refusal lacks something: {problem.model_dump()}"
    try:
        problem.model_dump_json()
    except ValueError as fault:
        return problem.code, f"the refusal cannot be kept or sent: {fault}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return problem.code, f"over {MEMORY >> 20} MiB were asked for: {cause}"
        cause = cause.__cause__ or cause.__context__
    return problem.code, ""


def _left_over(case: Path) -> list[str]:
    """What was written where nothing may be written."""
    found = [f"wrote {path.name} into the working folder" for path in (case / "cwd").iterdir()]
    canaries = [path for path in case.rglob("*") if path.name == "CANARY"]
    known = {"config.json", "tokenizer.json", "secret.safetensors", "secret"}
    strangers = [path.name for path in (case / "outside").iterdir() if path.name not in known]
    return [*found, *(f"a canary died: {path}" for path in canaries), *(f"wrote outside: {name}" for name in strangers)]


# The command ------------------------------------------------------------------------------------------------------


def figures(verdicts: Sequence[Verdict], seconds: float) -> str:
    """The figures as lines."""
    lines = [f"{len(verdicts):,} inputs in {seconds:.0f} s, {sum(bool(one.found) for one in verdicts)} findings"]
    for kind in sorted({one.kind for one in verdicts}):
        mine = [one for one in verdicts if one.kind == kind]
        accepted = sum(one.code == "accepted" and not one.found for one in mine)
        slowest = max(one.seconds for one in mine)
        found = sum(bool(one.found) for one in mine)
        lines.append(
            f"{kind:10} {len(mine):6,} inputs {accepted:6,} accepted {len(mine) - accepted - found:6,} refused "
            f"{found:4} findings, slowest {slowest:.2f} s"
        )
    codes = Counter(one.code for one in verdicts if not one.found and one.code != "accepted")
    lines.append("refused as " + ", ".join(f"{code} {count}" for code, count in codes.most_common()))
    return "\n".join(lines)


def main() -> int:
    """Exit status 1 where there are findings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("test-artifacts/hostile"))
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--child", type=Path)
    asked = parser.parse_args()
    if asked.child is not None:
        _child(asked.child, asked.only)
        return 0

    def told(verdict: Verdict) -> None:
        if verdict.found:
            print(f"{verdict.number} {verdict.kind}: {verdict.found}", flush=True)

    began = time.monotonic()
    numbers = range(asked.seed, asked.seed + asked.inputs)
    verdicts = run(numbers, keep=asked.keep, only=asked.only, told=told)
    print(figures(verdicts, time.monotonic() - began))
    return any(one.found for one in verdicts)


if __name__ == "__main__":
    sys.exit(main())
