"""A recipe as a YAML document: reading it, with every fault at its place, and writing it with comments.

The document names a method, and of its parameters, calibration and seed as much as somebody wants to say; the rest is
the method's default for the model. What is not right is a fault with line and column, and all faults are found at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.methods.catalogue import find
from core.methods.method import Kind, Method, Parameter
from core.methods.nearest import did_you_mean
from core.methods.recipe import Recipe
from core.methods.recovery import ABOUT_RECOVERY, RecoverySpec
from core.methods.resolve_recipe import allowed, resolve_recipe
from core.models.survey import Survey
from core.value import Json, Value

if TYPE_CHECKING:
    from core.methods.yaml_nodes import Place

KEYS = ("method", "parameters", "calibration", "recovery", "seed")
SEEDS = 2**31 - 1

_ABOUT_DATA = {
    "source": "Where it comes from: self-chat, built-in, set:NAME, or the path of a file or folder",
    "samples": "Samples",
    "max_length": "Most tokens a sample",
    "seed": "Seed that the samples are drawn with",
    "text_field": "Column of files that have columns; null finds it",
    "mix": "Several sources, and how much of each beside the others",
}
"""Comments for fields that bring no description of their own."""


class RecipeDocument(Value):
    """What a document says: only what is written in it. Every value has been checked."""

    method: str
    parameters: dict[str, Json] = {}
    calibration: CalibrationSpec | None = None
    seed: int | None = None
    recovery: RecoverySpec | None = None

    @classmethod
    def of(cls, recipe: Recipe) -> RecipeDocument:
        """All of a recipe. Of a kept calibration set its name: what it holds is looked up when a job is planned."""
        plain = unpinned(recipe)
        return cls(
            method=plain.method,
            parameters=plain.parameters,
            calibration=plain.calibration,
            seed=plain.seed,
            recovery=plain.recovery,
        )

    def resolved(self, survey: Survey | None) -> Recipe:
        """The complete recipe for a model. Raises what resolve_recipe raises."""
        return resolve_recipe(
            self.method, self.parameters, self.calibration, survey, self.seed or 0, recovery=self.recovery
        )


def unpinned(recipe: Recipe) -> Recipe:
    """The recipe without what named calibration sets held when it was planned."""
    if recipe.calibration is None or not recipe.calibration.sets:
        return recipe
    return recipe.model_copy(update={"calibration": recipe.calibration.model_copy(update={"sets": ()})})


@dataclass(frozen=True, slots=True)
class RecipeFault:
    """What is wrong in a document, and where: lines and columns count from 1, the end is behind the last character."""

    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    hint: str = ""
    """The nearest right name or value, and what is allowed."""

    @classmethod
    def at(cls, place: Place, message: str, hint: str = "") -> RecipeFault:
        return cls(place.line, place.column, place.end_line, place.end_column, message, hint)

    @property
    def text(self) -> str:
        """Message and hint."""
        return f"{self.message} {self.hint}".strip()


def read_document(
    text: str, survey: Survey | None = None, *, method: str = ""
) -> RecipeDocument | tuple[RecipeFault, ...]:
    """The document in a YAML text, or all its faults in the order of the text.

    With a survey, a pattern that matches no module of the model is a fault as well. `method` is taken where the text
    names none.
    """
    from core.methods.read_recipe import read_whole

    return read_whole(text, survey, method)


def means(text: str, survey: Survey | None) -> Recipe | None:
    """The complete recipe that a text stands for, or None where it has faults."""
    document = read_document(text, survey)
    if not isinstance(document, RecipeDocument):
        return None
    try:
        return document.resolved(survey)
    except BitpressError:
        return None


def edited_text(text: str, recipe: Recipe, survey: Survey | None) -> str:
    """`text` with as few changes as make it mean `recipe`: comments, order and what is left out stay.

    Where that cannot be done (another method, a text with faults), the recipe is written anew.
    """
    from core.methods.edit_recipe import edited

    return edited(text, recipe, survey)


def document_error(faults: Iterable[RecipeFault], name: str) -> BitpressError:
    """Faults as the error `bad-recipe`, one `FILE:LINE:COLUMN: message` a line; `name` is the file's."""
    found = list(faults)
    lines = [f"{name}:{fault.line}:{fault.column}: " for fault in found]
    if len(found) == 1:
        return BitpressError("bad-recipe", lines[0] + found[0].message, found[0].hint or "Mend this place.")
    message = "\n".join(line + fault.text for line, fault in zip(lines, found, strict=True))
    return BitpressError("bad-recipe", message, "Mend each of these places.")


def recipe_text(recipe: Recipe) -> str:
    """The recipe as YAML with comments: what each parameter is, and its bounds."""
    return document_text(RecipeDocument.of(recipe))


def document_text(document: RecipeDocument) -> str:
    """The document as YAML with comments; `read_document` gives the same document again."""
    method = _method_or_none(document.method)
    lines = [f"# {_plain_line(f'{method.title}: {method.summary}')}"] if method is not None else []
    lines += _entry("method", document.method, 0)
    if document.parameters:
        lines.append("parameters:")
        for name, value in document.parameters.items():
            parameter = method.parameter(name) if method is not None else None
            if parameter is not None:
                lines.append(f"  # {_plain_line(parameter_comment(parameter))}")
            lines += _entry(name, value, 2)
    if document.calibration is not None:
        lines += ["# Text or chats that show what the layers do", "calibration:"]
        for name, value in data_fields(document.calibration).items():
            if comment := _data_comment(name):
                lines.append(f"  # {_plain_line(comment)}")
            lines += _entry(name, value, 2)
    if document.recovery is not None:
        lines += ["# Training towards the original after compressing; what is quantized stays as it is", "recovery:"]
        for name, value in document.recovery.model_dump(mode="json").items():
            if comment := _recovery_comment(name):
                lines.append(f"  # {_plain_line(comment)}")
            lines += _entry(name, value, 2)
    if document.seed is not None:
        lines += ["# The same seed gives the same result", *_entry("seed", document.seed, 0)]
    return "\n".join(lines) + "\n"


def parameter_comment(parameter: Parameter) -> str:
    """What a parameter is and takes, on one line."""
    unit = f" ({parameter.unit})" if parameter.unit else ""
    if parameter.kind is Kind.RULES:
        schemes = ", ".join(str(choice) for choice in parameter.choices)
        return f"{parameter.title}: a name, class or `re:` pattern, and one of {schemes}"
    return f"{parameter.title}{unit}: {allowed(parameter).removeprefix('It is ').removesuffix('.')}"


def allowed_field(model: Any, name: str) -> str:
    """The numbers that a field of a pydantic model takes, as a sentence; empty for what is no number."""
    info = model.model_fields.get(name) if isinstance(model, type) and issubclass(model, BaseModel) else None
    if info is None or info.annotation not in (int, float):
        return ""
    bounds = {key: getattr(one, key) for one in info.metadata for key in ("gt", "ge", "le") if hasattr(one, key)}
    said = "a whole number" if info.annotation is int else "a number"
    if "gt" in bounds:
        said += f" above {bounds['gt']:,}"
    if "ge" in bounds:
        said += f" from {bounds['ge']:,}" if "le" in bounds else f" of at least {bounds['ge']:,}"
    if "le" in bounds:
        said += f" to {bounds['le']:,}" if "ge" in bounds else f" up to {bounds['le']:,}"
    return f"It is {said}."


def unknown_key(name: str, what: str, known: Iterable[str], elsewhere: str = "") -> tuple[str, str]:
    """Message and hint for a name that stands where it is not known."""
    names = list(known)
    has = f"It has {', '.join(names)}." if names else ""
    return f"{what} has no {name!r}.", " ".join(filter(None, (did_you_mean(name, names), elsewhere, has)))


def _method_or_none(identity: str) -> Method | None:
    try:
        return find(identity)
    except BitpressError:
        return None


def data_fields(data: CalibrationSpec) -> dict[str, Json]:
    """The fields of calibration data that are written: all that is usual, and a mix in place of a source."""
    fields = data.model_dump(mode="json")
    left_out = "source" if data.mix else "mix"
    usual = CalibrationSpec().model_dump(mode="json")
    return {
        name: value
        for name, value in fields.items()
        if name != left_out and (name in _ABOUT_DATA or value != usual.get(name))
    }


def _data_comment(name: str) -> str:
    about = _ABOUT_DATA.get(name, "")
    info = CalibrationSpec.model_fields.get(name)
    about = (info.description if info is not None else None) or about
    bounds = allowed_field(CalibrationSpec, name).removeprefix("It is ").removesuffix(".")
    return ": ".join(filter(None, (about, bounds)))


def _recovery_comment(name: str) -> str:
    bounds = allowed_field(RecoverySpec, name).removeprefix("It is ").removesuffix(".")
    return ": ".join(filter(None, (ABOUT_RECOVERY.get(name, ""), bounds)))


def _plain_line(text: str) -> str:
    return " ".join(text.split())


def _entry(name: str, value: Json, indent: int) -> list[str]:
    from core.methods.yaml_nodes import dump

    return [" " * indent + line for line in dump({name: value}).removesuffix("\n").split("\n")]
