"""Named sets: stored once under their hash, refused when changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.calibration.sets import CalibrationSet, SetStore, is_set_name, set_samples
from core.calibration.sources import source_beginning, source_samples
from core.calibration.spec import CalibrationSample, CalibrationSpec, MixPart
from core.errors import BitpressError

SPEC = CalibrationSpec(source="/data/a.jsonl", samples=3)
SAMPLES = (
    CalibrationSample(kind="text", text="One.\u2028Still one.", origin="a.jsonl:1"),
    CalibrationSample(
        kind="chat",
        messages=({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello\nthere"}),
        origin="a.jsonl:2",
    ),
)


@pytest.fixture
def store(tmp_path: Path) -> SetStore:
    return SetStore(tmp_path / "calibration")


def contents(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "calibration" / "content").iterdir())


def code(store: SetStore, name: str) -> str:
    with pytest.raises(BitpressError) as refused:
        store.get(name)
    assert refused.value.problem.hint
    return refused.value.problem.code


def pin(store: SetStore, name: str) -> CalibrationSpec:
    return store.pinned(CalibrationSpec(source=f"set:{name}"))


def test_that_a_set_gives_back_its_samples(store: SetStore):
    made = store.create("mine", SPEC, SAMPLES, description=" Two \n samples ")
    assert (made.samples, made.chats, made.description) == (2, 1, "Two samples")
    assert store.get("mine") == made
    assert store.list() == (made,)
    found = set_samples(pin(store, "mine").sets[0])
    assert [sample.model_copy(update={"origin": ""}) for sample in found] == [
        sample.model_copy(update={"origin": ""}) for sample in SAMPLES
    ]
    assert [sample.origin for sample in found] == ["mine:1", "mine:2"]


def test_that_the_same_content_is_stored_once_and_stays_as_long_as_a_name_stands_for_it(
    store: SetStore, tmp_path: Path
):
    one = store.create("one", SPEC, SAMPLES)
    other = [sample.model_copy(update={"origin": "elsewhere:9"}) for sample in SAMPLES]
    two = store.create("two", SPEC, other)
    assert one.sha256 == two.sha256
    assert contents(tmp_path) == [f"{one.sha256}.jsonl"]
    store.remove("one")
    assert contents(tmp_path) == [f"{one.sha256}.jsonl"]
    assert len(set_samples(pin(store, "two").sets[0])) == 2
    store.remove("two")
    assert contents(tmp_path) == []
    assert store.list() == ()


def test_that_nothing_half_written_is_left(store: SetStore, tmp_path: Path):
    store.create("mine", SPEC, SAMPLES)
    assert not list((tmp_path / "calibration").rglob("*.partial"))


def test_that_a_changed_content_is_refused(store: SetStore):
    store.create("mine", SPEC, SAMPLES)
    spec = pin(store, "mine")
    file = Path(spec.sets[0].file)
    file.write_bytes(file.read_bytes().replace(b"Hello", b"Howdy"))
    for read in (source_samples, source_beginning):
        with pytest.raises(BitpressError) as refused:
            read(spec)
        assert refused.value.problem.code == "calibration-set-changed"
        assert "remove the set" in refused.value.problem.hint
    store.create("again", SPEC, SAMPLES)  # What is damaged is written anew.
    assert len(source_samples(spec)) == 2


def test_that_a_missing_content_is_refused(store: SetStore):
    store.create("mine", SPEC, SAMPLES)
    spec = pin(store, "mine")
    Path(spec.sets[0].file).unlink()
    with pytest.raises(BitpressError) as refused:
        source_samples(spec)
    assert refused.value.problem.code == "calibration-set-missing"
    with pytest.raises(BitpressError) as refused:
        pin(store, "mine")
    assert refused.value.problem.code == "calibration-set-missing"


def test_that_a_pin_keeps_its_content_when_the_name_gets_another(store: SetStore):
    store.create("mine", SPEC, SAMPLES)
    store.create("copy", SPEC, SAMPLES)
    before = pin(store, "mine")
    store.remove("mine")
    store.create("mine", SPEC, SAMPLES[:1])
    assert store.pinned(before) == before
    assert pin(store, "mine").sets[0].sha256 != before.sets[0].sha256
    store.remove("copy")
    assert store.pinned(before) == pin(store, "mine"), "the old content is gone, so the name is looked up"


def test_that_each_set_of_a_mix_is_pinned(store: SetStore):
    store.create("one", SPEC, SAMPLES)
    store.create("two", SPEC, SAMPLES[:1])
    mix = tuple(MixPart(source=source) for source in ("set:one", "self-chat", "set:two"))
    spec = store.pinned(CalibrationSpec(mix=mix))
    assert [one.name for one in spec.sets] == ["one", "two"]
    assert CalibrationSpec.model_validate_json(spec.model_dump_json()) == spec


def test_that_names_are_taken_once_whatever_their_capitals(store: SetStore):
    store.create("Mine", SPEC, SAMPLES)
    with pytest.raises(BitpressError) as refused:
        store.create("mine", SPEC, SAMPLES)
    assert refused.value.problem.code == "calibration-set-exists"
    store.create("other", SPEC, SAMPLES)
    with pytest.raises(BitpressError):
        store.rename("other", "MINE")
    assert store.rename("Mine", "yours").name == "yours"
    assert code(store, "Mine") == "calibration-set-unknown"
    assert [one.name for one in store.list()] == ["other", "yours"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/b", "a\\b", ".hidden", "a b", "ü", "a\n", "-a", "a.", "x" * 65]
)
def test_that_a_name_that_is_a_path_is_refused(store: SetStore, tmp_path: Path, name: str):
    with pytest.raises(BitpressError) as refused:
        store.create(name, SPEC, SAMPLES)
    assert refused.value.problem.code == "calibration-set-name"
    assert code(store, name) == "calibration-set-name"
    assert not any(path.is_file() for path in tmp_path.rglob("*.json"))


@given(st.text(max_size=12))
def test_that_every_name_stays_in_its_folder(name: str):
    if is_set_name(name):
        assert Path(f"/sets/{name}.json").resolve().parent == Path("/sets")
        assert name.isascii()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "mine"}'])
def test_that_a_damaged_index_is_said_and_hides_no_other(store: SetStore, tmp_path: Path, content: str):
    store.create("mine", SPEC, SAMPLES)
    store.create("other", SPEC, SAMPLES)
    (tmp_path / "calibration" / "sets" / "mine.json").write_text(content)
    assert code(store, "mine") == "calibration-set-damaged"
    assert [one.name for one in store.list()] == ["other"]
    store.remove("other")
    assert contents(tmp_path), "the damaged name may stand for the same content"
    store.remove("mine")
    assert code(store, "mine") == "calibration-set-unknown"


def test_that_an_index_cannot_name_a_content_elsewhere(store: SetStore, tmp_path: Path):
    store.create("mine", SPEC, SAMPLES)
    index = tmp_path / "calibration" / "sets" / "mine.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "sha256": "../../../../etc/passwd"}))
    assert code(store, "mine") == "calibration-set-damaged"


def test_that_an_empty_set_is_refused(store: SetStore):
    with pytest.raises(BitpressError) as refused:
        store.create("none", SPEC, ())
    assert refused.value.problem.code == "calibration-empty"


def test_that_a_set_of_a_later_version_still_loads(store: SetStore):
    made = store.create("mine", SPEC, SAMPLES)
    later = {**made.model_dump(mode="json"), "licence": "CC0"}
    assert CalibrationSet.model_validate(later) == made
