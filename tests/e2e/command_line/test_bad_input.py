"""Facts about input that cannot work: what is said, the exit status, and that nothing is left behind."""

from __future__ import annotations

import json
import pickle
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bitpress_process import Bitpress, Ended, names, state
from model_files import make_gguf

pytestmark = pytest.mark.model

FP8 = ("--method", "fp8-dynamic")
GPTQ = ("--method", "gptq-w4a16")
DiskMaker = Callable[[str], Path | None]


def copied(tiny: Path, folder: Path) -> Path:
    shutil.copytree(tiny, folder)
    return folder


def changed_config(folder: Path, **changes: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def check_error(ended: Ended, status: int, code: str, *words: str) -> None:
    """One error line at the end that says what happened and what to do, and no traceback."""
    assert ended.status == status, (ended.stdout[-2000:], ended.stderr)
    assert ended.last["type"] == "error"
    assert ended.last["code"] == code
    assert ended.last["message"]
    assert ended.last["hint"]
    said = f"{ended.last['message']} {ended.last['hint']}"
    assert [word for word in words if word not in said] == []
    assert ended.stderr == ""


def check_blocked(ended: Ended, code: str, *words: str) -> None:
    """Stopped before it began: the finding stands on a line of its own, and in the error."""
    check_error(ended, 3, "blocked", *words)
    assert code in [finding["code"] for finding in ended.of("finding") if finding["severity"] == "blocks"]


class Explodes:
    """A pickle that leaves a file behind if it is ever opened."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._trace,))


# Models ---------------------------------------------------------------------------------------------------------------


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def contradicting(folder: Path) -> None:
    changed_config(folder, hidden_size=128)


def nonsense(folder: Path) -> None:
    changed_config(folder, model_type="nonsense", architectures=["NonsenseForCausalLM"])


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with (folder / "pytorch_model.bin").open("wb") as stream:
        pickle.dump(Explodes(folder.parent / "opened"), stream)


def remote_code(folder: Path) -> None:
    changed_config(folder, model_type="own", auto_map={"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"})
    (folder / "modeling_own.py").write_text(f"open({str(folder.parent / 'opened')!r}, 'w')\n")


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (no_config, "no-config", ["config.json"]),
        (truncated, "truncated-weights", ["model.safetensors", "1,000"]),
        (contradicting, "config-mismatch", ["hidden_size", "128", "64"]),
        (nonsense, "unknown-architecture", ["nonsense"]),
    ],
)
def test_that_a_model_that_cannot_be_read_or_built_is_blocked(
    fresh: Bitpress, tiny: Path, tmp_path: Path, spoil: Callable[[Path], None], code: str, words: list[str]
) -> None:
    model, place = copied(tiny, tmp_path / "model"), tmp_path / "out"
    spoil(model)
    place.mkdir()
    before = state(model)
    check_blocked(fresh("compress", model, *FP8, "--output", place / "pressed", "--json"), code, *words)
    planned = fresh("plan", model, *FP8, "--json")
    assert planned.status == 3
    assert code in [finding["code"] for finding in planned.last["findings"] if finding["severity"] == "blocks"]
    assert names(place) == []
    assert state(model) == before


@pytest.mark.parametrize(("spoil", "code"), [(pickled, "pickle"), (remote_code, "remote-code")])
def test_that_a_model_that_brings_code_is_blocked_and_its_code_never_runs(
    fresh: Bitpress, tiny: Path, tmp_path: Path, spoil: Callable[[Path], None], code: str
) -> None:
    model, place = copied(tiny, tmp_path / "model"), tmp_path / "out"
    spoil(model)
    place.mkdir()
    check_blocked(fresh("compress", model, *FP8, "--output", place / "pressed", "--json"), code)
    assert fresh("plan", model, *FP8, "--json").status == 3
    assert names(place) == []
    assert names(tmp_path) == ["home", "model", "out"]


def test_that_a_gguf_file_is_blocked_with_the_way_to_import_it(fresh: Bitpress, tmp_path: Path) -> None:
    file = make_gguf(tmp_path / "model.gguf")
    check_blocked(fresh("compress", file, *FP8, "--output", tmp_path / "pressed", "--json"), "gguf", "mport")
    assert names(tmp_path) == ["home", "model.gguf"]


def test_that_an_unknown_model_is_answered_with_the_nearest_name(fresh: Bitpress) -> None:
    check_error(fresh("compress", "startr", *FP8, "--json"), 1, "no-such-model", "startr", "starter")
    check_error(fresh("inspect", "./nowhere", "--json"), 1, "no-such-model", "./nowhere")


# What was typed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["plan", "--method", "fp8-dynamc"], "unknown-method", ["fp8-dynamc", "Did you mean fp8-dynamic?"]),
        (["plan", "--method", "magnitude"], "not-offered", ["changes nothing", "SparseGPT or Wanda"]),
        (
            ["plan", "--method", "spinquant-w4a16", "--set", "transform_type=random-matrix"],
            "not-offered",
            ["not orthogonal", "SpinQuant W4A16"],
        ),
        (["plan", *GPTQ, "--set", "groupsize=64"], "unknown-parameter", ["Did you mean group_size?"]),
        (["plan", *GPTQ, "--set", "dampening_frac=7"], "bad-parameter", ["dampening_frac", "from 0", "to 1"]),
        (["plan", *GPTQ, "--set", "group_size"], "bad-setting", ["NAME=VALUE"]),
        (["compress", *FP8, "--device", "gpu"], "bad-device", ["cuda:0"]),
        (["compress", *FP8, "--memory-limit", "lots"], "bad-memory-limit", ["lots", "8GB"]),
        (["evaluate", "MODEL", "--gate", "lossless"], "unknown-gate", ["lossless", "near-lossless"]),
        (["sweep", "--methods", "fp8-dynamic,gptq-w4a"], "unknown-method", ["Did you mean gptq-w4a16?"]),
        (["bench", "--engine", "llama.cpp"], "unknown-engine", ["llama.cpp"]),
    ],
)
def test_that_what_cannot_be_meant_is_wrong_usage(
    fresh: Bitpress, tiny: Path, arguments: list[str], code: str, words: list[str]
) -> None:
    command, *others = (str(tiny) if argument == "MODEL" else argument for argument in arguments)
    check_error(fresh(command, tiny, *others, "--json"), 2, code, *words)
    assert fresh("runs", "--json").lines == []


def test_that_what_llmcompressor_refuses_is_blocked_with_the_options_that_mend_it(
    fresh: Bitpress, tiny: Path, tmp_path: Path
) -> None:
    place = tmp_path / "there"
    place.mkdir()
    wrong = (*GPTQ, "--set", "actorder=group", "--set", "ignore=lm_haed", "--output", place)
    ended = fresh("plan", tiny, *wrong, "--json")
    assert ended.status == 3
    fixes = {finding["code"]: finding["fix"] for finding in ended.last["findings"] if finding["severity"] == "blocks"}
    assert fixes["actorder-removed"] == {"actorder": "static"}
    assert fixes["output-exists"] == {"output": f"{place}-2"}
    said = fresh("plan", tiny, *wrong)
    assert said.status == 3
    assert "(--set actorder=static)" in said.stdout
    assert "(--set ignore=lm_head)" in said.stdout
    assert f"(--output {place}-2)" in said.stdout
    mended = fresh("plan", tiny, *wrong, "--fix", "--json")
    assert mended.status == 0
    assert mended.last["runnable"]
    assert {line["code"] for line in mended.of("mended")} == set(fixes)
    assert mended.last["recipe"]["parameters"]["actorder"] == "static"
    assert mended.last["output"] == f"{place}-2"


def test_that_a_device_that_is_not_there_is_found_before_the_start(fresh: Bitpress, tiny: Path) -> None:
    ended = fresh("plan", tiny, *FP8, "--device", "cuda:7", "--json")
    assert ended.status == 3
    assert "no-such-device" in [finding["code"] for finding in ended.last["findings"]]


def test_that_reports_are_refused_over_unknown_runs_and_in_unknown_formats(fresh: Bitpress, tmp_path: Path) -> None:
    check_error(fresh("report", 99, "--output", tmp_path / "a.pdf", "--json"), 1, "unknown-run", "99", "bitpress runs")
    check_error(fresh("report", 99, "--output", tmp_path / "a.docx", "--json"), 2, "unknown-format", ".docx", ".pdf")
    check_error(fresh("report", "--output", tmp_path / "a.pdf", "--json"), 2, "wrong-usage", "No run", "--sweep")
    check_error(
        fresh("report", "--sweep", 9, "--output", tmp_path / "a.pdf", "--json"), 2, "unknown-sweep", "9", "--list"
    )
    check_error(fresh("show", 99, "--json"), 1, "unknown-run", "99")
    assert names(tmp_path) == ["home"]


# Calibration data -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "calibration-empty", ["own.txt"]),
        ("Grüße".encode("utf-16"), "calibration-encoding", ["UTF-8", "UTF-16", "iconv"]),
        ("Schöne Grüße".encode("latin-1"), "calibration-encoding", ["UTF-8", "byte 3", "0xf6", "iconv"]),
    ],
)
def test_that_calibration_data_that_cannot_be_read_is_blocked(
    surveyed: Bitpress, tiny: Path, tmp_path: Path, content: bytes, code: str, words: list[str]
) -> None:
    file = tmp_path / "own.txt"
    file.write_bytes(content)
    ended = surveyed("compress", tiny, *GPTQ, "--calibration", file, "--output", tmp_path / "pressed", "--json")
    check_blocked(ended, code, *words)
    assert file.read_bytes() == content
    assert names(tmp_path) == ["home", "own.txt"]


# Where it is written --------------------------------------------------------------------------------------------------


def test_that_an_output_folder_that_exists_is_blocked_and_untouched(
    surveyed: Bitpress, tiny: Path, tmp_path: Path
) -> None:
    place = tmp_path / "there"
    place.mkdir()
    (place / "letter.txt").write_text("mine")
    before = state(tmp_path / "there")
    ended = surveyed("compress", tiny, *FP8, "--output", place, "--json")
    check_blocked(ended, "output-exists", str(place), "there-2")
    assert state(place) == before
    imported = surveyed("import", make_gguf(tmp_path / "model.gguf"), "--output", place, "--json")
    check_error(imported, 3, "output-exists", str(place))
    assert state(place) == before
    assert names(tmp_path) == ["home", "model.gguf", "there"]


def test_that_a_read_only_folder_is_blocked(surveyed: Bitpress, tiny: Path, read_only: Path) -> None:
    ended = surveyed("compress", tiny, *FP8, "--output", read_only / "deep" / "pressed", "--json")
    check_blocked(ended, "output-not-writable", str(read_only))
    assert names(read_only) == []


def test_that_a_read_only_home_is_said(tiny: Path, read_only: Path) -> None:
    ended = Bitpress(read_only / "home")("compress", tiny, *FP8, "--json")
    check_error(ended, 1, "not-writable", str(read_only), "BITPRESS_HOME")
    assert names(read_only) == []


def fill(disk: Path) -> None:
    """Use every byte that is left."""
    try:
        with (disk / "filler").open("wb", buffering=0) as stream:
            while True:
                stream.write(b"\0" * 65536)
    except OSError:
        return


def limit_files() -> None:
    """No file of this process and its children may grow beyond 4 MB: the weights have six."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))


def test_that_a_disk_that_fills_up_while_saving_fails_the_run(
    surveyed: Bitpress, tiny: Path, tmp_path: Path, small_disk: DiskMaker
) -> None:
    disk, before = small_disk("64m"), state(tiny)
    if disk is None:
        # Without the right to mount, a limit on the size of files is the nearest to a full disk.
        place = tmp_path / "out"
        place.mkdir()
        ended = surveyed("compress", tiny, *FP8, "--output", place / "pressed", "--json", before=limit_files)
        code = "file-too-large"
    else:
        place = disk / "out"
        place.mkdir()
        with surveyed.running("compress", tiny, *FP8, "--output", place / "pressed", "--json") as running:
            running.until_stage("load")
            fill(disk)
            ended = running.wait()
        code = "disk-full"
    check_error(ended, 1, code, "pressed")
    assert names(place) == []
    assert state(tiny) == before
    (run,) = surveyed("runs", "--json").of("run")
    assert run["reason"] == "failed"
    assert run["problem"]["code"] == code


def test_that_a_limit_on_the_size_of_files_fails_the_run(surveyed: Bitpress, tiny: Path, tmp_path: Path) -> None:
    ended = surveyed("compress", tiny, *FP8, "--output", tmp_path / "pressed", "--json", before=limit_files)
    check_error(ended, 1, "file-too-large", "pressed", "ulimit")
    assert names(tmp_path) == ["home"]


def test_that_a_disk_without_room_is_blocked(surveyed: Bitpress, tiny: Path, small_disk: DiskMaker) -> None:
    disk = small_disk("1m")
    ended = surveyed("compress", tiny, *FP8, "--output", (disk or Path("/dev")) / "pressed", "--json")
    if disk is not None:
        check_blocked(ended, "disk-too-small", "Free some space")
        assert names(disk) == []
    else:
        # Nobody but root may write there.
        check_blocked(ended, "output-not-writable", "/dev")


def test_that_a_full_disk_under_the_list_of_runs_is_said(
    surveyed: Bitpress, tiny: Path, tmp_path: Path, small_disk: DiskMaker
) -> None:
    disk = small_disk("2m")
    if disk is None:
        ended = surveyed("runs", "--json", before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
        check_error(ended, 1, "disk-full", "runs.sqlite")
        return
    shutil.copytree(surveyed.home, disk / "home")
    fill(disk)
    ended = Bitpress(disk / "home")("compress", tiny, *FP8, "--output", tmp_path / "pressed", "--json")
    check_error(ended, 1, "disk-full", "runs.sqlite")
    assert names(tmp_path) == ["disk-0", "home"]
