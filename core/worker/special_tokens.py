"""Makes tokenizer, config and generation config agree on which tokens begin, end and pad a text.

transformers takes these tokens from a GGUF file by several ways that contradict each other (for the Llama family it
gives the end the beginning's token). The ids in the file's own metadata stand above all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.errors import BitpressError
from core.models.gguf_file import GgufFacts
from core.worker.template_limits import TemplateFaultError, apply_template

_MARK = "bitpress-turn"
_LEFTOVERS = ("vocab_file", "name_or_path", "is_local", "local_files_only", "model_type", "legacy", "gguf_file")


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """Token ids; None where the model has no such token. `turn_end` is what the chat template writes after a turn."""

    eos: int
    pad: int
    bos: int | None
    unk: int | None
    turn_end: int | None

    @property
    def stops(self) -> int | list[int]:
        """What ends a generation: one id, or two where a turn ends otherwise than a text."""
        return self.eos if self.turn_end in (None, self.eos) else [self.eos, self.turn_end]


def special_ids(facts: GgufFacts, tokenizer: Any) -> SpecialIds:
    """The ids by the file's metadata, the chat template standing in for a missing end.

    Raises BitpressError `no-end-token` where nothing tells how a text ends.
    """

    def stated(name: str) -> int | None:
        found = facts.number(f"tokenizer.ggml.{name}_token_id")
        return found if found is not None and 0 <= found < len(tokenizer) else None

    turn_end = _turn_end(tokenizer)
    eos = next((found for found in (stated("eos"), stated("eot"), turn_end) if found is not None), None)
    if eos is None:
        raise BitpressError(
            "no-end-token",
            f"{facts.path} does not say which token ends a text, and its chat template does not show it either.",
            "A model that never stops cannot be used: look for another GGUF file of this model.",
        )
    pad = stated("padding")
    return SpecialIds(
        eos=eos,
        pad=eos if pad is None else pad,
        bos=stated("bos"),
        unk=stated("unknown"),
        turn_end=stated("eot") if stated("eot") is not None else turn_end,
    )


def reconcile(model: Any, tokenizer: Any, ids: SpecialIds, facts: GgufFacts) -> None:
    """Write the ids into all three, and remove what the conversion left in them."""
    from transformers import GenerationConfig

    for name, identity in (("eos", ids.eos), ("pad", ids.pad), ("bos", ids.bos), ("unk", ids.unk)):
        setattr(tokenizer, f"{name}_token", None if identity is None else tokenizer.convert_ids_to_tokens(identity))
    adds_bos = facts.metadata.get("tokenizer.ggml.add_bos_token")
    if isinstance(adds_bos, bool):
        tokenizer.add_bos_token = adds_bos and ids.bos is not None
    # Cleaning up takes spaces out of decoded text (" ," becomes ","), which no byte-level vocabulary wants.
    tokenizer.clean_up_tokenization_spaces = False
    for leftover in (*_LEFTOVERS, *(f"{name}_token_id" for name in ("eos", "pad", "bos", "unk"))):
        tokenizer.init_kwargs.pop(leftover, None)
    tokenizer.init_kwargs["clean_up_tokenization_spaces"] = False
    context = getattr(model.config, "max_position_embeddings", None)
    if isinstance(context, int):
        tokenizer.model_max_length = context
    config = model.config
    for holder in {id(part): part for part in (config, config.get_text_config())}.values():
        holder.bos_token_id, holder.eos_token_id, holder.pad_token_id = ids.bos, ids.stops, ids.pad
        for leftover in ("_model_name_or_path", "unk_token_id"):
            if leftover in vars(holder):
                delattr(holder, leftover)
    config.name_or_path = ""
    model.generation_config = GenerationConfig(
        bos_token_id=ids.bos, eos_token_id=ids.stops, pad_token_id=ids.pad, do_sample=False
    )


def disagreements(model: Any, tokenizer: Any) -> tuple[str, ...]:
    """What tokenizer, config and generation config contradict each other about; empty where they agree."""
    found: list[str] = []
    for name in ("bos", "pad", "eos"):
        told = {
            "tokenizer": getattr(tokenizer, f"{name}_token_id"),
            "config": getattr(model.config, f"{name}_token_id", None),
            "generation config": getattr(model.generation_config, f"{name}_token_id", None),
        }
        # Several ends are written as a list, the tokenizer's own first.
        first = {who: value[0] if isinstance(value, list) and value else value for who, value in told.items()}
        if len(set(first.values())) > 1:
            found.append(f"{name}: " + ", ".join(f"{who} {value}" for who, value in told.items()))
    return tuple(found)


def _turn_end(tokenizer: Any) -> int | None:
    """The special token that the chat template writes behind an answer; None where there is none."""
    if not tokenizer.chat_template:
        return None
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": _MARK}]
    try:
        text = str(apply_template(tokenizer, turns, tokenize=False))
    except TemplateFaultError:
        return None
    _, mark, rest = text.rpartition(_MARK)
    if not mark:
        return None
    special = {identity for identity, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids = tokenizer(rest, add_special_tokens=False).input_ids
    return next((identity for identity in ids if identity in special), None)
