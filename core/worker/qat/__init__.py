"""Quantization-aware fine-tuning: the weights of a model are trained while they are rounded, through torchao."""
