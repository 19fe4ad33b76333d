from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from core.errors import BitpressError
from core.jobs.protocol import AnyEvent, ImportGguf, Progress, StageFinished
from core.models import starter
from core.models.gguf_file import read_gguf
from core.models.inspect import inspect
from core.paths import Home
from core.worker import import_gguf
from core.worker.reporter import JobCancelledError, Reporter
from core.worker.special_tokens import special_ids

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Events:
    def __init__(self) -> None:
        self.sent: list[AnyEvent] = []

    def send(self, event: AnyEvent) -> None:
        self.sent.append(event)


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary files go where the test can see whether any are left."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def byte_letters() -> list[str]:
    """The 256 letters of a byte-level vocabulary."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def make_gguf(
    path: Path, *, architecture: str = "llama", eos: int | None = 2, template: str = CHATML, without: str = ""
) -> Path:
    """A random Llama of two layers with a byte-level vocabulary and three special tokens."""
    import numpy as np
    from gguf import GGUFWriter

    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_letters(), "Ġt", "he"]
    writer = GGUFWriter(path, architecture)
    writer.add_name("Tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(0)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * 258)
    writer.add_token_merges(["Ġ t", "h e"])
    writer.add_bos_token_id(1)
    writer.add_unk_token_id(0)
    if eos is not None:
        writer.add_eos_token_id(eos)
    if template:
        writer.add_chat_template(template)
    random = np.random.default_rng(0)
    shapes = {"token_embd.weight": (len(tokens), 32), "output_norm.weight": (32,)}
    for layer in range(2):
        stem = f"blk.{layer}"
        shapes |= {
            f"{stem}.attn_norm.weight": (32,),
            f"{stem}.ffn_norm.weight": (32,),
            f"{stem}.attn_q.weight": (32, 32),
            f"{stem}.attn_k.weight": (16, 32),
            f"{stem}.attn_v.weight": (16, 32),
            f"{stem}.attn_output.weight": (32, 32),
            f"{stem}.ffn_gate.weight": (64, 32),
            f"{stem}.ffn_up.weight": (64, 32),
            f"{stem}.ffn_down.weight": (32, 64),
        }
    for name, shape in shapes.items():
        if name != without:
            writer.add_tensor(name, random.standard_normal(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def run(source: Path, output: Path, cancelled: threading.Event | None = None) -> tuple[Any, list[AnyEvent]]:
    events = Events()
    report = Reporter("i", events, cancelled or threading.Event())
    return import_gguf.run(ImportGguf(job="i", source=str(source), output=str(output)), report), events.sent


def failure(source: Path, output: Path) -> tuple[str, str]:
    with pytest.raises(BitpressError) as caught:
        run(source, output)
    assert caught.value.problem.hint
    return caught.value.problem.code, caught.value.problem.message


def test_that_a_model_that_reads_english_as_noise_is_not_imported(tmp_path: Path, scratch: Path) -> None:
    code, message = failure(make_gguf(tmp_path / "random.gguf"), tmp_path / "out")
    assert code == "import-not-sane"
    assert "perplexity" in message
    assert not (tmp_path / "out").exists()
    assert list(scratch.glob("bitpress-*")) == []


def test_that_a_file_without_all_its_weights_is_refused(tmp_path: Path) -> None:
    source = make_gguf(tmp_path / "holey.gguf", without="blk.1.ffn_up.weight")
    code, message = failure(source, tmp_path / "out")
    assert code == "incomplete-gguf"
    assert "model.layers.1.mlp.up_proj.weight" in message


def test_that_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    code, message = failure(make_gguf(tmp_path / "new.gguf", architecture="nobodyknows"), tmp_path / "out")
    assert code == "unknown-architecture"
    assert "nobodyknows" in message


def test_that_what_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF nonsense")
    assert failure(tmp_path / "bad.gguf", tmp_path / "out")[0] == "bad-gguf"


def test_that_a_truncated_file_is_refused_with_the_missing_bytes(tmp_path: Path) -> None:
    source = make_gguf(tmp_path / "cut.gguf")
    source.write_bytes(source.read_bytes()[:-1000])
    assert failure(source, tmp_path / "out")[0] == "truncated-weights"


def test_that_an_output_that_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert failure(make_gguf(tmp_path / "tiny.gguf"), tmp_path / "out")[0] == "output-exists"
    assert (tmp_path / "out").is_dir()


def test_that_a_cancelled_import_leaves_nothing(tmp_path: Path, scratch: Path) -> None:
    cancelled = threading.Event()

    class CancelAtConversion(Events):
        def send(self, event: AnyEvent) -> None:
            super().send(event)
            if isinstance(event, Progress) and event.stage == "convert":
                cancelled.set()

    report = Reporter("i", CancelAtConversion(), cancelled)
    command = ImportGguf(job="i", source=str(make_gguf(tmp_path / "tiny.gguf")), output=str(tmp_path / "out"))
    with pytest.raises(JobCancelledError):
        import_gguf.run(command, report)
    assert not (tmp_path / "out").exists()
    assert list(scratch.glob("bitpress-*")) == []


def ids_of(path: Path) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name, local_files_only=True)
    return special_ids(read_gguf(path), tokenizer)


def test_that_the_end_token_is_the_files_own_and_padding_falls_back_to_it(tmp_path: Path) -> None:
    ids = ids_of(make_gguf(tmp_path / "tiny.gguf"))
    assert (ids.bos, ids.eos, ids.pad, ids.unk, ids.stops) == (1, 2, 2, 0, 2)


def test_that_the_chat_template_tells_the_end_where_the_file_does_not(tmp_path: Path) -> None:
    ids = ids_of(make_gguf(tmp_path / "tiny.gguf", eos=None))
    assert (ids.eos, ids.pad, ids.stops) == (2, 2, 2)


def test_that_a_turn_that_ends_otherwise_than_a_text_stops_generation_too(tmp_path: Path) -> None:
    ids = ids_of(make_gguf(tmp_path / "tiny.gguf", eos=0))
    assert (ids.eos, ids.turn_end, ids.stops) == (0, 2, [0, 2])


def test_that_a_file_without_any_end_is_refused(tmp_path: Path) -> None:
    code, _ = failure(make_gguf(tmp_path / "tiny.gguf", eos=None, template=""), tmp_path / "out")
    assert code == "no-end-token"


@pytest.fixture(scope="module")
def starter_gguf() -> Path:
    """BITPRESS_TEST_GGUF, else fetched once and kept beside pytest's own cache."""
    if named := os.environ.get("BITPRESS_TEST_GGUF"):
        return Path(named)
    kept = Home(Path(__file__).parents[2] / ".pytest_cache" / "bitpress")
    return starter.fetch(kept, lambda done, total: None, lambda: False)


@pytest.mark.model
def test_that_the_imported_starter_is_sound_for_plain_transformers(starter_gguf: Path, tmp_path: Path) -> None:
    output = tmp_path / "SmolLM2-135M-Instruct"
    result, events = run(starter_gguf, output)
    assert [event.stage for event in events if isinstance(event, StageFinished)] == ["read", "convert", "save", "check"]
    assert result["perplexity"] < 20
    assert "Paris" in result["answer"]
    assert (result["parameters"], result["bytes"]) == (134_515_008, starter.IMPORTED_BYTES)
    assert result["source_sha256"] == starter.STARTER.gguf_sha256
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in output.iterdir())

    facts = inspect(output)
    assert (facts.precision, facts.licence, facts.chat_template, facts.remarks) == ("BF16", "apache-2.0", True, ())
    assert facts.model_copy(update={"path": None, "name": None, "origin": None, "dtypes": ()}) == starter.not_fetched(
        Home(tmp_path)
    ).model_copy(
        update={"path": None, "name": None, "origin": None, "weights": facts.weights, "shards": 1, "remarks": ()}
    )

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, loading = AutoModelForCausalLM.from_pretrained(output, output_loading_info=True, dtype="auto")
    tokenizer = AutoTokenizer.from_pretrained(output)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert str(model.dtype) == "torch.bfloat16"
    assert getattr(model.config, "quantization_config", None) is None
    for holder in (tokenizer, model.config, model.generation_config):
        assert (holder.bos_token_id, holder.eos_token_id, holder.pad_token_id) == (1, 2, 2)
    assert (tokenizer.eos_token, tokenizer.unk_token_id) == ("<|im_end|>", 0)
    assert tokenizer.decode(tokenizer("a list : 1 , 2 !").input_ids) == "a list : 1 , 2 !"
