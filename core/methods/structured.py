"""Pruning that really shrinks a model: whole decoder blocks, or channels and heads of every block, taken out of it."""

from __future__ import annotations

from dataclasses import replace

from core.methods import sources
from core.methods.divisibility import default_group, divisibility
from core.methods.method import Kind, Level, Method, ModifierSpec, Parameter, Parameters, Standing
from core.methods.modifiers import gptq, rounding
from core.methods.parameters import DAMPENING, GROUP_SIZE, IGNORE, default_ignore, defaults_of
from core.methods.scheme import LINEAR, Rule
from core.methods.schemes import fp8_dynamic, int_weights
from core.methods.smaller import Smaller, block_prefix, head_rows, intermediate, kept_width, shrunk
from core.methods.targets import unfused_experts
from core.models.survey import Survey
from core.plan.finding import Finding, Severity
from core.value import Json

USUAL_BLOCKS = 8
"""One block in so many goes by default: an eighth is what a small model still bears without being trained again."""

MANY_BLOCKS = 1 / 3
"""Share of the blocks from which on hardly a model writes sense without being trained again."""

TRIED = frozenset(
    {
        *("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "GemmaForCausalLM"),
        *("Gemma2ForCausalLM", "Gemma3ForCausalLM", "PhiForCausalLM", "Phi3ForCausalLM", "OPTForCausalLM"),
        *("GPTNeoXForCausalLM", "MixtralForCausalLM", "Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM"),
    }
)
"""Architectures out of which blocks were taken in a test: cache, saving and loading again."""

BOUND_TOGETHER = frozenset(
    {
        *("Gemma3nForCausalLM", "Gemma3nForConditionalGeneration", "Gemma4ForCausalLM"),
        *("Gemma4ForConditionalGeneration", "ZambaForCausalLM", "Zamba2ForCausalLM", "Phi4FlashForCausalLM"),
    }
)
"""Architectures whose blocks use what other blocks have computed, or share their weights."""

BLOCKS = Parameter(
    name="blocks",
    title="Blocks to take out",
    help="How many whole decoder blocks go. Each takes its share of size, memory and time with it. One in eight is "
    "what small models bear; more need to be trained again afterwards.",
    kind=Kind.INTEGER,
    default=4,
    minimum=1,
    maximum=200,
    unit="blocks",
)

BLOCK_IMPORTANCE = Parameter(
    name="importance",
    title="How blocks are judged",
    help="kl skips each block in turn on calibration text, takes out the one without which the outputs diverge least, "
    "and measures the others anew. influence takes those that turn the hidden states least, after a single pass: "
    "quick, and it loses more.",
    kind=Kind.CHOICE,
    default="kl",
    choices=("kl", "influence"),
)

KEEP_FIRST = Parameter(
    name="keep_first",
    title="First blocks that stay",
    help="So many blocks at the beginning never go: the first ones make of words what all others work on.",
    kind=Kind.INTEGER,
    default=1,
    minimum=0,
    maximum=100,
    level=Level.ADVANCED,
    unit="blocks",
)

KEEP_LAST = replace(
    KEEP_FIRST,
    name="keep_last",
    title="Last blocks that stay",
    help="So many blocks at the end never go: the last ones make words of what all others have worked on.",
)

TOKENS = Parameter(
    name="tokens",
    title="Tokens to judge by",
    help="How much of the calibration text, about, every candidate is measured on. Twice as much takes twice the time.",
    kind=Kind.INTEGER,
    default=1024,
    minimum=128,
    maximum=65_536,
    level=Level.ADVANCED,
    unit="tokens",
)

CHANNELS = Parameter(
    name="channels",
    title="Share of channels to take out",
    help="How many of the intermediate channels of every block's MLP go, where most of a model's weights are. 0 "
    "leaves the MLPs as they are.",
    kind=Kind.NUMBER,
    default=0.1,
    minimum=0.0,
    maximum=0.9,
)

MULTIPLE = Parameter(
    name="multiple",
    title="Rounded to",
    help="The channels that are left are the nearest multiple of this. Kernels like 128, and a group size that is to "
    "divide the layers afterwards must divide it.",
    kind=Kind.CHOICE,
    default=128,
    choices=(32, 64, 128, 256),
    level=Level.ADVANCED,
    unit="channels",
)

KV_HEADS = Parameter(
    name="kv_heads",
    title="Key-value heads to take out",
    help="So many key-value heads of every attention go, each with the query heads that read it. That makes the cache "
    "smaller too, and costs much where there are few heads. 0 leaves attention as it is.",
    kind=Kind.INTEGER,
    default=0,
    minimum=0,
    maximum=256,
    unit="heads",
)

CHANNEL_IMPORTANCE = Parameter(
    name="importance",
    title="How channels are judged",
    help="loss scores a channel by what is lost once the others stand in for it. product takes the size of its "
    "activations times that of its weights: quicker, and it loses more.",
    kind=Kind.CHOICE,
    default="loss",
    choices=("loss", "product"),
    level=Level.ADVANCED,
)

RECONSTRUCT = Parameter(
    name="reconstruct",
    title="Fit what is left",
    help="Solves anew for the layer that reads the channels, so that those which are left give what all of them gave, "
    "as far as they can. It costs little and saves much of the loss.",
    kind=Kind.BOOLEAN,
    default=True,
    level=Level.ADVANCED,
)

THEN = Parameter(
    name="then",
    title="Then compress",
    help="none keeps the precision of what is left. fp8-dynamic rounds it to 8 bits and halves the file once more; "
    "w4a16 rounds it to 4 bits in groups, and gptq-w4a16 does so with corrections from the calibration data.",
    kind=Kind.CHOICE,
    default="none",
    choices=("none", "fp8-dynamic", "w4a16", "gptq-w4a16"),
)

_AFTER = (THEN, replace(GROUP_SIZE, level=Level.ADVANCED), IGNORE)
_DROP = (BLOCKS, BLOCK_IMPORTANCE, KEEP_FIRST, KEEP_LAST, TOKENS, *_AFTER)
_NARROW = (CHANNELS, KV_HEADS, MULTIPLE, CHANNEL_IMPORTANCE, RECONSTRUCT, DAMPENING, *_AFTER)
_DATA = "Calibration data that shows what the model must still do."


def _rules(parameters: Parameters) -> tuple[Rule, ...]:
    match parameters["then"]:
        case "fp8-dynamic":
            return (Rule(targets=LINEAR, scheme=fp8_dynamic("memoryless_minmax")),)
        case "w4a16" | "gptq-w4a16":
            scheme = int_weights(4, parameters["group_size"], observer="memoryless_minmax")
            return (Rule(targets=LINEAR, scheme=scheme),)
    return ()


def _then(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    rules = _rules(parameters)
    if not rules:
        return ()
    # The dampening of the narrowing is not GPTQ's.
    own = {name: value for name, value in parameters.items() if name != DAMPENING.name}
    return (gptq(rules, own) if parameters["then"] == "gptq-w4a16" else rounding(rules, own),)


def _drop(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    names = ("blocks", "importance", "keep_first", "keep_last", "tokens")
    arguments = {name: parameters[name] for name in names}
    return (ModifierSpec(name="DropBlocksModifier", arguments=arguments, title="Take out blocks"), *_then(parameters))


def _narrow(parameters: Parameters) -> tuple[ModifierSpec, ...]:
    names = ("channels", "multiple", "kv_heads", "importance", "reconstruct")
    arguments: dict[str, Json] = {name: parameters[name] for name in names}
    arguments["dampening"] = parameters[DAMPENING.name]
    return (ModifierSpec(name="NarrowModifier", arguments=arguments, title="Narrow the layers"), *_then(parameters))


def _fewer_blocks(parameters: Parameters) -> Smaller:
    return Smaller(blocks=parameters["blocks"])


def _narrower(parameters: Parameters) -> Smaller:
    return Smaller(channels=parameters["channels"], multiple=parameters["multiple"], kv_heads=parameters["kv_heads"])


def _for_drop(survey: Survey) -> dict[str, Json]:
    """An eighth of the blocks, at least one; of very few blocks even the last may go."""
    last = 1 if survey.layers > 2 else 0
    usual = max(1, round(survey.layers / USUAL_BLOCKS))
    return {"blocks": usual, "keep_last": last, **_group(survey, Smaller())}


def _for_narrow(survey: Survey) -> dict[str, Json]:
    """The largest multiple that leaves a step to take; attention instead where no MLP is known."""
    mlp = intermediate(survey)
    multiple = 128
    if mlp is not None:
        sizes = [size for size in (128, 64, 32) if kept_width(mlp[2], CHANNELS.default, size) < mlp[2]]
        multiple = sizes[0] if sizes else 32
    return {"multiple": multiple, **_group(survey, Smaller(channels=CHANNELS.default, multiple=multiple))}


def _group(survey: Survey, smaller: Smaller) -> dict[str, Json]:
    return {GROUP_SIZE.name: default_group(shrunk(survey, smaller), [str(each) for each in default_ignore(survey)])}


def _blocked(code: str, message: str, fix: dict[str, Json] | None = None) -> Finding:
    return Finding(code=code, severity=Severity.BLOCKS, message=message, fix=fix)


def _drop_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    name = survey.architecture or "this architecture"
    if survey.architecture in BOUND_TOGETHER:
        why = f"The blocks of {name} use what other blocks have computed, so that none can go alone."
        return (_blocked("blocks-bound", f"{why} FP8 dynamic halves any model.", {"method": "fp8-dynamic"}),)
    if not block_prefix(survey):
        why = f"The decoder blocks of {name} cannot be told from its other parts."
        return (_blocked("blocks-unknown", f"{why} FP8 dynamic halves any model.", {"method": "fp8-dynamic"}),)
    found = []
    blocks, kept = int(parameters["blocks"]), int(parameters["keep_first"]) + int(parameters["keep_last"])
    if blocks > survey.layers - kept:
        most = survey.layers - kept
        fix: dict[str, Json] = {"blocks": most} if most > 0 else {"keep_first": 0, "keep_last": 0, "blocks": 1}
        said = f"The model has {survey.layers} blocks, and {kept} of them stay: {blocks} cannot go."
        if survey.layers < 2:
            return (_blocked("blocks-too-many", f"{said} A model of one block cannot lose any.", None),)
        return (_blocked("blocks-too-many", f"{said} Take out {max(most, 1)}.", fix),)
    if blocks > survey.layers * MANY_BLOCKS:
        found.append(
            Finding(
                code="blocks-many",
                severity=Severity.WARNS,
                message=f"{blocks} of {survey.layers} blocks are many: without being trained again afterwards, such a "
                "model hardly writes sense.",
                fix={"blocks": max(1, round(survey.layers / USUAL_BLOCKS))},
            )
        )
    if survey.architecture not in TRIED:
        found.append(
            Finding(
                code="blocks-untried",
                severity=Severity.WARNS,
                message=f"No block was taken out of {name} with Bitpress before. The job looks first whether the fewer "
                "blocks are built alike, and stops where they are not; the proof shows whether they compute alike.",
            )
        )
    return (*found, *_then_checks(shrunk(survey, _fewer_blocks(parameters)), parameters))


def _narrow_checks(survey: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    name = survey.architecture or "this architecture"
    channels, heads = float(parameters["channels"]), int(parameters["kv_heads"])
    if unfused_experts(survey, ()):
        why = "Narrowing is for dense models, and this one has experts. REAP takes whole experts out."
        return (_blocked("narrow-experts", why, {"method": "reap"}),)
    if not channels and not heads:
        said = "Neither channels nor heads are to go, so nothing would change. Take out a tenth of the channels."
        return (_blocked("narrow-nothing", said, {"channels": CHANNELS.default}),)
    found = []
    mlp, rows = intermediate(survey), head_rows(survey)
    if channels and mlp is None:
        why = f"The MLPs of {name} are of no kind that is known, or differ from block to block."
        found.append(_blocked("narrow-mlp", f"{why} Take out blocks instead.", {"method": "drop-blocks"}))
    elif mlp is not None and channels and kept_width(mlp[2], channels, int(parameters["multiple"])) == mlp[2]:
        found.append(_too_coarse(mlp[2], channels, int(parameters["multiple"])))
    if heads and rows is None:
        why = f"In {name}, queries, keys and values of a head cannot be taken out of their layers."
        found.append(_blocked("narrow-heads", f"{why} Leave attention as it is.", {"kv_heads": 0}))
    elif heads and survey.kv_heads and heads >= survey.kv_heads:
        why = f"Every attention has {survey.kv_heads} key-value heads, so that {heads} cannot go."
        fix: dict[str, Json] = {"kv_heads": survey.kv_heads - 1}
        found.append(_blocked("narrow-heads", f"{why} Take out {survey.kv_heads - 1}.", fix))
    if found:
        return tuple(found)
    return _then_checks(shrunk(survey, _narrower(parameters)), parameters)


def _too_coarse(width: int, channels: float, multiple: int) -> Finding:
    why = f"{channels:.0%} of {width:,} channels is less than half of {multiple}, so that none would go."
    finer = [size for size in MULTIPLE.choices if isinstance(size, int) and kept_width(width, channels, size) < width]
    if finer:
        return _blocked("narrow-nothing", f"{why} Round to {max(finer)}.", {"multiple": max(finer)})
    return _blocked("narrow-nothing", f"{why} Take out a half.", {"channels": 0.5, "multiple": 32})


def _then_checks(left: Survey, parameters: Parameters) -> tuple[Finding, ...]:
    """What of the rounding that follows does not suit the model that is left."""
    rules = _rules(parameters)
    if not rules or parameters["then"] == "fp8-dynamic":
        return ()
    return tuple(
        _blocked(each.code, each.message, {**_kept_method(each.fix)}) if each.severity is Severity.BLOCKS else each
        for each in divisibility(left, parameters, rules)
    )


def _kept_method(fix: dict[str, Json] | None) -> dict[str, Json]:
    """The mend without another method: FP8 afterwards takes any layer."""
    return {"then": "fp8-dynamic"} if not fix or "method" in fix else fix


DROP_BLOCKS = Method(
    id="drop-blocks",
    title="Drop blocks",
    summary="Fewer decoder blocks, 16-bit weights",
    explanation="Finds with calibration data which decoder blocks the model misses least, and takes them out whole. "
    "Size, memory and time shrink by their share, and any engine runs what is left. It was not trained to work without "
    "them: take out few, or recover it by training. Skipping each block in turn, and again after "
    "each that went, is SLEB's way; the quick measure, how little a block turns what passes through it, is ShortGPT's.",
    family="Pruning",
    scheme="PRUNED",
    weight_bits=None,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.EXPERIMENTAL,
    sources=(sources.SLEB, sources.SHORTGPT, sources.DEEPER_LAYERS),
    published=(
        "Published by ShortGPT's authors, on the page of their code: by block influence, Llama 2 7B loses its blocks "
        "21 to 29 of 32, and Llama 2 13B its blocks 26 to 35 of 40: a stretch near the end, the last few spared.",
        "Published by Gromov et al., in the abstract: answers to questions hardly suffer until up to half of the "
        "layers are gone, where a little finetuning with adapters heals what is left, on one A100.",
    ),
    requirements=("A model whose decoder blocks stand alone, as in most.", _DATA),
    kl_bound=2.5,
    parameters=_DROP,
    modifiers=_drop,
    defaults=defaults_of(_DROP, _for_drop),
    rules=_rules,
    checks=_drop_checks,
    smaller=_fewer_blocks,
)

NARROW_MLP = Method(
    id="narrow-mlp",
    title="Narrow layers",
    summary="Fewer MLP channels or heads, 16-bit weights",
    explanation="Takes the least important MLP channels, and if wanted attention heads, out of every block, and fits "
    "what is left anew. Any engine runs the smaller model. Nothing is trained here, so take out little, or recover it.",
    family="Pruning",
    scheme="PRUNED",
    weight_bits=None,
    activation_bits=None,
    needs_calibration=True,
    standing=Standing.EXPERIMENTAL,
    sources=(sources.MINITRON, sources.FLAP, sources.ZIPLM),
    published=(
        "Published by Minitron's authors, in the abstract: models of 8B and 4B from one of 15B with up to 40 times "
        "fewer training tokens than from nothing. They train after pruning, far longer than a recovery here.",
    ),
    requirements=("A dense model whose blocks are all alike.", _DATA),
    kl_bound=2.5,
    parameters=_NARROW,
    modifiers=_narrow,
    defaults=defaults_of(_NARROW, _for_narrow),
    rules=_rules,
    checks=_narrow_checks,
    smaller=_narrower,
)
