"""Whether an artifact rounds its KV cache: said in its config, scaled in its files, done by the model when it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.measure.results import ProofCheck
from core.value import Json
from core.worker.proof_tensors import StoredTensor

NAME = "KV cache"

_SHOWN = 3


class CacheWatch:
    """Remembers which attention layers of a reloaded model round keys and values when it runs.

    transformers leaves the rounding to compressed-tensors, which puts a module in the place of each layer's cache.
    """

    def __init__(self, model: Any) -> None:
        from compressed_tensors.quantization import is_cached_attention_module

        self._layers = [name for name, module in model.named_modules() if is_cached_attention_module(module)]
        self._used: set[str] = set()
        for name in self._layers:
            module = model.get_submodule(name)
            scheme = getattr(getattr(module, "quantization_scheme", None), "input_activations", None)
            cache = getattr(module, "kv_cache", None)
            if scheme is not None and cache is not None:
                cache.register_forward_hook(self._hearing(name))

    def check(self, config: Mapping[str, Json], tensors: Sequence[StoredTensor], bits: int) -> ProofCheck:
        """The check, once the model has run. `bits` are those of keys and values."""
        scheme = (config.get("quantization_config") or {}).get("kv_cache_scheme")
        said = scheme.get("num_bits") if isinstance(scheme, dict) else None
        if said != bits:
            found = "names none" if said is None else f"says {said} bits"
            return _failed(f"Keys and values were to have {bits} bits, the config {found}.")
        if not self._layers:
            return _failed("The model has no attention layer whose cache could be rounded.")
        stored = {tensor.name for tensor in tensors}
        bare = [name for name in self._layers if not {f"{name}.k_scale", f"{name}.v_scale"} <= stored]
        if bare:
            return _failed(
                f"{len(bare)} of {len(self._layers)} layers have no scale for keys and values: {_first(bare)}"
            )
        idle = [name for name in self._layers if name not in self._used]
        if idle:
            return _failed(f"{len(idle)} of {len(self._layers)} layers do not round keys and values: {_first(idle)}")
        detail = f"{bits} bits, with a scale each for keys and values, in all {len(self._layers)} attention layers."
        return ProofCheck(name=NAME, passed=True, detail=detail)

    def _hearing(self, name: str) -> Callable[..., None]:
        def heard(_cache: Any, _inputs: Any, _output: Any) -> None:
            self._used.add(name)

        return heard


def _failed(detail: str) -> ProofCheck:
    return ProofCheck(name=NAME, passed=False, detail=detail)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
