"""The value of a parameter of kind `rules`: patterns of layers, each with the name of a scheme; as text and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from core.methods.targets import REGULAR
from core.value import Json


class UnknownSchemeError(ValueError):
    """A rule names a scheme that there is none of; the text says which was probably meant."""


def checked_rules(value: Json, schemes: Sequence[Json]) -> dict[str, Json]:
    """The rules with each scheme by its proper name. Raises ValueError with what is wrong, in a sentence.

    For a scheme that there is none of that is an UnknownSchemeError.
    """
    if not isinstance(value, Mapping):
        raise ValueError("It is an object of patterns, each with the name of a scheme.")
    if not value:
        raise ValueError("Give at least one pattern with a scheme, or nothing is compressed.")
    found: dict[str, Json] = {}
    for key, scheme in value.items():
        pattern = key.strip() if isinstance(key, str) else ""
        if not pattern:
            raise ValueError("A pattern is empty. Name layers, their class, or write `re:` and an expression.")
        if pattern in found:
            raise ValueError(f"{pattern} stands there twice.")
        if pattern.startswith(REGULAR):
            try:
                re.compile(pattern.removeprefix(REGULAR))
            except re.error as error:
                raise ValueError(f"{pattern} is not a regular expression: {error}.") from error
        found[pattern] = _scheme(pattern, scheme, schemes)
    return found


def parsed_rules(text: str) -> Json:
    """`re:.*mlp.*=W4A16,re:.*self_attn.*=FP8_DYNAMIC`, or a JSON object where a pattern has a comma or ends in `=X`.

    Raises ValueError with what is wrong, in a sentence.
    """
    if text.startswith("{"):
        try:
            return json.loads(text, object_pairs_hook=_once)
        except json.JSONDecodeError as error:
            raise ValueError(f"It is not a JSON object: {error}.") from error
    pairs = []
    for item in text.split(","):
        pattern, separator, scheme = item.rpartition("=")
        if not separator:
            raise ValueError(f"{item.strip()!r} is not a rule. Write PATTERN=SCHEME, with commas between rules.")
        pairs.append((pattern.strip(), scheme.strip()))
    return _once(pairs)


def rules_text(value: Mapping[str, Json]) -> str:
    """The rules as `parsed_rules` reads them."""
    simple = all(pattern == pattern.strip() and "," not in pattern and not pattern.startswith("{") for pattern in value)
    if not simple:
        return json.dumps(dict(value), ensure_ascii=False)
    return ",".join(f"{pattern}={scheme}" for pattern, scheme in value.items())


def _once(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key} stands there twice.")
        found[key] = value
    return found


def _scheme(pattern: str, scheme: Json, schemes: Sequence[Json]) -> Json:
    if isinstance(scheme, str):
        name = scheme.strip().upper()
        if name in schemes:
            return name
        near = get_close_matches(name, [str(each) for each in schemes], n=1, cutoff=0.5)
        meant = f" Did you mean {near[0]}?" if near else ""
    else:
        meant = ""
    shown = json.dumps(scheme, ensure_ascii=False, default=str)[:40]
    listed = ", ".join(str(each) for each in schemes)
    raise UnknownSchemeError(f"{shown}, for {pattern}, is no scheme.{meant} The schemes are {listed}.")
