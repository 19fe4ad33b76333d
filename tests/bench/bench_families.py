"""Every family of models with every method, from preflight to evaluation, on tiny random-weight models.

Prints one line a pair: size on disk, how far the estimate was off, seconds, KL divergence, the largest relative error
of a compressed module and of a layer's output, or the finding that blocks the pair. Names of families or methods in the
arguments choose.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "worker")]
os.environ.setdefault("LLM_COMPRESSOR_LOG_LEVEL", "ERROR")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

COLUMNS = "{:<14} {:<26} {:>9} {:>7} {:>6} {:>8} {:>7} {:>7}  {}"


def main() -> int:
    """Print the table; the exit status counts the pairs that neither went through nor were blocked."""
    from family_journey import FORTUNE, RUNNABLE, travel
    from tiny_families import FAMILIES, write_family

    chosen = set(sys.argv[1:])
    members = [member for member in FAMILIES if not chosen & {each.id for each in FAMILIES} or member.id in chosen]
    methods = [method for method in RUNNABLE if not chosen & {each.id for each in RUNNABLE} or method.id in chosen]
    print(COLUMNS.format("family", "method", "bytes", "est. %", "s", "KL", "module", "layer", ""), flush=True)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for member in members:
            model = write_family(member, Path(folder) / member.id)
            for method in methods:
                try:
                    journey = travel(member, method, model, Path(folder))
                except Exception as error:
                    # The table is to say what every pair does, whatever a library raises.
                    failed += 1
                    said = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
                    print(COLUMNS.format(member.id, method.id, *"------", f"FAILED {said}"), flush=True)
                    continue
                if journey.blocking:
                    codes = ", ".join(finding.code for finding in journey.blocking)
                    print(COLUMNS.format(member.id, method.id, *"------", f"blocked: {codes}"), flush=True)
                    continue
                wrong = [c.name for c in journey.checks if not c.passed and c.name not in FORTUNE]
                failed += bool(wrong)
                notes = f"FAILED {', '.join(wrong)}" if wrong else f"with {journey.mended}" if journey.mended else ""
                figures = (
                    f"{journey.bytes:,}",
                    f"{journey.size_error:+.2%}",
                    f"{journey.seconds:.1f}",
                    f"{journey.kl:.4f}",
                    f"{journey.module_error:.1%}",
                    f"{journey.layer_error:.1%}",
                )
                print(COLUMNS.format(member.id, method.id, *figures, notes), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
