"""The best scheme for every part within a size: a multiple-choice knapsack, solved exactly by HiGHS through scipy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from core.errors import BitpressError
from core.measure.sensitivity_values import UNQUANTIZED, Assignment, Part, Sensitivity
from core.value import Value

_SECONDS = 120.0
"""Longest time for the solver: real models take well under a second."""

_SPREAD = 1e6
"""What the sum of all divergences is scaled to: HiGHS stops at an absolute gap of 1e-6, which is then nothing."""

_BUDGET = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9_]*)\s*)?(?:(?P<percent>[+-]\s*\d+(?:\.\d+)?)\s*%)?", flags=re.ASCII
)
_BYTES = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>B|kB|MB|GB|KiB|MiB|GiB)?", flags=re.ASCII | re.IGNORECASE)
_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


class Budget(Value):
    """How large the parts may be together: so many bytes, or a uniform scheme's bytes and some per cent of them.

    `scheme` empty is the smallest uniform scheme that was measured.
    """

    bytes: int | None = None
    scheme: str = ""
    percent: float = 0.0


def read_budget(text: str) -> Budget:
    """`+10%`, `W4A16+10%`, `W4A16`, `52000000`, or `52 MB`. Raises BitpressError `bad-setting`."""
    text = text.strip()
    if text and (found := _BYTES.fullmatch(text)):
        return Budget(bytes=int(float(found["number"]) * _UNITS[(found["unit"] or "B").lower()]))
    if text and (found := _BUDGET.fullmatch(text)):
        percent = float((found["percent"] or "0").replace(" ", ""))
        return Budget(scheme=(found["scheme"] or "").upper(), percent=percent)
    raise BitpressError(
        "bad-setting",
        f"{text!r} is no budget.",
        "Write +10% (over the smallest scheme), W4A16+10%, or a size such as 52MB.",
    )


def budget_bytes(budget: Budget, uniform: Mapping[str, int]) -> int:
    """The budget in bytes; `uniform` are the bytes of all parts in each single scheme.

    Raises BitpressError `unknown-scheme` where the scheme that it names was not measured on every part.
    """
    if budget.bytes is not None:
        return budget.bytes
    known = {name: size for name, size in uniform.items() if name != UNQUANTIZED}
    if not known:
        raise BitpressError(
            "unknown-scheme",
            "No scheme takes every part of this model, so there is no uniform size to reckon from.",
            "Give the budget in bytes, for example 52MB, or another group size.",
        )
    scheme = budget.scheme or min(known, key=known.__getitem__)
    if scheme not in uniform:
        raise BitpressError(
            "unknown-scheme",
            f"The budget names {scheme}, which is not among the schemes that every part can take.",
            f"Name one of {', '.join(uniform)}, or give bytes.",
        )
    return int(uniform[scheme] * (1 + budget.percent / 100))


def uniform_bytes(parts: Sequence[Part], sizes: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Bytes of all parts in each single scheme that every part can take, and unquantized where that is known.

    `sizes` are the bytes by (part key, scheme).
    """
    found: dict[str, int] = {}
    for scheme in dict.fromkeys(scheme for _, scheme in sizes):
        if all((part.key, scheme) in sizes for part in parts):
            found[scheme] = sum(sizes[part.key, scheme] for part in parts)
    if parts and all(part.bytes for part in parts):
        found[UNQUANTIZED] = sum(part.bytes for part in parts)
    return found


def least_bytes(parts: Sequence[Part], sizes: Mapping[tuple[str, str], int]) -> int:
    """Bytes with every part in its smallest scheme."""
    choices: dict[str, list[int]] = {part.key: [part.bytes] if part.bytes else [] for part in parts}
    for (key, _), size in sizes.items():
        choices[key].append(size)
    return sum(min(found) for found in choices.values() if found)


def require_room(budget: int, least: int) -> None:
    """Raises BitpressError `budget-too-small` with the least bytes that are possible."""
    if budget < least:
        raise BitpressError(
            "budget-too-small",
            f"The budget is {budget:,} bytes, and the smallest choice of these schemes takes {least:,} bytes.",
            f"Allow at least {least:,} bytes, or offer a smaller scheme.",
        )


def assign(parts: Sequence[Part], cells: Sequence[Sensitivity], budget: int) -> Assignment:
    """The schemes with the smallest summed divergence above noise within `budget` bytes; a part may stay unquantized.

    Exact: an integer program with a binary variable for each part and scheme. Raises BitpressError `budget-too-small`,
    `nothing-measured` where a part has no cell and no size of its own, and `no-assignment` where the solver gives up.
    """
    choices = _choices(parts, cells)
    sizes = {(cell.part, cell.scheme): cell.bytes for cell in cells}
    require_room(budget, least_bytes(parts, sizes))
    chosen = _solved(choices, budget)
    return Assignment(
        budget_bytes=budget,
        bytes=sum(choices[key][scheme][0] for key, scheme in chosen.items()),
        schemes=chosen,
        predicted_kl=sum(choices[key][scheme][1] for key, scheme in chosen.items()),
        uniform=uniform_bytes(parts, sizes),
    )


def _choices(parts: Sequence[Part], cells: Sequence[Sensitivity]) -> dict[str, dict[str, tuple[int, float]]]:
    """(bytes, divergence) by part and scheme."""
    found: dict[str, dict[str, tuple[int, float]]] = {part.key: {} for part in parts}
    for cell in cells:
        found[cell.part][cell.scheme] = (cell.bytes, max(0.0, cell.kl.value))
    for part in parts:
        if part.bytes:
            found[part.key][UNQUANTIZED] = (part.bytes, 0.0)
        if not found[part.key]:
            raise BitpressError(
                "nothing-measured",
                f"{part.key} was measured in no scheme.",
                "Measure again, with a group size that divides its columns.",
            )
    return found


def _solved(choices: Mapping[str, Mapping[str, tuple[int, float]]], budget: int) -> dict[str, str]:
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_matrix

    options = [(key, scheme, *figures) for key, found in choices.items() for scheme, figures in found.items()]
    sizes = np.array([size for _, _, size, _ in options], dtype=np.float64)
    losses = np.array([loss for _, _, _, loss in options], dtype=np.float64)
    rows = {key: row for row, key in enumerate(choices)}
    place = np.array([rows[key] for key, *_ in options])
    # Over what each part takes at least: whole models are billions of bytes, and the solver's tolerance is relative.
    least = np.full(len(rows), np.inf)
    np.minimum.at(least, place, sizes)
    extra, room = sizes - least[place], float(budget - least.sum())
    scale = max(room, 1.0)
    one_each = csr_matrix((np.ones(len(options)), (place, np.arange(len(options)))), shape=(len(rows), len(options)))
    usable = extra <= room
    # A tolerance may let a few bytes too many through; then once more with a hair less room.
    for slack in (0.0, 1e-6, 1e-4):
        result = milp(
            c=losses * (_SPREAD / max(float(losses.sum()), 1e-300)),
            integrality=np.ones(len(options)),
            bounds=Bounds(0, usable.astype(np.float64)),
            constraints=[
                LinearConstraint(one_each, 1, 1),
                LinearConstraint((extra / scale)[None, :], -np.inf, (room / scale) * (1 - slack)),
            ],
            options={"mip_rel_gap": 0.0, "time_limit": _SECONDS},
        )
        if result.x is None:
            break
        chosen = {key: scheme for (key, scheme, *_), used in zip(options, result.x, strict=True) if used > 0.5}
        if len(chosen) == len(rows) and sum(choices[key][scheme][0] for key, scheme in chosen.items()) <= budget:
            return chosen
    raise BitpressError(
        "no-assignment",
        f"The solver found no assignment: {result.message}",
        "Offer fewer schemes, or another budget.",
    )
