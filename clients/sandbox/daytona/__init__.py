"""Sandboxes of Daytona, one per session, over its SDK: the extra `daytona`, which is imported when one is asked for."""
