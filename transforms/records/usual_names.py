"""Usual column names, for detecting the format and the lot fields."""

from __future__ import annotations

from collections.abc import Mapping

from transforms.records.columns import is_path

COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "messages": (
        *("contents", "conversation", "dialogue", "dialog", "chat", "chat_messages", "texts"),
        *("trajectory", "turns", "segments", "items"),
        *("response.body.choices", "response.choices", "response.candidates", "choices"),
        *("response.body.output", "response.output", "result.message", "response.message"),
        "message",
    ),
    "prompt": (
        *("question", "query", "problem", "input.messages", "request.messages"),
        *("request.contents", "body.messages", "request.body.messages"),
        *("request.params.messages", "context_messages"),
    ),
    "completion": (
        *("completions", "response", "responses", "answer", "answers"),
        *("generation", "generations", "candidates"),
        *("response.body.choices", "response.choices", "response.candidates"),
        *("response.body.output", "response.output", "response.message"),
    ),
    "output": (
        *("outputs", "response", "responses", "answer", "answers"),
        *("completion", "completions", "generation", "generations"),
    ),
    "input": ("context",),
    "chosen": (
        *("preferred_output", "chosen_response", "preferred"),
        *("preferred_outputs", "chosen_responses", "chosen_conversations", "response_j"),
    ),
    "rejected": (
        *("non_preferred_output", "rejected_response", "dispreferred"),
        *("non_preferred_outputs", "rejected_responses", "rejected_conversations", "response_k"),
    ),
    "rejected_response": ("rejected_messages", "rejected_responses"),
    "role": ("from", "sender", "speaker"),
    "history": ("chat_history", "conversation_history"),
    "text": ("chat", "conversation", "dialogue", "dialog", "transcript"),
    "system": (
        *("system_prompt", "system_message", "systemInstruction", "system_instruction"),
        *("systemPrompt", "preamble", "request.systemInstruction", "request.system"),
    ),
    "thinking": (
        *("reasoning", "reasoning_content", "cot", "complex_cot", "chain_of_thought"),
        *("thought", "thoughts", "rationale", "reasoning_trace", "think"),
    ),
}
"""Other names for the formats' columns. Case is ignored."""

FALLBACK_NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("input", "inputs", "input_text", "user_prompt", "human", "user"),
    "completion": (
        *("output", "outputs", "output_text", "generated_text", "target", "targets"),
        *("solution", "generated_solution", "assistant"),
    ),
    "text": ("content", "message", "value", "utterance"),
}
"""Names that count only without usual names and without `instruction`.

Beside `instruction`, `input` and `output` belong to the `alpaca` format.
"""

PARTNERS: Mapping[str, str] = {
    "user": "assistant",
    **dict.fromkeys(("content", "message"), "role"),
    "value": "from",
    "utterance": "speaker",
}
"""Fallback names that count only beside another column.

A lone `user` says who asked, and a `content` without a `role` may be anything.
"""

LOT_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "teacher": (
        *("teacher", "teacher_model", "model", "generator"),
        *("model_name", "generation_model", "generator_model", "teacher_name", "model_id"),
        *("response_model", "answer_model", "assistant_model", "completion_model"),
        *("generated_by", "llm", "models"),
        *("response.body.model", "response.model", "response.modelVersion"),
        "result.message.model",
        *("metadata.model", "metadata.model_name", "metadata.teacher", "meta.model"),
    ),
    "prompt_source": ("prompt_source", "source", "dataset"),
    "system_prompt": (),
    "date": ("date", "created", "created_at", "response.body.created"),
}
"""The usual column names for each lot field. The first one that exists is the default."""

USUAL_PATHS = tuple(
    dict.fromkeys(
        name
        for names in (*COLUMN_NAMES.values(), *LOT_COLUMNS.values())
        for name in names
        if is_path(name)
    )
)
"""The paths among the usual names. In JSON Lines, their values are counted like columns."""
