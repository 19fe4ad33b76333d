"""Values that the window's tests feed to pages."""

from __future__ import annotations

from pathlib import Path

from core.calibration.spec import CalibrationSpec
from core.methods.method import Kind, Level, Method, ModifierSpec, Parameter, Standing
from core.methods.recipe import Recipe
from core.models.local_model import LocalModel, Origin, Remark, TensorGroup, Weights
from core.plan.estimates import Estimates
from core.plan.finding import Finding, Severity
from core.plan.machine import Gpu, Machine
from core.plan.method_plan import MethodPlan
from core.value import Json, Range

GIB = 2**30


def a_model(name: str, path: str = "", **changes: Json) -> LocalModel:
    """A safetensors model in bf16, with changes."""
    values: dict[str, Json] = {
        "path": Path(path or f"/models/{name}"),
        "name": name,
        "origin": Origin.FOLDER,
        "weights": Weights.SAFETENSORS,
        "bytes": 269_000_000,
        "architecture": "LlamaForCausalLM",
        "model_type": "llama",
        "parameters": 134_515_008,
        "precision": "BF16",
        "layers": 30,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "heads": 9,
        "kv_heads": 3,
        "context_length": 8192,
        "vocabulary": 49152,
        "tied_embeddings": True,
        "chat_template": True,
        "tokenizer": True,
        "licence": "apache-2.0",
        "shards": 1,
        "dtypes": (TensorGroup(dtype="BF16", tensors=272, elements=134_515_008, bytes=269_030_016),),
    }
    return LocalModel(**(values | changes))


ORIGINAL = a_model("Zebra-135M")
ARTIFACT = a_model(
    "Zebra FP8",
    origin=Origin.ARTIFACT,
    precision="FP8",
    bytes=163_000_000,
    quantization="compressed-tensors float-quantized",
    made_from=str(ORIGINAL.path),
    made_by_run=41,
    proved=True,
)
FAILED_ARTIFACT = a_model(
    "Zebra INT4", origin=Origin.ARTIFACT, precision="INT4", made_from=str(ORIGINAL.path), made_by_run=42, proved=False
)
GGUF = a_model("ant-q4.gguf", "/downloads/ant-q4.gguf", weights=Weights.GGUF, precision="GGUF Q4_1", bytes=98_000_000)
PICKLE = a_model(
    "Moth",
    weights=Weights.PICKLE,
    remarks=(Remark(code="pickle", level="blocks", message="Its weights are Python pickles."),),
)
STARTER = a_model(
    "SmolLM2",
    origin=Origin.STARTER,
    weights=Weights.NONE,
    remarks=(Remark(code="not-fetched", level="notes", message="Fetched on first use: 102 MB."),),
)
MODELS = (GGUF, ARTIFACT, ORIGINAL, PICKLE, FAILED_ARTIFACT, STARTER)

GROUP = Parameter(
    name="group_size",
    title="Group size",
    help="Weights per scale.",
    kind=Kind.CHOICE,
    default=128,
    choices=(32, 64, 128),
)
IGNORE = Parameter(name="ignore", title="Leave alone", help="Names.", kind=Kind.PATTERNS, default=["lm_head"])
DAMPENING = Parameter(
    name="dampening_frac",
    title="Dampening",
    help="Share of the mean.",
    kind=Kind.NUMBER,
    default=0.01,
    minimum=0.0,
    maximum=1.0,
    level=Level.ADVANCED,
)
BLOCK = Parameter(
    name="block_size",
    title="Block size",
    help="Columns.",
    kind=Kind.INTEGER,
    default=128,
    minimum=8,
    maximum=4096,
    level=Level.ADVANCED,
)
SYMMETRIC = Parameter(
    name="symmetric", title="Symmetric", help="No zero points.", kind=Kind.BOOLEAN, default=True, level=Level.ADVANCED
)


def a_method(identity: str, title: str, parameters: tuple[Parameter, ...] = (), *, data: bool = False) -> Method:
    """A catalogue entry."""
    return Method(
        id=identity,
        title=title,
        summary=f"What {title} makes",
        explanation=f"What {title} does.",
        family="INT4",
        scheme="W4A16",
        weight_bits=4,
        activation_bits=None,
        needs_calibration=data,
        standing=Standing.RECOMMENDED,
        sources=(),
        parameters=parameters,
        modifiers=lambda _parameters: (ModifierSpec(name="GPTQModifier", arguments={}),),
        defaults=lambda _survey: {parameter.name: parameter.default for parameter in parameters},
        rules=lambda _parameters: (),
    )


GPTQ = a_method("gptq-w4a16", "GPTQ W4A16", (GROUP, IGNORE, DAMPENING, BLOCK, SYMMETRIC), data=True)
FP8 = a_method("fp8-dynamic", "FP8 dynamic", (IGNORE,))
METHODS = (FP8, GPTQ)

TOO_WIDE = Finding(
    code="group-size",
    severity=Severity.BLOCKS,
    message="Group size 128 does not divide 576 columns. Use 64.",
    fix={"group_size": 64},
)


def a_plan(
    method: Method, rank: int = 0, findings: tuple[Finding, ...] = (), parameters: dict[str, Json] | None = None
) -> MethodPlan:
    """A planned method with round figures."""
    return MethodPlan(
        recipe=Recipe(
            method=method.id,
            parameters={p.name: p.default for p in method.parameters} | (parameters or {}),
            calibration=CalibrationSpec() if method.needs_calibration else None,
        ),
        findings=findings,
        estimates=Estimates(
            artifact_bytes=5_700_000_000,
            device_bytes=Range(value=3 * GIB, low=2 * GIB, high=4 * GIB),
            host_bytes=Range(value=18 * GIB, low=16 * GIB, high=21 * GIB),
            disk_bytes=11_400_000_000,
            seconds=Range(value=840, low=600, high=1200),
            run_bytes=7 * GIB,
        ),
        rank=rank,
        advice="best for this goal" if rank == 0 else "",
        reason="It reads the fewest bytes for each token." if rank == 0 else "",
    )


MACHINE = Machine(
    cpu_name="A processor",
    cores=16,
    memory_total=64 * GIB,
    memory_available=50 * GIB,
    gpus=(Gpu(index=0, name="NVIDIA GPU", memory_total=24 * GIB, memory_free=20 * GIB, capability=(8, 9)),),
)
