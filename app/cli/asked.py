"""What a command line asks for: a method, a recipe's file or a preset, with options that go over it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.calibration.mix_text import is_path
from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.methods.recipe_document import RecipeDocument
from core.methods.recovery import RecoverySpec, recovery_settings
from core.models.survey import Survey
from core.paths import Home
from core.value import Json


@dataclass(frozen=True, slots=True)
class Asked:
    """Options as they were typed; None and empty where they were left out."""

    method: str | None = None
    recipe: Path | None = None
    preset: str | None = None
    settings: tuple[str, ...] = ()
    calibration: tuple[str, ...] = ()
    samples: int | None = None
    max_length: int | None = None
    text_field: str | None = None
    calibration_seed: int | None = None
    seed: int | None = None
    recover: bool = False
    recovery: tuple[str, ...] = ()


def asked_document(asked: Asked, home: Home, survey: Survey | None = None) -> RecipeDocument:
    """The recipe that is asked for, every value checked; with a survey, also the patterns of a recipe's file.

    Raises BitpressError `wrong-usage`, `method-conflict`, `bad-recipe` with FILE:LINE:COLUMN, `no-such-preset` and what
    settings raise.
    """
    from core.methods.catalogue import find
    from core.methods.resolve_recipe import parse_settings

    base = _base(asked, home, survey)
    seed = asked.seed if asked.seed is not None else base.seed
    return RecipeDocument(
        method=base.method,
        parameters=base.parameters | parse_settings(asked.settings, find(base.method)),
        calibration=_data(asked, base.calibration, seed),
        seed=seed,
        recovery=_recovery(asked, base.recovery),
    )


def _recovery(asked: Asked, base: RecoverySpec | None) -> RecoverySpec | None:
    """Settings over the recipe's own recovery; any of them asks for one."""
    if not asked.recovery:
        return base or RecoverySpec() if asked.recover else base
    given = recovery_settings(asked.recovery)
    return (base or RecoverySpec()).model_copy(update={name: getattr(given, name) for name in given.model_fields_set})


def _base(asked: Asked, home: Home, survey: Survey | None) -> RecipeDocument:
    if asked.recipe is not None and asked.preset is not None:
        raise _usage("--recipe and --preset cannot be given together.", "Choose one of them.")
    if asked.recipe is not None:
        base, place = _read(asked.recipe, survey, asked.method), str(asked.recipe)
    elif asked.preset is not None:
        from core.methods.presets import find_preset

        preset = find_preset(home, asked.preset)
        assert preset.document is not None, "find_preset gives only what can be used"  # noqa: S101
        base, place = preset.document, f"the preset {preset.name}"
    elif asked.method is not None:
        from core.methods.catalogue import find

        return RecipeDocument(method=find(asked.method).id)
    else:
        raise _usage(
            "No method is named.", "Give --method, --recipe or --preset; `bitpress methods` lists the methods."
        )
    if asked.method is not None and asked.method != base.method:
        raise BitpressError(
            "method-conflict",
            f"--method asks for {asked.method}, and {place} is a recipe for {base.method}.",
            "Leave --method out, or name another recipe.",
        )
    return base


def _read(file: Path, survey: Survey | None, method: str | None) -> RecipeDocument:
    from core.methods.presets import read_text_file
    from core.methods.recipe_document import document_error, read_document

    if method is not None:
        from core.methods.catalogue import find

        method = find(method).id
    found = read_document(read_text_file(file), survey, method=method or "")
    if not isinstance(found, RecipeDocument):
        raise document_error(found, str(file))
    if found.calibration is None:
        return found
    return found.model_copy(update={"calibration": _beside(found.calibration, file.absolute().parent)})


def _beside(data: CalibrationSpec, folder: Path) -> CalibrationSpec:
    """The data with paths as they are seen from the recipe's folder; the job runs elsewhere."""

    def seen(source: str) -> str:
        there = (folder / source).absolute() if is_path(source) else None
        return str(there) if there is not None and there.exists() else source

    parts = [part.model_copy(update={"source": seen(part.source)}) for part in data.parts]
    return _with(data, mix=[part.model_dump(mode="json") for part in parts])


def _data(asked: Asked, base: CalibrationSpec | None, seed: int | None) -> CalibrationSpec | None:
    given: dict[str, Json] = {
        "samples": asked.samples,
        "max_length": asked.max_length,
        "text_field": asked.text_field,
        "seed": asked.calibration_seed if asked.calibration_seed is not None else asked.seed,
    }
    if asked.calibration:
        from app.calibration import typed_sources

        given["mix"] = [part.model_dump(mode="json") for part in typed_sources(asked.calibration)]
    update = {name: value for name, value in given.items() if value is not None}
    if base is None and not update:
        return None
    return _with(base or CalibrationSpec(seed=seed or 0), **update)


def _with(data: CalibrationSpec, **changes: Json) -> CalibrationSpec:
    """The data with changes; the name of a mix follows from it."""
    return CalibrationSpec.model_validate(data.model_dump(mode="json") | changes)


def _usage(message: str, hint: str) -> BitpressError:
    return BitpressError("wrong-usage", message, hint)
