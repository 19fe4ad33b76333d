"""Prompts of fixed random tokens, or of random words for a server that takes text only. Speed does not depend on what
they say, but every request has its own, so that no server answers from what it remembers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from core.errors import BitpressError
from core.models.local_files import TOKENIZER_BYTES, inside, read_json
from core.regular_file import read_regular

_TEXT = """
river stone table winter garden letter morning bridge paper window engine market silver forest mountain harbour
kitchen summer village orange station pencil island evening carpet bottle ladder meadow copper pocket blanket candle
corner doctor feather guitar hammer jacket kettle lantern mirror needle ocean parcel quarter ribbon saddle thunder
umbrella valley wagon yellow anchor basket cotton dragon
"""
WORDS = tuple(_TEXT.split())


def plain_ids(folder: Path) -> tuple[int, ...]:
    """Token ids of a model's tokenizer that stand for text, in order: no special ones, none beyond the model's table.

    Raises BitpressError `no-tokenizer` where there is no tokenizer.json that can be read: also for one that is too
    large, or no regular file, which is not opened.
    """
    from tokenizers import Tokenizer

    path = inside(folder, "tokenizer.json")
    try:
        tokenizer = Tokenizer.from_buffer(read_regular(path, TOKENIZER_BYTES))
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # what the library raises has no class of its own, and a panic is no Exception
        raise BitpressError(
            "no-tokenizer",
            f"{path} cannot be read: {_first_line(error)}.",
            "The model needs a tokenizer.json beside its weights: fetch or save it again with a fast tokenizer.",
        ) from error
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    size = _vocabulary(folder)
    ids = sorted(set(tokenizer.get_vocab(with_added_tokens=False).values()) - special)
    return tuple(number for number in ids if size is None or number < size)


def token_prompt(ids: Sequence[int], length: int, *, seed: int, number: int) -> list[int]:
    """`length` random ids; the same for the same seed and number."""
    return random.Random(f"{seed}/{number}").choices(ids, k=length)  # noqa: S311


def text_prompt(words: int, *, seed: int, number: int) -> str:
    """So many random words."""
    return " ".join(random.Random(f"{seed}/{number}").choices(WORDS, k=max(1, words)))  # noqa: S311


def _first_line(error: BaseException) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (said.strip() or type(error).__name__).splitlines()[0][:300]


def _vocabulary(folder: Path) -> int | None:
    config = read_json(folder, "config.json", "bad-config") or {}
    text = config.get("text_config")
    size = (text if isinstance(text, dict) else config).get("vocab_size")
    return size if isinstance(size, int) else None
