"""The LLM on a CPU: layers and attention over packed prompts, without padding."""
