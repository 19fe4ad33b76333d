"""Published use cases: how many tokens go in and come out of each.

Lengths: Kurtic et al., "Give Me BF16 or Give Me Death? Accuracy-Performance Trade-Offs in LLM Quantization",
arXiv:2411.02355, section on inference performance.
"""

from __future__ import annotations

from core.errors import BitpressError
from core.measure.results import BenchmarkSuite
from core.value import Value

SOURCE = "arXiv:2411.02355"


class UseCase(Value):
    """What one kind of application asks of a model; lengths in tokens."""

    id: str
    title: str
    prompt_tokens: int
    output_tokens: int


USE_CASES: tuple[UseCase, ...] = (
    UseCase(id="chat", title="Chat over several turns", prompt_tokens=512, output_tokens=256),
    UseCase(id="rag", title="Retrieval (RAG)", prompt_tokens=1024, output_tokens=128),
    UseCase(id="summarisation", title="Summarisation", prompt_tokens=4096, output_tokens=512),
    UseCase(id="code-completion", title="Code completion", prompt_tokens=256, output_tokens=1024),
    UseCase(id="docstring", title="Docstring generation", prompt_tokens=768, output_tokens=128),
    UseCase(id="code-fixing", title="Code fixing", prompt_tokens=1024, output_tokens=1024),
    UseCase(id="instructions", title="Following an instruction", prompt_tokens=256, output_tokens=128),
)


def use_case(name: str) -> UseCase:
    """The use case with that id. Raises BitpressError `unknown-use-case`."""
    found = next((case for case in USE_CASES if case.id == name.strip().lower()), None)
    if found is None:
        raise BitpressError(
            "unknown-use-case",
            f"There is no use case {name!r}.",
            f"The use cases are {', '.join(case.id for case in USE_CASES)}.",
        )
    return found


def as_use_case(suite: BenchmarkSuite, case: UseCase) -> BenchmarkSuite:
    """The suite with the lengths of the use case, and its name."""
    lengths = {"prompt_tokens": case.prompt_tokens, "output_tokens": case.output_tokens}
    return suite.model_copy(update={**lengths, "use_case": case.id})
