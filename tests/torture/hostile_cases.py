"""What is spoiled, by format: a sound input, and the reader that the application gives it to.

Over 500 lines because it is one list: each format is a few lines that share nothing with the next one's.
"""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
import struct
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import hostile_values as spoil
from model_files import LLAMA, make_gguf, make_model, make_shards

from core.calibration.read import first_samples, read_samples
from core.calibration.sets import SetStore, set_samples
from core.calibration.spec import CalibrationSample, CalibrationSpec
from core.errors import BitpressError
from core.jobs.journal import EVENTS_FILE, replay
from core.jobs.protocol import (
    Accepted,
    Finished,
    FinishReason,
    Metric,
    Progress,
    Stage,
    StageStarted,
    Token,
    Warned,
    encode,
)
from core.jobs.run import NewRun, RunKind
from core.jobs.store import RunStore
from core.jobs.sweep_plan import SweepPlan, entries_of
from core.jobs.sweep_store import SweepStore
from core.measure.gate_document import gate_text
from core.measure.gate_store import add_gate, gates
from core.measure.gates import BUILT_IN
from core.measure.task_files import find_tasks
from core.methods.catalogue import find
from core.methods.presets import built_in_presets, import_preset, presets, read_text_file
from core.methods.recipe import Recipe
from core.methods.recipe_document import RecipeDocument, document_error, document_text, read_document
from core.models.artifact import Manifest, read_manifest, write_manifest
from core.models.consent import foreign, given, kept, kept_consent
from core.models.inspect import inspect
from core.models.own_code import TrustedCode, code_texts, own_code
from core.models.safetensors_header import read_headers
from core.models.survey import Survey, SurveyedModule, SurveyedTensor
from core.models.survey_store import fingerprint, keep_survey, kept_survey
from core.paths import Home
from core.settings import Settings, load_settings, save_settings
from core.worker.faults import is_panic, problem_of
from core.worker.own_code import open_own_code
from core.worker.template_limits import TemplateFaultError, apply_template
from core.worker.tokenizer_files import load_tokenizer

Files = dict[str, bytes]
TEMPLATE = "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}"
CHATS = [
    {"messages": [{"role": "user", "content": f"Say {number}."}, {"role": "assistant", "content": f"{number}!"}]}
    for number in range(6)
]


class Planted:
    """What a pickle would do if it were opened."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch CANARY",)


CODE = b"import os\nos.system('touch CANARY')\nclass LlamaConfig: pass\nclass LlamaForCausalLM: pass\n"


def sound_inputs(folder: Path) -> dict[str, Files]:
    """A sound input of every format, as the files of a folder."""
    made: dict[str, Files] = {}
    for name, make in _MAKERS.items():
        place = folder / name
        place.mkdir(parents=True)
        make(place)
        made[name] = {
            path.relative_to(place).as_posix(): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()
        }
    return made


def spoiled(random: Random, kind: str, sound: Mapping[str, bytes]) -> Files:
    """The input with one to three things wrong with it."""
    files = dict(sound)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        name = random.choice([name for name in files if not name.endswith((".lock", "-wal", "-shm"))])
        content = files[name]
        if name.endswith(".sqlite") and random.random() < 0.6:
            files[name] = _database(random, content)
        elif random.random() < 0.25 or not name.endswith((".json", ".jsonl", ".yaml")):
            if name.endswith(".safetensors") and random.random() < 0.6:
                files[name] = _header(random, content)
            else:
                files[name] = spoil.spoil_bytes(random, content)
        elif name.endswith(".yaml"):
            files[name] = spoil.spoil_yaml(random, content)
        else:
            files[name] = _json(random, name, content)
    return files


def plant(random: Random, kind: str, folder: Path) -> None:
    """Links, pickles and modules that nobody may follow, open or import."""
    if kind in ("folder", "shards", "manifest", "survey") and random.random() < 0.5:
        for name in random.sample(("pytorch_model.bin", "model.pt", "training_args.bin", "tokenizer.pkl"), 2):
            (folder / name).write_bytes(pickle.dumps(Planted()))
        for name in ("modeling_canary.py", "configuration_canary.py", "tokenization_canary.py", "__init__.py"):
            (folder / name).write_bytes(CODE)
    if kind in FOLDERS and random.random() < 0.12:
        name = random.choice([path for path in folder.rglob("*") if path.is_file()])
        name.unlink()
        match random.choice(("secret", "secret.safetensors", "/etc/passwd", "/dev/zero", ".", "itself", "pipe")):
            case "pipe":
                os.mkfifo(name)
            case "itself":
                name.symlink_to(name.name)
            case "secret" | "secret.safetensors" as target:
                name.symlink_to(os.path.relpath(folder.parent / "outside" / target, name.parent))
            case target:
                name.symlink_to(target)


def outside(folder: Path) -> None:
    """Files that belong to somebody else; whoever opens one has left the input."""
    make_model(folder)
    (folder / "model.safetensors").rename(folder / "secret.safetensors")
    (folder / "secret").write_text('{"text": "a secret"}\n')


def read(kind: str, folder: Path, home: Home) -> None:
    """Give the input to what reads it. Raises what that raises."""
    if reader := os.environ.get("BITPRESS_TORTURE_READER"):
        # A reader that misbehaves, by which the harness itself is tried; sound inputs come from elsewhere.
        if folder.parent.name != "-1":
            exec(reader, {"folder": folder, "home": home})
        return
    _READERS[kind](folder, home)


# Making -----------------------------------------------------------------------------------------------------------


def _header(random: Random, content: bytes) -> bytes:
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError):
        return spoil.spoil_bytes(random, content)
    raw = spoil.json_bytes(random, spoil.spoil_json(random, header))
    told = len(raw) if random.random() < 0.8 else random.choice((0, len(raw) + 1, 10**8, 2**63, 2**64 - 1))
    return told.to_bytes(8, "little") + raw + content[8 + length :]


def _database(random: Random, content: bytes) -> bytes:
    """A database that SQLite finds sound, with values or a shape that nobody wrote."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(content)
        table = random.choice(("runs", "runs", "run_models", "alembic_version"))
        hostile = spoil.value(random)
        written = hostile if isinstance(hostile, str | float) else json.dumps(hostile)
        try:
            columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
            column = random.choice(columns)
            match random.randrange(8):
                case 0:
                    connection.execute(f"ALTER TABLE {table} RENAME TO other")
                case 1:
                    connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
                case 2:
                    connection.execute(f"UPDATE {table} SET {column} = ?", (random.randbytes(9),))
                case 3:
                    connection.execute("CREATE TRIGGER t AFTER UPDATE ON runs BEGIN DELETE FROM runs; END")
                case _:
                    connection.execute(f"UPDATE {table} SET {column} = ?", (written,))
        except (sqlite3.Error, UnicodeError, IndexError):
            return spoil.spoil_bytes(random, content)
        connection.commit()
        return connection.serialize()


def _json(random: Random, name: str, content: bytes) -> bytes:
    if name.endswith(".jsonl"):
        lines = content.splitlines()
        place = random.randrange(len(lines)) if lines else 0
        try:
            lines[place] = spoil.json_bytes(random, spoil.spoil_json(random, json.loads(lines[place])))
        except (ValueError, IndexError, RecursionError):
            return spoil.spoil_bytes(random, content)
        return b"\n".join(lines)
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        return spoil.spoil_bytes(random, content)
    for _ in range(random.choice((1, 1, 3))):
        whole = spoil.spoil_json(random, whole)
    return spoil.json_bytes(random, whole)


def _model(folder: Path) -> None:
    make_model(folder, {**LLAMA, "auto_map": {"AutoModelForCausalLM": "modeling_canary.LlamaForCausalLM"}})
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "chat_template": TEMPLATE,
                "auto_map": {"AutoTokenizer": ["tokenization_canary.Tokenizer", None]},
                "added_tokens_decoder": {"0": {"content": "<s>", "special": True}},
            }
        )
    )
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 2], "temperature": 0.6}')
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: mine\n---\n# A model\n")


def _own_code(folder: Path) -> None:
    """A model that brings code which it needs, and a consent to other code from another home."""
    model = folder / "model"
    config = {"AutoConfig": "modeling_canary.LlamaConfig", "AutoModelForCausalLM": "modeling_canary.LlamaForCausalLM"}
    make_model(model, {**LLAMA, "model_type": "canary", "auto_map": config})
    (model / "parts").mkdir()
    for name in ("modeling_canary.py", "__init__.py", "parts/inner.py"):
        (model / name).write_bytes(CODE)
    code = own_code(model)
    assert code is not None
    consent = given(Home(folder), code, now=datetime(2026, 1, 1, tzinfo=UTC), version="1", lasting=True)
    (folder / "consent.json").write_text(consent.model_dump_json())


def _artifact(folder: Path) -> None:
    quantization = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "ignore": ["lm_head"],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {"num_bits": 4, "type": "int", "symmetric": True, "group_size": 128, "strategy": "group"},
                "input_activations": None,
            }
        },
    }
    make_model(folder, {**LLAMA, "quantization_config": quantization})
    manifest = Manifest(
        made_from="/models/one",
        recipe=Recipe(method="fp8-dynamic", parameters={}),
        method_title=find("fp8-dynamic").title,
        proved=True,
        created=datetime.now(UTC),
        expected_modules=("model.layers.0.mlp.up_proj",),
    )
    write_manifest(folder, manifest)


def _survey(folder: Path) -> None:
    make_model(folder / "model")
    weight = SurveyedTensor(name="weight", shape=(8, 8), dtype="BF16")
    module = SurveyedModule(
        name="model.layers.0.mlp.up_proj", kind="Linear", shape=(8, 8), elements=64, tensors=(weight,)
    )
    survey = Survey(
        fingerprint=fingerprint(folder / "model"),
        architecture="LlamaForCausalLM",
        modules=(module,),
        layers=2,
        decoder_layer="LlamaDecoderLayer",
    )
    keep_survey(Home(folder / "home"), survey)
    (folder / "model/model.safetensors").rename(folder / "model/kept")
    (folder / "home/cache/surveys" / f"{survey.fingerprint}.json").rename(folder / "survey.json")


def _table(folder: Path, name: str) -> None:
    import pyarrow as pa

    table = pa.Table.from_pylist([*CHATS, *CHATS])
    if name == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, folder / "data.parquet")
    elif name == "arrow":
        with pa.OSFile(str(folder / "data.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        import pyarrow.feather as feather

        feather.write_feather(pa.table({"text": ["one", "two", "three"] * 9}), str(folder / "data.feather"))


def _saved_set(folder: Path) -> None:
    _table(folder, "arrow")
    (folder / "train").mkdir()
    (folder / "data.arrow").rename(folder / "train/data-00000-of-00001.arrow")
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_indices_data_files": None, "_split": "train"}
    (folder / "train/state.json").write_text(json.dumps(state))
    (folder / "train/dataset_info.json").write_text('{"features": {}}')


def _texts(folder: Path, name: str) -> None:
    lines = "".join(json.dumps(chat) + "\n" for chat in CHATS)
    content = {
        "jsonl": lines,
        "json": json.dumps({"data": CHATS}),
        "csv": "instruction,input,output\n" + "".join(f'"Say {n}","","{n}"\n' for n in range(9)),
        "txt": "A first paragraph.\n\nA second one.\n" * 30,
    }[name]
    (folder / f"data.{name}").write_text(content)


def _tasks(folder: Path) -> None:
    source = Path(__file__).parents[2] / "resources/tasks"
    for path in source.glob("bitpress_*"):
        (folder / path.name).write_bytes(path.read_bytes())


def _sweep(folder: Path) -> None:
    plan = SweepPlan(
        model="/models/one",
        model_name="one",
        fingerprint="f",
        entries=entries_of(["rtn-w4a16", "fp8-dynamic"], ["group_size=32,64"]),
        gate=BUILT_IN[1],
    )
    SweepStore(Home(folder)).create(plan, 1000)


def _events(folder: Path) -> None:
    events = (
        Accepted(stages=(Stage(id="one", title="One", unit="layer"), Stage(id="two", title="Two"))),
        StageStarted(stage="one"),
        Progress(stage="one", done=1, total=3, detail="layer 1"),
        Metric(name="quantization_error", value=0.1, layer="model.layers.0"),
        Warned(code="few-samples", message="Few."),
        Token(index=0, id=4, text="a", probability=0.4, alternatives=(("b", 0.1),)),
        Finished(reason=FinishReason.COMPLETED, result={"output": "/out"}),
    )
    (folder / EVENTS_FILE).write_bytes(b"".join(map(encode, events)))


def _store(folder: Path) -> None:
    with RunStore.open(folder / "runs.sqlite") as store:
        for number in range(3):
            new = NewRun(kind=RunKind.COMPRESS, title=f"Run {number}", models=("/models/one",), model_name="one")
            store.create(new)
    with closing(sqlite3.connect(folder / "runs.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def _sets(folder: Path) -> None:
    sample = CalibrationSample(kind="chat", messages=({"role": "user", "content": "Hello"},))
    SetStore(folder).create("mine", CalibrationSpec(source="built-in"), [sample, sample])
    (folder / ".lock").unlink()


TOKENS = ("<unk>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "\u0120", "th", "the", "\u0120the")


def _tokenizer(folder: Path) -> None:
    """A fast tokenizer with everything that may lie beside it."""
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    special = [
        {"id": number, "content": token, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for number, token in enumerate(TOKENS[:3])
    ]
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": "\\d{1,3}| ?\\w+"}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocabulary,
            "merges": [["t", "h"], ["th", "e"], ["\u0120", "the"]],
        },
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": 512,
        "chat_template": TEMPLATE,
        "auto_map": {"AutoTokenizer": ["tokenization_canary.Tokenizer", None]},
        "added_tokens_decoder": {str(one["id"]): {k: v for k, v in one.items() if k != "id"} for one in special},
        "extra_special_tokens": {},
    }
    files = {
        "config.json": LLAMA,
        "tokenizer.json": whole,
        "tokenizer_config.json": config,
        "special_tokens_map.json": {"bos_token": "<s>", "additional_special_tokens": ["</s>"]},
        "added_tokens.json": {"</s>": 2},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))


def _slow_tokenizer(folder: Path) -> None:
    """Vocabulary and merges as files of their own."""
    vocabulary = {token: number for number, token in enumerate(("<|endoftext|>", *TOKENS))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e\n\u0120 the\n")
    config = {**LLAMA, "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')


def _pieces(folder: Path) -> None:
    """A SentencePiece model, a protocol buffer written by hand: pieces with their scores and types."""
    body = b""
    for number, token in enumerate(("<unk>", "<s>", "</s>", "\u2581the", *"abcdefgh")):
        text = token.encode()
        kind = 2 if number == 0 else 3 if number < 3 else 1
        piece = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", -number) + b"\x18" + bytes([kind])
        body += b"\x0a" + bytes([len(piece)]) + piece
    (folder / "tokenizer.model").write_bytes(body + b"\x12\x02\x18\x02")
    (folder / "config.json").write_text(json.dumps(LLAMA))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')


_MAKERS: dict[str, Callable[[Path], object]] = {
    "tokenizer": _tokenizer,
    "slow-tokenizer": _slow_tokenizer,
    "pieces": _pieces,
    "folder": _model,
    "shards": make_shards,
    "own-code": _own_code,
    "manifest": _artifact,
    "survey": _survey,
    "gguf": lambda folder: make_gguf(folder / "model.gguf"),
    **{name: lambda folder, name=name: _table(folder, name) for name in ("parquet", "arrow", "feather")},
    **{name: lambda folder, name=name: _texts(folder, name) for name in ("jsonl", "json", "csv", "txt")},
    "saved-set": _saved_set,
    "recipe": lambda folder: [
        (folder / f"{number}.yaml").write_text(document_text(preset.document))
        for number, preset in enumerate(built_in_presets())
        if preset.document is not None
    ],
    "gate": lambda folder: [(folder / f"{gate.name}.yaml").write_text(gate_text(gate)) for gate in BUILT_IN],
    "tasks": _tasks,
    "sweep": _sweep,
    "events": _events,
    "store": _store,
    "sets": _sets,
    "settings": lambda folder: save_settings(Settings(), folder / "settings.json"),
}
KINDS = tuple(_MAKERS)
FOLDERS = (
    "tokenizer",
    "slow-tokenizer",
    "pieces",
    "folder",
    "shards",
    "manifest",
    "survey",
    "own-code",
    "saved-set",
    "tasks",
    "sweep",
    "events",
    "sets",
)
"""Kinds of which a folder is read, so that a link in it is not the person's own choice."""


# Reading ----------------------------------------------------------------------------------------------------------


def _read_model(folder: Path, home: Home) -> None:
    inspect(folder)
    read_headers(folder)
    fingerprint(folder)


def _read_own_code(folder: Path, home: Home) -> None:
    """As far as it goes without a consent given here, and one step further with one to other code."""
    model = folder / "model"
    inspect(model)
    code = own_code(model)
    if code is not None:
        code_texts(code)
        home.consents.mkdir(parents=True)
        (folder / "consent.json").rename(home.consents / f"{code.fingerprint}.json")
        foreign(home)
        assert kept(home) == ()
        assert kept_consent(home, code.fingerprint) is None
    try:
        open_own_code([str(model)], [TrustedCode(repository="other", fingerprint="0" * 64, files=())])
    except BitpressError as error:
        if error.problem.code != "code-changed":
            raise


def _read_tokenizer(folder: Path, home: Home) -> None:
    tokenizer = load_tokenizer(folder)
    try:
        ids = tokenizer("the thing, 12345 the end </s>", verbose=False)["input_ids"]
        tokenizer.decode(ids[:50])
    except BaseException as error:
        if not is_panic(error):
            raise
        # What a worker's loop makes of it.
        raise BitpressError.of(problem_of(error)) from error
    if tokenizer.chat_template:
        with suppress(TemplateFaultError):
            apply_template(tokenizer, [{"role": "user", "content": "the"}], tokenize=False)


def _read_pieces(folder: Path, home: Home) -> None:
    """The library that reads it need not be there; then that is the answer."""
    try:
        _read_tokenizer(folder, home)
    except BitpressError as error:
        if error.problem.code not in ("bad-tokenizer", "outside-folder"):
            raise


def _read_survey(folder: Path, home: Home) -> None:
    model = folder / "model"
    if (model / "kept").exists():
        (model / "kept").rename(model / "model.safetensors")
    home.surveys.mkdir(parents=True)
    (folder / "survey.json").rename(home.surveys / f"{fingerprint(model)}.json")
    kept_survey(home, model)


def _read_data(folder: Path, home: Home) -> None:
    source = folder if (folder / "train").is_dir() else next(folder.iterdir())
    spec = CalibrationSpec(source=str(source), samples=4)
    first_samples(spec)
    read_samples(spec)
    if source.suffix in (".jsonl", ".parquet"):
        read_samples(spec.model_copy(update={"text_field": "messages"}))


def _read_recipes(folder: Path, home: Home) -> None:
    for path in sorted(folder.iterdir()):
        found = read_document(read_text_file(path))
        if not isinstance(found, RecipeDocument):
            raise document_error(found, str(path))
        found.resolved(None)
        import_preset(home, path, name="A name", replace=True)
    presets(home)


def _read_gates(folder: Path, home: Home) -> None:
    home.gates.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        (home.gates / path.name).write_bytes(path.read_bytes()) if path.is_file() and not path.is_symlink() else None
        gates(home)
        add_gate(home, path, name=f"own {path.stem}"[:40])


def _read_sweeps(folder: Path, home: Home) -> None:
    store = SweepStore(Home(folder))
    for record in store.all():
        record.plan.same_as(record.plan)
    store.unfinished()
    store.get("1")


def _read_store(folder: Path, home: Home) -> None:
    with RunStore.open(folder / "runs.sqlite") as store:
        store.runs()
        store.get(1)
        store.about("/models/one")
        store.interrupted()


def _read_sets(folder: Path, home: Home) -> None:
    store = SetStore(folder)
    for one in store.list():
        store.pinned(one.spec)
    store.get("mine")
    pinned = store.pinned(CalibrationSpec(source="set:mine"))
    set_samples(pinned.sets[0])


_READERS: dict[str, Callable[[Path, Home], object]] = {
    **dict.fromkeys(("folder", "shards"), _read_model),
    **dict.fromkeys(("tokenizer", "slow-tokenizer"), _read_tokenizer),
    "pieces": _read_pieces,
    "own-code": _read_own_code,
    "manifest": lambda folder, home: (read_manifest(folder), _read_model(folder, home)),
    "survey": _read_survey,
    "gguf": lambda folder, home: inspect(folder / "model.gguf"),
    **dict.fromkeys(("parquet", "arrow", "feather", "jsonl", "json", "csv", "txt", "saved-set"), _read_data),
    "recipe": _read_recipes,
    "gate": _read_gates,
    "tasks": lambda folder, home: find_tasks([str(folder)]),
    "sweep": _read_sweeps,
    "events": lambda folder, home: replay("job", "A title", folder),
    "store": _read_store,
    "sets": _read_sets,
    "settings": lambda folder, home: load_settings(folder / "settings.json"),
}
LIBRARIES = (
    "transformers.models.auto.tokenization_auto",
    "pyarrow.parquet",
    "pyarrow.feather",
    "jinja2.sandbox",
    "sqlalchemy",
    "alembic.command",
    "gguf",
)
"""Loaded before the first input, so that they count as the baseline of memory."""
