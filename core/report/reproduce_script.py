"""The text of the scripts that repeat a compression, put together from the parts that a run needs.

They mirror core.worker: the same calls in the same order in the same environment, so that the same bytes come out.
`# <values>` and `# <tokens>` are replaced by assignments of literals.
"""

from __future__ import annotations

VALUES = "# <values>"
TOKENS = "# <tokens>"

_ALONE = "Repeats one compression with llmcompressor, transformers and torch alone."
NEEDS_BITPRESS = """Repeats one compression with Bitpress, llmcompressor, transformers and torch.

The method and the format of its result are Bitpress's own, and llmcompressor alone cannot make them: run this with the
Python of an environment in which Bitpress is installed. It uses the classes that Bitpress's worker uses."""
"""Stands in scripts that do not work without Bitpress."""
SMALLER_NEEDS_BITPRESS = """Repeats one compression with Bitpress, llmcompressor, transformers and torch.

What takes parts out of the model is Bitpress's own, and llmcompressor alone has nothing of the kind: run this with the
Python of an environment in which Bitpress is installed. The result needs no Bitpress: it loads as any model does."""
"""Stands in scripts that need Bitpress for a modifier, and not for what comes out."""
TRAINED_NEEDS_BITPRESS = """Repeats one compression with Bitpress, llmcompressor, transformers and torch.

What trains the weights is Bitpress's own, and llmcompressor alone has nothing of the kind: run this with the Python of
an environment in which Bitpress is installed. The result needs no Bitpress: it loads as any model does. A training that
its minutes ended comes out otherwise: only one that made all of its passes can be repeated to the byte."""
"""The same for scripts that train weights."""

_TOLD = """# The modifier is Bitpress's own, made for llmcompressor.
    """
_SENSITIVITIES = """from core.worker.codebook.fisher_stage import measured_alone

    # How sensitive weights are, where the modifier asks for it; the file is there as long as this is.
    sensitivities = measured_alone(recipe, model, data.get("dataset"))
    """
_SAVE = "    model.save_pretrained(str(output), save_compressed=True)\n"
_SAVE_SMALLER = """    model.save_pretrained(str(output), save_compressed=True)
    from core.worker.structured.settings import write_settings

    write_settings(model, output)
"""
_SAVE_OWN = """    output.mkdir(parents=True)
    from core.worker.save_codebook import save_codebook_model

    save_codebook_model(model, output)
"""


def script(
    *,
    data: bool,
    awq: bool,
    streamed: bool,
    targets: bool = False,
    own: bool = False,
    smaller: bool = False,
    trained: bool = False,
) -> str:
    """The script's text. `data`: it calibrates; `awq`: AWQ is in it; `streamed`: the run went from file to file;
    `targets`: less than a decoder layer was calibrated at one time; `own`: the modifier and the format are Bitpress's;
    `smaller`: of those the modifier alone, which leaves a smaller model in a format that is nobody's own; `trained`:
    likewise, which leaves trained weights.
    """
    middle = _STREAMED if streamed else (_DATA if data else "") + (_AWQ if awq else "") + _ONESHOT
    middle = middle.replace("        # <targets>\n", '        "sequential_targets": TARGETS,\n' if targets else "")
    middle = middle.replace("    # <awq>\n", "    let_awq_run_without_gpu()\n" if awq else "")
    middle = middle.replace("# <data>", "calibration()" if data else "{}")
    head = _HEAD
    if trained:
        head = head.replace(_ALONE, TRAINED_NEEDS_BITPRESS)
        middle = middle.replace("oneshot(model", _TOLD + "oneshot(model")
    elif own:
        head = head.replace(_ALONE, SMALLER_NEEDS_BITPRESS if smaller else NEEDS_BITPRESS)
        save = _SAVE_SMALLER if smaller else _SAVE_OWN
        told = _TOLD if smaller else _SENSITIVITIES + _TOLD
        middle = middle.replace(_SAVE, save).replace("oneshot(model", told + "oneshot(model")
    return head + middle + _TAIL


_HEAD = '''\
"""Repeats one compression with llmcompressor, transformers and torch alone.

Usage: python THIS_FILE [OUTPUT] [CALIBRATION_TOKENS]

The same bytes come out with the same versions, calibration tokens, seed and number of threads on the same kind of
machine. The script warns where it finds a difference, and says at its end whether the tensors are the run's.
"""

import hashlib
import os
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# <values>

# Threads are counted and variables read when the libraries load, so this comes first.
os.environ.update(ENVIRONMENT)
if THREADS:
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
if DEVICE == "cpu":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
elif DEVICE.startswith("cuda:"):
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    index = int(DEVICE[len("cuda:"):])
    os.environ["CUDA_VISIBLE_DEVICES"] = seen[index] if index < len(seen) else str(index)


def differences():
    """What is not as it was in the run."""
    for name, wanted in VERSIONS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not installed"
        if found != wanted:
            yield f"{name} is {found}, the run used {wanted}"


def warn(found):
    for difference in found:
        print(f"WARNING: {difference}: the bytes may differ", file=sys.stderr, flush=True)

'''

_DATA = '''
def calibration():
    """oneshot's arguments for the run's samples, as token ids, checked against their hash."""
    import struct

    from datasets import Dataset  # llmcompressor itself brings it

    rows = token_ids()
    digest = hashlib.sha256()
    for row in rows:
        digest.update(struct.pack(f"<{len(row) + 1}q", len(row), *row))
    if TOKENS_SHA256 and digest.hexdigest() != TOKENS_SHA256:
        warn(["these are not the calibration tokens of the run"])
    columns = {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
    return {
        "dataset": Dataset.from_dict(columns),
        "num_calibration_samples": len(rows),
        "max_seq_length": MAX_LENGTH,
        "shuffle_calibration_samples": False,
        # <targets>
    }


def token_ids():
    """The samples: from the file that the second argument names, from this script, or from the run's folder."""
    import array
    import base64
    import json
    import zlib

    if EMBEDDED_TOKENS and len(sys.argv) < 3:
        numbers = array.array("i", zlib.decompress(base64.b64decode("".join(EMBEDDED_TOKENS))))
        if sys.byteorder == "big":
            numbers.byteswap()
        count, rows = numbers[0], []
        start = 1 + count
        for length in numbers[1:start]:
            rows.append(list(numbers[start:start + length]))
            start += length
        return rows
    path = Path(sys.argv[2] if len(sys.argv) > 2 else TOKENS)
    if not path.is_file():
        sys.exit(f"There are no calibration tokens at {path}. Give their file as the second argument; Bitpress keeps "
                 f"it in the run's folder. The data were: {DATA}")
    return json.loads(path.read_text(encoding="utf-8"))["input_ids"]

'''

_AWQ = '''
def let_awq_run_without_gpu():
    """AWQ of llmcompressor 0.14 pins memory for speed alone, and torch refuses that without an accelerator."""
    import torch
    from llmcompressor.pipelines.cache import IntermediatesCache

    if not torch.accelerator.is_available():
        IntermediatesCache.pin_memory = lambda self, *arguments, **named: None

'''

_ONESHOT = '''
def compress(output):
    """The run's steps, in its order."""
    import random

    import numpy
    import torch
    from llmcompressor import oneshot
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    if THREADS:
        torch.set_num_threads(THREADS)
    recipe = [getattr(import_module(module), name)(**arguments) for module, name, arguments in MODIFIERS]
    tokenizer = AutoTokenizer.from_pretrained(MODEL, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype="auto", local_files_only=True, use_safetensors=True)
    model.eval()
    data = # <data>
    # <awq>
    random.seed(SEED)
    numpy.random.seed(SEED % 2**32)
    torch.manual_seed(SEED)
    oneshot(model=model, processor=tokenizer, recipe=recipe, **data)
    try:
        model.generation_config.validate(strict=True)
    except ValueError:
        # Many models ship one that transformers reads with a warning and refuses to write.
        model.generation_config = GenerationConfig()
    model.save_pretrained(str(output), save_compressed=True)
    tokenizer.save_pretrained(str(output))

'''

_STREAMED = '''
def compress(output):
    """The run went from file to file and never built the model."""
    import json
    import re

    import torch
    from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme
    from llmcompressor import model_free_ptq
    from llmcompressor.entrypoints import model_free

    if THREADS:
        torch.set_num_threads(THREADS)
    (_, _, arguments), = MODIFIERS

    def named(targets):
        """The run's modules, one by one: `Linear` would mean embeddings too."""
        modules = (before + number + after for before, after, numbers in PARTS for number in numbers)
        return [name for name in modules if any(
            target in ("Linear", name) or (target.startswith("re:") and re.match(target[3:], name))
            for target in targets
        )]

    groups = arguments["config_groups"]
    schemes = {
        key: QuantizationScheme(**{**group, "targets": named(group["targets"])}) for key, group in groups.items()
    }
    save = model_free.save_file
    model_free.save_file = lambda tensors, path, **more: save(tensors, path, **(more or {"metadata": {"format": "pt"}}))
    model_free_ptq(
        model_stub=MODEL,
        save_directory=str(output),
        config=QuantizationConfig(config_groups=schemes, ignore=[]),
        max_workers=1,
        device="cuda:0" if torch.cuda.is_available() else "cpu",
    )
    config = json.loads((output / "config.json").read_text(encoding="utf-8"))
    for key, group in groups.items():
        config["quantization_config"]["config_groups"][key]["targets"] = list(group["targets"])
    config["quantization_config"]["ignore"] = LEFT_ALONE
    (output / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")

'''

_TAIL = """
def main():
    output = Path(sys.argv[1] if len(sys.argv) > 1 else OUTPUT)
    if output.exists():
        sys.exit(f"{output} exists already. Give another folder as the first argument.")
    found = list(differences())
    warn(found)
    compress(output)
    digest = hashlib.sha256()
    for path in sorted(output.glob("*.safetensors")):
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    warn(found)
    same = digest.hexdigest() == TENSORS_SHA256 if TENSORS_SHA256 else None
    verdict = {None: "", True: ", the same tensors as the run's", False: ", NOT the same bytes as the run's"}[same]
    print(f"{output}: sha256 {digest.hexdigest()}{verdict}")
    return same is False

# <tokens>

if __name__ == "__main__":
    sys.exit(main())
"""


def script_title(text: str) -> str:
    """What a script is called where it is shown."""
    needs = (NEEDS_BITPRESS, SMALLER_NEEDS_BITPRESS, TRAINED_NEEDS_BITPRESS)
    with_bitpress = any(each in text for each in needs)
    return "Make it again in Python, with Bitpress" if with_bitpress else "Make it again without Bitpress"
