"""A prompt as the turn of a user, in the manner of speaking that an LLM was tuned on: its own chat template.

What the chat template writes around the prompt becomes part of the prompt template, once and for all. So training and
inference see the same, and captions never pass through the chat template: what looks like a turn in one stays text.
"""

from dataclasses import replace
from typing import Any

from models.prompt import PromptTemplate
from models.weights import WrongWeights

# Some chat templates tell the day, and a caption should not depend on that.
_SAME_DAY = "{%- macro strftime_now(format) -%}01 Jan 2026{%- endmacro -%}"


def in_chat(template: PromptTemplate, tokenizer: Any, system: str | None = None) -> PromptTemplate:
    """A prompt template that is sent as a user's message, and answered.

    Args:
        template: of the prompt.
        tokenizer: of transformers.
        system: message before that of the user; what the chat template itself has there when left out.

    Raises:
        WrongWeights: the tokenizer has no chat template, or one that does not hold the prompt once and as it is.
    """
    if not tokenizer.chat_template:
        raise WrongWeights("the bundle asks for a chat (prompt.chat), and the LLM's tokenizer has no chat template")
    messages = [{"role": "user", "content": template.text}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    # Imported here: transformers brings it, and only a chat needs it.
    from jinja2 import TemplateError

    try:
        text: Any = tokenizer.apply_chat_template(
            messages,
            chat_template=_SAME_DAY + tokenizer.get_chat_template(),
            tokenize=False,
            add_generation_prompt=True,
            # Of LLMs that reason before they answer.
            enable_thinking=False,
        )
        return replace(template, text=str(text), starts=False)
    except (TemplateError, ValueError, TypeError) as error:
        raise WrongWeights(f"the prompt cannot be written with the LLM's chat template: {error}") from error
