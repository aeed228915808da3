"""The models: a CLAP embeds sounds and captions, an LLM writes captions.

On the ground: `weights` and `checkpoints` (files), `vectors`, `prompt`, and `decoder` (the contract of what writes).
Above it, each room uses only those before it:

    device         what the machine has, and where and how each model runs
    conditioning   projection of a sound on a domain's captions, and the choice among captions
    clap           the CLAP contract and its backends, one file each
    llm            the LLM, its adapter and projector, and decoding; `llm.cpu` has its kernels for CPUs
    bundle         one folder with everything that makes captions: read, checked, loaded, written

`embedded` is the default bundle. Nothing here knows HTTP, settings or datastores.
"""
