"""bitpress queue: what waits, in which order, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

import typer

from app.cli.output import DONE, FAILED, Output
from app.cli.session import serve
from app.engine import Engine
from core.errors import BitpressError
from core.jobs.checkpoint import resume_point
from core.jobs.line import Standing
from core.jobs.protocol import AnyEvent, Finished, FinishReason
from core.jobs.queue_store import QueueStore
from core.jobs.run import Run
from core.jobs.snapshot import JobSnapshot, Phase

commands = typer.Typer(
    name="queue", help="See and change what waits to be run.", invoke_without_command=True, rich_markup_mode=None
)

Number = Annotated[int, typer.Argument(metavar="RUN", help="A run's number, as in `bitpress queue list`.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


@commands.callback()
def _listed(context: typer.Context, as_json: Json = False) -> int | None:
    """List what runs and what waits, unless a command says otherwise."""
    return list_queue(as_json) if context.invoked_subcommand is None else None


@commands.command("list")
def list_queue(as_json: Json = False) -> int:
    """List what runs and what waits, next first."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        running = [run for run in engine.store.runs() if run.phase not in (Phase.QUEUED, Phase.FINISHED)]
        queued = QueueStore(engine.store).queued()
        for run in reversed(running):
            output.line("run", **run.model_dump(mode="json"), standing="running")
            output.say(_row(run, "running"))
        for run, stands in queued:
            output.line("run", **run.model_dump(mode="json"), standing=stands.value)
            output.say(_row(run, _words(run, stands)))
        if not running and not queued:
            output.say("Nothing runs and nothing waits. `bitpress compress ... --later` puts a job here.")
        return DONE

    return serve(output, command)


@commands.command("run")
def run_queue(as_json: Json = False) -> int:
    """Run what waits until nothing is left that would begin by itself; Ctrl+C ends the run and leaves the rest.

    What is held, and what follows a run that broke, is left. What has a start time is waited for.
    """
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        ended: list[JobSnapshot] = []
        known: set[int] = set()

        def heard(run_id: int, snapshot: JobSnapshot, event: AnyEvent | None) -> None:
            if run_id not in known:
                known.add(run_id)
                output.line("begun", run=run_id, title=snapshot.title)
                output.say(f"Run {run_id}: {snapshot.title}")
            output.event(snapshot, event)
            if isinstance(event, Finished):
                ended.append(snapshot)
                output.line("ended", run=run_id, reason=event.reason, result=event.result)
                output.say(f"Run {run_id}: {event.reason}")
                if event.problem is not None:
                    output.problem(event.problem)

        unsubscribe = engine.queue.subscribe(heard)
        try:
            engine.queue.carry_on()
            await engine.queue.drained()
        finally:
            unsubscribe()
        broken = sum(snapshot.reason is not FinishReason.COMPLETED for snapshot in ended)
        output.result({"runs": len(ended), "broken": broken})
        output.say(f"Runs that are over: {len(ended)}; without success: {broken}." if ended else "Nothing was ready.")
        return FAILED if broken else DONE

    return serve(output, command)


@commands.command("hold")
def hold(run: Number, as_json: Json = False) -> int:
    """Keep a queued run from beginning until it is released."""
    return _change(as_json, run, "is held", lambda queue: queue.hold(run))


@commands.command("release")
def release(run: Number, as_json: Json = False) -> int:
    """Let a queued run begin: takes away a hold, a start time, and the wait for a run that broke."""
    return _change(as_json, run, "is released", lambda queue: queue.release(run))


@commands.command("cancel")
def cancel(run: Number, as_json: Json = False) -> int:
    """Cancel a run that waits, or ask the window or terminal that runs it to end it."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        over = await asyncio.to_thread(QueueStore(engine.store).cancel, run)
        output.result({"run": run, "over": over})
        output.say(f"Run {run} is over." if over else f"Run {run} was asked to end.")
        return DONE

    return serve(output, command)


@commands.command("retry")
def retry(run: Number, as_json: Json = False) -> int:
    """Put a run that is over into the queue again, with the same settings, as a new run."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        from app.again import asked_again

        kept = await asyncio.to_thread(engine.store.get, run)
        again = await engine.put(await asked_again(engine, kept))
        say_queued(output, again)
        return DONE

    return serve(output, command)


@commands.command("resume")
def resume(run: Number, as_json: Json = False) -> int:
    """Put a run that broke into the queue again, as the same run: it goes on from its last finished layer."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        kept = await asyncio.to_thread(engine.store.get, run)
        point = await asyncio.to_thread(resume_point, kept)
        again = await asyncio.to_thread(QueueStore(engine.store).resume, run)
        words = "" if point is None else point.words
        output.result({"run": again.id, "queued": True, "output": again.output, "goes_on": words})
        output.say(
            f"Run {run} is queued and goes on {words}. An open window takes it up; `bitpress queue run` does it here."
        )
        return DONE

    return serve(output, command)


@commands.command("move")
def move(
    run: Number,
    before: Annotated[int | None, typer.Option("--before", help="Put it before this queued run.")] = None,
    first: Annotated[bool, typer.Option("--first", help="Put it first.")] = False,
    last: Annotated[bool, typer.Option("--last", help="Put it last.")] = False,
    as_json: Json = False,
) -> int:
    """Change the order: name one of --before, --first and --last."""
    if (before is not None) + first + last != 1:
        raise typer.BadParameter("Name one of --before, --first and --last.")
    return _change(as_json, run, "is moved", lambda queue: queue.move(run, before=before, first=first))


@commands.command("after")
def after(
    run: Number,
    other: Annotated[
        int | None, typer.Argument(metavar="OTHER", help="The run that has to complete first; left out, none has to.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Let a queued run begin only when another has completed; if that one breaks, it waits for `release`."""
    done = "waits for no other run" if other is None else f"waits for run {other}"
    return _change(as_json, run, done, lambda queue: queue.follow(run, other))


@commands.command("at")
def at(
    run: Number,
    moment: Annotated[str, typer.Argument(metavar="TIME", help="HH:MM, the next such time, or YYYY-MM-DDTHH:MM.")],
    as_json: Json = False,
) -> int:
    """Let a queued run not begin before a time of day; a window or `bitpress queue run` has to be open then."""
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        start = next_time(moment, datetime.now().astimezone())
        await asyncio.to_thread(QueueStore(engine.store).at, run, start)
        output.result({"run": run, "not_before": start.isoformat()})
        output.say(f"Run {run} begins on {start:%Y-%m-%d} at {start:%H:%M} or later.")
        return DONE

    return serve(output, command)


def next_time(text: str, now: datetime) -> datetime:
    """The moment meant, in `now`'s time zone: a bare time of day is the next one. Raises BitpressError `bad-time`."""
    try:
        if len(text) <= len("22:30"):
            clock = datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007
            meant = datetime.combine(now.date(), clock, now.tzinfo)
            return meant if meant > now else meant + timedelta(days=1)
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BitpressError(
            "bad-time", f"{text!r} is no time.", "Write 22:30, or with a day 2026-12-24T22:30."
        ) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=now.tzinfo)


def say_queued(output: Output, run: Run) -> None:
    """Tell that a run waits, and who will run it."""
    output.result({"run": run.id, "queued": True, "output": run.output})
    output.say(f"Run {run.id} is queued. An open window takes it up; `bitpress queue run` does it here.")


def _change(as_json: bool, run: int, done: str, change: Callable[[QueueStore], None]) -> int:
    output = Output(as_json)

    async def command(engine: Engine) -> int:
        await asyncio.to_thread(change, QueueStore(engine.store))
        output.result({"run": run})
        output.say(f"Run {run} {done}.")
        return DONE

    return serve(output, command)


def _row(run: Run, state: str) -> str:
    return f"{run.id:>5}  {state:<24} {run.title:<28} {run.model_name}"


def _words(run: Run, stands: Standing) -> str:
    match stands:
        case Standing.EARLY if run.not_before is not None:
            return f"from {run.not_before.astimezone():%Y-%m-%d %H:%M}"
        case Standing.FOLLOWS:
            return f"after run {run.follows}"
        case Standing.STRANDED:
            return f"run {run.follows} broke or is held"
        case _:
            return stands.value
