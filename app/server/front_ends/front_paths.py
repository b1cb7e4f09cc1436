"""The addresses of this edge. Pages of other origins may call them, as front ends are served from elsewhere."""

AGUI, AI_SDK = "/v1/agui", "/v1/ai-sdk"


def is_front_end(path: str) -> bool:
    return path.startswith((f"{AGUI}/", f"{AI_SDK}/"))
