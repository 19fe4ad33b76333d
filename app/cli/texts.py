"""bitpress texts: what evaluations can score, and fetching what does not ship."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated

import typer

from app.cli.output import DONE, Output
from app.cli.session import serve
from app.engine import Engine
from core.errors import BitpressError
from core.measure.evaluation_texts import BUILT_IN, CHAT, documents, prompts, provenance
from core.measure.fetched_texts import FETCHABLE, fetch, fetched, find
from core.paths import Home
from core.value import Value

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]

commands = typer.Typer(help="List the texts that evaluations score, and fetch further ones.", rich_markup_mode=None)


class TextRow(Value):
    """A text that an evaluation can be asked for; `state` is `built in`, `fetched`, or `not fetched`."""

    name: str
    state: str
    documents: int | None
    words: int | None
    languages: tuple[str, ...]
    licence: str
    source: str


@commands.callback(invoke_without_command=True)
def list_unless_told(context: typer.Context, as_json: Json = False) -> int | None:
    """List the texts that evaluations score, and fetch further ones."""
    return list_texts(as_json) if context.invoked_subcommand is None else None


@commands.command("list")
def list_texts(as_json: Json = False) -> int:
    """List the built-in and fetched texts: documents, words, licence, where from."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        for row in rows(engine.home):
            output.line("text", **row.model_dump(mode="json"))
            size = "" if row.documents is None else f"{row.documents} documents"
            if row.words is not None:
                size += f", {row.words:,} words"
            output.say(f"{row.name:<14} {row.state:<12} {size:<28} {row.licence}".rstrip())
            output.say(f"    {row.source}")
        return DONE

    return serve(output, command)


@commands.command("fetch")
def fetch_text(
    name: Annotated[str, typer.Argument(help="A text that `bitpress texts` calls not fetched: wikitext-2.")],
    again: Annotated[bool, typer.Option("--again", help="Fetch it even if it is here already.")] = False,
    as_json: Json = False,
) -> int:
    """Fetch a text that does not ship with Bitpress; this needs a network."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        if engine.settings.offline and find(name) is not None and fetched(engine.home, name) is None:
            raise BitpressError(
                "text-not-fetched",
                f"The text {name} is not here yet, and Bitpress is set to stay offline.",
                "Turn `Offline` off in Settings once, or choose a text that ships with Bitpress.",
            )
        output.note(f"Fetching {name}")
        found = await asyncio.to_thread(fetch, name, engine.home, again=again)
        output.result(found.model_dump(mode="json"))
        output.say(f"{found.name}: {found.documents} documents, {found.words:,} words, {found.licence}")
        output.say(f"    {found.source}, SHA-256 {found.sha256}")
        return DONE

    return serve(output, command)


def rows(home: Home) -> Iterator[TextRow]:
    """Every text by name: the chat, what ships, then what can be fetched."""
    asked = prompts()
    yield TextRow(
        name=CHAT,
        state="built in",
        documents=len(asked),
        words=None,
        languages=tuple(sorted({prompt.language for prompt in asked})),
        licence="the model's own words",
        source="answers of the original to held-out prompts, written for Bitpress",
    )
    records = provenance()
    for name in BUILT_IN:
        titles = {f"{title}.txt" for title, _ in documents(name)}
        members = [record for record in records if record.file in titles]
        yield TextRow(
            name=name,
            state="built in",
            documents=len(members),
            words=sum(record.words for record in members),
            languages=tuple(sorted({record.language for record in members})),
            licence=" and ".join(sorted({record.licence for record in members})),
            source=", ".join(sorted({record.author for record in members})),
        )
    for text in FETCHABLE:
        kept = fetched(home, text.name)
        yield TextRow(
            name=text.name,
            state="not fetched" if kept is None else "fetched",
            documents=kept.documents if kept else None,
            words=kept.words if kept else None,
            languages=(text.language,),
            licence=text.licence,
            source=text.source if kept else f"{text.source}, `bitpress texts fetch {text.name}`",
        )
