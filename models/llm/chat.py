"""Turns a prompt into a user's message with the chat template of an LLM that was tuned for chat.

The text that the chat template writes around the prompt becomes part of the prompt template. So training and inference
see the same text, and captions never pass through the chat template: a caption that looks like a turn stays text.
"""

from dataclasses import replace
from typing import Any

from models.prompt import PromptTemplate
from models.weights import WrongWeights

# Some chat templates state the date, and a caption should not depend on it.
_SAME_DAY = "{%- macro strftime_now(format) -%}01 Jan 2026{%- endmacro -%}"


def in_chat(template: PromptTemplate, tokenizer: Any, system: str | None = None) -> PromptTemplate:
    """Return the prompt template with the chat around it: a user's message and the start of the answer.

    Args:
        template: template of the prompt.
        tokenizer: tokenizer of transformers.
        system: message before the user's; by default the chat template's own.

    Raises:
        WrongWeights: the tokenizer has no chat template, or one that does not hold the unchanged prompt once.
    """
    if not tokenizer.chat_template:
        raise WrongWeights("the bundle asks for a chat (prompt.chat), and the LLM's tokenizer has no chat template")
    messages = [{"role": "user", "content": template.text}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    # Imported here, because only a chat needs it. It comes with transformers.
    from jinja2 import TemplateError

    try:
        text: Any = tokenizer.apply_chat_template(
            messages,
            chat_template=_SAME_DAY + tokenizer.get_chat_template(),
            tokenize=False,
            add_generation_prompt=True,
            # For LLMs that reason before they answer.
            enable_thinking=False,
        )
        return replace(template, text=str(text), starts=False)
    except (TemplateError, ValueError, TypeError) as error:
        raise WrongWeights(f"the prompt cannot be written with the LLM's chat template: {error}") from error
