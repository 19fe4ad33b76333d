"""Results of measurements: every figure with how it was measured."""

from __future__ import annotations

from core.errors import Problem
from core.measure.evaluation_texts import BUILT_IN, CHAT
from core.measure.task_results import TaskResult
from core.value import Estimate, Json, Range, Received


class Conditions(Received):
    """How a figure was measured. Lengths in tokens."""

    engine: str
    """transformers, vllm, or endpoint: a server that was there already."""
    engine_version: str
    device: str
    """cpu, or the GPU's name."""
    dtype: str
    threads: int | None = None
    notes: tuple[str, ...] = ()
    """Sentences that must stand beside the figures, e.g. that weights are decompressed in transformers."""
    busy_percent: float | None = None
    """Share of the processor that other programs took when the measuring began; None where nobody looked."""


class ProofCheck(Received):
    """One check of an artifact: what was looked at, and what was found."""

    name: str
    passed: bool
    detail: str


class ProofResult(Received):
    """An artifact opened again in a fresh process. `seconds` is wall time of the whole proof."""

    passed: bool
    seconds: float
    checks: tuple[ProofCheck, ...]
    kl: float | None = None
    """Mean KL divergence from the original in nats per token, on held-out text."""
    text: str = ""
    """What the artifact generated."""
    original_text: str = ""
    host_peak_bytes: int = 0
    """Largest resident memory of the proof's process; 0 where it was not read."""
    device_peak_bytes: int = 0
    """Largest memory that torch held on a device."""


class KlSummary(Received):
    """KL divergence between the original's and the other model's next-token distributions, nats, over all tokens."""

    mean: float
    median: float
    p90: float
    p95: float
    p99: float
    p999: float
    max: float


class TrueToken(Received):
    """Change of the probability of the text's own next token: the other model's minus the original's, -1 to 1."""

    mean: Estimate
    rms: Estimate
    """Root of the mean square: how far it moves either way."""
    quantiles: tuple[tuple[float, float], ...]
    """(probability, value) from 0 (the minimum) over 0.001, 0.01, 0.05, 0.1, 0.25, 0.5 ... 0.999 to 1 (the maximum)."""


class Bucket(Received):
    """The figures over the tokens whose position, or whose probability by the original, lies in [low, high).

    A position counts the tokens before it in its row; a confidence is the original's largest probability, 0 to 1.
    """

    low: float
    high: float
    tokens: int
    kl: Estimate
    same_top1: Estimate
    perplexity_ratio: Estimate


class Fidelity(Received):
    """How far one model is from its original on the same tokens, teacher-forced.

    Intervals are paired bootstraps over documents. What older versions did not measure is None or empty.
    """

    path: str
    name: str
    perplexity: float
    perplexity_ratio: Estimate
    """Perplexity over the original's."""
    kl: KlSummary
    """KL(original || other): what is lost where the original is read by the other."""
    kl_interval: Estimate
    """Mean of `kl` with its interval."""
    same_top1: Estimate
    """Share of tokens whose most likely next token is the original's; 0 to 1."""
    histogram: tuple[tuple[float, int], ...] = ()
    """(upper edge of KL in nats, tokens) for the distribution chart."""
    perplexity_correlation: float | None = None
    """Pearson correlation of both models' negative log-likelihoods, token by token (llama.cpp's Cor(ln PPL))."""
    kl_reverse: KlSummary | None = None
    """KL(other || original): what the other makes up."""
    kl_reverse_interval: Estimate | None = None
    true_token: TrueToken | None = None
    top5: Estimate | None = None
    """Mean share of the original's five likeliest next tokens that are among the other's five; 0 to 1."""
    by_position: tuple[Bucket, ...] = ()
    by_confidence: tuple[Bucket, ...] = ()
    measurable: bool | None = None
    """False where mean KL is not above the noise floor of its text, so that there is no measurable difference."""


class NoiseFloor(Received):
    """The original against itself under a change that means nothing: what lies under it is no measurable difference."""

    kind: str
    """rounding (activations moved by less than bfloat16 resolves) or batch (another batch shape)."""
    title: str
    tokens: int
    perplexity_ratio: Estimate
    kl: KlSummary
    kl_interval: Estimate
    same_top1: Estimate


class TextFidelity(Received):
    """The same figures on one text (domain)."""

    text: str
    tokens: int
    perplexity: float
    """The original's."""
    others: tuple[Fidelity, ...]
    noise: tuple[NoiseFloor, ...] = ()


class PairedDifference(Received):
    """Two compressed models on the same documents, by paths.

    Their own intervals overlap long before they are alike, because documents are hard or easy for both; the interval
    of the difference leaves that out.
    """

    first: str
    second: str
    kl: Estimate
    """Mean KL of the second less that of the first, nats per token: above zero where the first is closer."""


class EvaluationResult(Received):
    """Original against others over all texts together (`others`) and text by text (`texts`)."""

    original: str
    original_perplexity: float
    tokens: int
    documents: int
    window: int
    """Tokens per forward pass."""
    sha256: str
    """Over the token ids scored."""
    others: tuple[Fidelity, ...]
    texts: tuple[TextFidelity, ...]
    conditions: Conditions
    seconds: float
    load_seconds: float = 0.0
    noise: tuple[NoiseFloor, ...] = ()
    """Over all texts together."""
    reference_bytes: int = 0
    """Bytes of what the original computed, kept on disk for the next evaluation; 0 where it was not kept."""
    reference_reused: bool = False
    """The original was not run again: what it computed was kept from an evaluation before."""
    tasks: tuple[TaskResult, ...] = ()
    pairs: tuple[PairedDifference, ...] = ()
    """Every two of `others`, over all texts together."""


class BenchCase(Received):
    """Speed at one batch and length: median over repeats, with the smallest and the largest.

    Of a server a repeat is a round of requests, `batch` of them at once; what is None was not measured.
    """

    batch: int
    """Prompts in one forward pass in transformers; requests in flight at a server."""
    prompt_tokens: int
    output_tokens: int
    repeats: int
    ttft_ms: Range
    """Time to first token."""
    itl_ms: Range
    """Inter-token latency: mean gap between output tokens after the first."""
    tokens_per_second: Range
    """Output tokens of the whole batch over the whole time, prompt processing included."""
    prefill_tokens_per_second: Range
    e2e_ms: Range | None = None
    """From sending a request to its last token, mean over the requests of a round."""
    itl_p50_ms: Range | None = None
    """Quantiles over all gaps of a round."""
    itl_p95_ms: Range | None = None
    itl_p99_ms: Range | None = None
    joules_per_token: Range | None = None
    """Board power of the GPUs over the round's time, idle share included, for each output token."""
    requests: int | None = None
    """Timed requests in all rounds together."""
    real_output_tokens: Range | None = None
    """Output tokens of a request, where the server does not keep to the number asked for."""


class ModelBenchmark(Received):
    """Speed and size of one model in one engine. Bytes and seconds."""

    path: str
    """The model's folder; the endpoint's address where no folder was named."""
    name: str
    bytes: int
    load_seconds: float
    """Until the model can answer; of a server the whole start, 0 where it ran already."""
    peak_bytes: int
    """Peak device memory on CUDA, else the process's peak resident memory above its level before loading.

    Of a server the memory of its processes together, with the KV cache that it sets aside; 0 where it was not read.
    """
    cases: tuple[BenchCase, ...]
    conditions: Conditions


class BenchFailure(Received):
    """A model that could not be measured while others could."""

    path: str
    name: str
    problem: Problem


class GeneratedToken(Received):
    """One output token; `alternatives` are the likeliest (text, probability) at this place, best first."""

    id: int
    text: str
    probability: float | None = None
    alternatives: tuple[tuple[str, float], ...] = ()


class Generation(Received):
    """One answer of one model."""

    path: str
    name: str
    text: str
    tokens: tuple[GeneratedToken, ...]
    prompt_tokens: int
    ttft_ms: float
    tokens_per_second: float
    """Output tokens after the first over the time after the first."""
    peak_bytes: int
    stopped: str
    """end, length or cancelled."""
    conditions: Conditions


class Sampling(Received):
    """How tokens are chosen; temperature 0 is greedy."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    chat: bool = True
    """Apply the model's chat template."""
    system: str = ""


class Comparison(Received):
    """One prompt answered by several models, the original first."""

    prompt: str
    sampling: Sampling
    outputs: tuple[Generation, ...]
    first_difference: tuple[int | None, ...]
    """For each output, the index of the first token that differs from the original's; None where none does."""


class BenchmarkSuite(Received):
    """What a benchmark measures. Lengths in tokens."""

    batches: tuple[int, ...] = (1, 4)
    prompt_tokens: int = 128
    output_tokens: int = 32
    repeats: int = 3
    warmups: int = 1
    seed: int = 0
    engine: str = "transformers"
    """transformers, vllm or endpoint. In a server `batches` are requests at once."""
    endpoint: str | None = None
    """Base address of an OpenAI-compatible server on this machine, such as http://127.0.0.1:8000/v1."""
    served_model: str = ""
    """The endpoint's name of the model; empty takes the first that it lists."""
    use_case: str = ""
    """Id of the preset that set the lengths; empty where they were chosen by hand."""


class EvaluationSuite(Received):
    """What an evaluation scores: built-in text names (`chat`, `prose`) or files; lengths in tokens."""

    texts: tuple[str, ...] = (CHAT, *BUILT_IN)
    """All that ship by default: one text alone crowns the method that was made for its domain."""
    window: int = 512
    tokens: int = 4096
    """Most tokens scored per text. Five texts make some 19,000 in 80 documents. With a model of 135 million parameters
    on two cores that takes two minutes the first time and half a minute for each further model, and leaves mean KL an
    interval of about 5 % either way (measured on W8A8 by GPTQ)."""
    chat_prompts: int = 24
    """Held-out prompts whose greedy answers by the original make the text `chat`."""
    chat_tokens: int = 128
    seed: int = 0
    noise_floor: bool = True
    """Measure the original against itself too (kept with what the original computed)."""
    tasks: tuple[str, ...] = ()
    """Names of built-in tasks, or paths of lm-evaluation-harness YAML files."""
    task_items: int | None = None
    """Most items of each task; None is all."""


def plain(value: Received) -> dict[str, Json]:
    """The value as JSON objects, ready for the store or a report."""
    return value.model_dump(mode="json")
