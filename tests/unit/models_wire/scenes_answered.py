"""Answers without calls, whole or ended by a reason that makes them less than whole."""

from tests.unit.models_wire.scenes import ANTHROPIC, DONE, OLLAMA, OPENAI, WIRES, Scenario, Scene, one

ANSWERED: dict[str, Scenario] = {
    "whole": one(Scene(words="A whole answer."), *WIRES),
    "whole among comments and pings": one(Scene(words="A whole answer.", pings=True)),
    "whole without counts": one(Scene(words="A whole answer.", usage="none"), OPENAI),
    "counts in every chunk": one(Scene(words="one two three four", usage="each")),
    "counts refused by a gateway": Scenario(
        scenes=(
            Scene(status=400, error={"message": "Unknown parameter: stream_options", "type": "invalid_request_error"}),
            Scene(words="A whole answer.", usage="none"),
        ),
        only=(OPENAI,),
    ),
    "first chunk without choices": one(
        Scene(words="A whole answer.", first=({"choices": [], "prompt_filter_results": []},)), OPENAI
    ),
    "empty reasons on the way": one(Scene(words="A whole answer.", empty_reasons=True), OPENAI),
    "reason in capitals": one(Scene(words="A whole answer.", reason="STOP"), OPENAI),
    "out of tokens": one(Scene(words="An answer that is too", reason="length"), OPENAI, OLLAMA),
    "out of tokens (max_tokens)": one(Scene(words="An answer that is too", reason="max_tokens"), ANTHROPIC),
    "out of tokens before a word": one(Scene(reason="length"), OPENAI),
    "out of tokens while thinking": one(Scene(thought="Let me think.", reason="length"), OPENAI, OLLAMA),
    "out of tokens while thinking (max_tokens)": one(Scene(thought="Let me think.", reason="max_tokens"), ANTHROPIC),
    "filtered": one(Scene(words="Half of", reason="content_filter"), OPENAI),
    "filtered before a word": one(Scene(reason="content_filter"), OPENAI),
    "refused in words apart": one(Scene(refusal="I cannot help with that."), OPENAI),
    "refused after words": one(Scene(words="Let me see.", refusal="I cannot help with that."), OPENAI),
    "refused": one(Scene(words="I begin, but", reason="refusal"), ANTHROPIC),
    "refused before a word": one(Scene(reason="refusal"), ANTHROPIC),
    "refused and explained": one(
        Scene(
            reason="refusal",
            details={"type": "refusal", "category": None, "explanation": "This is against the rules."},
        ),
        ANTHROPIC,
    ),
    "window full": one(Scene(words="Half of", reason="model_context_window_exceeded"), ANTHROPIC),
    "unknown reason": one(Scene(words="Half of", reason="budget_spent"), OPENAI, ANTHROPIC),
    "empty": one(Scene(), *WIRES),
    "paused turn": Scenario(scenes=(Scene(words="I look it up.", reason="pause_turn"), DONE), only=(ANTHROPIC,)),
    "always paused": one(Scene(words="I look.", reason="pause_turn"), ANTHROPIC),
    "thinking": one(Scene(thought="Let me think.", words="It is 4."), *WIRES),
    "thinking (reasoning)": one(Scene(thought="Let me think.", thought_key="reasoning", words="It is 4."), OPENAI),
    "thoughts and no answer": one(Scene(thought="Let me think."), *WIRES),
    "model loaded, once": Scenario(scenes=(Scene(reason="load"), DONE), only=(OLLAMA,)),
    "model loaded, always": one(Scene(reason="load"), OLLAMA),
    "model unloaded": one(Scene(reason="unload"), OLLAMA),
    "a number as reason": one(Scene(words="Half of", reason=-1), OLLAMA),
}
