"""CLAPs: they embed sounds and captions into one space of unit vectors.

`base` is the contract. The backends, one file each with a record of `backend`, are `embedded` (the default bundle's),
`huggingface`, `laion` and `wavcaps`. `loading` loads one and adds `centring` and `zero_shot` if the bundle says so.

The embedded CLAP is made of `yamnet` (`onnx_tensors`), `aisfx` (`winograd`, `categories`), `minilm` (`packed_bert`) and
`alignment`. The others share `two_towers`, `mel`, `htsat`, `text_sizes`, `tokenizer` and `whole_windows`.
`sounds` lists the kinds of sound, `wrapper` is the base of CLAPs around another, `centring_fit` measures a centring.
"""
