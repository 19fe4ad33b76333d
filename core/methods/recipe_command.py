"""A recipe as the options of `bitpress plan` and `bitpress compress`, and back, with faults at the very word."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.calibration.mix_text import read_sources
from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.methods.catalogue import find
from core.methods.method import Kind
from core.methods.nearest import did_you_mean
from core.methods.recipe import Recipe
from core.methods.recipe_document import SEEDS, RecipeDocument, RecipeFault, allowed_field
from core.methods.recovery import RecoverySpec, recovery_settings, recovery_words
from core.methods.resolve_recipe import parse_settings, resolve_recipe, setting_text
from core.methods.targets import names_any, nearest_pattern
from core.models.survey import Survey
from core.value import Json

_DATA_OPTIONS = {
    "--samples": "samples",
    "--max-length": "max_length",
    "--text-field": "text_field",
    "--calibration-seed": "seed",
}
_OPTIONS = ("--method", "--set", "--calibration", *_DATA_OPTIONS, "--recovery", "--recover", "--seed")
_FLAGS = {"--recover": 0}
_OTHER_OPTIONS = {"--output": 1, "--device": 1, "--json": 0}
"""Options of a whole command line that say nothing about the recipe, and how many words follow them."""

_WORD = re.compile(r"""(?:[^\s'"\\]|\\(?:.|\n)|'[^']*'|"(?:[^"\\]|\\(?:.|\n))*")+""")
_LIMIT = 64 * 1024


def recipe_words(recipe: Recipe) -> list[str]:
    """The options that ask for this recipe, every parameter spelled out."""
    words = ["--method", recipe.method]
    for name, value in recipe.parameters.items():
        words += ["--set", setting_text(name, value)]
    words += _data_words(recipe.calibration, {"seed": recipe.seed})
    return [*words, *_recovery_words(recipe), "--seed", str(recipe.seed)]


def recipe_command(recipe: Recipe, survey: Survey | None) -> str:
    """The options that differ from the method's defaults for this model; `read_command` gives the recipe again."""
    try:
        usual = resolve_recipe(recipe.method, {}, None, survey)
    except BitpressError:
        return shlex.join(recipe_words(recipe))
    words = ["--method", recipe.method]
    for name, value in recipe.parameters.items():
        if usual.parameters.get(name) != value:
            words += ["--set", setting_text(name, value)]
    words += _data_words(recipe.calibration, CalibrationSpec(seed=recipe.seed).model_dump(mode="json"))
    words += _recovery_words(recipe)
    words += ["--seed", str(recipe.seed)] if recipe.seed else []
    read = read_command(short := shlex.join(words), survey)
    return short if isinstance(read, RecipeDocument) and _same(read, survey, recipe) else _spelled_out(recipe)


def read_command(text: str, survey: Survey | None = None) -> RecipeDocument | tuple[RecipeFault, ...]:
    """The recipe that options ask for, or all faults. A whole command, `bitpress compress MODEL ...`, is read as well.

    With a survey, a pattern that matches no module of the model is a fault.
    """
    text = text.replace("\r\n", "\n")[:_LIMIT]
    reading = _Reading(text, survey)
    document = reading.document()
    if reading.faults or document is None:
        return tuple(sorted(reading.faults, key=lambda fault: (fault.line, fault.column)))
    return document


@dataclass(frozen=True, slots=True)
class _Word:
    start: int
    end: int
    text: str


class _Reading:
    def __init__(self, text: str, survey: Survey | None) -> None:
        self._text = text
        self._survey = survey
        self.faults: list[RecipeFault] = []

    def document(self) -> RecipeDocument | None:
        words = self._words()
        if self.faults:
            # What follows an open quotation mark is anybody's guess.
            return None
        given = self._given(iter(words))
        named = given.pop("--method", [])
        if not named:
            self._fault(None, "The command does not name a method.", "Begin with --method.")
            return None
        try:
            method = find(named[-1].text)
        except BitpressError as error:
            self._fault(named[-1], error.problem.message, error.problem.hint)
            return None
        parameters: dict[str, Json] = {}
        for word in given.pop("--set", []):
            try:
                found = parse_settings([word.text], method)
            except BitpressError as error:
                self._fault(word, error.problem.message, error.problem.hint)
                continue
            if parameters.keys() & found.keys():
                self._fault(word, f"{next(iter(found))} is set twice.", "Give each setting once.")
            parameters |= found
            for name, value in found.items():
                parameter = method.parameter(name)
                if parameter is not None and parameter.kind in (Kind.PATTERNS, Kind.RULES):
                    self._check_patterns(word, value)
        seed = self._number(given.pop("--seed", []), "seed", f"It is a whole number from 0 to {SEEDS:,}.", 0, SEEDS)
        recovery = self._recovery(given.pop("--recover", []), given.pop("--recovery", []))
        data = self._data(given, seed)
        return RecipeDocument(method=method.id, parameters=parameters, calibration=data, seed=seed, recovery=recovery)

    def _given(self, words: Iterator[_Word]) -> dict[str, list[_Word]]:
        """What follows each option; the command's own words before the first option are passed over."""
        found: dict[str, list[_Word]] = {}
        begun = False
        for word in words:
            name, equals, rest = word.text.partition("=")
            if not name.startswith("--"):
                if begun:
                    self._fault(word, f"{word.text!r} belongs to no option.", "Options begin with --.")
                continue
            begun = True
            takes = 0 if equals else (_OTHER_OPTIONS | _FLAGS).get(name, 1)
            value = _Word(word.start, word.end, rest) if equals else next(words, None) if takes else word
            if value is None:
                self._fault(word, f"Nothing follows {name}.", "Write its value behind it.")
            elif name in _OPTIONS:
                found.setdefault(name, []).append(value)
            elif name not in _OTHER_OPTIONS:
                hint = f"{did_you_mean(name, [*_OPTIONS, *_OTHER_OPTIONS])} The options are {', '.join(_OPTIONS)}."
                self._fault(word, f"There is no option {name}.", hint.strip())
        return found

    def _data(self, given: Mapping[str, list[_Word]], seed: int | None) -> CalibrationSpec | None:
        fields: dict[str, Json] = {} if seed is None else {"seed": seed}
        if sources := given.get("--calibration", []):
            try:
                parts = read_sources([word.text for word in sources], _absolute, _exists)
                fields["mix"] = [part.model_dump(mode="json") for part in parts]
            except BitpressError as error:
                self._fault(sources[-1], error.problem.message, error.problem.hint)
        for option, name in _DATA_OPTIONS.items():
            if not (words := given.get(option)):
                continue
            hint = allowed_field(CalibrationSpec, name)
            value = self._number(words, name, hint) if hint else words[-1].text
            if value is None:
                continue
            try:
                CalibrationSpec.model_validate({name: value})
            except ValueError:
                self._fault(words[-1], f"{name} cannot be {words[-1].text}.", hint)
                continue
            fields[name] = value
        return CalibrationSpec.model_validate(fields) if fields else None

    def _recovery(self, asked: list[_Word], settings: list[_Word]) -> RecoverySpec | None:
        if not asked and not settings:
            return None
        given: list[str] = []
        for word in settings:
            try:
                recovery_settings([*given, word.text])
            except BitpressError as error:
                self._fault(word, error.problem.message, error.problem.hint)
                continue
            given.append(word.text)
        return recovery_settings(given)

    def _number(
        self, words: list[_Word], name: str, hint: str, low: int | None = None, high: int | None = None
    ) -> int | None:
        if not words:
            return None
        text = words[-1].text
        if not re.fullmatch(r"[-+]?\d{1,18}", text) or (low is not None and not low <= int(text) <= (high or 0)):
            self._fault(words[-1], f"{name} cannot be {text!r}.", hint)
            return None
        return int(text)

    def _check_patterns(self, word: _Word, patterns: Json) -> None:
        for pattern in patterns:
            if self._survey is not None and not names_any(self._survey, pattern):
                better = nearest_pattern(self._survey, pattern)
                hint = f"Did you mean {better}?" if better else ""
                # Where the pattern is written as it is, the fault is the pattern's alone.
                at = self._text.find(pattern, word.start, word.end)
                place = word if at < 0 else _Word(at, at + len(pattern), pattern)
                self._fault(place, f"{pattern} matches no layer of this model.", hint)

    def _words(self) -> list[_Word]:
        words = []
        at = 0
        while at < len(self._text):
            if self._text[at].isspace() or self._text.startswith("\\\n", at):
                at += 1
                continue
            found = _WORD.match(self._text, at)
            if found is None:
                rest = _Word(at, len(self._text), "")
                self._fault(rest, "This quotation mark is not closed.", "Close it.")
                break
            words += [_Word(at, found.end(), part) for part in shlex.split(found[0])[:1]]
            at = found.end()
        return words

    def _fault(self, word: _Word | None, message: str, hint: str = "") -> None:
        start, end = (word.start, max(word.end, word.start + 1)) if word is not None else (0, 1)
        (line, column), (end_line, end_column) = self._position(start), self._position(end)
        self.faults.append(RecipeFault(line, column, end_line, end_column, message, hint))

    def _position(self, index: int) -> tuple[int, int]:
        before = self._text[:index]
        return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def _data_words(data: CalibrationSpec | None, usual: Mapping[str, Json]) -> list[str]:
    """Options for the fields that differ from the usual ones."""
    if data is None:
        return []
    words: list[str] = []
    if "source" not in usual or usual["source"] != data.source:
        for part in data.parts:
            weight = "" if part.weight == 1 else f"*{part.weight:.10g}"
            words += ["--calibration", f"{_argument(part.source)}{weight}"]
    for option, name in _DATA_OPTIONS.items():
        value = getattr(data, name)
        if value is not None and (name not in usual or usual[name] != value):
            words += [option, str(value)]
    return words


def _recovery_words(recipe: Recipe) -> list[str]:
    return recovery_words(recipe.recovery) if recipe.recovery is not None else []


def _argument(source: str) -> str:
    """A source that no program takes for an option."""
    return f"./{source}" if source.startswith("-") else source


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _exists(path: str) -> bool:
    try:
        return bool(path) and os.path.lexists(Path(path).expanduser())
    except (OSError, ValueError, RuntimeError):
        return False


def _spelled_out(recipe: Recipe) -> str:
    return shlex.join(recipe_words(recipe))


def _same(document: RecipeDocument, survey: Survey | None, recipe: Recipe) -> bool:
    try:
        return document.resolved(survey) == recipe
    except BitpressError:
        return False
