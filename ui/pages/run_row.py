"""A run as a row of the list beside the runs: how far it is, why it waits, or how it ended."""

from __future__ import annotations

from datetime import datetime

from core.jobs.line import Standing
from core.jobs.run import Run
from core.jobs.snapshot import JobSnapshot, Phase
from ui.humanize import ago_text, percent_text
from ui.models.queue_words import short_reason
from ui.pages.run_words import running_fraction, state_words
from ui.widgets.run_list import RunRow


def run_row(run: Run, snapshot: JobSnapshot | None, now: datetime, stands: Standing | None) -> RunRow:
    """`stands` is how a queued run waits, None for any other; `snapshot` where a running one is."""
    if stands is not None:
        return RunRow(run.id, run.title, run.model_name, short_reason(run, stands, now))
    if run.phase is not Phase.FINISHED:
        fraction = running_fraction(snapshot)
        state = state_words(run)[0] if fraction is None else percent_text(fraction)
        return RunRow(run.id, run.title, run.model_name, state, bar=True, fraction=fraction)
    word, tone = state_words(run)
    moment = run.finished or run.created
    passed = ago_text(moment if moment.tzinfo else moment.astimezone(), now)
    return RunRow(run.id, run.title, run.model_name, passed, word, tone)
