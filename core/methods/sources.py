"""The papers and pages that methods come from, each once."""

from __future__ import annotations

from core.methods.method import Source

AUTOROUND = Source(
    "Optimize Weight Rounding via Signed Gradient Descent for the Quantization of LLMs, Cheng et al. 2024",
    "https://arxiv.org/abs/2309.05516",
)
AWQ = Source(
    "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration, Lin et al. 2024",
    "https://arxiv.org/abs/2306.00978",
)
DEEPER_LAYERS = Source(
    "The Unreasonable Ineffectiveness of the Deeper Layers, Gromov et al. 2024", "https://arxiv.org/abs/2403.17887"
)
DEEPSEEK = Source("DeepSeek-V3 Technical Report, DeepSeek-AI 2024", "https://arxiv.org/abs/2412.19437")
FLAP = Source(
    "Fluctuation-based Adaptive Structured Pruning for Large Language Models, An et al. 2024",
    "https://arxiv.org/abs/2312.11983",
)
FP8_FORMATS = Source("FP8 Formats for Deep Learning, Micikevicius et al. 2022", "https://arxiv.org/abs/2209.05433")
GPTQ = Source(
    "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, Frantar et al. 2023",
    "https://arxiv.org/abs/2210.17323",
)
GPTQT = Source(
    "GPTQT: Quantize Large Language Models Twice to Push the Efficiency, Guo, Lang and Ren 2024",
    "https://arxiv.org/abs/2407.02891",
)
INTEGERS = Source(
    "Integer Quantization for Deep Learning Inference: Principles and Empirical Evaluation, Wu et al. 2020",
    "https://arxiv.org/abs/2004.09602",
)
KURTIC = Source(
    '"Give Me BF16 or Give Me Death"? Accuracy-Performance Trade-Offs in LLM Quantization, Kurtic et al. 2025',
    "https://arxiv.org/abs/2411.02355",
)
KV_CACHE = Source("vLLM: Quantized KV Cache", "https://docs.vllm.ai/en/latest/features/quantization/quantized_kvcache/")
LLM_QAT = Source(
    "LLM-QAT: Data-Free Quantization Aware Training for Large Language Models, Liu et al. 2023",
    "https://arxiv.org/abs/2305.17888",
)
MICROSCALING = Source(
    "Microscaling Data Formats for Deep Learning, Rouhani et al. 2023", "https://arxiv.org/abs/2310.10537"
)
MICROSCALING_FP4 = Source(
    "Bridging the Gap Between Promise and Performance for Microscaling FP4 Quantization, Egiazarian et al. 2025",
    "https://arxiv.org/abs/2509.23202",
)
MINITRON = Source(
    "Compact Language Models via Pruning and Knowledge Distillation, Muralidharan et al. 2024",
    "https://arxiv.org/abs/2407.14679",
)
NVFP4 = Source("Pretraining Large Language Models with NVFP4, NVIDIA 2025", "https://arxiv.org/abs/2509.25149")
REAP = Source(
    "REAP the Experts: Why Pruning Prevails for One-Shot MoE Compression, Lasby et al. 2025",
    "https://arxiv.org/abs/2510.13999",
)
SCHEMES = Source(
    "llm-compressor: Compression Schemes",
    "https://docs.vllm.ai/projects/llm-compressor/en/latest/guides/compression_schemes/",
)
SHORTGPT = Source(
    "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect, Men et al. 2024",
    "https://arxiv.org/abs/2403.03853",
)
SLEB = Source(
    "SLEB: Streamlining LLMs through Redundancy Verification and Elimination of Transformer Blocks, Song et al. 2024",
    "https://arxiv.org/abs/2402.09025",
)
SMOOTHQUANT = Source(
    "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models, Xiao et al. 2023",
    "https://arxiv.org/abs/2211.10438",
)
SPARSEGPT = Source(
    "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot, Frantar and Alistarh 2023",
    "https://arxiv.org/abs/2301.00774",
)
SPINQUANT = Source(
    "SpinQuant: LLM Quantization with Learned Rotations, Liu et al. 2025", "https://arxiv.org/abs/2405.16406"
)
GUIDEDQUANT = Source(
    "GuidedQuant, whose LNQ alternates tables and indices as our fit does, Kim et al. 2025",
    "https://arxiv.org/abs/2505.07004",
)
SQUEEZELLM = Source("SqueezeLLM: Dense-and-Sparse Quantization, Kim et al. 2024", "https://arxiv.org/abs/2306.07629")
STRAIGHT_THROUGH = Source(
    "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation, Bengio et al. 2013",
    "https://arxiv.org/abs/1308.3432",
)
WANDA = Source(
    "A Simple and Effective Pruning Approach for Large Language Models, Sun et al. 2024",
    "https://arxiv.org/abs/2306.11695",
)
ZEROQUANT = Source(
    "ZeroQuant: Efficient and Affordable Post-Training Quantization for Large-Scale Transformers, Yao et al. 2022",
    "https://arxiv.org/abs/2206.01861",
)
ZIPLM = Source(
    "ZipLM: Inference-Aware Structured Pruning of Language Models, Kurtic et al. 2023",
    "https://arxiv.org/abs/2302.04089",
)
