"""A preset as a YAML text: a name, some words about it, and a recipe's document below `recipe`."""

from __future__ import annotations

from datetime import UTC, datetime

from core.methods.recipe_document import RecipeDocument, RecipeFault, document_text, unknown_key
from core.value import Value

KEYS = ("name", "description", "created", "app_version", "recipe")


class PresetText(Value):
    """What a preset's file says. `name` is empty where it is a recipe alone."""

    name: str = ""
    description: str = ""
    created: datetime | None = None
    app_version: str = ""
    document: RecipeDocument | None
    faults: tuple[RecipeFault, ...] = ()
    """What is wrong with the recipe: then there is no document."""


def preset_text(preset: PresetText) -> str:
    """The preset as YAML with the recipe's comments."""
    from core.methods.yaml_nodes import dump

    if preset.document is None:
        raise ValueError("a preset without a recipe is not written")
    head = {
        "name": preset.name,
        "description": preset.description,
        "created": preset.created.astimezone(UTC).isoformat(timespec="seconds") if preset.created else None,
        "app_version": preset.app_version,
    }
    recipe = "".join(f"  {line}\n" for line in document_text(preset.document).splitlines())
    return (
        "# A preset of Bitpress\n" + dump({key: value for key, value in head.items() if value}) + "recipe:\n" + recipe
    )


def read_preset_text(text: str) -> PresetText:
    """A preset, or a recipe alone; what is wrong stands in `faults`."""
    from core.methods.read_recipe import Reading, read_whole
    from core.methods.yaml_nodes import NotYamlError, YamlText

    try:
        nodes = YamlText(text)
    except NotYamlError as error:
        return PresetText(document=None, faults=(RecipeFault.at(error.place, error.message, error.hint),))
    reading = Reading(nodes)
    entries = reading.entries(nodes.root, "A preset") or {}
    if "recipe" not in entries:
        read = read_whole(text, None, "")
        found = isinstance(read, RecipeDocument)
        return PresetText(document=read if found else None, faults=() if found else read)
    for name, (key, _) in entries.items():
        if name not in KEYS:
            reading.fault(key, *unknown_key(name, "A preset", KEYS))
    words = {name: str(reading.plain(value)) for name, (_, value) in entries.items() if name != "recipe"}
    document = reading.recipe(entries["recipe"][1], None)
    ended = reading.ended(document)
    found = isinstance(ended, RecipeDocument)
    return PresetText(
        name=words.get("name", ""),
        description=words.get("description", ""),
        created=_moment(words.get("created", "")),
        app_version=words.get("app_version", ""),
        document=ended if found else None,
        faults=() if found else ended,
    )


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
