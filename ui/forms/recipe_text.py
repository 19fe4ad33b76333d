"""A recipe as YAML text and back, with faults at their line. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from core.calibration.spec import CalibrationSpec
from core.methods.method import Kind, Method, Parameter
from core.methods.recipe import Recipe
from core.value import Json

if TYPE_CHECKING:
    import yaml

_KEYS = ("method", "parameters", "calibration", "seed")


@dataclass(frozen=True, slots=True)
class RecipeFault:
    """What is wrong in a recipe's text; `line` counts from 1."""

    line: int
    message: str


def recipe_text(recipe: Recipe) -> str:
    """The recipe as YAML, in the order of its fields."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        # PyYAML writes some line separators bare, and reads them back as spaces.
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if value.isprintable() else '"')

    Dumper.add_representer(str, text)
    return yaml.dump(recipe.model_dump(mode="json"), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=60)


def read_recipe(text: str, method: Method) -> Recipe | RecipeFault:
    """The recipe in a text for `method`, or its first fault. Parameters that the text leaves out keep their default."""
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return RecipeFault((mark.line if mark else 0) + 1, f"This is not YAML: {error.problem or error.context}.")
    except yaml.YAMLError as error:
        return RecipeFault(1, f"This is not YAML: {error}.")
    try:
        return _recipe(node, method)
    except _FaultError as fault:
        return fault.fault


class _FaultError(Exception):
    def __init__(self, node: yaml.Node | None, message: str) -> None:
        super().__init__(message)
        self.fault = RecipeFault((node.start_mark.line if node is not None else 0) + 1, message)


def _recipe(node: yaml.Node | None, method: Method) -> Recipe:
    entries = _entries(node, "The recipe")
    for name, (key, _) in entries.items():
        if name not in _KEYS:
            raise _FaultError(key, f"“{name}” is not part of a recipe; it has {', '.join(_KEYS)}.")
    if "method" in entries and (named := _plain(entries["method"][1])) != method.id:
        raise _FaultError(entries["method"][1], f"This is the recipe of {method.id}; choose {named} by its card.")
    parameters = {parameter.name: parameter.default for parameter in method.parameters}
    if "parameters" in entries:
        for name, (key, value) in _entries(entries["parameters"][1], "parameters").items():
            parameter = method.parameter(name)
            if parameter is None:
                known = ", ".join(parameters) or "none"
                raise _FaultError(key, f"{method.title} has no parameter “{name}”; it has {known}.")
            parameters[name] = _checked(parameter, _plain(value), value)
    return Recipe(
        method=method.id,
        parameters=parameters,
        calibration=_calibration(entries["calibration"][1]) if "calibration" in entries else None,
        seed=_seed(entries["seed"][1]) if "seed" in entries else 0,
    )


def _calibration(node: yaml.Node) -> CalibrationSpec | None:
    value = _plain(node)
    if value is None:
        return None
    entries = _entries(node, "calibration")
    try:
        return CalibrationSpec.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        where = entries[name][0] if name in entries else node
        raise _FaultError(where, f"calibration, {name}: {first['msg']}.") from None


def _seed(node: yaml.Node) -> int:
    value = _plain(node)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise _FaultError(node, "seed is a whole number from 0 to 2147483647.")
    return value


def _checked(parameter: Parameter, value: Json, node: yaml.Node) -> Json:
    match parameter.kind:
        case Kind.INTEGER if not isinstance(value, int) or isinstance(value, bool):
            raise _FaultError(node, f"{parameter.name} is a whole number.")
        case Kind.NUMBER if not isinstance(value, int | float) or isinstance(value, bool):
            raise _FaultError(node, f"{parameter.name} is a number.")
        case Kind.BOOLEAN if not isinstance(value, bool):
            raise _FaultError(node, f"{parameter.name} is true or false.")
        case Kind.CHOICE if value not in parameter.choices:
            raise _FaultError(node, f"{parameter.name} is one of {', '.join(str(one) for one in parameter.choices)}.")
        case Kind.PATTERNS if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise _FaultError(node, f"{parameter.name} is a list of names and re: patterns.")
        case Kind.INTEGER | Kind.NUMBER:
            if parameter.minimum is not None and value < parameter.minimum:
                raise _FaultError(node, f"{parameter.name} is at least {parameter.minimum:g}.")
            if parameter.maximum is not None and value > parameter.maximum:
                raise _FaultError(node, f"{parameter.name} is at most {parameter.maximum:g}.")
    return value


def _entries(node: yaml.Node | None, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise _FaultError(node, f"{what} is a list of “name: value” lines.")
    found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        name = str(_plain(key))
        if name in found:
            raise _FaultError(key, f"“{name}” stands here twice.")
        found[name] = (key, value)
    return found


def _plain(node: yaml.Node) -> Any:
    import yaml

    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except yaml.YAMLError:
        raise _FaultError(node, "This value is not plain YAML.") from None
    finally:
        loader.dispose()
