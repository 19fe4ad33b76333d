"""Turns a method and what the user set into a complete recipe, or says what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.methods.catalogue import find
from core.methods.layer_schemes import UnknownSchemeError, checked_rules, parsed_rules, rules_text
from core.methods.look_up import not_offered, refusal
from core.methods.mend_value import REMOVED_ORDERINGS
from core.methods.method import Kind, Method, Parameter
from core.methods.nearest import did_you_mean
from core.methods.recipe import Recipe
from core.methods.recovery import RecoverySpec
from core.methods.targets import REGULAR, ignored
from core.models.survey import Survey
from core.value import Json

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")

REMOVED_ORDERING, UNKNOWN_SCHEME = "actorder-removed", "unknown-scheme"
MENDED_IN_PLAN = frozenset({REMOVED_ORDERING, UNKNOWN_SCHEME})
"""Values that llmcompressor knows or knew and refuses: preflight finds them, and says what mends them."""


def resolve_recipe(
    method_id: str,
    overrides: Mapping[str, Json],
    calibration: CalibrationSpec | None,
    survey: Survey | None,
    seed: int = 0,
    *,
    recovery: RecoverySpec | None = None,
) -> Recipe:
    """The method's defaults for this model with the overrides on top, every value checked.

    A method that needs data and gets none takes the built-in chat; one that needs none drops what it gets, unless
    recovery follows, which trains on it.
    Raises BitpressError `unknown-method`, `not-offered`, `unknown-parameter`, `bad-parameter` or one of MENDED_IN_PLAN.
    """
    method = find(method_id)
    checked = {name: check_value(_parameter(method, name), value) for name, value in overrides.items()}
    if survey is not None and "ignore" in checked:
        # The other defaults must suit the layers that are left: a group size need not divide what is ignored.
        left = tuple(module for module in survey.modules if not ignored(module, checked["ignore"]))
        survey = survey.model_copy(update={"modules": left})
    parameters = method.defaults(survey) | checked
    return Recipe(
        method=method.id,
        parameters=parameters,
        calibration=(calibration or CalibrationSpec(seed=seed)) if method.calibrates(parameters) or recovery else None,
        seed=seed,
        recovery=recovery,
    )


def parse_settings(items: Sequence[str], method: Method) -> dict[str, Json]:
    """`K=V` from the command line as typed values: `ignore=lm_head,re:.*gate$`, `symmetric=no`, `group_size=64`.

    A list is separated by commas, or is a JSON array where a pattern has a comma in it; rules are written as
    `rules=re:.*mlp.*=W4A16,re:.*self_attn.*=FP8_DYNAMIC` or as a JSON object. Raises BitpressError `bad-setting`,
    `not-offered`, `unknown-parameter` or `bad-parameter`. What is MENDED_IN_PLAN comes back as it was typed.
    """
    settings: dict[str, Json] = {}
    for item in items:
        name, separator, text = item.partition("=")
        name = name.strip()
        if not separator or not name:
            raise BitpressError(
                "bad-setting",
                f"{item!r} is not a setting.",
                "Write settings as NAME=VALUE, for example --set group_size=64.",
            )
        if method.parameter(name) is None and (refused := not_offered(text)) is not None:
            # A parameter of llmcompressor's, with a value that is not offered here: transform_type=random-matrix.
            raise refusal(refused)
        parameter = _parameter(method, name)
        if name in settings:
            raise BitpressError("bad-setting", f"{name} is set twice.", "Give each setting once.")
        value = _parsed(parameter, text.strip())
        try:
            settings[name] = check_value(parameter, value)
        except BitpressError as error:
            if error.problem.code not in MENDED_IN_PLAN:
                raise
            settings[name] = value
    return settings


def setting_text(name: str, value: Json) -> str:
    """A parameter as `parse_settings` reads it: `group_size=64`, `ignore=lm_head,re:.*gate$`."""
    match value:
        case bool():
            return f"{name}={'true' if value else 'false'}"
        case list() | tuple():
            simple = all(isinstance(item, str) and "," not in item and item == item.strip() for item in value)
            readable = simple and not (value and str(value[0]).startswith("["))
            return f"{name}={','.join(value) if readable else json.dumps(value, ensure_ascii=False)}"
        case dict():
            return f"{name}={rules_text(value)}"
        case float():
            return f"{name}={value!r}"
    return f"{name}={value}"


def check_value(parameter: Parameter, value: Json) -> Json:
    """The value in its proper type.

    Raises BitpressError `bad-parameter` with the bounds, or one of MENDED_IN_PLAN.
    """
    return _CHECKS[parameter.kind](parameter, value)


def allowed(parameter: Parameter) -> str:
    """The values that a parameter takes, as a sentence."""
    match parameter.kind:
        case Kind.CHOICE:
            return f"It is one of {', '.join(str(choice) for choice in parameter.choices)}."
        case Kind.BOOLEAN:
            return "It is true or false."
        case Kind.PATTERNS:
            return "It is a list of module names, class names, or patterns that begin with `re:`."
        case Kind.RULES:
            listed = ", ".join(str(choice) for choice in parameter.choices)
            return f"It is a list of PATTERN=SCHEME with commas between them; the schemes are {listed}."
    kind = "a whole number" if parameter.kind is Kind.INTEGER else "a number"
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None:
        return f"It is {kind} from {low:g} to {high:g}."
    if low is not None:
        return f"It is {kind} of at least {low:g}."
    return f"It is {kind}." if high is None else f"It is {kind} of at most {high:g}."


def _parameter(method: Method, name: str) -> Parameter:
    parameter = method.parameter(name)
    if parameter is not None:
        return parameter
    known = [each.name for each in method.parameters]
    hint = f"{did_you_mean(name, known)} Its parameters are {', '.join(known)}.".strip()
    raise BitpressError("unknown-parameter", f"{method.title} has no parameter {name!r}.", hint)


def shown(value: Json) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _bad(parameter: Parameter, value: Json, why: str = "", code: str = "bad-parameter") -> BitpressError:
    return BitpressError(code, f"{parameter.name} cannot be {shown(value)}.", why or allowed(parameter))


def _choice(parameter: Parameter, value: Json) -> Json:
    for choice in parameter.choices:
        if value == choice and isinstance(value, bool) is isinstance(choice, bool):
            return choice
    if parameter.name == "actorder":
        if value is None or value is False:
            return "none"
        if value == "weight":
            # llmcompressor's other word for the same ordering.
            return "static"
        if value in REMOVED_ORDERINGS:
            raise _bad(
                parameter,
                value,
                "That ordering was removed from llmcompressor, because it slows the model down when it runs. "
                "Use static, which loses about as little, or none.",
                REMOVED_ORDERING,
            )
    raise _bad(parameter, value, f"{_nearest_choice(parameter, value)} {allowed(parameter)}".strip())


def _nearest_choice(parameter: Parameter, value: Json) -> str:
    numbers = [choice for choice in parameter.choices if _is_number(choice)]
    if numbers and _is_number(value):
        return f"Did you mean {min(numbers, key=lambda choice: abs(choice - value))}?"
    if isinstance(value, str):
        return did_you_mean(value, [str(choice) for choice in parameter.choices])
    return ""


def _is_number(value: Json) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _boolean(parameter: Parameter, value: Json) -> Json:
    if isinstance(value, bool):
        return value
    raise _bad(parameter, value)


def _number(parameter: Parameter, value: Json) -> Json:
    if not _is_number(value):
        raise _bad(parameter, value)
    if parameter.kind is Kind.INTEGER:
        if value != int(value):
            raise _bad(parameter, value)
        value = int(value)
    if (parameter.minimum is not None and value < parameter.minimum) or (
        parameter.maximum is not None and value > parameter.maximum
    ):
        raise _bad(parameter, value)
    return value if parameter.kind is Kind.INTEGER else float(value)


def _patterns(parameter: Parameter, value: Json) -> Json:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _bad(parameter, value)
    patterns = list(dict.fromkeys(item.strip() for item in value if item.strip()))
    for pattern in patterns:
        if pattern.startswith(REGULAR):
            try:
                re.compile(pattern.removeprefix(REGULAR))
            except (re.error, OverflowError, RecursionError) as error:
                raise _bad(parameter, pattern, f"It is not a regular expression: {error}.") from error
    return patterns


def _rules(parameter: Parameter, value: Json) -> Json:
    try:
        return checked_rules(value, parameter.choices)
    except UnknownSchemeError as error:
        raise _bad(parameter, value, str(error), UNKNOWN_SCHEME) from error
    except ValueError as error:
        raise _bad(parameter, value, str(error)) from error


_CHECKS: Mapping[Kind, Callable[[Parameter, Json], Json]] = {
    Kind.CHOICE: _choice,
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _number,
    Kind.NUMBER: _number,
    Kind.PATTERNS: _patterns,
    Kind.RULES: _rules,
}


def _parsed(parameter: Parameter, text: str) -> Json:
    """The text as the parameter's type; a text that is none may come back as it is, for `check_value` to refuse."""
    match parameter.kind:
        case Kind.CHOICE:
            return next((choice for choice in parameter.choices if str(choice).lower() == text.lower()), text.lower())
        case Kind.BOOLEAN:
            low = text.lower()
            return True if low in _TRUE else False if low in _FALSE else text
        case Kind.INTEGER | Kind.NUMBER:
            try:
                return float(text) if parameter.kind is Kind.NUMBER else int(text)
            except ValueError:
                return text
        case Kind.PATTERNS:
            if not text.startswith("["):
                return text.split(",")
            try:
                return json.loads(text)
            except (ValueError, RecursionError) as error:
                raise _bad(parameter, text, f"It is not a JSON array: {error}.") from error
        case Kind.RULES:
            try:
                return parsed_rules(text)
            except ValueError as error:
                raise _bad(parameter, text, str(error)) from error
