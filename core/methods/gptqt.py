"""GPTQT: weights in binary coding, each row with coefficients of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from core.methods import sources
from core.methods.codebook_checks import codebook_findings
from core.methods.method import Kind, Level, Method, ModifierSpec, Parameter, Parameters, Standing
from core.methods.parameters import BLOCK_SIZE, DAMPENING, IGNORE, defaults_of
from core.methods.scheme import LINEAR, Rule
from core.methods.schemes import binary
from core.models.survey import Survey
from core.plan.finding import Finding

CODEBOOKS: Mapping[tuple[int, int], int] = MappingProxyType(
    {(2, 2): 1, (3, 2): 22, (4, 2): 252, (5, 2): 2360, (3, 3): 1, (4, 3): 145, (5, 3): 4361, (4, 4): 1, (5, 4): 1875}
)
"""How many sets of levels there are, by intermediate bits and bits: what the search costs."""

LEAST_SHRINK = Parameter(
    name="least_shrink",
    title="Smallest scale",
    help="The grid is laid over the whole range of a row's weights and over smaller parts of it, down to this one, so "
    "that rare large weights do not take levels from all others.",
    kind=Kind.NUMBER,
    default=0.4,
    minimum=0.1,
    maximum=1.0,
    level=Level.ADVANCED,
)

SHRINK_STEPS = Parameter(
    name="shrink_steps",
    title="Scales tried",
    help="How many scales are tried for each row, with every set of levels. 1 keeps the whole range.",
    kind=Kind.INTEGER,
    default=13,
    minimum=1,
    maximum=100,
    level=Level.ADVANCED,
)

_GRID = 5
"""To 3 bits the divergence was 0.539 with 5 intermediate bits and 0.601 with 4, by 0.062 (0.035 to 0.089, paired), and
with one scale instead of 13 it was larger by 0.027 (0.005 to 0.057): 135M, 2,028 held-out tokens. To 2 bits the outputs
of three layers were off by 0.204 with 5 and 0.205 with 4."""

_PUBLISHED = (
    "Published by its authors, in the abstract: perplexity lower by 4.01 than before on OPT-66B at 3 bits, 1.24 times "
    "the speed on OPT-30B, and the best of the binary codings that they compared on Llama 2.",
    "Published elsewhere: GPTQ's own page has OPT-66B at 3 bits at 14.16 without activation ordering and at 9.95 with "
    "it. From 14.16, 4.01 less would be 10.15; GPTQ here uses that ordering already, so expect no such gain over it.",
)

_REQUIREMENTS = (
    "Calibration data: the built-in chat, or text of your own.",
    "A dense model: experts that are stored in one tensor are not taken apart.",
    "It runs in this application, and in transformers with the small loader that comes with the artifact. vLLM has no "
    "kernels for it.",
)


def _grid_bits(bits: int, default: int) -> Parameter:
    return Parameter(
        name="grid_bits",
        title="Intermediate bits",
        help="Weights are first placed on an even grid of so many bits, and levels are chosen among its steps. More "
        f"bits leave more sets of levels to choose from, and take longer; {bits} leave the even grid alone.",
        kind=Kind.CHOICE,
        default=default,
        choices=tuple(range(bits, 6)),
        unit="bits",
    )


def _method(bits: int, *, grid_bits: int, explanation: str, kl_bound: float) -> Method:
    parameters = (_grid_bits(bits, grid_bits), IGNORE, LEAST_SHRINK, SHRINK_STEPS, DAMPENING, BLOCK_SIZE)
    return Method(
        id=f"gptqt-w{bits}",
        title=f"GPTQT-style W{bits}A16",
        summary=f"{bits}-bit binary coding a row, 16-bit activations",
        explanation=explanation,
        family="Binary coding",
        scheme=binary(bits).name,
        weight_bits=bits,
        activation_bits=None,
        needs_calibration=True,
        standing=Standing.EXPERIMENTAL,
        sources=(sources.GPTQT, sources.GPTQ),
        published=_PUBLISHED,
        requirements=_REQUIREMENTS,
        kl_bound=kl_bound,
        parameters=parameters,
        modifiers=_modifiers(bits),
        defaults=defaults_of(parameters),
        rules=_rules(bits),
        checks=_checks,
    )


def _rules(bits: int) -> Callable[[Parameters], tuple[Rule, ...]]:
    rules = (Rule(targets=LINEAR, scheme=binary(bits)),)
    return lambda _parameters: rules


def _modifiers(bits: int) -> Callable[[Parameters], tuple[ModifierSpec, ...]]:
    def made(parameters: Parameters) -> tuple[ModifierSpec, ...]:
        taken = ("grid_bits", "least_shrink", "shrink_steps", DAMPENING.name, BLOCK_SIZE.name)
        arguments = {"bits": bits, **{name: parameters[name] for name in taken}, "ignore": list(parameters["ignore"])}
        return (ModifierSpec(name="GPTQTModifier", arguments=arguments, title="Choose levels and compress"),)

    return made


def _checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    return codebook_findings(survey, parameters)


_OURS = (
    "The paper's text was not at hand: the two steps, the new search for the scale and their merging are from its "
    "abstract, how levels are chosen is our reconstruction."
)

GPTQT_W3 = _method(
    3,
    grid_bits=_GRID,
    explanation="Gives each row eight levels of its own, sums of three coefficients taken plus or minus, chosen on a "
    f"finer grid by what the data needs, and corrects errors as GPTQ does. {_OURS}",
    kl_bound=2.0,
)

GPTQT_W2 = _method(
    2,
    grid_bits=_GRID,
    explanation="Gives each row four levels of its own, sums of two coefficients taken plus or minus, and corrects "
    f"errors as GPTQ does; little is left of a small model. {_OURS}",
    kl_bound=8.0,
)

GPTQT_W4 = _method(
    4,
    grid_bits=_GRID,
    explanation="Gives each row sixteen levels of its own, sums of four coefficients taken plus or minus, and corrects "
    f"errors as GPTQ does. {_OURS}",
    kl_bound=1.0,
)
