"""A planned job in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from core.methods.method import ModifierSpec
from core.methods.recipe import Recipe
from core.plan.sizes import Shape


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done to which shape; weights of the original in memory and of the artifact on disk, in bytes."""

    recipe: Recipe
    shape: Shape
    weights: int
    artifact: int
    modifiers: tuple[ModifierSpec, ...] = ()
    streams: bool = False
    """Whether it may go from file to file, a shard in memory at a time."""
    shards: int = 1
