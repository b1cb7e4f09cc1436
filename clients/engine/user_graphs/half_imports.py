"""Replaces deepagents' check for Anthropic models, which fails while Anthropic's package is being imported.

deepagents looks for the model class in `sys.modules`, where a half-imported module may stand. A run on another
provider's model then fails while a run on another thread imports Anthropic's package for the first time. A model of
Anthropic can exist only after the import has ended, so with a half-imported module the answer is no.
"""

import sys
from typing import Any

_ASKS = "is_anthropic_chat_model"


def _is_anthropic(model: object) -> bool:
    kind: Any = getattr(sys.modules.get("langchain_anthropic.chat_models"), "ChatAnthropic", None)
    return kind is not None and isinstance(model, kind)


def bear_half_imports() -> None:
    """Replace the check in all loaded modules of deepagents. Call it after their import; a second call does no harm."""
    for name, module in sys.modules.copy().items():  # copy() is atomic, list(items()) is not: a thread may import
        if name.startswith("deepagents.") and hasattr(module, _ASKS):
            setattr(module, _ASKS, _is_anthropic)
