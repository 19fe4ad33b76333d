"""Trains a small Llama from nothing, so that there is a model whose weights were never on a quantization grid.

Its text is the source of Python's own standard library, which every machine with Python has: of its modules every tenth
is held out (from 200 lines on), and the model is measured on those alone. Tokenizer, order of the text and
first weights come from one seed; with the same Python, torch and number of threads the same model comes out.

It has 11.5 million parameters in columns of 512 and 1024, so that a row's table costs it no more than a model that is
used. A step takes 0.87 s of one core's time (with bfloat16 in the processor), all of them ten minutes or less of two.

    python tests/bench/scratch_model.py FOLDER [--steps 1100]
"""

from __future__ import annotations

import argparse
import json
import random
import sysconfig
import time
from pathlib import Path

STEPS = 1100
VOCABULARY, HIDDEN, LAYERS, HEADS, INNER = 2048, 512, 4, 8, 1024
LENGTH, BATCH, RATE = 256, 8, 1.5e-3
SEED = 7
EVERY, LINES = 10, 200


def library_texts() -> tuple[dict[str, str], dict[str, str]]:
    """(training, held out) sources of the standard library's modules, by name."""
    training: dict[str, str] = {}
    held_out: dict[str, str] = {}
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    for number, path in enumerate(paths):
        text = path.read_text(encoding="utf-8")
        held = number % EVERY == 0 and text.count("\n") >= LINES
        (held_out if held else training)[path.stem] = text
    return training, held_out


def scratch_model(folder: Path, steps: int) -> Path:
    """The model's folder inside `folder`, trained where it is not there yet.

    Beside it lie `calibration.txt`, drawn from what the model was trained on, and `held-out/`, a file for each module.
    """
    model = folder / f"scratch-{HIDDEN}-{steps}"
    training, held_out = library_texts()
    kept = folder / "held-out"
    kept.mkdir(parents=True, exist_ok=True)
    for name, text in held_out.items():
        (kept / f"{name}.txt").write_text(text, encoding="utf-8")
    if not (model / "config.json").is_file():
        _train(model, training, held_out, steps)
    chosen = random.Random(SEED).sample(sorted(training), 40)
    (folder / "calibration.txt").write_text("\n\n".join(training[name][:6000] for name in chosen), encoding="utf-8")
    return model


def _train(folder: Path, training: dict[str, str], held_out: dict[str, str], steps: int) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    random.seed(SEED)
    torch.manual_seed(SEED)
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=["<end>"], initial_alphabet=alphabet)
    names = sorted(training)
    raw.train_from_iterator((training[name] for name in names), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", pad_token="<end>")
    random.Random(SEED).shuffle(names)
    ids = torch.tensor([token for name in names for token in (*raw.encode(training[name]).ids, 0)])
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=HIDDEN,
            intermediate_size=INNER,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=0,
        )
    )
    print(
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(ids):,} tokens of training text", flush=True
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.1)
    windows = torch.Generator().manual_seed(SEED)
    started = time.monotonic()
    for step in range(steps):
        share = min(1.0, (step + 1) / 60) * max(0.05, 1 - step / steps)
        for group in optimizer.param_groups:
            group["lr"] = RATE * share
        starts = torch.randint(0, len(ids) - LENGTH, (BATCH,), generator=windows)
        batch = torch.stack([ids[start : start + LENGTH] for start in starts])
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: {float(loss):.3f} nats, {time.monotonic() - started:.0f} s", flush=True)
    model = model.eval().to(torch.bfloat16)
    with torch.no_grad():
        rows = [raw.encode(text).ids[:LENGTH] for text in held_out.values()]
        losses = [float(model(input_ids=torch.tensor([row]), labels=torch.tensor([row])).loss) for row in rows]
    print(f"held out: {sum(losses) / len(losses):.3f} nats a token in {len(rows)} modules", flush=True)
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    facts = {"steps": steps, "seed": SEED, "seconds": time.monotonic() - started, "held_out_nats": losses}
    (folder / "training.json").write_text(json.dumps(facts), encoding="utf-8")
    # config.json comes last: with it the model is whole.
    model.save_pretrained(folder, safe_serialization=True)


def main() -> None:
    """Train it, or say that it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    chosen = parser.parse_args()
    print(scratch_model(chosen.folder, chosen.steps))


if __name__ == "__main__":
    main()
