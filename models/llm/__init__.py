"""The LLM: from its files to a decoder that writes captions.

Files: `sources` finds them, `sizes` and `gguf_header` read their headers, `gguf_conversion` converts GGUF once, and
`adapter` reads, checks and merges a LoRA.
Setting up: `language_model` loads LLM and tokenizer, `chat` wraps the prompt, `placement` and `quantisation` move it to
its device, `execution` chooses how batches run, `batch_check` tries that out.
Writing: `decoder` joins `projector` and LLM; `generation` decodes; `prompt_batch` and `key_values` hold a batch.
`cpu` has the kernels for CPUs.
"""
