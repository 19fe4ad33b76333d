"""What llmcompressor tells of its progress, turned into our events.

Four sources, from the firmest to the loosest. A same-named subclass of each modifier passes every lifecycle event on
(stages, layers finished). A hook on the decoder layers hears every batch that passes. A sink on the log reads errors of
modules, and stand-ins for the tqdm bars give the steps inside a layer. Where the wording of the last two changes,
figures are missing and nothing breaks.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from core.value import Json
from core.worker import log_lines
from core.worker.foreign_bars import bars_heard
from core.worker.output_energy import OutputEnergy
from core.worker.reporter import Reporter

_PASS = re.compile(r"^\((\d+)/(\d+)\): (Calibrating|Propagating)")
_SMOOTHING, _SEARCH = "Smoothing", "Grid search for "
_PACKING = "Compressing model"
_AWQ = "llmcompressor.modifiers.transform.awq"
_PLAIN = {
    "Preparing cache": "preparing the calibration data",
    "Applying quantization config": "preparing the modules",
    _PACKING: "packing the weights",
}


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of a layer's time: passing the data through it, then working on it; the rest passes the data on."""

    collect: float
    work: float


_HALVES = Shares(collect=0.5, work=0.0)
_SHARES = {
    "AWQModifier": Shares(collect=0.05, work=0.9),
    "AutoRoundModifier": Shares(collect=0.05, work=0.95),
    "GPTQModifier": Shares(collect=0.2, work=0.65),
    "GPTQTModifier": Shares(collect=0.15, work=0.75),
    "SqueezeLLMModifier": Shares(collect=0.1, work=0.8),
    "SparseGPTModifier": Shares(collect=0.2, work=0.65),
}
"""As measured on a processor; for those that are not here the work is nothing beside the two passes."""

_OWN_ERROR = "quantization_error"
"""What the error of a module is called that a modifier of ours tells by `module_done`."""

_ERRORS = {
    "GPTQModifier": "quantization_error",
    "GPTQTModifier": "quantization_error",
    "SparseGPTModifier": "pruning_error",
}
"""What the error is called that these log for each module, in the same terms."""


def modifier_stage(index: int) -> str:
    """The stage id of the modifier with this place in the recipe."""
    return f"modifier-{index}"


class CompressionProgress:
    """Follows one `oneshot` call and the save after it.

    Enter `running()` around both; give llmcompressor the modifiers that `reporting()` returns. The stage of the first
    modifier must be open already; later ones are opened here, as each modifier has its own pass over the data.
    """

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self._current = 0
        self._kind = ""
        self._open = ExitStack()
        self._hooks = ExitStack()
        self._names: tuple[str, ...] = ()
        self._layers: tuple[Any, ...] = ()
        self._done: set[Any] = set()
        self._layer: int | None = None
        """The layer in which data passes or work goes on, where the bars tell."""
        self._working = False
        self._works = 0.0
        self._works_total = 0.0
        self._works_layers = 0
        """Layers that are worked on together, where no data passes."""
        self._named: list[str] = []
        self._seconds: float | None = None
        self._energy = OutputEnergy()
        self._saving: tuple[str, float] | None = None
        self.figures: list[Json] = []
        """What was reported of modules, as arguments of `Reporter.metric`."""
        self.taken_up: dict[int, int] = {}
        """Layers that were finished before this process, by the modifier's place in the recipe."""

    def figure(self, name: str, value: float, **more: Json) -> None:
        """Report a figure of a module, and remember it."""
        self.figures.append({"name": name, "value": value, **more})
        self._report.metric(name, value, **more)

    def reporting(self, cls: type[Any], index: int) -> type[Any]:
        """A subclass of a modifier that reports its lifecycle; llmcompressor compares and saves names, so it stays.

        Modifiers of ours may have a `module_done`, which says more than a log, and `works`, which counts what there is.
        """
        heard, done = self._event, self._module_done

        def update_event(modifier: Any, state: Any, event: Any, **arguments: Any) -> None:
            heard(index, modifier, state, event, arguments.get("modules"), before=True)
            cls.update_event(modifier, state, event, **arguments)
            heard(index, modifier, state, event, arguments.get("modules"), before=False)

        def module_done(_modifier: Any, name: str, relative: float, seconds: float) -> None:
            done(name, relative, seconds)

        members: dict[str, Any] = {"update_event": update_event, "__module__": cls.__module__, "__doc__": cls.__doc__}
        if hasattr(cls, "module_done"):
            members["module_done"] = module_done
        if hasattr(cls, "told"):
            # One of our own, which also says how far it is outside of any pass over the data.
            def told(_modifier: Any, done: float, total: float | None, detail: str) -> None:
                self._report.progress(modifier_stage(index), done, total, detail)

            def measured(_modifier: Any, name: str, value: float, layer: str, relative: float | None = None) -> None:
                self.figure(name, value, layer=layer, relative=relative)

            def warned(_modifier: Any, code: str, message: str) -> None:
                self._report.warn(code, message)

            members |= {"told": told, "measured": measured, "warned": warned}
        return type(cls.__name__, (cls,), members)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Listen to the logs and the bars; everything is put back at the end."""
        from llmcompressor import logger

        sink = logger.add(self._logged, level="DEBUG", format="{message}", filter=_is_of_interest, catch=False)
        with ExitStack() as undo:
            undo.callback(logger.remove, sink)
            undo.callback(self._energy.close)
            undo.enter_context(_autoround_heard(self._rounded))
            undo.enter_context(bars_heard(self._stepped))
            with self._open:
                self._open.enter_context(self._report.stage(modifier_stage(0)))
                with self._hooks:
                    yield

    def saving(self, stage: str, modules: int) -> None:
        """The modifiers are done; from here the bars belong to the stage that saves. `modules` are to be packed."""
        self._hooks.close()
        self._open.close()
        self._saving = (stage, float(modules))

    def _event(
        self, index: int, modifier: Any, state: Any, event: Any, modules: list[Any] | None, *, before: bool
    ) -> None:
        self._report.check()
        kind = getattr(event.type_, "value", "")
        if kind == "calibration_start" and before:
            self._enter(index, modifier, state.model)
        elif kind == "calibration_start" and getattr(modifier, "requires_calibration_data", False):
            # After the modifier's own start, when the schemes are on the modules and tracing is over.
            self._watch(modifier, state.model)
        elif kind == "sequential_epoch_end" and before:
            self._energy.settle(modules or ())
            self._begin_work(modifier, modules or ())
        elif kind == "sequential_epoch_end":
            self._working = False
            self._done |= set(self._layers).intersection(modules or ())
            if self._layer is None:
                self._step(len(self._done))
        elif kind == "calibration_end" and not before:
            self._energy.close()
            self._hooks.close()
            self._layer = None
            self._step(len(self._layers))

    def _enter(self, index: int, modifier: Any, model: Any) -> None:
        if index != self._current:
            self._open.close()
            self._current = index
            self._open.enter_context(self._report.stage(modifier_stage(index)))
        self._kind = type(modifier).__name__
        layers = decoder_layers(model)
        self._names, self._layers = tuple(layers), tuple(layers.values())
        self._done = set(self._layers[: self.taken_up.get(index, 0)])
        self._layer = None
        self._step(len(self._done))

    def _watch(self, modifier: Any, model: Any) -> None:
        """Hear every batch that passes a decoder layer, and how much the modules give whose errors will be logged."""

        def passes(_layer: Any, _inputs: Any) -> None:
            # A plain function: AutoRound may copy the layer, and a method would take this whole object with it.
            self._report.check()
            if self._working and self._kind == "AutoRoundModifier":
                self._worked(self._works + 1)

        for layer in self._layers:
            self._hooks.callback(layer.register_forward_pre_hook(passes).remove)
        if self._kind == "GPTQModifier":
            self._energy.watch((name, module) for name, module in model.named_modules() if _has_weight_scheme(module))
        elif self._kind == "GPTQTModifier":
            self._energy.watch((name, module) for module, name in modifier.compressed.items())
        elif self._kind == "SparseGPTModifier":
            linear = (pair for pair in model.named_modules() if type(pair[1]).__name__ == "Linear")
            self._energy.watch(linear)

    def _begin_work(self, modifier: Any, modules: Iterable[Any]) -> None:
        """The data has passed; `modules` are about to be changed."""
        modules = list(modules)
        self._working = True
        self._works = 0.0
        self._works_layers = len(set(self._layers).intersection(modules))
        match self._kind:
            case "GPTQModifier":
                self._works_total = sum(map(_has_weight_scheme, modules))
            case "GPTQTModifier":
                self._works_total = sum(module in modifier.compressed for module in modules)
            case "SparseGPTModifier":
                self._works_total = sum(type(module).__name__ == "Linear" for module in modules)
            case "AutoRoundModifier":
                self._works_total = float(modifier.iters)
            case _ if hasattr(modifier, "works"):
                self._works_total = float(modifier.works(modules))
            case _:
                self._works_total = 0.0

    def _module_done(self, name: str, relative: float, seconds: float) -> None:
        """A modifier of ours is done with a module; `relative` is its error, 0 to 1."""
        self._report.check()
        self.figure(_OWN_ERROR, relative, layer=name, relative=relative, seconds=seconds)
        self._worked(self._works + 1)
        if self._layer is None and self._works_total:
            self._step(len(self._done) + self._works_layers * min(self._works / self._works_total, 1.0))

    def _worked(self, done: float) -> None:
        """Part of the work on the current layer is done."""
        self._works = done
        if self._layer is not None and self._works_total:
            shares = self._shares
            self._step(self._layer + shares.collect + shares.work * min(done / self._works_total, 1.0))

    @property
    def _shares(self) -> Shares:
        return _SHARES.get(self._kind, _HALVES)

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
            if name == _PACKING:
                self._report.progress(stage, min(done, modules), modules + 1, _PLAIN[name])
        elif (match := _PASS.match(name)) and total:
            # The first pass of all is the embedding's, and the last the head's.
            layer = int(match[1]) - 2
            self._layer = layer if 0 <= layer < len(self._layers) else None
            if self._layer is not None:
                shares, share = self._shares, done / total
                if match[3] == "Calibrating":
                    self._step(layer + shares.collect * share)
                else:
                    past = shares.collect + shares.work
                    self._step(layer + past + (1 - past) * share)
        elif name == _SMOOTHING and total:
            self._works_total = total
            self._worked(done)
        elif name.startswith(_SEARCH) and total:
            self._worked(int(self._works) + min(done / total, 0.999))
        elif name in _PLAIN:
            self._step(len(self._done), _PLAIN[name])

    def _logged(self, message: Any) -> None:
        """One line of llmcompressor's log."""
        self._report.check()
        record = message.record
        text: str = record["message"]
        if record["level"].name == "METRIC":
            self._figure(text)
        elif names := log_lines.quantizing(text):
            self._named = list(names)
        elif name := log_lines.sparsifying(text):
            self._named = [name]
        elif found := log_lines.searched(text):
            self.figure("smoothing_error", found.after, layer=found.name)
        elif text.startswith("Hessian inversion failed"):
            self._report.warn("gptq-fallback", text)
        elif text.startswith("Failed to invert hessian"):
            self._report.warn("sparsegpt-fallback", text)

    def _figure(self, text: str) -> None:
        found = log_lines.figure(text)
        if found is None or not self._named:
            return
        word, value = found
        if word == "time":
            self._seconds = value
        elif self._kind in _ERRORS:
            # Modules quantized together leave their contexts last in, first out.
            name = self._named.pop()
            self.figure(
                _ERRORS[self._kind],
                value,
                layer=name,
                relative=self._energy.relative(name, value),
                seconds=self._seconds,
            )
            self._seconds = None
            self._worked(self._works + 1)

    def _rounded(self, text: str) -> None:
        """One line of AutoRound's log."""
        self._report.check()
        found = log_lines.rounded(text)
        if found is None or found.before is None or found.after is None or self._layer is None:
            return
        name = self._names[self._layer]
        self.figure("rounding_loss_before", found.before, layer=name)
        self.figure("rounding_loss", found.after, layer=name)


def decoder_layers(model: Any) -> dict[str, Any]:
    """The repeated blocks that llmcompressor walks through one by one, by name, in order."""
    from compressed_tensors.utils import match_named_modules
    from llmcompressor.utils.pytorch.module import infer_sequential_targets

    return dict(match_named_modules(model, infer_sequential_targets(model)))


def _has_weight_scheme(module: Any) -> bool:
    return getattr(getattr(module, "quantization_scheme", None), "weights", None) is not None


def _is_of_interest(record: Any) -> bool:
    """AWQ tells what its searches found at the level DEBUG alone."""
    return bool(
        record["level"].no >= logging.INFO or record["name"].startswith("llmcompressor.modifiers.transform.awq")
    )


@contextmanager
def _autoround_heard(heard: Callable[[str], None]) -> Iterator[None]:
    """AutoRound logs through a logger of its own; its lines keep going to the worker's log as well."""

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard(record.getMessage())

    logger, ear = logging.getLogger("autoround"), Ear(logging.INFO)
    logger.addHandler(ear)
    try:
        yield
    finally:
        logger.removeHandler(ear)
