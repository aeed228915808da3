"""Chooses how an LLM runs on its device: packed or padded, in int8 or as it is."""

import logging
from functools import partial

from models.device.int8 import int8_supported, quantise_linears
from models.llm.cpu.attention import use_double_attention
from models.llm.cpu.packed_batch import PackedBatch
from models.llm.cpu.packed_llama import PackedLlama, packable
from models.llm.decoder import Begin
from models.llm.language_model import Llm
from models.llm.prompt_batch import PromptBatch

logger = logging.getLogger(__name__)


def begin_batches(llm: Llm, int8: bool) -> Begin:
    """Return the function that starts batches of an LLM on its device.

    Args:
        llm: its layers are taken out or replaced if that is faster; tokenizer and embeddings stay.
        int8: quantise the linear layers; only on a CPU.
    """
    on_cpu = llm.model.device.type == "cpu"
    if int8 and on_cpu and not int8_supported():
        logger.warning("this build of torch has no int8 kernel: the LLM runs in float32, slower")
        int8 = False
    if packable(llm.model):
        return partial(PackedBatch, PackedLlama(llm.model, int8).eval())
    if int8 and on_cpu:
        quantise_linears(llm.model)
        use_double_attention(llm.model)
    return partial(PromptBatch, llm.model)
