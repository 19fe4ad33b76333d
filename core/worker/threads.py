"""How torch's threads wait for each other."""

from __future__ import annotations

import os


def wait_without_spinning() -> None:
    """Let OpenMP threads sleep while they wait; call it before torch is imported, later it does nothing.

    By default they spin. Beside any other busy program (the window, another job) two spinning threads on two cores
    made a model's step up to thirteen times slower, measured on the starter model; on a quiet machine it costs next
    to nothing. It changes no result: the work is split the same way.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
