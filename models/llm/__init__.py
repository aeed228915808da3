"""The LLM: where its files are, how it is loaded, and how it writes captions."""
