"""The original against itself under changes that mean nothing: what lies under that is no measurable difference.

Two of them. **Rounding**: what every decoder layer gives is moved by as little as bfloat16 resolves, so that the result
is one that other kernels or another GPU could as well have given. **Batch**: every row alone instead of padded among
others, which changes nothing but the order in which a library adds. The first is the self-noise floor of exllamav3's
qbench, which runs its reference again with noise of bfloat16's size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from core.durable import write_whole
from core.measure.fidelity import summarise
from core.measure.passages import Row, batches, even_shares
from core.measure.results import Fidelity, NoiseFloor
from core.value import Received
from core.worker.kept_scores import KeptScores, batch_counts
from core.worker.scoring import FromModel, forward, score, scored_others, scored_tokens

TOKENS = 1024
"""Most tokens of each text that are run again: with both kinds, three passes over them."""

DOCUMENTS = 16
"""Most documents of each text that they are taken from; enough to resample documents."""

HALF_UNIT = 2.0**-9
"""Half a unit in the last place of bfloat16, relative, where its mantissa is largest."""

ROUNDING = "The original again, every layer's output moved by what bfloat16 rounds away"
BATCH = "The original again, one row at a time instead of in batches"
VERSION = 1
"""Raised when the way of measuring changes, so that kept floors are not taken for new ones."""


class NoiseFloors(Received):
    """The floors over all texts and text by text."""

    together: tuple[NoiseFloor, ...]
    texts: tuple[tuple[NoiseFloor, ...], ...]


@dataclass(frozen=True, slots=True)
class RowByRow:
    """A model in memory, run on each row of a batch by itself, without padding."""

    path: str
    model: Any
    rows: Sequence[Row]

    def logits(self, batch: Sequence[int], ids: torch.Tensor, keep: int) -> torch.Tensor:
        """In the shape of a batch that was run together; what stands behind a row's own tokens means nothing."""
        alone = []
        for place, index in enumerate(batch):
            length = len(self.rows[index].ids)
            alone.append(forward(self.model, ids[place : place + 1, :length], length)[0])
        return torch.nn.utils.rnn.pad_sequence(alone, batch_first=True)


@dataclass(frozen=True, slots=True)
class Disturbed:
    """A model in memory whose decoder layers give what they give, moved by bfloat16's rounding; seeded."""

    path: str
    model: Any
    layers: tuple[Any, ...]
    generator: torch.Generator

    def logits(self, batch: Sequence[int], ids: torch.Tensor, keep: int) -> torch.Tensor:
        """One forward pass with the noise."""
        with _moved(self.layers, self.generator):
            return forward(self.model, ids, keep)


def noise_rows(rows: Sequence[Row], tokens: int = TOKENS, documents: int = DOCUMENTS) -> tuple[Row, ...]:
    """The beginnings of rows that are run again: of each text some documents, evenly spread, all cut to one height."""
    found: list[Row] = []
    for text in sorted({row.text for row in rows}):
        first: dict[int, Row] = {}
        for row in rows:
            if row.text == text:
                first.setdefault(row.document, row)
        # A text of few documents gives several rows of each, so that it still has its tokens.
        firsts = list(first.values())
        chosen = firsts if len(firsts) >= documents // 2 else [row for row in rows if row.text == text]
        step = max(1.0, len(chosen) / documents)
        spread = [chosen[int(place * step)] for place in range(min(documents, len(chosen)))]
        shares = even_shares([row.scored for row in spread], tokens)
        found += [
            replace(row, ids=row.ids[: row.first + share]) for row, share in zip(spread, shares, strict=True) if share
        ]
    return tuple(found)


def moved(output: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """x (1 + u) with u uniform within half a unit in the last place of bfloat16 (2^-9), in the dtype of x.

    float32 and float16 resolve the product. bfloat16 itself does not: rounded to the nearest, nearly every product
    would be x again. It is then rounded up or down by chance, in proportion to how near each is (stochastic rounding:
    Croci et al., "Stochastic rounding: implementation, error analysis and applications", 2022), so that the mean and
    the size of the disturbance stay what they are in float32.
    """
    noise = torch.empty(output.shape, dtype=torch.float32, device=output.device)
    product = output.float() * noise.uniform_(1.0 - HALF_UNIT, 1.0 + HALF_UNIT, generator=generator)
    if output.dtype != torch.bfloat16:
        return product.to(output.dtype)
    # bfloat16 is the upper half of float32: noise added to the lower half carries over as often as it should.
    lower = torch.randint(0, 2**16, output.shape, dtype=torch.int32, device=output.device, generator=generator)
    bits = torch.where(torch.isfinite(product), product.view(torch.int32) + lower, product.view(torch.int32))
    return (bits & -65536).view(torch.float32).to(torch.bfloat16)


def decoder_layers(model: Any) -> tuple[Any, ...]:
    """The modules of the decoder's longest list that is not inside another list; empty where there is none."""
    try:
        decoder = model.get_decoder()
    except (AttributeError, NotImplementedError):
        decoder = model
    named = [
        (name, module)
        for name, module in decoder.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module)
    ]
    # Experts are a list inside every layer, and may be more than there are layers.
    outer = [
        module for name, module in named if not any(name.startswith(f"{other}.") for other, _ in named if other != name)
    ]
    return max((tuple(layers) for layers in outer), key=len, default=())


def measure_floors(
    path: str,
    model: Any,
    rows: Sequence[Row],
    names: Sequence[str],
    *,
    batch_tokens: int,
    device: torch.device,
    seed: int,
    after_batch: Callable[[int, int], None],
    check: Callable[[], None],
    kept: Callable[[Sequence[int], torch.Generator], KeptScores | None] = lambda _c, _g: None,
) -> NoiseFloors:
    """Run the original three times over some of the rows.

    `after_batch` hears how many batches are done, and of how many; `kept` is asked for what is known of the batches of
    so many tokens each, which goes on with the random numbers where it was.
    """
    chosen = noise_rows(rows)
    plan = batches(chosen, batch_tokens)
    generator = torch.Generator(device=device).manual_seed(seed)
    changed = (
        ("rounding", ROUNDING, Disturbed(path, model, decoder_layers(model), generator)),
        ("batch", BATCH, RowByRow(path, model, chosen)),
    )
    scores = score(
        FromModel(path, model),
        [source for _, _, source in changed],
        chosen,
        plan,
        device=device,
        after_batch=lambda done: after_batch(done, len(plan)),
        check=check,
        kept=kept(batch_counts(chosen, plan), generator),
    )
    kinds = tuple((kind, title) for kind, title, _ in changed)
    summary = summarise(scored_tokens(chosen, scores), scored_others(kinds, scores), names, seed=seed)
    counted = {index: sum(row.scored for row in chosen if row.text == index) for index in range(len(names))}
    return NoiseFloors(
        together=_floors(kinds, summary.others, sum(counted.values())),
        texts=tuple(_floors(kinds, text.others, counted[index]) for index, text in enumerate(summary.texts)),
    )


def kept_floors(folder: Path, key: str) -> NoiseFloors | None:
    """The floors of this key, or None where there are none that can be read."""
    try:
        return NoiseFloors.model_validate_json((folder / f"{key}.json").read_bytes())
    except (OSError, ValidationError, ValueError):
        return None


def keep_floors(folder: Path, key: str, floors: NoiseFloors) -> None:
    """Beside and renamed, so that a kept file is a whole one. A full disk costs the place in the cache, no more."""
    with suppress(OSError):
        write_whole(folder / f"{key}.json", floors.model_dump_json().encode())


def floors_key(reference: str, seed: int) -> str:
    """A name for everything that the floors depend on; `reference` is the key of what the original computes."""
    facts = json.dumps([reference, seed, TOKENS, DOCUMENTS, HALF_UNIT, VERSION])
    return hashlib.sha256(facts.encode()).hexdigest()


def _floors(kinds: Sequence[tuple[str, str]], found: Sequence[Fidelity], tokens: int) -> tuple[NoiseFloor, ...]:
    return tuple(
        NoiseFloor(
            kind=kind,
            title=title,
            tokens=tokens,
            perplexity_ratio=one.perplexity_ratio,
            kl=one.kl,
            kl_interval=one.kl_interval,
            same_top1=one.same_top1,
        )
        for (kind, title), one in zip(kinds, found, strict=True)
    )


@contextmanager
def _moved(layers: Sequence[Any], generator: torch.Generator) -> Iterator[None]:
    def move(_module: Any, _inputs: Any, output: Any) -> Any:
        if isinstance(output, torch.Tensor):
            return moved(output, generator)
        # Some layers give (hidden states, what else there is).
        return (moved(output[0], generator), *output[1:])

    handles = [layer.register_forward_hook(move) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
