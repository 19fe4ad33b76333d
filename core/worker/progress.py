"""What llmcompressor tells of its progress, turned into our events: the one file that reads log text.

Three sources, from the firmest to the loosest. A same-named subclass of each modifier passes every lifecycle event on
(stages, layers finished). A loguru sink reads the error and the time that are logged for each module. Stand-ins for
the tqdm bars of llmcompressor and compressed-tensors give the steps inside a layer. Where the wording of the last two
changes, figures are missing and nothing breaks.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from core.worker.reporter import Reporter

_FOREIGN = ("llmcompressor", "compressed_tensors")
_QUOTED = re.compile(r"'([^']+)'")
_PASS = re.compile(r"^\((\d+)/(\d+)\): (Calibrating|Propagating)")
_PLAIN = {
    "Preparing cache": "preparing the calibration data",
    "Applying quantization config": "preparing the modules",
    "Compressing model": "packing the weights",
}


def modifier_stage(index: int) -> str:
    """The stage id of the modifier with this place in the recipe."""
    return f"modifier-{index}"


class OutputEnergy:
    """Mean squared output of every module that is quantized, over the calibration samples, before quantization.

    GPTQ logs the sum of squared output errors per sample, a number between 0.1 and 10^6 that says nothing by itself.
    Divided by the sum of squared outputs per sample it is noise over signal, and the root of that is the relative
    error of the layer's output over the calibration text: |W'x - Wx| / |Wx|, 0.02 for 2 %. The dampening that GPTQ
    adds to its Hessian is in the numerator, so the figure is slightly too large, never too small.
    """

    def __init__(self) -> None:
        self._names: dict[Any, str] = {}
        self._handles: dict[Any, Any] = {}
        self._sums: dict[str, Any] = {}
        self._samples: dict[str, int] = {}

    def watch(self, model: Any) -> None:
        """Listen to the modules that carry a weight scheme."""
        for name, module in model.named_modules():
            scheme = getattr(module, "quantization_scheme", None)
            if getattr(scheme, "weights", None) is not None and module not in self._names:
                self._names[module] = name
                self._handles[module] = module.register_forward_hook(self._heard)

    def settle(self, modules: Iterable[Any]) -> None:
        """Stop listening to modules that are about to be quantized: what they give afterwards does not count."""
        for module in modules:
            if (handle := self._handles.pop(module, None)) is not None:
                handle.remove()

    def close(self) -> None:
        """Leave the model as it was."""
        self.settle(list(self._handles))
        self._sums.clear()
        self._samples.clear()

    def relative(self, name: str, error: float) -> float | None:
        """Root of the error over the output's energy; None where nothing was heard."""
        total = float(self._sums.pop(name, 0.0))
        samples = self._samples.pop(name, 0)
        return math.sqrt(max(error, 0.0) * samples / total) if total > 0 else None

    def _heard(self, module: Any, _inputs: Any, output: Any) -> None:
        import torch

        name = self._names[module]
        heard = output.detach()
        bias = getattr(module, "bias", None)
        if bias is not None:
            heard = heard - bias
        # A dot product of the flat output: on the CPU several times faster than a norm that converts as it goes.
        flat = heard.float().flatten()
        energy = torch.dot(flat, flat)
        self._sums[name] = self._sums.get(name, 0.0) + energy
        # GPTQ counts a three-dimensional input by its batch and anything flatter as one sample.
        self._samples[name] = self._samples.get(name, 0) + (heard.shape[0] if heard.dim() >= 3 else 1)


class CompressionProgress:
    """Follows one `oneshot` call and the save after it.

    Enter `running()` around both; give llmcompressor the modifiers that `reporting()` returns. The stage of the first
    modifier must be open already; later ones are opened here, as each modifier has its own pass over the data.
    """

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self._current = 0
        self._open = ExitStack()
        self._layers: frozenset[Any] = frozenset()
        self._done: set[Any] = set()
        self._named: list[str] = []
        self._seconds: float | None = None
        self._energy = OutputEnergy()
        self._inside = False
        """Whether the bars tell the steps inside the layers; then a layer ends with its second pass."""
        self._saving: tuple[str, float] | None = None

    def reporting(self, cls: type[Any], index: int) -> type[Any]:
        """A subclass of a modifier that reports its lifecycle; llmcompressor compares and saves names, so it stays."""
        heard = self._event

        def update_event(modifier: Any, state: Any, event: Any, **arguments: Any) -> None:
            heard(index, modifier, state, event, arguments.get("modules"), before=True)
            cls.update_event(modifier, state, event, **arguments)
            heard(index, modifier, state, event, arguments.get("modules"), before=False)

        return type(
            cls.__name__, (cls,), {"update_event": update_event, "__module__": cls.__module__, "__doc__": cls.__doc__}
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Listen to the log and the bars; everything is put back at the end."""
        from llmcompressor import logger

        sink = logger.add(self._logged, level="INFO", format="{message}", catch=False)
        with ExitStack() as undo:
            undo.callback(logger.remove, sink)
            undo.callback(self._energy.close)
            for put_back in _replace_bars(self._stepped):
                undo.callback(put_back)
            with self._open:
                self._open.enter_context(self._report.stage(modifier_stage(0)))
                yield

    def saving(self, stage: str, modules: int) -> None:
        """The modifiers are done; from here the bars belong to the stage that saves. `modules` are to be packed."""
        self._open.close()
        self._saving = (stage, float(modules))

    def _event(
        self, index: int, modifier: Any, state: Any, event: Any, modules: list[Any] | None, *, before: bool
    ) -> None:
        self._report.check()
        kind = getattr(event.type_, "value", "")
        if kind == "calibration_start" and before:
            self._enter(index, state.model)
        elif kind == "calibration_start" and getattr(modifier, "requires_calibration_data", False):
            # After the modifier's own start, when the schemes are on the modules and tracing is over.
            if type(modifier).__name__ == "GPTQModifier":
                self._energy.watch(state.model)
        elif kind == "sequential_epoch_end" and before:
            self._energy.settle(modules or ())
        elif kind == "sequential_epoch_end":
            self._done |= self._layers.intersection(modules or ())
            if not self._inside:
                self._step(len(self._done))
        elif kind == "calibration_end" and not before:
            self._energy.close()
            self._step(len(self._layers))

    def _enter(self, index: int, model: Any) -> None:
        if index != self._current:
            self._open.close()
            self._current = index
            self._open.enter_context(self._report.stage(modifier_stage(index)))
        self._layers = frozenset(decoder_layers(model))
        self._done = set()
        self._inside = False
        self._step(0)

    def _step(self, done: float, detail: str = "") -> None:
        total = len(self._layers)
        if not detail and total:
            detail = f"layer {min(int(done) + 1, total)} of {total}"
        self._report.progress(modifier_stage(self._current), min(done, total), total or None, detail)

    def _stepped(self, name: str, done: int, total: int | None) -> None:
        """One step of a foreign bar."""
        self._report.check()
        if self._saving is not None:
            stage, modules = self._saving
            if name == "Compressing model":
                self._report.progress(stage, min(done, modules), modules + 1, _PLAIN[name])
            return
        if (match := _PASS.match(name)) and total:
            # One pass collects, the second carries the quantized outputs on. The first of all is the embedding's.
            share = 0.5 * done / total + (0.0 if match[3] == "Calibrating" else 0.5)
            layer = int(match[1]) - 2
            if 0 <= layer < len(self._layers):
                self._inside = True
                self._step(layer + share)
        elif name in _PLAIN:
            self._step(len(self._done), _PLAIN[name])

    def _logged(self, message: Any) -> None:
        """One line of llmcompressor's log."""
        self._report.check()
        record = message.record
        text: str = record["message"]
        if text.startswith("Quantizing "):
            self._named = _QUOTED.findall(text)
        elif record["level"].name == "METRIC" and record["function"] == "GPTQ":
            self._figure(text)
        elif text.startswith("Hessian inversion failed"):
            self._report.warn("gptq-fallback", text)

    def _figure(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        try:
            value = float(rest.removesuffix("s"))
        except ValueError:
            return
        if word == "time":
            self._seconds = value
        elif word == "error" and self._named:
            # Modules quantized together leave their contexts last in, first out.
            name = self._named.pop()
            self._report.metric(
                "quantization_error",
                value,
                layer=name,
                relative=self._energy.relative(name, value),
                seconds=self._seconds,
            )
            self._seconds = None


def decoder_layers(model: Any) -> list[Any]:
    """The repeated blocks that llmcompressor walks through one by one, in order."""
    from compressed_tensors.utils import match_named_modules
    from llmcompressor.utils.pytorch.module import infer_sequential_targets

    return [module for _, module in match_named_modules(model, infer_sequential_targets(model))]


def _replace_bars(stepped: Callable[[str, int, int | None], None]) -> Iterator[Callable[[], None]]:
    """Swap `tqdm` in the foreign modules that imported it; yields what puts each back."""
    from tqdm import tqdm

    bar = _bar(tqdm, stepped)
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in _FOREIGN and getattr(module, "tqdm", None) is tqdm:
            module.tqdm = bar  # type: ignore[attr-defined]

            def put_back(module: Any = module) -> None:
                module.tqdm = tqdm

            yield put_back


def _bar(tqdm: type[Any], stepped: Callable[[str, int, int | None], None]) -> type[Any]:
    class Bar(tqdm):
        """A bar that draws nothing and says every step."""

        def __init__(self, iterable: Any = None, *args: Any, **options: Any) -> None:
            options["disable"] = True
            super().__init__(iterable, *args, **options)
            self._name = options.get("desc") or ""
            self._count = 0
            total = options.get("total", len(iterable) if hasattr(iterable, "__len__") else None)
            self._total = None if total is None else int(total)

        def __iter__(self) -> Iterator[Any]:
            for item in self.iterable:
                yield item
                self.update()

        def update(self, n: float | None = 1) -> None:
            self._count += int(n or 0)
            stepped(self._name, self._count, self._total)

    return Bar
