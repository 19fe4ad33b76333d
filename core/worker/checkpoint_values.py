"""What a calibration pass holds beside the model, as JSON over kept tensors: activations between layers, random states.

Nothing is ever unpickled: a value of a kind that is not listed here cannot be kept, and there is no checkpoint then.
"""

from __future__ import annotations

import hashlib
import random
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import torch
from llmcompressor.pipelines.cache import IntermediatesCache, IntermediateValue

from core.value import Json
from core.worker.checkpoint_tensors import CannotBeKeptError, DoesNotFitError, as_it_lay, laid_out, raw_bytes

KeepTensor = Callable[[torch.Tensor], Json]
TakeTensor = Callable[[Json], torch.Tensor]

_PLAIN = (bool, int, float, str, type(None))


def packed(value: Any, keep: KeepTensor) -> Json:
    """A value as JSON, its tensors given to `keep`. Raises CannotBeKeptError."""
    if isinstance(value, IntermediateValue):
        device = None if value.device is None else str(value.device)
        return {"onload": device, "value": packed(value.value, keep)}
    if isinstance(value, torch.Tensor):
        return {"tensor": keep(value)}
    if type(value) in _PLAIN:
        return {"plain": value}
    if type(value) in (list, tuple):
        return {type(value).__name__: [packed(one, keep) for one in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: packed(one, keep) for key, one in value.items()}}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    raise CannotBeKeptError(f"a {type(value).__name__}")


def unpacked(kept: Json, take: TakeTensor) -> Any:
    """The value that `packed` made JSON of. Raises DoesNotFitError."""
    match kept:
        case {"onload": device, "value": inner}:
            return IntermediateValue(unpacked(inner, take), None if device is None else torch.device(device))
        case {"tensor": reference}:
            return take(reference)
        case {"plain": value} if type(value) in _PLAIN:
            return value
        case {"list": [*inside]}:
            return [unpacked(one, take) for one in inside]
        case {"tuple": [*inside]}:
            return tuple(unpacked(one, take) for one in inside)
        case {"dict": dict() as inside}:
            return {str(key): unpacked(one, take) for key, one in inside.items()}
        case {"dtype": str() as name} if isinstance(found := getattr(torch, name, None), torch.dtype):
            return found
        case {"device": str() as name}:
            return torch.device(name)
    raise DoesNotFitError("it holds a value of an unknown kind")


@dataclass(slots=True)
class Shelf:
    """The tensors that go into one file, each under a key of its own; the same tensor once.

    Where contents are `compared`, equal ones are stored once as well: the masks of samples of one length are the same.
    """

    file: str
    compared: bool = False
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    known: dict[int, tuple[weakref.ref[torch.Tensor], Json]] = field(default_factory=dict)
    contents: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def keep(self, tensor: torch.Tensor) -> Json:
        """Where the tensor is stored: file, key, how it lies, and which one it is among all."""
        known = self.known.get(id(tensor))
        if known is not None and known[0]() is tensor:
            return known[1]
        stored, layout = laid_out(tensor)
        place = (self.file, f"t{len(self.tensors)}")
        digest = b""
        if self.compared:
            looks = f"{stored.dtype}{tuple(stored.shape)}".encode()
            digest = hashlib.sha256(looks + memoryview(raw_bytes(stored)).tobytes()).digest()
            place = self.contents.get(digest, place)
        if place[0] == self.file and place[1] not in self.tensors:
            self.tensors[place[1]] = stored
            if self.compared:
                self.contents[digest] = place
        reference = [*place, layout, str(tensor.device), next(self.numbers)]
        self.known[id(tensor)] = (weakref.ref(tensor), reference)
        return reference

    def next(self, file: str) -> Shelf:
        """A shelf for a further file that remembers what lies in this one."""
        return Shelf(file, self.compared, {}, self.known, self.contents, self.numbers)


def taker(files: Mapping[str, Mapping[str, torch.Tensor]]) -> TakeTensor:
    """Gives tensors by reference; the same reference gives the same tensor, and no two share memory otherwise."""
    given: dict[tuple[str, str, int], torch.Tensor] = {}
    used: set[tuple[str, str]] = set()

    def take(reference: Json) -> torch.Tensor:
        match reference:
            case [str() as file, str() as key, layout, str() as device, int() as number]:
                place = (file, key, number)
                if place in given:
                    return given[place]
                stored = files.get(file, {}).get(key)
                if stored is None:
                    raise DoesNotFitError(f"{file} lacks a tensor")
                whole = as_it_lay(stored.clone() if (file, key) in used else stored, layout)
                used.add((file, key))
                given[place] = whole if device == "cpu" else whole.to(device)
                return given[place]
        raise DoesNotFitError("it names a tensor in an unknown way")

    return take


def split_names(batch: Mapping[str, Any], fleeting: frozenset[str] | set[str]) -> tuple[list[str], list[str]]:
    """The names of a batch's values: those that the next layer uses up, and those that stay for later ones."""
    return [name for name in batch if name in fleeting], [name for name in batch if name not in fleeting]


def packed_activations(
    activations: IntermediatesCache, fleeting: set[str], lasting: Shelf, passing: Shelf
) -> list[dict[str, Json]]:
    """The cache as JSON; what the next subgraph uses up goes to `passing`, all else to `lasting`."""
    kept = []
    for batch in activations.batch_intermediates:
        soon, later = split_names(batch, fleeting)
        places = {name: packed(batch[name], passing.keep) for name in soon}
        places |= {name: packed(batch[name], lasting.keep) for name in later}
        kept.append({name: places[name] for name in batch})
    return kept


def unpacked_activations(kept: Json, take: TakeTensor, offload_device: torch.device) -> IntermediatesCache:
    """The cache again. Raises DoesNotFitError."""
    if not isinstance(kept, list) or not all(isinstance(batch, dict) for batch in kept):
        raise DoesNotFitError("it holds no activations")
    found = [{str(name): unpacked(value, take) for name, value in batch.items()} for batch in kept]
    if not all(isinstance(value, IntermediateValue) for batch in found for value in batch.values()):
        raise DoesNotFitError("it holds other values than activations")
    return IntermediatesCache(found, offload_device)


def random_states(keep: KeepTensor) -> Json:
    """The states of all sources of random numbers that a job draws from."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": [version, list(words), gauss],
        "numpy": [str(name), [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
        "torch": keep(torch.get_rng_state()),
        "cuda": [keep(state) for state in devices],
    }


def set_random_states(kept: Json, take: TakeTensor) -> None:
    """Put them back. Raises DoesNotFitError."""
    try:
        version, words, gauss = kept["python"]
        random.setstate((version, tuple(words), gauss))
        name, keys, position, has_gauss, cached = kept["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
        torch.set_rng_state(take(kept["torch"]))
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all([take(state) for state in kept["cuda"]])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DoesNotFitError("it holds no states of random numbers") from error
