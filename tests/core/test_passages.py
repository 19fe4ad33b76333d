"""How documents become rows and batches."""

from __future__ import annotations

import hashlib
import struct

from hypothesis import given
from hypothesis import strategies as st

from core.measure.passages import answer_rows, batches, digest, document_rows, even_shares

lengths = st.lists(st.integers(min_value=0, max_value=500), min_size=1, max_size=20)


@given(lengths, st.integers(min_value=0, max_value=3000))
def test_that_shares_use_the_budget_and_cut_only_the_longest(sizes: list[int], budget: int) -> None:
    shares = even_shares(sizes, budget)
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    assert sum(shares) == min(budget, sum(sizes))
    cut = [share for share, size in zip(shares, sizes, strict=True) if share < size]
    if cut:
        assert max(shares) - min(cut) <= 1


@given(lengths, st.integers(min_value=2, max_value=64), st.booleans())
def test_that_every_token_but_the_unpredictable_ones_is_scored_once(sizes: list[int], window: int, bos: bool) -> None:
    documents = [[100 + place for place in range(size)] for size in sizes]
    prefix = (7,) if bos else ()
    rows = document_rows(documents, text=0, first_document=5, prefix=prefix, window=window)
    assert all(len(row.ids) <= window and row.first >= 1 and row.scored >= 1 for row in rows)
    for index, ids in enumerate(documents):
        scored = [identity for row in rows if row.document == 5 + index for identity in row.ids[row.first :]]
        expected = ids if bos else [identity for place, identity in enumerate(ids) if place % window]
        assert scored == expected


@given(st.lists(st.integers(min_value=2, max_value=90), min_size=1, max_size=30), st.integers(1, 400))
def test_that_batches_hold_every_row_once_and_stay_within_their_tokens(sizes: list[int], tokens: int) -> None:
    rows = document_rows([range(size) for size in sizes], text=0, first_document=0, prefix=(), window=1000)
    plan = batches(rows, tokens)
    assert sorted(index for batch in plan for index in batch) == list(range(len(rows)))
    for batch in plan:
        assert len(batch) == 1 or max(len(rows[index].ids) for index in batch) * len(batch) <= tokens


def test_that_only_the_answer_is_scored_and_empty_answers_are_left_out() -> None:
    rows = answer_rows([((1, 2, 3), (4, 5)), ((1,), ())], text=2, first_document=10)
    assert len(rows) == 1
    assert rows[0].ids == (1, 2, 3, 4, 5)
    assert rows[0].ids[rows[0].first :] == (4, 5)
    assert (rows[0].text, rows[0].document) == (2, 10)


def test_that_the_digest_is_over_the_scored_ids_alone() -> None:
    rows = answer_rows([((1, 2), (70000, 5)), ((9,), (6,))], text=0, first_document=0)
    assert digest(rows) == hashlib.sha256(struct.pack("<3I", 70000, 5, 6)).hexdigest()
