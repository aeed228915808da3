"""The captions of a corpus, however they are written down."""
