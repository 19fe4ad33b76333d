"""What people look for and do not find here, with the reason and what to take instead."""

from __future__ import annotations

from core.value import Json, Value


class NotOffered(Value):
    """A method or option that would not deliver what its name promises, with llmcompressor 0.14."""

    name: str
    why: str
    instead: str

    def described(self) -> dict[str, Json]:
        """As `bitpress methods --json` prints it."""
        return {"name": self.name, "why": self.why, "instead": self.instead}


NOT_OFFERED = (
    NotOffered(
        name="QuIP",
        why="In memory it is right, but what llmcompressor 0.14 saves is noise when transformers opens it: part of the "
        "rotation is not read back.",
        instead="GPTQ W4A16 or AWQ W4A16.",
    ),
    NotOffered(
        name="SpinQuant with a random matrix",
        why="The matrix is not orthogonal, so that the rotations do not cancel out: the artifact is noise.",
        instead="SpinQuant W4A16, which rotates with random Hadamard matrices.",
    ),
    NotOffered(
        name="Rotations while the model runs (R3, R4)",
        why="They are applied to activations at run time. transformers does not apply them when it opens the artifact, "
        "so it could not be proved, and few engines do.",
        instead="SpinQuant W4A16, whose rotations are built into the weights.",
    ),
    NotOffered(
        name="Magnitude pruning",
        why="In llmcompressor 0.14 it acts while a model is trained and changes nothing in one pass: the artifact is "
        "the original.",
        instead="SparseGPT or Wanda.",
    ),
    NotOffered(
        name="Constant pruning",
        why="It keeps zeros that are there already while a model is trained; there is no training here.",
        instead="SparseGPT or Wanda, whose zeros stay when weights are rounded afterwards.",
    ),
    NotOffered(
        name="Sparse storage and 2:4 kernels",
        why="Sparse weights are no longer stored smaller by compressed-tensors, and vLLM has removed its kernels for "
        "2:4. Zeros save neither bytes nor time.",
        instead="A 4-bit method: it saves three quarters of the bytes.",
    ),
    NotOffered(
        name="GPTQ with activation ordering by group",
        why="It was removed from llmcompressor, because it slows the model down when it runs.",
        instead="GPTQ with the ordering static, which costs nothing when the model runs.",
    ),
    NotOffered(
        name="W4A8, W3A8, W4A4 and their like with integer activations",
        why="They are stored with a byte for each weight, so that they are no smaller than W8A8 and lose more.",
        instead="W8A8 for speed, W4A16 for size, NVFP4 on Blackwell for both.",
    ),
    NotOffered(
        name="W5A16, W6A16 and W7A16",
        why="Kernels for integer weights of 5, 6 or 7 bits are not documented for any engine, and they would lie "
        "between two methods that are.",
        instead="W8A16 or W4A16.",
    ),
    NotOffered(
        name="Logarithmic equalization",
        why="It is an old name that llmcompressor keeps for a variant of SmoothQuant, and is to go.",
        instead="SmoothQuant W8A8 or SmoothQuant + GPTQ W8A8.",
    ),
    NotOffered(
        name="AWQ with FP8 static",
        why="AWQ weighs each column, and a scheme with one scale for the whole weight leaves it nothing to weigh; "
        "llmcompressor refuses the two together.",
        instead="FP8 dynamic, which loses less than FP8 static without it.",
    ),
    NotOffered(
        name="AutoRound with FP8 keys and values",
        why="AutoRound in llmcompressor 0.14 stops with an error where keys and values are to be compressed as well.",
        instead="GPTQ W4A16 or AWQ W4A16 with keys and values in fp8.",
    ),
    NotOffered(
        name="Quantized embeddings",
        why="Engines look embeddings up row by row and vLLM has no kernels for them in these formats; tied to the "
        "output layer they would be stored twice.",
        instead="Leave embedding and output layer alone, as every method here does.",
    ),
)
"""In the order in which they are shown."""
