"""Opens an artifact again in this fresh process and finds out whether it is still the model that it was made from."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import BitpressError
from core.jobs.protocol import Prove, Stage
from core.measure.results import ProofCheck, ProofResult, plain
from core.value import Json
from core.worker import memory_record
from core.worker.answers import end_tokens
from core.worker.calibrate import chat_ids, render_chat
from core.worker.codebook_models import know_format, make_plain
from core.worker.faults import lacks_memory
from core.worker.module_error import check_module_errors
from core.worker.proof_cache import CacheWatch
from core.worker.proof_experts import check_experts
from core.worker.proof_smaller import check_smaller
from core.worker.proof_tensors import (
    StoredTensor,
    check_config,
    check_finite,
    check_modules,
    read_config,
    stored_tensors,
)
from core.worker.proof_text import judge
from core.worker.proof_windows import held_out_windows
from core.worker.proof_zeros import check_zeros
from core.worker.reporter import Reporter

TOKENS = 200
"""Generated on a fixed prompt, with the end of the answer forbidden, where the command does not ask for fewer."""


_ROWS = 128
_DRAFTED = 6
_SHOWN = 3


@dataclass(slots=True)
class _Proof:
    """What is known so far. `logits` are the artifact's on the held-out windows, as the model gave them."""

    checks: list[ProofCheck] = field(default_factory=list)
    windows: tuple[tuple[int, ...], ...] = ()
    logits: list[Any] = field(default_factory=list)
    prompt: tuple[int, ...] = ()
    forbidden: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    text: str = ""
    kl: float | None = None

    def add(self, name: str, passed: bool, detail: str) -> bool:
        self.checks.append(ProofCheck(name=name, passed=passed, detail=detail))
        return passed


def run(command: Prove, report: Reporter) -> Json:
    """The result is a ProofResult; what does not hold is a check that did not pass, never an error.

    Raises BitpressError only where there is nothing to prove: no folder, no original, no such device.
    """
    from core.worker.footprint import process_peaks

    started = time.perf_counter()
    artifact = Path(command.artifact)
    for path in (artifact, *((Path(command.original),) if command.original else ())):
        if not (path / "config.json").is_file():
            raise BitpressError("no-config", f"{path} has no config.json.", "Choose the folder that holds the model.")
    report.plan(_stages(command))
    proof = _Proof()
    _prove_artifact(command, artifact, proof, report)
    if command.original and proof.tokens:
        with report.stage("original"):
            _compare(command, proof, report)
    elif proof.tokens and command.tokens is None:
        proof.checks.append(judge(proof.tokens, None))
    result = ProofResult(
        passed=all(check.passed for check in proof.checks),
        seconds=time.perf_counter() - started,
        checks=tuple(proof.checks),
        kl=proof.kl,
        text=proof.text,
        **process_peaks(),
    )
    return plain(result)


def _stages(command: Prove) -> tuple[Stage, ...]:
    return (
        Stage(id="check", title="Check the tensors", unit="tensor"),
        Stage(id="load", title="Open the artifact"),
        Stage(id="score", title="Score held-out text", unit="text"),
        Stage(id="generate", title="Generate", unit="token"),
        *((Stage(id="original", title="Compare with the original"),) if command.original else ()),
    )


def _prove_artifact(command: Prove, artifact: Path, proof: _Proof, report: Reporter) -> None:
    """Everything that needs the artifact alone; ends early where it cannot go on."""
    expected = command.expected
    config = read_config(artifact)
    with report.stage("check"):
        proof.checks.append(check_config(config, expected))
        try:
            tensors = stored_tensors(artifact)
        except BitpressError as error:
            proof.add("weight files", False, error.problem.message)
            return
        proof.checks += _check_tensors(command, config, tensors, report)
        if command.memory is not None and memory_record.holds(Path(command.memory)):
            proof.checks.append(memory_record.check_tensors(tensors, Path(command.memory)))
    with report.stage("load"):
        opened = _open(command, artifact, proof)
        if opened is None:
            return
        model, tokenizer = opened
        cache = CacheWatch(model) if expected.kv_cache_bits is not None else None
        proof.windows = held_out_windows(tokenizer, model, command.window)
        proof.prompt = _prompt(tokenizer)
    with report.stage("score"):
        try:
            for done, logits in enumerate(_scores(model, proof.windows), start=1):
                report.progress("score", done, len(proof.windows))
                proof.logits.append(logits)
        except Exception as error:
            if lacks_memory(error):
                raise
            # As with opening: a scheme that does not fit a layer shows here first, in many kinds of exceptions.
            proof.add("forward pass", False, f"The model cannot compute: {_first_line(error)}")
            return
        if cache is not None and expected.kv_cache_bits is not None:
            proof.checks.append(cache.check(config, tensors, expected.kv_cache_bits))
        if not _forward_is_finite(proof):
            return
        if command.memory is not None and memory_record.holds(Path(command.memory)):
            proof.checks.append(memory_record.check_outputs(model, tokenizer, Path(command.memory)))
    with report.stage("generate"):
        proof.forbidden = tuple(end_tokens(model, tokenizer))
        proof.tokens = _greedy(model, proof.prompt, proof.forbidden, report, command.tokens or TOKENS)
        proof.text = tokenizer.decode(proof.tokens, skip_special_tokens=True)
        if command.tokens is not None:
            proof.add("generates", bool(proof.tokens), f"{len(proof.tokens)} tokens, one after the other.")


def _check_tensors(
    command: Prove, config: dict[str, Json], tensors: Sequence[StoredTensor], report: Reporter
) -> Iterator[ProofCheck]:
    """What the files hold, against what the recipe promised."""
    expected = command.expected
    if expected.unstated or expected.weight_bits or command.expected_modules:
        yield check_modules(tensors, command.expected_modules)
    if expected.zeros is not None:
        yield check_zeros(tensors, command.pruned_modules, expected, report, "check")
    if expected.dropped_experts:
        original = read_config(Path(command.original)) if command.original else None
        yield check_experts(config, tensors, original, expected.dropped_experts)
    known = len(command.dropped_blocks) == expected.smaller.blocks
    if expected.smaller:
        place = Path(command.original) if command.original else None
        yield from check_smaller(
            tensors,
            Path(command.artifact),
            place,
            smaller=expected.smaller,
            dropped=command.dropped_blocks,
            recovered=command.recovered,
            report=report,
            stage="check",
        )
    if command.original and known and expected.comparable:
        yield check_module_errors(
            Path(command.original), Path(command.artifact), report, "check", dropped=command.dropped_blocks
        )
    yield check_finite(tensors, report, "check")


def _open(command: Prove, artifact: Path, proof: _Proof) -> tuple[Any, Any] | None:
    """The artifact by plain transformers, with what it says about keys."""
    from transformers import AutoModelForCausalLM

    from core.worker.loading import pick_device
    from core.worker.tokenizer_files import load_tokenizer

    target = pick_device(command.device)
    tables = know_format(artifact)
    try:
        tokenizer = load_tokenizer(artifact)
        model, info = AutoModelForCausalLM.from_pretrained(
            str(artifact),
            dtype="auto",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            device_map={"": target} if target.type == "cuda" else None,
            output_loading_info=True,
        )
    except Exception as error:
        if lacks_memory(error):
            raise
        # Whatever else goes wrong here is the finding: transformers raises many kinds.
        proof.add("reopens in transformers", False, _first_line(error))
        return None
    if tables:
        # The same numbers to the bit, sooner: two hundred tokens are looked up otherwise one step after another.
        make_plain(model, target)
    wrong = {
        kind: sorted(str(key) for key in info.get(f"{kind}_keys") or ())
        for kind in ("missing", "unexpected", "mismatched")
    }
    said = "; ".join(
        f"{len(keys)} {kind} ({', '.join(keys[:_SHOWN])}{' …' if len(keys) > _SHOWN else ''})"
        for kind, keys in wrong.items()
        if keys
    )
    proof.add(
        "reopens in transformers",
        not said,
        f"Tensors do not fit the model: {said}." if said else "Every tensor found its place.",
    )
    return model.eval(), tokenizer


def _prompt(tokenizer: Any) -> tuple[int, ...]:
    from core.measure.held_out import proof_prompts

    message = {"role": "user", "content": proof_prompts()[0]}
    return tuple(chat_ids(tokenizer, render_chat(tokenizer, [message], answer_next=True)))


def _scores(model: Any, windows: Sequence[Sequence[int]]) -> Iterator[Any]:
    """Next-token logits of each window, (tokens - 1, vocabulary), in the model's own dtype, on the CPU."""
    import torch

    for window in windows:
        with torch.no_grad():
            output = model(input_ids=torch.tensor([window], device=model.device), use_cache=False)
        yield output.logits[0, :-1].cpu()


def _forward_is_finite(proof: _Proof) -> bool:
    import torch

    tokens = sum(len(window) for window in proof.windows)
    finite = all(bool(torch.isfinite(logits).all()) for logits in proof.logits)
    found = "every output is finite" if finite else "the outputs hold NaN or infinity"
    return proof.add("forward pass", finite, f"{tokens} tokens of held-out text: {found}.")


def _greedy(
    model: Any, prompt: Sequence[int], forbidden: Sequence[int], report: Reporter, count: int
) -> tuple[int, ...]:
    """`count` tokens, always the likeliest, with the end tokens forbidden.

    Drafts are looked up in the text so far and checked several at a time, which takes fewer passes and changes the
    outcome only where rounding decides. A model whose state cannot be set back goes token by token.
    """
    for drafts in ({"prompt_lookup_num_tokens": _DRAFTED}, {}):
        try:
            tokens = _generate(model, prompt, forbidden, report, count=count, drafts=drafts)
        except (ValueError, NotImplementedError, AttributeError):
            if not drafts:
                raise
            continue
        if len(tokens) == count and not set(forbidden) & set(tokens):
            return tokens
    return tokens


def _generate(
    model: Any, prompt: Sequence[int], forbidden: Sequence[int], report: Reporter, *, count: int, drafts: dict[str, int]
) -> tuple[int, ...]:
    import torch
    from transformers import GenerationConfig

    def step(ids: Any, _scores: Any) -> Any:
        report.progress("generate", ids.shape[1] - len(prompt), count)
        return torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)

    ids = torch.tensor([list(prompt)], device=model.device)
    output = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        generation_config=GenerationConfig(
            do_sample=False,
            min_new_tokens=count,
            max_new_tokens=count,
            eos_token_id=list(forbidden) or None,
            pad_token_id=forbidden[0] if forbidden else 0,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            **drafts,
        ),
        stopping_criteria=[step],
    )
    return tuple(output[0, len(prompt) :].tolist())


def _compare(command: Prove, proof: _Proof, report: Reporter) -> None:
    """The divergence from the original, and its judgement of the generated text."""
    import torch

    from core.worker.loading import load

    # The artifact is out of scope here: its memory goes back before the original comes.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    loaded = load(str(command.original), command.device)
    proof.kl = _mean_kl(_scores(loaded.model, proof.windows), proof.logits)
    proof.logits.clear()
    close = proof.kl <= command.kl_bound
    proof.add(
        "close to the original",
        close,
        f"Mean KL divergence {proof.kl:.4f} nats per token on {sum(map(len, proof.windows))} tokens of held-out text; "
        f"{'at most' if close else 'more than'} {command.kl_bound:g}.",
    )
    if command.tokens is None:
        proof.checks.append(judge(proof.tokens, _regrets(loaded.model, proof)))


def _mean_kl(originals: Iterator[Any], others: Sequence[Any]) -> float:
    """Mean of KL(original || other) in nats over all positions, exact over the vocabulary, in float32."""
    import torch

    total, count = 0.0, 0
    for original, other in zip(originals, others, strict=True):
        width = min(original.shape[-1], other.shape[-1])
        for start in range(0, original.shape[0], _ROWS):
            p = torch.log_softmax(original[start : start + _ROWS, :width].float(), -1)
            q = torch.log_softmax(other[start : start + _ROWS, :width].float(), -1)
            total += float(torch.nn.functional.kl_div(q, p, reduction="sum", log_target=True))
            count += p.shape[0]
    return total / count if count else 0.0


def _regrets(model: Any, proof: _Proof) -> list[float]:
    """For each token after the prompt, log-likelihood of the model's first choice there less the token's own, in nats.

    The tokens that end an answer are no choice, as they were forbidden.
    """
    import torch

    ids = torch.tensor([[*proof.prompt, *proof.tokens]], device=model.device)
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0, len(proof.prompt) - 1 : -1].float()
    logits[:, list(proof.forbidden)] = float("-inf")
    chosen = logits.gather(1, ids[0, len(proof.prompt) :, None])[:, 0]
    regrets: list[float] = (logits.max(-1).values - chosen).tolist()
    return regrets


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
