"""Turns one record of a data set into a sample: chat messages where there are any, else text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from core.calibration.spec import CalibrationSample
from core.errors import BitpressError
from core.value import Json

_SURROGATE = re.compile("[\ud800-\udfff]")
Record = Mapping[str, Json]

CHAT_FIELDS = ("messages", "conversations", "conversation", "chat", "dialogue", "dialog", "turns")
PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "chosen"),
    ("prompt", "output"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("instruction", "answer"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("query", "answer"),
    ("problem", "solution"),
    ("user", "assistant"),
    ("input", "output"),
    ("inputs", "targets"),
)
TEXT_FIELDS = ("text", "content", "document", "body", "article", "passage", "story", "code")
PROMPT_FIELDS = ("prompt", "instruction", "question", "query", "problem")
_SYSTEM_FIELDS = ("system", "system_prompt")
_MORE_FIELDS = ("input", "context")
"""What an instruction is about, where the record has it apart."""
KNOWN_FIELDS = frozenset(
    (
        *CHAT_FIELDS,
        *TEXT_FIELDS,
        *PROMPT_FIELDS,
        *(name for pair in PAIRS for name in pair),
        *_SYSTEM_FIELDS,
        *_MORE_FIELDS,
    )
)
"""Every field that a record is read by."""

_ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


def sample_of(record: Json, origin: str, field: str | None = None) -> CalibrationSample | None:
    """The sample in a record, or None where it holds only blanks.

    `field` names the one field to read. Raises BitpressError `calibration-field` where the record has nothing that is
    understood, naming the fields that it has; `origin` is the file and line for messages.
    """
    if isinstance(record, str):
        return _text(record, origin)
    if not isinstance(record, Mapping):
        raise _nothing(f"{origin} is {_kind(record)}, not an object with fields.")
    if field is not None:
        if field not in record:
            raise _nothing(f"{origin} has no field {field!r}; it has {_fields(record)}.")
        return _of_value(record[field], origin, field)
    for name in CHAT_FIELDS:
        if (turns := _turns(record.get(name))) is not None:
            return _chat([*_system(record, turns), *turns], origin, name)
    for ask, answer in PAIRS:
        if _filled(record.get(ask)) and _filled(record.get(answer)):
            return _pair(record, ask, answer, origin)
    for name in (*TEXT_FIELDS, *PROMPT_FIELDS):
        if isinstance(record.get(name), str):
            return _text(record[name], origin)
    for name in PROMPT_FIELDS:
        if isinstance(record.get(name), list):
            return _chat(record[name], origin, name)
    raise _nothing(f"{origin} has no field that is understood; it has {_fields(record)}.")


def _of_value(value: Json, origin: str, name: str) -> CalibrationSample | None:
    if (turns := _turns(value)) is not None:
        return _chat(turns, origin, name)
    if isinstance(value, str):
        return _text(value, origin)
    if value is None:
        return None
    raise _nothing(f"{origin}: the field {name!r} is {_kind(value)}, neither text nor a list of messages.")


def _turns(value: Json) -> list[Any] | None:
    """A list of messages, also where it is written as a list for each of their fields, or as JSON in a string."""
    if isinstance(value, list):
        return value
    if isinstance(value, Mapping) and all(isinstance(column, list) for column in value.values()):
        # So data sets store a sequence of objects.
        even = len({len(column) for column in value.values()}) == 1
        return [dict(zip(value, turn, strict=True)) for turn in zip(*value.values(), strict=True)] if even else None
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return None
        if isinstance(found, list) and all(isinstance(turn, Mapping) and _role(turn) is not None for turn in found):
            return found
    return None


def _system(record: Record, turns: list[Any]) -> list[dict[str, str]]:
    """The system message that stands beside a chat, unless the chat begins with one itself."""
    if turns and isinstance(turns[0], Mapping) and _role(turns[0]) == "system":
        return []
    for name in _SYSTEM_FIELDS:
        if isinstance(text := record.get(name), str) and text.strip():
            return [{"role": "system", "content": text}]
    return []


def _text(text: str, origin: str) -> CalibrationSample | None:
    return CalibrationSample(kind="text", text=_whole(text), origin=origin) if text.strip() else None


def _chat(turns: list[Any], origin: str, name: str) -> CalibrationSample | None:
    messages = tuple(message for turn in turns if (message := _message(turn, origin, name)) is not None)
    if not any(message["content"].strip() for message in messages):
        return None
    return CalibrationSample(kind="chat", messages=messages, origin=origin)


def _pair(record: Record, ask: str, answer: str, origin: str) -> CalibrationSample | None:
    """A question and its answer; each may itself be a list of messages, and an instruction may have an input."""
    messages = _system(record, [])
    for name, role in ((ask, "user"), (answer, "assistant")):
        value = record[name]
        if isinstance(value, list):
            messages += [message for turn in value if (message := _message(turn, origin, name)) is not None]
            continue
        if name == "instruction":
            more = (record.get(field) for field in _MORE_FIELDS)
            value = "\n\n".join([value, *(text for text in more if isinstance(text, str) and text.strip())])
        messages.append({"role": role, "content": _whole(value)})
    return CalibrationSample(kind="chat", messages=tuple(messages), origin=origin)


def _message(turn: Json, origin: str, name: str) -> dict[str, str] | None:
    if not isinstance(turn, Mapping):
        raise _nothing(f"{origin}: the field {name!r} holds {_kind(turn)} where a message was expected.")
    role = turn.get("role", turn.get("from"))
    content = _content(turn.get("content", turn.get("value", turn.get("text"))))
    if content is None and turn.get("tool_calls"):
        return None
    known = _role(turn)
    if known is None or content is None:
        raise _nothing(
            f"{origin}: a message in {name!r} needs a role (user, assistant, system) with content, or from with value; "
            f"it has {_fields(turn)}" + (f", with the role {role!r}." if isinstance(role, str) else ".")
        )
    return {"role": known, "content": _whole(content)}


def _role(turn: Mapping[Any, Any]) -> str | None:
    role = turn.get("role", turn.get("from"))
    return _ROLES.get(role.lower()) if isinstance(role, str) else None


def _content(value: Json) -> str | None:
    """Plain text, or the text parts of a list of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, Mapping)]
        texts = [part for part in parts if isinstance(part, str)]
        return "\n".join(texts) if texts else None
    return None


def _whole(text: str) -> str:
    """Halves of surrogate pairs, which JSON can write and UTF-8 cannot, become the replacement character."""
    return _SURROGATE.sub("\ufffd", text)


def _filled(value: Json) -> bool:
    return bool(value.strip()) if isinstance(value, str) else isinstance(value, list) and bool(value)


def _fields(record: Mapping[Any, Any]) -> str:
    names = [repr(str(name))[:40] for name in record]
    return (", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")) or "no fields"


def _kind(value: Json) -> str:
    names = {"NoneType": "null", "bool": "a truth value", "int": "a number", "float": "a number", "list": "a list"}
    return names.get(type(value).__name__, "text" if isinstance(value, str) else "an object")


def _nothing(message: str) -> BitpressError:
    return BitpressError(
        "calibration-field",
        message,
        "Understood are: messages (role and content), conversations (from and value), prompt and completion, "
        "instruction and output, question and answer, and text. Or name the field to read.",
    )
