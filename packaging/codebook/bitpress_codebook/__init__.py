"""Opens language models whose weights Bitpress stored as tables or binary codes.

`import bitpress_codebook` is all that it takes: `AutoModelForCausalLM.from_pretrained` then knows such folders.
"""
