"""Tiny models that bring Python code: a model of their own kind in two files, and a Llama with a tokenizer in code.

Each file writes its name into `ran` beside the folder when it is executed: nobody can run it unseen.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = {
    "vocab_size": 49152,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.25,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "dtype": "bfloat16",
}

_CANARY = """\
with open({ran!r}, "a") as canary:
    canary.write(__name__.rpartition(".")[2] + "\\n")
"""

_CONFIGURATION = """
from transformers import LlamaConfig


class OwnConfig(LlamaConfig):
    model_type = "tiny_own"
"""

_MODELING = """
import torch
from transformers import LlamaForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_own import OwnConfig
from .parts.scaling import scaled


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        logits_to_keep=0,
        **kwargs,
    ):
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(scaled(outputs.last_hidden_state)[:, kept, :])
        return CausalLMOutputWithPast(logits=logits, past_key_values=outputs.past_key_values)
"""

_SCALING = """

def scaled(states):
    return states * 0.5
"""

_TOKENIZATION = """
import json
import os

from transformers import PreTrainedTokenizer


class LetterTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "letters.vocab"}
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, vocab_file, **kwargs):
        with open(vocab_file, encoding="utf-8") as file:
            self.letters = json.load(file)
        self.numbers = {letter: number for number, letter in enumerate(self.letters)}
        super().__init__(**kwargs)

    @property
    def vocab_size(self):
        return len(self.letters)

    def get_vocab(self):
        return {**self.numbers, **self.added_tokens_encoder}

    def _tokenize(self, text):
        return list(text)

    def _convert_token_to_id(self, token):
        return self.numbers.get(token, 0)

    def _convert_id_to_token(self, index):
        return self.letters[index] if index < len(self.letters) else "?"

    def convert_tokens_to_string(self, tokens):
        return "".join(tokens)

    def save_vocabulary(self, save_directory, filename_prefix=None):
        return ()
"""


def write_own_model(folder: Path, tokenizer: Path) -> Path:
    """A Llama whose class is the folder's own, with a relative import of a file in a folder below."""
    _write_weights(folder, {"model_type": "tiny_own", "architectures": ["OwnForCausalLM"]})
    _change(
        folder / "config.json",
        auto_map={
            "AutoConfig": "configuration_own.OwnConfig",
            "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
        },
    )
    ran = _CANARY.format(ran=str(canary(folder)))
    (folder / "parts").mkdir()
    (folder / "configuration_own.py").write_text(ran + _CONFIGURATION)
    (folder / "modeling_own.py").write_text(ran + _MODELING)
    (folder / "parts" / "scaling.py").write_text(ran + _SCALING)
    # transformers does not run the folder's own, and neither may we.
    (folder / "__init__.py").write_text(ran)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tokenizer / name, folder / name)
    return folder


def write_own_tokenizer(folder: Path) -> Path:
    """A plain Llama, as XGen is one, with a tokenizer that is Python code and reads a file that only it knows."""
    _write_weights(folder, {"vocab_size": 256})
    letters = ["<unk>", "<s>", "</s>", *(chr(32 + number) for number in range(96)), "\n"]
    (folder / "letters.vocab").write_text(json.dumps(letters))
    settings = {
        "tokenizer_class": "LetterTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_letters.LetterTokenizer", None]},
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "</s>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    ran = _CANARY.format(ran=str(canary(folder)))
    (folder / "tokenization_letters.py").write_text(ran + _TOKENIZATION)
    return folder


def canary(folder: Path) -> Path:
    """The file that the code writes when it runs."""
    return folder.parent / f"{folder.name}.ran"


def ran(folder: Path) -> tuple[str, ...]:
    """The modules that were executed, each once, in the order of their names; the canary is set back."""
    place = canary(folder)
    if not place.exists():
        return ()
    found = tuple(sorted(set(place.read_text().split())))
    place.unlink()
    return found


def _write_weights(folder: Path, changes: dict[str, object]) -> None:
    torch.manual_seed(0)
    sizes = {**SIZES, **{name: value for name, value in changes.items() if name == "vocab_size"}}
    model = LlamaForCausalLM(LlamaConfig(**sizes)).to(torch.bfloat16)
    folder.mkdir(parents=True)
    # Tied: the output layer is the embedding's, and is not stored a second time.
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    model.config.save_pretrained(folder)
    _change(folder / "config.json", **{"architectures": ["LlamaForCausalLM"], **changes})


def _change(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
