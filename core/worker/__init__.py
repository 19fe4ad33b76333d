"""The process that loads torch, transformers and llmcompressor."""
