"""Consents to Python code that came with a model: given for exact files, kept in the home, withdrawn at any time.

A consent is sealed for this machine, this user and this home: what was unpacked from elsewhere, a store with queued
jobs or a whole home, brings none. It is no wall against a program that already runs as the same user: that could do by
itself whatever the code could.
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from core.durable import write_whole
from core.errors import BitpressError
from core.models.local_model import LocalModel, Remark
from core.models.own_code import CodeFile, OwnCode, TrustedCode, fingerprint_of
from core.paths import Home
from core.regular_file import read_regular
from core.value import Value

LEAST_DIGITS = 12
"""Of a fingerprint, where a person types it: nobody hits 48 bits by accident, and whoever changes the code to hit them
would have to try 2^48 times."""
CONSENT_BYTES = 1 << 20
MOST_CONSENTS = 10_000
_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


class Consent(Value):
    """Somebody read this code and agreed to it. It covers every folder whose code is the same to the byte."""

    model: str
    """The repository, as the folder tells it."""
    path: Path
    """The folder in which it was read."""
    fingerprint: str
    files: tuple[CodeFile, ...]
    given: datetime
    by: str
    version: str
    """Of Bitpress."""
    lasting: bool = True
    """Kept until it is withdrawn; else it counts for one command."""
    seal: str = ""

    @property
    def trusted(self) -> TrustedCode:
        """What a worker may run by it."""
        return TrustedCode(repository=self.model, fingerprint=self.fingerprint, files=self.files)


def given(home: Home, code: OwnCode, *, now: datetime, version: str, lasting: bool) -> Consent:
    """A consent to this code, sealed; the home is made where it is missing.

    Raises BitpressError `code-refused` for code that nobody can agree to.
    """
    if code.refused:
        raise BitpressError(
            "code-refused", f"Nobody can agree to the code of {code.repository}: {code.refused}", NO_OTHER_WAY
        )
    home.root.mkdir(parents=True, exist_ok=True)
    consent = Consent(
        model=code.repository,
        path=code.folder,
        fingerprint=code.fingerprint,
        files=code.files,
        given=now,
        by=_user(),
        version=version,
        lasting=lasting,
    )
    return consent.model_copy(update={"seal": _seal(home, consent)})


def is_ours(home: Home, consent: Consent) -> bool:
    """Whether it was given here, and is as it was given."""
    sealed = hmac.compare_digest(consent.seal.encode(), _seal(home, consent).encode())
    return sealed and consent.fingerprint == fingerprint_of(consent.files)


def keep(home: Home, consent: Consent) -> None:
    """Keep it until it is withdrawn. Raises OSError."""
    write_whole(_place(home, consent.fingerprint), consent.model_dump_json(indent=1).encode())


def kept(home: Home) -> tuple[Consent, ...]:
    """The consents that hold, newest first; what was not given here is left out."""
    found = (_read(home, path) for path in _files(home))
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.given, reverse=True))


def foreign(home: Home) -> int:
    """How many lie in the home that were not given here, and count for nothing."""
    return sum(_read(home, path) is None for path in _files(home))


def kept_consent(home: Home, fingerprint: str) -> Consent | None:
    """The consent to this code, if it was given and not withdrawn."""
    return _read(home, _place(home, fingerprint)) if _is_fingerprint(fingerprint) else None


def withdraw(home: Home, prefix: str) -> Consent:
    """Take back the consent whose fingerprint begins so. Raises BitpressError `unknown-consent`, and OSError."""
    found = [one for one in kept(home) if matches(prefix, one.fingerprint)]
    if len(found) != 1:
        raise BitpressError(
            "unknown-consent",
            f"{len(found) or 'No'} consents begin with {prefix!r}." if found else f"No consent begins with {prefix!r}.",
            f"`bitpress consents` lists them; give {LEAST_DIGITS} digits or more.",
        )
    _place(home, found[0].fingerprint).unlink(missing_ok=True)
    return found[0]


def matches(prefix: str, fingerprint: str) -> bool:
    """Whether so many digits name this fingerprint."""
    return len(prefix) >= LEAST_DIGITS and bool(fingerprint) and fingerprint.startswith(prefix.lower())


def standing(home: Home, consents: Sequence[Consent]) -> tuple[TrustedCode, ...]:
    """What a job may run by the consents that it was queued with. Reads the disk.

    Raises BitpressError `consent-withdrawn`, and `consent-elsewhere` for one that was not given here.
    """
    for consent in consents:
        if not is_ours(home, consent):
            raise BitpressError(
                "consent-elsewhere",
                f"This job wants to run code that came with {consent.model}, and the consent in it was not given on "
                "this machine by this user.",
                f"Read the code and agree to it here: `bitpress inspect {consent.path} --code`. Then start it anew.",
            )
        if consent.lasting and kept_consent(home, consent.fingerprint) is None:
            raise BitpressError(
                "consent-withdrawn",
                f"The consent to run code that came with {consent.model} was withdrawn after this job was queued.",
                "Agree again on the Models page, or leave it.",
            )
    return tuple(consent.trusted for consent in consents)


def with_consent(model: LocalModel, consent: Consent | None) -> LocalModel:
    """The model as it may be used by this consent: what blocked it for its code is said as a note."""
    if consent is None or not model.own_code or consent.fingerprint != model.own_code:
        return model
    since = f"{consent.by} agreed to it on {consent.given:%Y-%m-%d}" if consent.lasting else "this command allows it"
    note = Remark(
        code="own-code",
        level="notes",
        message=f"Python code that came with this model is run when it is used; {since}. Fingerprint "
        f"{consent.fingerprint[:LEAST_DIGITS]}, {len(consent.files)} file{'s' if len(consent.files) != 1 else ''}.",
    )
    brings = "tokenizer" in model.needs_code
    # A tokenizer that is code need not have a file of a known name.
    done = {"remote-code", "no-tokenizer"} if brings else {"remote-code"}
    left = (remark for remark in model.remarks if remark.code not in done)
    return model.model_copy(
        update={"consented": True, "tokenizer": model.tokenizer or brings, "remarks": (note, *left)}
    )


NO_OTHER_WAY = "Look for a version of this model that transformers knows itself."


def _read(home: Home, path: Path) -> Consent | None:
    try:
        # A link could lead to a file that grows, or to another home's.
        consent = Consent.model_validate_json(read_regular(path, CONSENT_BYTES, follow=False))
    except (OSError, ValidationError):
        return None
    ours = consent.lasting and path == _place(home, consent.fingerprint) and is_ours(home, consent)
    return consent if ours else None


def _files(home: Home) -> list[Path]:
    try:
        return sorted(home.consents.glob("*.json"))[:MOST_CONSENTS]
    except OSError:
        return []


def _place(home: Home, fingerprint: str) -> Path:
    return home.consents / f"{fingerprint}.json"


def _is_fingerprint(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _seal(home: Home, consent: Consent) -> str:
    """HMAC-SHA256 over the consent, keyed by what a folder from elsewhere cannot bring along."""
    said = json.dumps(consent.model_dump(mode="json", exclude={"seal"}), sort_keys=True)
    return hmac.new(_key(home), said.encode(), hashlib.sha256).hexdigest()


def _key(home: Home) -> bytes:
    """Of the machine's own number, which is not told to anybody, the user, and the home's place on this disk."""
    place = home.root.absolute()
    try:
        number = place.stat().st_ino
    except OSError:
        number = 0
    user = os.getuid() if hasattr(os, "getuid") else _user()
    return hashlib.sha256(f"bitpress consent\0{_machine()}\0{user}\0{place}\0{number}".encode()).digest()


def _machine() -> str:
    for path in _MACHINE_IDS:
        with suppress(OSError):
            return read_regular(path, 1024).decode("ascii", "replace").strip()
    return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "somebody"
