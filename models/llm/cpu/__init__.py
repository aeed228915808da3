"""Kernels for an LLM on a CPU.

`packed_llama` and `packed_batch` run a Llama over packed prompts, without padding. `attention` serves other LLMs in
int8.
"""
