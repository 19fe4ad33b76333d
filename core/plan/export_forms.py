"""The forms in which a compressed model can leave the application: which are possible, and what each takes."""

from __future__ import annotations

from enum import StrEnum

from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.methods.resolve_recipe import resolve_recipe
from core.models.local_model import LocalModel
from core.models.quantized import CODEBOOK
from core.models.survey import Survey
from core.plan.artifact_layout import Change, artifact_layout, change_of, layout_bytes
from core.plan.finding import Finding, Severity
from core.plan.words import size
from core.value import Value

ROUNDED = "rtn-w4a16"
"""The method that makes W4A16 of a plain model without data."""

_GROUP = 32
"""Weights that share a scale: the fewest that engines have kernels for. Exported tables of the starter model were at a
mean KL of 0.33 from the artifact with it, and at 0.39 with groups of 64, for 3 % more bytes."""

COST = (
    "The values of the tables are rounded once more, to an even grid of 16 steps for each group of weights. The proof "
    "tells how far each module and the whole model then are from the artifact. Where the original is at hand, GPTQ "
    "W4A16 of it comes nearer."
)


class Form(StrEnum):
    """What an artifact becomes."""

    PLAIN = "plain"
    W4A16 = "w4a16"


class Offered(Value):
    """One form, for one artifact. `why_not` is empty where it is possible; `bytes` is None where nobody knows."""

    form: Form
    title: str
    about: str
    bytes: int | None = None
    room: int | None = None
    """Bytes of disk that are needed on the way."""
    why_not: str = ""

    @property
    def size_words(self) -> str:
        """What it comes to, for a person."""
        if self.bytes is None or self.why_not:
            return ""
        on_the_way = f"; {size(self.room)} on the way" if self.room and self.room > self.bytes else ""
        return f"about {size(self.bytes)}{on_the_way}"


def rounded_recipe(survey: Survey) -> Recipe:
    """How W4A16 is made of tables: in the finest groups that the layers' columns allow."""
    usual = resolve_recipe(ROUNDED, {}, None, survey)
    group = usual.parameters["group_size"]
    if isinstance(group, int) and group > _GROUP:
        return resolve_recipe(ROUNDED, {"group_size": _GROUP}, None, survey)
    return usual


def offered(
    model: LocalModel, survey: Survey | None, recipe: Recipe | None, *, turns: bool = False
) -> tuple[Offered, ...]:
    """Every form. `recipe` is that of `ROUNDED` for this model; `turns` says that it rotates while it runs."""
    plain = None if survey is None else layout_bytes(artifact_layout(survey, Change()))
    rounded = None
    if survey is not None and recipe is not None:
        rounded = layout_bytes(artifact_layout(survey, change_of(find(recipe.method), recipe.parameters)))
    return (
        Offered(
            form=Form.PLAIN,
            title="Plain weights in 16 bits",
            about="Ordinary safetensors in the model's own dtype. The same numbers, so the same answers; it loads in "
            "every program, and nothing of its size is saved.",
            bytes=plain,
            room=plain,
            why_not=_why_not_plain(model, turns=turns),
        ),
        Offered(
            form=Form.W4A16,
            title="W4A16 for vLLM",
            about=f"compressed-tensors, which vLLM serves with its own kernels. {COST}",
            bytes=rounded,
            room=None if plain is None or rounded is None else plain + rounded,
            why_not=_why_not_w4a16(model),
        ),
    )


def room_finding(one: Offered, free: int) -> Finding | None:
    """Whether the disk holds it."""
    if one.room is None or one.room <= free:
        return None
    return Finding(
        code="disk-too-small",
        severity=Severity.BLOCKS,
        message=f"It needs about {size(one.room)} of disk on the way, and {size(free)} are free there.",
    )


def _why_not_plain(model: LocalModel, *, turns: bool) -> str:
    kind = model.quantization or ""
    if not kind:
        return "It is plain already: every program opens the folder as it is."
    if not kind.startswith((CODEBOOK, "compressed-tensors")):
        return f"It is {kind}, which Bitpress does not make and cannot take apart."
    return "It turns activations while it runs, which a plain model cannot; serve it as it is." if turns else ""


def _why_not_w4a16(model: LocalModel) -> str:
    kind = model.quantization or ""
    if not kind:
        return f"It is not compressed. Compress it by {ROUNDED} or another method of 4 bits instead."
    if not kind.startswith(CODEBOOK):
        return f"It is {model.precision or kind} in {kind}: engines serve that as it is."
    if model.precision not in ("4-bit table", "4-bit binary"):
        return f"It is {model.precision}: only 4 bits become W4A16. Fewer would grow, and be no better for it."
    return ""
