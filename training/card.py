"""Writes the model card of a trained bundle from the facts of its training."""

from collections.abc import Mapping
from typing import Any

_CARD = """# {name}: model card

A bundle of drcap, trained on text only from the bundle `{base}`. Its CLAP (`{clap}`) and LLM ({llm}) are unchanged;
projector and LoRA are new. No recording was used in training.

| captions | number | drawn with weight | omitted, longer than the CLAP reads | licence |
|---|---|---|---|---|
{rows}

{steps} steps of {batch} prompts with up to {targets} captions each, AdamW, highest rate {rate}, seed {seed}{early}.
Similar captions in the prompts have a cosine similarity between {low:.3f} and {high:.3f} to the caption ({chosen}).
The best validation ({validated}) was a loss of {best_loss:.4f} a token at step {best_step}.
`loss.png` plots the losses, `training.json` has every option.

How well it captions recordings was not measured. `drcap evaluate --bundle FOLDER --clips CSV` measures it.
"""


def model_card(name: str, facts: Mapping[str, Any]) -> str:
    """Return the card in Markdown."""
    options, examples = facts["options"], facts["examples"]
    rows = "\n".join(
        f"| {one['name']} | {one['captions']:,} | {one['weight']:g} | {one['cut_by_the_clap']} | {one['licence']} |"
        for one in facts["corpora"]
    )
    return _CARD.format(
        name=name,
        base=facts["base"],
        clap=facts["clap"],
        llm=facts["llm"],
        rows=rows,
        steps=facts["steps"],
        batch=options["batch"] * options["accumulate"],
        targets=examples["targets"],
        rate=options["rate"],
        seed=options["seed"],
        early=", stopped early" if facts["stopped_early"] else "",
        low=examples["selection"]["low"],
        high=examples["selection"]["high"],
        chosen="chosen from the captions themselves" if facts["range_chosen"] else "as asked",
        validated=facts["validated_with"],
        best_loss=facts["best_loss"],
        best_step=facts["best_step"],
    )
