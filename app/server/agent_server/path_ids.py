"""Ids in addresses and bodies, described as UUIDs. What is none is refused by who reads it (`uuids.py`)."""

from typing import Annotated

from fastapi import Path
from pydantic import Field

_UUID = {"format": "uuid"}
ThreadId = Annotated[str, Path(json_schema_extra=_UUID)]
RunId = Annotated[str, Path(json_schema_extra=_UUID)]
AssistantId = Annotated[str, Path(json_schema_extra=_UUID)]
CronId = Annotated[str, Path(json_schema_extra=_UUID)]
Uuid = Annotated[str, Field(json_schema_extra=_UUID)]
