"""Spoils bytes, JSON and YAML in the ways that damage and malice do; everything is drawn from a seeded generator."""

from __future__ import annotations

import json
import struct
from random import Random
from typing import Any

DEEP = "[" * 20_000
JINJA = (
    "{% for i in range(10**12) %}{% endfor %}",
    "{{ 'a' * 10**10 }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "{% set x = range(99999)|list %}" + "{% for a in x %}" * 3 + "{% endfor %}" * 3,
    "{{ lipsum.__globals__['os'].popen('touch CANARY').read() }}",
    "{% include '/etc/passwd' %}",
    "{{ question|replace('', 'x'*1000)|replace('x', 'y'*1000) }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ '%1000000000d'|format(1) }}{{ 'x'.center(10**10) }}{{ 'x'|center(10**10) }}{{ [1]|batch(10**9)|list }}",
    "{" * 3000,
    "{{" + "(" * 3000,
)
WORDS = (
    "",
    "\x00",
    "../../outside/secret",
    "/etc/passwd",
    "..",
    "~nobody-of-this-name/x",
    "\ud800",
    "\u202egnp.exe",
    "\x1b[31m\x1b]0;t\x07\x9b2J",
    '=HYPERLINK("http://x","y")',
    "<script>alert(1)</script>",
    '#eval("1")#read("/etc/passwd")',
    "A" * 100_000,
    "C:\\x",
    "a\nb\r\u2028c",
    "(a+)+$",
    "re:(a|a)*$",
    "file:///etc/passwd",
    "https://example.invalid/x",
    "nan",
    "1e999",
    "9" * 5000,
    *JINJA,
)
NUMBERS = (0, -1, 1, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 2**64, 10**400, -(2**63), 0.5, -0.0, 1e308, 1e-320)
ODD_FLOATS = (float("nan"), float("inf"), float("-inf"))
TAGS = (
    '!!python/object/apply:os.system ["touch CANARY"]',
    '!!python/object/new:os.system ["touch CANARY"]',
    "!!python/name:os.system",
    "!!python/module:canary_module",
    "!function canary_module.run",
    "!include /etc/passwd",
    "!!timestamp 2001-01-01",
    "!!binary R0lGODlhDAAMAIQAAP",
    "!!set {a, b}",
    "!!int '99999999999999999999999999'",
    "!!float .nan",
    "!!map [1]",
    "!!seq {a: 1}",
)
SHAPES = ("{" * 500, "[" * 5000, "<<: *a", "? [a, b]", "|", "- " * 200, "%TAG ! x")
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


def value(random: Random, depth: int = 0) -> Any:
    """A JSON value of a kind that nobody expects."""
    kind = random.randrange(9)
    if kind == 0:
        return random.choice((None, True, False))
    if kind in (1, 2):
        return random.choice(NUMBERS if random.random() < 0.8 else ODD_FLOATS)
    if kind in (3, 4, 5):
        return random.choice(WORDS)
    if kind == 6 and depth < 3:
        return [value(random, depth + 1) for _ in range(random.choice((0, 1, 2, 5)))]
    if kind == 7 and depth < 3:
        return {random.choice(WORDS)[:50]: value(random, depth + 1) for _ in range(random.choice((0, 1, 3)))}
    nested: Any = random.choice(([], {}))
    for _ in range(random.choice((3, 30, 500))):
        nested = [nested] if random.random() < 0.5 else {"a": nested}
    return nested


def spoil_json(random: Random, whole: Any) -> Any:
    """The value with one of its parts replaced, removed, moved or repeated."""
    holders: list[Any] = []

    def walk(part: Any) -> None:
        if isinstance(part, dict | list):
            holders.append(part)
            for below in part.values() if isinstance(part, dict) else part:
                walk(below)

    walk(whole)
    if not holders or random.random() < 0.03:
        return value(random)
    holder = random.choice(holders)
    if isinstance(holder, dict):
        key = random.choice(list(holder)) if holder else "x"
        match random.randrange(6):
            case 0:
                holder.pop(key, None)
            case 1:
                holder[random.choice(WORDS)[:200]] = holder.pop(key, 1)
            case 2:
                holder[random.choice(WORDS)[:200]] = value(random)
            case _:
                holder[key] = value(random)
    elif holder and random.random() < 0.8:
        holder[random.randrange(len(holder))] = value(random)
    else:
        holder.extend(value(random) for _ in range(random.choice((1, 2, 2000))))
    return whole


def json_bytes(random: Random, whole: Any) -> bytes:
    """The value written as JSON, sometimes in a way that only some readers take."""
    text = json.dumps(whole, ensure_ascii=random.random() < 0.5)
    choice = random.random()
    if choice < 0.03:
        text = DEEP
    elif choice < 0.08 and text.startswith("{") and len(text) > 2:
        text = text[:-1] + "," + text[1:]
    elif choice < 0.1:
        text = text + text
    elif choice < 0.12:
        text = "\ufeff" + text
    elif choice < 0.14:
        text = text.replace("1", "1" * 5000, 1)
    return text.encode("utf-8", "surrogatepass")


def spoil_bytes(random: Random, content: bytes) -> bytes:
    """Flips, cuts, repeats, lies in lengths, foreign bytes."""
    data = bytearray(content)
    if random.random() < 0.5:
        # What keeps its length gets past the first look of many a reader.
        for _ in range(random.choice((1, 1, 2, 8))):
            place = random.randrange(max(1, len(data)))
            new = random.choice(
                (b"\xff", b"\x00", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", random.randbytes(1), b"\xff" * 8)
            )
            data[place : place + len(new)] = new
        return bytes(data[: len(content)])
    for _ in range(random.choice((1, 1, 1, 2, 5, 30))):
        place = random.randrange(len(data) + 1) if random.random() < 0.6 else random.randrange(min(len(data), 64) + 1)
        match random.randrange(9):
            case 0 | 1 if place < len(data):
                data[place] ^= 1 << random.randrange(8)
            case 2:
                del data[place:]
            case 3:
                del data[place : place + random.choice((1, 4, 8, 100))]
            case 4:
                data[place:place] = data[place : place + random.choice((1, 16, 400))] * random.choice((1, 2, 50))
            case 5:
                data[place : place + 8] = struct.pack(
                    "<Q", random.choice((0, 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1))
                )
            case 6:
                data[place : place + 4] = struct.pack(
                    "<I", random.choice((0, 1, 9, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1))
                )
            case 7:
                data[place:place] = random.choice(
                    (b"\xff\xfe", b"\x00", b"\x80\x80", b"\xed\xa0\x80", b'"', b"{", b"\n", b"\xf0\x9f")
                )
            case _:
                data[place : place + 4] = random.randbytes(4)
    return bytes(data)


def spoil_yaml(random: Random, content: bytes) -> bytes:
    """Tags, anchors, aliases, templates and odd values between or instead of lines."""
    lines = content.decode("utf-8", "replace").split("\n")
    for _ in range(random.choice((1, 1, 2, 4))):
        place = random.randrange(len(lines))
        line = lines[place]
        key, colon, _ = line.partition(":")
        hostile = value(random)
        shown = json.dumps(hostile, ensure_ascii=random.random() < 0.7)
        match random.randrange(10):
            case 0 | 1:
                lines[place] = f"{key}: {random.choice(TAGS)}"
            case 2:
                lines[place] = f"{key}: &a [*a]"
            case 3:
                lines.insert(place, line)
            case 4:
                lines[place] = line[: random.randrange(len(line) + 1)]
            case 5:
                lines[place] = f"{key}: {random.choice(SHAPES)}"
            case 6:
                lines[place] = f"{key}: {json.dumps(random.choice(JINJA))}"
            case 7:
                lines.insert(place, BOMB if random.random() < 0.3 else f"? {shown}\n: {shown}")
            case _:
                lines[place] = f"{key}{colon or ':'} {shown}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")
