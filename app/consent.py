"""What models' own code may run: by a consent that is kept, or by one that a command brings for itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from app.installed_version import installed_version
from core.errors import BitpressError
from core.models.consent import LEAST_DIGITS, Consent, given, keep, kept_consent, matches, with_consent
from core.models.local_model import LocalModel
from core.models.own_code import OwnCode, needed_code
from core.paths import Home


def agreed(home: Home, model: LocalModel, once: Sequence[str]) -> LocalModel:
    """The model as it may be used here; `once` are beginnings of fingerprints that count for this command."""
    if not model.own_code or not model.path.is_dir():
        return model
    consent = kept_consent(home, model.own_code)
    if consent is None and any(matches(prefix, model.own_code) for prefix in once):
        code = needed_code(model.path)
        consent = None if code is None else agree(home, code, lasting=False)
    return with_consent(model, consent)


def agree(home: Home, code: OwnCode, *, lasting: bool) -> Consent:
    """A consent to this code, kept where it is a lasting one. Raises BitpressError `code-refused`, and OSError."""
    consent = given(home, code, now=datetime.now(UTC), version=installed_version(), lasting=lasting)
    if lasting:
        keep(home, consent)
    return consent


def consents_for(home: Home, folders: Iterable[str], once: Sequence[str]) -> tuple[Consent, ...]:
    """The consents that a job on these models needs, each once; none for nearly all models.

    Raises BitpressError `own-code` where one is missing, and `code-refused` where none can be given.
    """
    found: dict[str, Consent] = {}
    for folder in folders:
        place = Path(folder)
        code = needed_code(place) if place.is_dir() else None
        if code is None:
            continue
        if code.refused:
            raise BitpressError(
                "code-refused",
                f"{place.name} wants to run Python code that came with it. {code.refused}",
                "Look for a version of this model that transformers knows itself.",
            )
        consent = kept_consent(home, code.fingerprint)
        if consent is None and any(matches(prefix, code.fingerprint) for prefix in once):
            consent = agree(home, code, lasting=False)
        if consent is None:
            raise missing(place, code.fingerprint)
        found[code.fingerprint] = consent
    return tuple(found.values())


def missing(folder: Path, fingerprint: str) -> BitpressError:
    """The refusal of code that nobody agreed to, with what to type."""
    return BitpressError(
        "own-code",
        f"{folder.name} wants to run Python code that came with it, and nobody has agreed to that.",
        how_to_agree(folder, fingerprint),
    )


def how_to_agree(folder: Path, fingerprint: str) -> str:
    """What to type after reading the code."""
    short = fingerprint[:LEAST_DIGITS]
    return (
        f"Read it: `bitpress inspect {folder} --code`. Then add `--trust-code {short}` for this command alone, or keep "
        f"the consent: `bitpress inspect {folder} --code --consent {short}`."
    )
