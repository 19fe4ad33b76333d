"""Opens language models whose weights Bitpress stored as tables or binary codes.

`import bitpress_codebook` is all that it takes: `AutoModelForCausalLM.from_pretrained` then knows such folders.
"""

from bitpress_codebook.artifact_files import ArtifactError
from bitpress_codebook.layout import ModuleLayout
from bitpress_codebook.linear import CodebookLinear
from bitpress_codebook.quantizer import CodebookConfig, attach
from bitpress_codebook.swap import codebook_modules, materialise, replace_linears
from bitpress_codebook.weight import CodebookWeight, Kept

__all__ = [
    "ArtifactError",
    "CodebookConfig",
    "CodebookLinear",
    "CodebookWeight",
    "Kept",
    "ModuleLayout",
    "attach",
    "codebook_modules",
    "materialise",
    "replace_linears",
]
