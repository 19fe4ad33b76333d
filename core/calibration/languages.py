"""Scripts by Unicode, and a guess at the language: a few frequent words for those in Latin letters.

A guess, and shown as one: it tells a person that half of the data is German, not what a linguist would say.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

from core.calibration.overlap import words_of

CODE = "code or symbols"
UNSURE = "not clear"

_LOOKED_AT = 4000
"""Characters of a sample that are looked at."""

_SCRIPTS = {"CJK": "Han", "HIRAGANA": "Japanese kana", "KATAKANA": "Japanese kana"}

_ONE_LANGUAGE = {
    "Hangul": "Korean",
    "Greek": "Greek",
    "Hebrew": "Hebrew",
    "Thai": "Thai",
    "Georgian": "Georgian",
    "Armenian": "Armenian",
    "Tamil": "Tamil",
    "Telugu": "Telugu",
    "Bengali": "Bengali",
    "Devanagari": "Hindi",
}

_WORDS = {
    "English": "the and of to in is that it for was with as on are this be by an you not have from a how what why when "
    "who which their his her they we my your can would will do does if or but one about into than then me i",
    "German": "der die das und ist nicht ein eine zu den mit von auf für im dem des sich auch wie ich wir sie er es "
    "einen einer bei oder aber wenn was aus nach",
    "French": "le la les de des et est une un que qui dans pour pas sur du au ce il elle vous je nous ne se en avec "
    "ces cette comment mon son",
    "Spanish": "el la los las de que y en un una es por con para no se del como su más al qué cómo lo me mi si pero",
    "Portuguese": "o a os as de que e em um uma é por com para não se do da como mais no na dos das ao os meu eu mas",
    "Italian": "il lo la gli le di che e in un una è per con non si del della come più al dei nel mi ma cosa da",
    "Dutch": "de het een en van is dat niet op te zijn met voor die in er aan ook als bij hoe je ik wat uit",
    "Swedish": "och att det som en ett är på för med av inte den till har om jag var de hur vad",
    "Danish": "og at det som en et er på for med af ikke den til har om jeg var de hvordan hvad",
    "Polish": "i w na z że nie się do jest to jak po od co przez dla są tym ale jego",
    "Czech": "v na se že je to s do z jak pro jsou ale který by od tak jako",
    "Turkish": "ve bir bu da de için ile çok ne daha gibi olarak olan var en ama nasıl",
    "Finnish": "ja on ei että se oli hän mutta kun ovat myös niin kuin tai joka miten",
    "Indonesian": "yang dan di ini itu dengan untuk dari dalam tidak akan pada adalah ke bagaimana",
}
_FREQUENT: Mapping[str, frozenset[str]] = {name: frozenset(words.split()) for name, words in _WORDS.items()}


def scripts(text: str) -> Counter[str]:
    """Letters by script."""
    return Counter(script for character in text[:_LOOKED_AT] if (script := _script(character)))


def guessed_language(text: str) -> str:
    """The language's name, `code or symbols`, the script with letters in it, or `not clear`."""
    looked_at = text[:_LOOKED_AT]
    letters = scripts(looked_at)
    if not letters:
        return CODE if any(not character.isspace() for character in looked_at) else UNSURE
    script, _ = letters.most_common(1)[0]
    if letters["Japanese kana"] > 0.1 * letters["Han"] and script in ("Han", "Japanese kana"):
        return "Japanese"
    if script == "Han":
        return "Chinese"
    if script == "Latin":
        return _latin(looked_at)
    if script == "Cyrillic":
        return _cyrillic(looked_at)
    if script == "Arabic":
        return "Persian" if any(letter in looked_at for letter in "پچژگ") else "Arabic"
    return _ONE_LANGUAGE.get(script, f"{script} script")


def _latin(text: str) -> str:
    words = words_of(text)
    counts = {name: sum(word in frequent for word in words) for name, frequent in _FREQUENT.items()}
    best, hits = max(counts.items(), key=lambda item: item[1])
    others = max(count for name, count in counts.items() if name != best)
    symbols = sum(not (character.isalnum() or character.isspace()) for character in text)
    if symbols > 0.2 * len(text):
        return CODE
    if hits < 2 or hits < 0.08 * len(words) or hits < 1.2 * others:
        return UNSURE
    return best


def _cyrillic(text: str) -> str:
    lower = text.lower()
    if any(letter in lower for letter in "їєґ"):
        return "Ukrainian"
    if any(letter in lower for letter in "ыэ"):
        return "Russian"
    return "Cyrillic script"


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    """The script of a letter; empty for everything else. Unicode's names begin with it."""
    if not character.isalpha():
        return ""
    plain = unicodedata.normalize("NFKC", character)[:1]
    name = unicodedata.name(plain, "").split(" ", maxsplit=1)[0].split("-")[0]
    return _SCRIPTS.get(name, name.capitalize())
