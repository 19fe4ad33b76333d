"""Facts about findings in a file that only grows: what is torn is cut off, what is whole is found again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.worker.growing_file import GrowingFile
from core.worker.pieces import Pieces, held, make_way


def written(path: Path, *contents: bytes) -> None:
    pieces = Pieces(path, seconds=0)
    for content in contents:
        pieces.add(content)
    pieces.close()


def found(path: Path) -> list[bytes]:
    pieces = Pieces(path, seconds=0)
    pieces.close()
    return pieces.found


def test_that_pieces_come_back_in_order_and_are_added_behind(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "a.pieces"
    written(path, b"one", b"", b"three")
    pieces = Pieces(path, seconds=0)
    assert pieces.found == [b"one", b"", b"three"]
    pieces.add(b"four")
    pieces.close()
    assert found(path) == [b"one", b"", b"three", b"four"]


def test_that_every_torn_end_gives_the_whole_pieces_before_it_and_the_file_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.pieces"
    written(path, b"one", b"second", b"3")
    content = path.read_bytes()
    ends = [43, 43 + 46, 43 + 46 + 41]
    assert len(content) == ends[-1]
    for size in range(len(content)):
        path.write_bytes(content[:size])
        whole = sum(size >= end for end in ends)
        assert found(path) == [b"one", b"second", b"3"][:whole]
        assert path.stat().st_size == ([0, *ends][whole]), "what is torn is cut off"
    written(path, b"new")
    assert found(path)[-1] == b"new"


@pytest.mark.parametrize("place", [0, 7, 8, 39, 40, 50, 90, 100])
def test_that_a_flipped_bit_ends_what_is_taken(tmp_path: Path, place: int) -> None:
    path = tmp_path / "a.pieces"
    written(path, b"one", b"second", b"3")
    content = bytearray(path.read_bytes())
    content[place] ^= 0x40
    path.write_bytes(content)
    assert found(path) == [b"one", b"second", b"3"][: sum(place >= end for end in (43, 89))]


def test_that_pieces_under_another_name_or_in_another_order_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.pieces"
    written(path, b"one", b"two")
    content = path.read_bytes()
    (tmp_path / "b.pieces").write_bytes(content)
    assert found(tmp_path / "b.pieces") == []
    path.write_bytes(content[43:] + content[:43])
    assert found(path) == []


def test_that_writes_are_bounded_and_a_close_writes_the_rest(tmp_path: Path) -> None:
    path, wrote = tmp_path / "a.pieces", []
    pieces = Pieces(path, seconds=1000, wrote=lambda _, size: wrote.append(size))
    for _ in range(100):
        pieces.add(b"x")
    assert not path.exists()
    pieces.close()
    assert wrote == [4100]
    assert len(found(path)) == 100


def test_that_a_file_which_another_process_holds_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.pieces"
    written(path, b"one")
    holding = "import sys; from pathlib import Path; from core.worker.pieces import held\n"
    holding += "file = held(Path(sys.argv[1]), create=False); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        pieces = Pieces(path, seconds=0)
        pieces.add(b"two")
        pieces.close()
        assert pieces.found == []
        make_way(tmp_path, most=1)
        assert path.exists(), "what somebody is at does not give way"
        other.kill()
    assert found(path) == [b"one"], "a lock dies with its process"


def test_that_what_lies_there_longest_gives_way_to_new_files(tmp_path: Path) -> None:
    for age in range(5):
        path = tmp_path / f"{age}.pieces"
        path.write_bytes(b"x" * 100)
        os.utime(path, (1000 - age, 1000 - age))
    (tmp_path / "other.txt").write_text("mine")
    make_way(tmp_path, most=4)
    assert {path.name for path in tmp_path.iterdir()} == {"0.pieces", "1.pieces", "2.pieces", "other.txt"}
    make_way(tmp_path, 100, room=200)
    assert {path.name for path in tmp_path.iterdir()} == {"0.pieces", "other.txt"}


def test_that_a_link_or_a_pipe_in_its_place_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "a.pieces").symlink_to(tmp_path / "mine")
    os.mkfifo(tmp_path / "b.pieces")
    for name in ("a.pieces", "b.pieces"):
        written(tmp_path / name, b"one")
        with pytest.raises(OSError, match=name):
            held(tmp_path / name, create=True)
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_that_a_growing_file_goes_on_behind_what_was_noted_and_a_damaged_one_begins_anew(tmp_path: Path) -> None:
    path, noted = tmp_path / "a.growing", []

    def opened(facts: str = "same") -> GrowingFile:
        file = GrowingFile(path, seconds=0, wrote=lambda _, size: noted.append(size))
        file.take_up(facts)
        return file

    file = opened()
    file.write(b"head")
    for item in (1, 2):
        file.write(b"item")
        file.reached(item)
    file.write(b"torn")
    file.close()
    assert noted == [8, 12]
    again = opened()
    assert (again.items, again.bytes) == (2, 12)
    again.write(b"more")
    again.reached(3)
    digest = again.sha256
    again.close()
    assert path.read_bytes() == b"headitemitemmore"
    fresh = opened("other")
    assert (fresh.items, path.stat().st_size) == (0, 0)
    fresh.close()
    path.write_bytes(b"headitemitemmore")
    whole = opened()
    assert (whole.items, whole.sha256) == (3, digest)
    whole.close()
    path.write_bytes(b"headitemItemmore")
    damaged = opened()
    assert (damaged.items, damaged.bytes) == (0, 0)
    damaged.remove()
    assert list(tmp_path.iterdir()) == []
