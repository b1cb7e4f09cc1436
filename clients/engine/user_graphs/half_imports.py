"""deepagents asks whether a model is Anthropic's by looking into `sys.modules`, where half a module may stand.

A run on another provider's model then fails while some other run, on another thread, imports Anthropic's package for
the first time. Whoever has an instance of its class has a whole module, so half of one means no.
"""

import sys
from typing import Any

_ASKS = "is_anthropic_chat_model"


def _is_anthropic(model: object) -> bool:
    kind: Any = getattr(sys.modules.get("langchain_anthropic.chat_models"), "ChatAnthropic", None)
    return kind is not None and isinstance(model, kind)


def bear_half_imports() -> None:
    """In all modules of deepagents that are loaded. To be called after its import; a second call does no harm."""
    for name, module in sys.modules.copy().items():  # a list of its items is no atom: a thread may import meanwhile
        if name.startswith("deepagents.") and hasattr(module, _ASKS):
            setattr(module, _ASKS, _is_anthropic)
