"""How a weight matrix lies in the file, and how many bytes that takes. Nothing here needs torch.

A module `NAME` of (rows, columns), each row with a table of 2**bits values of its own, becomes these tensors:

=====================  ========  ===================  ==========================================================
name                   dtype     shape                holds
=====================  ========  ===================  ==========================================================
NAME.weight            int32     (rows, words)        an index of `bits` bits for each weight, from the lowest bit of
                                                      the first word on, across words; words = ceil(columns * bits / 32)
NAME.table             float16   (rows, 2**bits)      kind `table`: the values that a row's indices stand for
NAME.coefficients      float16   (rows, bits)         kind `binary`: alpha
NAME.offset            float16   (rows, 1)            kind `binary`: beta; index c stands for beta + the sum over i
                                                      of alpha[i] where bit i of c is set, of -alpha[i] where not
NAME.kept_starts       int32     (rows + 1,)          where each row's kept weights begin (CSR), where any are
NAME.kept_columns      int32     (kept,)              their columns, rising within a row
NAME.kept_values       model's   (kept,)              their values, which replace what the table says, exactly
=====================  ========  ===================  ==========================================================

The packed indices carry the plain name `weight` on purpose: a reader that does not know the format finds a tensor of
the wrong shape under a name that it needs, and stops, where a missing tensor would be filled with noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

QUANT_METHOD = "bitpress-codebook"
VERSION = 1
BITS = (2, 3, 4)

Kind = Literal["table", "binary"]


@dataclass(frozen=True)
class ModuleLayout:
    """One module's weight as it is stored; `kept` counts the weights stored as they are beside their index."""

    rows: int
    columns: int
    bits: int
    kind: Kind = "table"
    kept: int = 0

    @property
    def words(self) -> int:
        """32-bit words of a row's indices."""
        return -(-self.columns * self.bits // 32)

    def bytes(self, value_bytes: int = 2) -> int:
        """Bytes on disk, headers apart: indices, table or coefficients, and what is kept.

        `value_bytes` is the size of the model's own numbers, in which kept weights are stored.
        """
        table = (1 << self.bits) if self.kind == "table" else self.bits + 1
        sparse = 4 * (self.rows + 1) + self.kept * (4 + value_bytes) if self.kept else 0
        return 4 * self.rows * self.words + 2 * self.rows * table + sparse

    def bits_per_weight(self, value_bytes: int = 2) -> float:
        """Bits on disk for each weight: 3.03 for a table of 3 bits at 4096 x 4096, 3.26 with 0.45 % kept."""
        return 8 * self.bytes(value_bytes) / (self.rows * self.columns)
