"""The text of the script that repeats a compression; `# <values>` is replaced by assignments of literals."""

from __future__ import annotations

SCRIPT = '''\
"""Repeats one compression with llmcompressor and transformers alone.

Usage: python THIS_FILE [OUTPUT] [CALIBRATION_TOKENS]
The same tensors come out with the same versions, data, seed and number of threads on the same kind of machine.
"""

import hashlib
import json
import random
import struct
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# <values>


def check_versions():
    for name, wanted in VERSIONS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not installed"
        if found != wanted:
            print(f"warning: {name} is {found}, the run used {wanted}: the result may differ", file=sys.stderr)


def calibration(path):
    """The samples as token ids, checked against the hash of the run's data."""
    if not path.is_file():
        sys.exit(f"There are no calibration tokens at {path}. Give their file as the second argument; Bitpress keeps "
                 f"it in the run's folder. The data were: {DATA}")
    rows = json.loads(path.read_text(encoding="utf-8"))["input_ids"]
    digest = hashlib.sha256()
    for row in rows:
        digest.update(struct.pack(f"<{len(row) + 1}q", len(row), *row))
    if TOKENS_SHA256 and digest.hexdigest() != TOKENS_SHA256:
        print("warning: these are not the calibration tokens of the run", file=sys.stderr)
    from datasets import Dataset

    columns = {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
    return {
        "dataset": Dataset.from_dict(columns),
        "num_calibration_samples": len(rows),
        "max_seq_length": MAX_LENGTH,
        "shuffle_calibration_samples": False,
    }


def main():
    output = Path(sys.argv[1] if len(sys.argv) > 1 else OUTPUT)
    if output.exists():
        sys.exit(f"{output} exists already. Give another folder as the first argument.")
    check_versions()
    data = calibration(Path(sys.argv[2] if len(sys.argv) > 2 else TOKENS)) if TOKENS else {}

    import numpy
    import torch
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    if THREADS:
        torch.set_num_threads(THREADS)
    known = {each.__name__: each for each in (GPTQModifier, QuantizationModifier, SmoothQuantModifier)}
    recipe = [known[name](**arguments) for name, arguments in MODIFIERS]
    tokenizer = AutoTokenizer.from_pretrained(MODEL, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype="auto", local_files_only=True, use_safetensors=True)
    model.eval()
    random.seed(SEED)
    numpy.random.seed(SEED)
    torch.manual_seed(SEED)
    oneshot(model=model, processor=tokenizer, recipe=recipe, **data)
    try:
        model.generation_config.validate(strict=True)
    except ValueError:
        # Many models ship one that transformers reads with a warning and refuses to write.
        model.generation_config = GenerationConfig()
    model.save_pretrained(str(output), save_compressed=True)
    tokenizer.save_pretrained(str(output))

    digest = hashlib.sha256()
    for path in sorted(output.glob("*.safetensors")):
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    same = digest.hexdigest() == TENSORS_SHA256 if TENSORS_SHA256 else None
    verdict = {None: "", True: ", the same tensors as the run's", False: ", not the same bytes as the run's"}[same]
    print(f"{output}: sha256 {digest.hexdigest()}{verdict}")


if __name__ == "__main__":
    main()
'''
"""Mirrors core.worker.compress: the same calls in the same order, so that the same tensors come out."""
