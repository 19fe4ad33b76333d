"""Work that may run code that came with its models, as far as somebody agreed to it and still does when it begins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from core.jobs.protocol import AnyEvent
from core.jobs.work import Work, WorkContext
from core.models.consent import Consent, standing


def trusting(work: Work, consents: Sequence[Consent]) -> Work:
    """The same work, with workers that may run this code and no other.

    It raises BitpressError `consent-withdrawn` or `consent-elsewhere` before its first event.
    """
    if not consents:
        return work

    async def trusted(context: WorkContext) -> AsyncIterator[AnyEvent]:
        code = await asyncio.to_thread(standing, context.home, consents)
        launch = replace(context.launch, code=code)
        async with aclosing(work(replace(context, launch=launch))) as events:  # type: ignore[type-var]
            async for event in events:
                yield event

    return trusted
