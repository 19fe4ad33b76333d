"""Keeps the window alive: readings of the machine, events of jobs, the strip, and what is told in the background."""

from __future__ import annotations

import asyncio

from app.closing import Closing
from app.shell import Shell
from app.spare_memory import give_back
from core.care.attended import STUCK
from core.jobs.protocol import AnyEvent, Finished, Hello
from core.jobs.run import Run, RunKind
from core.jobs.snapshot import BROKEN, JobSnapshot, Phase
from core.telemetry.sample import Sample
from ui.humanize import duration_text
from ui.tone import Tone


class Live:
    """Listens to queue and sampler for the whole window."""

    def __init__(self, shell: Shell, closing: Closing) -> None:
        self._shell = shell
        self._closing = closing
        self._loop = asyncio.get_running_loop()
        self._unsubscribe = shell.engine.queue.subscribe(self._heard)
        self._deaf = shell.engine.sampler.subscribe(self._sampled)
        shell.engine.sampler.start()
        window = shell.window
        window.strip.job_clicked.connect(self._show_job)
        window.path_dropped.connect(lambda path: shell.go("models", path))
        shell.refresh_models()
        shell.refresh_runs()

    def stop(self) -> None:
        """Stop listening; the window is about to go."""
        self._unsubscribe()
        self._deaf()

    def _sampled(self, sample: Sample) -> None:
        # Called on the sampler's thread.
        self._loop.call_soon_threadsafe(self._show_sample, sample)

    def _show_sample(self, sample: Sample) -> None:
        self._shell.window.strip.show_sample(sample)
        for listener in self._shell.on_sample:
            listener(sample)

    def _heard(self, run_id: int, snapshot: JobSnapshot, event: AnyEvent | None) -> None:
        shell = self._shell
        for listener in shell.on_event:
            listener(run_id, snapshot, event)
        run = shell.run(run_id)
        if isinstance(event, Hello) and run is not None and run.kind is not RunKind.COMPARE:
            # The job needs the memory that models kept for comparing hold.
            shell.tasks.start("make-room", shell.engine.residents.close())
        if snapshot.phase is Phase.FINISHED:
            shell.window.strip.show_idle(_ending(snapshot))
            title = f"{snapshot.title} {snapshot.reason or 'ended'}"
            self._closing.ended(title, _told(snapshot, run), failed=snapshot.reason in BROKEN)
            shell.refresh_runs()
            give_back()
            made = (RunKind.COMPRESS, RunKind.IMPORT, RunKind.RECOVER, RunKind.EXPORT)
            if isinstance(event, Finished) and (run is None or run.kind in made):
                shell.refresh_models()
            return
        if run is None or event is None or isinstance(event, Hello):
            shell.refresh_runs()
        if snapshot.phase is Phase.QUEUED and shell.running != run_id:
            return
        current = snapshot.current
        detail = current.stage.title if current else "Starting"
        if current is not None and current.total:
            unit = f"{current.stage.unit} " if current.stage.unit else ""
            detail = f"{detail}, {unit}{current.done:.0f} of {current.total:.0f}"
        if current is not None and current.seconds_left is not None:
            detail = f"{detail} · {duration_text(current.seconds_left)} left in this stage"
        # The last thing said: any sign of life says so in its turn.
        if snapshot.warnings and snapshot.warnings[-1].code == STUCK:
            detail = f"May be stuck · {detail}"
        title = f"{run.model_name} → {run.title}" if run else snapshot.title
        detail = "Cancelling" if snapshot.phase is Phase.CANCELLING else detail
        fraction = current.fraction if current else None
        tone = Tone.ATTENTION if snapshot.phase is Phase.CANCELLING else Tone.ACCENT
        shell.window.strip.show_job(title, detail, fraction, tone)
        self._closing.show_job(title, detail, fraction)

    def _show_job(self) -> None:
        self._shell.go("runs", self._shell.running)


def _ending(snapshot: JobSnapshot) -> str:
    if snapshot.problem is not None:
        return f"{snapshot.title} failed: {snapshot.problem.message}"
    return f"{snapshot.title} {snapshot.reason or 'ended'} after {_took(snapshot)}"


def _told(snapshot: JobSnapshot, run: Run | None) -> str:
    """What a notification says under its title."""
    if snapshot.problem is not None:
        return snapshot.problem.message
    return f"{run.model_name}, after {_took(snapshot)}." if run is not None else f"After {_took(snapshot)}."


def _took(snapshot: JobSnapshot) -> str:
    # One that was cancelled while it waited never began.
    started = snapshot.started if snapshot.started is not None else snapshot.finished
    return duration_text((snapshot.finished or 0) - (started or 0))
