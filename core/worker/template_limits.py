"""Renders a model's chat template within limits: transformers' sandbox keeps it from the machine, this from the clock.

The template came with the model. In jinja's sandbox it cannot reach files or Python's insides, but loops inside loops
keep a processor busy for years, and one multiplication fills the memory. So a watcher ends a rendering that takes too
long or too much, and the few operations that grow in one step, where no watcher can look, are bounded themselves.
"""

from __future__ import annotations

import ctypes
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import BitpressError

SECONDS = 10.0
"""For one chat; real templates take milliseconds."""
MEMORY = 1 << 30
"""Bytes that the process may grow by meanwhile."""
LONGEST = 10_000_000
"""Characters or items that one operation may make: more than any context holds."""
_LOOKS = 0.02
"""Seconds between two looks of the watcher."""
_LARGE_NUMBER = re.compile(r"\d{7}")
_WIDENING = ("batch", "center", "format", "indent", "replace", "round", "slice", "truncate", "wordwrap")


class TemplateFaultError(Exception):
    """The template does not take these messages; the text says why."""


def apply_template(tokenizer: Any, messages: Sequence[dict[str, str]], **options: Any) -> Any:
    """`tokenizer.apply_chat_template` under the limits, with the same result.

    Raises TemplateFaultError where the template refuses, BitpressError `chat-template-endless` where it finds no end.
    """
    try:
        with limited():
            return tokenizer.apply_chat_template(list(messages), **options)
    except BitpressError:
        raise
    except Exception as error:  # a foreign template may raise whatever the methods raise that it calls
        said = str(error).splitlines()
        raise TemplateFaultError(said[0][:300] if said else type(error).__name__) from error


@contextmanager
def limited(seconds: float = SECONDS, memory: int = MEMORY) -> Iterator[None]:
    """Whatever renders chat templates inside ends in time. Raises BitpressError `chat-template-endless`."""
    _bound_operations()
    watcher = _Watcher(threading.get_ident(), seconds, memory)
    try:
        with watcher:
            yield
    except (_EndedError, MemoryError) as error:
        raise BitpressError(
            "chat-template-endless",
            "The model's chat template was stopped: "
            f"it {watcher.why or f'wanted more than {memory >> 20:,} MiB of memory'}.",
            "A sound template takes milliseconds. Look at the model's chat_template.jinja or tokenizer_config.json, "
            "and use another copy of the model.",
        ) from error


class _EndedError(BaseException):
    """Thrown into the rendering thread. No Exception, so that nobody on the way takes it for his own."""


class _Watcher:
    """Looks at the clock and the memory, and throws once."""

    def __init__(self, thread: int, seconds: float, memory: int) -> None:
        self.why = ""
        self._thread = thread
        self._seconds = seconds
        self._memory = memory
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="template", daemon=True)

    def __enter__(self) -> None:
        self._watching.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        with suppress(_EndedError):
            with self._lock:
                self._over.set()
            self._watching.join()
        if self.why and kind is not _EndedError:
            # Thrown in the last moment, and perhaps not arrived.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), None)
            raise _EndedError

    def _watch(self) -> None:
        began, before = time.monotonic(), _resident()
        while not self._over.wait(_LOOKS):
            why = ""
            if time.monotonic() - began > self._seconds:
                why = f"took longer than {self._seconds:g} s"
            elif _resident() - before > self._memory:
                why = f"took more than {self._memory >> 20:,} MiB of memory"
            with self._lock:
                if why and not self._over.is_set():
                    self.why = why
                    thrown = ctypes.py_object(_EndedError)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), thrown)
                    return


def _resident() -> int:
    """Bytes of this process in memory."""
    import resource

    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def _bound_operations() -> None:
    """Give transformers an environment whose operations cannot make more than LONGEST at once."""
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from transformers.utils import chat_template_utils

    if getattr(chat_template_utils.ImmutableSandboxedEnvironment, "bitpress_bounded", False):
        return

    def refuse(what: str) -> SecurityError:
        return SecurityError(f"{what} would make more than {LONGEST:,} characters or items")

    def check_arguments(name: str, given: Sequence[Any]) -> None:
        for one in given:
            if isinstance(one, int) and abs(one) > LONGEST:
                raise refuse(name)
            if isinstance(one, str) and name in ("format", "format_map") and _LARGE_NUMBER.search(one):
                raise refuse(name)
        words = [one for one in given if isinstance(one, str)]
        if name == "replace" and len(words) == 3:
            text, old, new = words
            if len(text) + text.count(old) * len(new) > LONGEST:
                raise refuse(name)

    def checked(name: str, rule: Any) -> Any:
        def filtered(*given: Any, **named: Any) -> Any:
            check_arguments(name, (*given, *named.values()))
            return rule(*given, **named)

        # Jinja looks at these marks to see what else a filter wants to be given.
        filtered.__dict__.update(rule.__dict__)
        return filtered

    class Bounded(ImmutableSandboxedEnvironment):
        bitpress_bounded = True
        intercepted_binops = frozenset(("*", "**", "%", "+"))

        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            for name in _WIDENING:
                self.filters[name] = checked(name, self.filters[name])

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "*":
                for one, times in ((left, right), (right, left)):
                    if isinstance(one, str | list | tuple) and isinstance(times, int) and len(one) * times > LONGEST:
                        raise refuse("*")
            texts = operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, type(left))
            if texts and len(left) + len(right) > LONGEST:
                raise refuse("+")
            if operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
                bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
                if bits > 10_000:
                    raise refuse(operator)
            if operator == "%" and isinstance(left, str):
                check_arguments("format", (left, *(right if isinstance(right, tuple) else (right,))))
            return super().call_binop(context, operator, left, right)

        def call(self, context: Any, called: Any, *given: Any, **named: Any) -> Any:
            owner = getattr(called, "__self__", None)
            if isinstance(owner, str | bytes):
                check_arguments(getattr(called, "__name__", ""), (owner, *given, *named.values()))
            return super().call(context, called, *given, **named)

        def wrap_str_format(self, value: Any) -> Any:
            wrapped = super().wrap_str_format(value)
            if wrapped is None:
                return None

            def formatted(*given: Any, **named: Any) -> Any:
                check_arguments("format", (value.__self__, *given, *named.values()))
                return wrapped(*given, **named)

            return formatted

    chat_template_utils.ImmutableSandboxedEnvironment = Bounded
