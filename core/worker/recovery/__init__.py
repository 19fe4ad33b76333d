"""Recovery: what a compressed model may still change is trained on the original's probabilities; its codes stay."""
