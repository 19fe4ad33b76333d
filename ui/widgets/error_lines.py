"""Errors of a job's modules sorted into one line per module type, without Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.jobs.protocol import LAYER_ERRORS, Metric

_ORDER = ("q_proj", "k_proj", "v_proj", "qkv_proj", "o_proj", "gate_proj", "up_proj", "gate_up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """One module type: (layer counted from 1, error) in the order of layers; errors are above zero."""

    kind: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class ErrorLines:
    """All lines of a job. `relative` says that every error is a share of the layer's output, else it is a raw sum."""

    lines: tuple[ErrorLine, ...]
    relative: bool
    unit: str

    @property
    def layers(self) -> int:
        return max((layer for line in self.lines for layer, _ in line.points), default=0)


def error_lines(metrics: Sequence[Metric]) -> ErrorLines:
    """The errors of modules among `metrics`, of quantization or pruning.

    Where several modules of a type stand in one layer (experts), the largest error counts. Relative errors are used
    only where every module has one: two kinds of numbers on one axis would mislead.
    """
    errors = [metric for metric in metrics if metric.name in LAYER_ERRORS and metric.layer]
    relative = bool(errors) and all(metric.relative is not None for metric in errors)
    table: dict[str, dict[int, float]] = {}
    for metric in errors:
        layer = layer_of(metric.layer)
        value = metric.relative if relative and metric.relative is not None else metric.value
        if layer is None or not value > 0:
            continue
        points = table.setdefault(metric.layer.rsplit(".", 1)[-1], {})
        points[layer] = max(value, points.get(layer, 0.0))
    lines = tuple(ErrorLine(kind, tuple(sorted(table[kind].items()))) for kind in sorted(table, key=_rank))
    units = {metric.unit for metric in errors if metric.unit}
    return ErrorLines(lines, relative, units.pop() if len(units) == 1 else "")


def layer_of(module: str) -> int | None:
    """The layer in a module's name, counted from 1: model.layers.18.mlp.up_proj is in layer 19."""
    number = next((part for part in module.split(".") if part.isdecimal()), None)
    return None if number is None else int(number) + 1


def _rank(kind: str) -> tuple[int, str]:
    return (_ORDER.index(kind) if kind in _ORDER else len(_ORDER), kind)
