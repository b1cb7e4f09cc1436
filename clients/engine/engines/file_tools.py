"""The file tools of an agent over the current run's sandbox, for engines that bring none which we can use.

Names, arguments and texts are those of the engine `deepagents`, so that an agent may change its engine. A failure is a
failed call.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from langchain.tools import ToolRuntime
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field

from agent_runner.clients.engine.engines.execute_tool import current, current_sandbox
from agent_runner.clients.sandbox.file_results import ReadResult
from agent_runner.clients.sandbox.kinds.port import Files

MOST_LINES = 500
"""Of a search or a list; what is left out is said."""

FilePath = Annotated[str, Field(description="the path of the file in the sandbox; `/` is the working directory")]


class Ls(BaseModel):
    """The entries of a directory; directories end with a slash."""

    path: Annotated[str, Field(description="the directory")] = "/"


class Read(BaseModel):
    """Read a file, by default its first 100 lines. A header tells which lines follow; what follows is verbatim."""

    file_path: FilePath
    offset: Annotated[int, Field(description="the line to begin at, from 0")] = 0
    limit: Annotated[int, Field(description="how many lines")] = 100


class Write(BaseModel):
    """Write a file; what it held before is replaced."""

    file_path: FilePath
    content: Annotated[str, Field(description="the whole new text")]


class Edit(BaseModel):
    """Replace a text in a file. It must stand there once, or `replace_all` be set."""

    file_path: FilePath
    old_string: Annotated[str, Field(description="the exact text to replace")]
    new_string: Annotated[str, Field(description="what stands there afterwards")]
    replace_all: Annotated[bool, Field(description="replace it wherever it stands")] = False


class Delete(BaseModel):
    """Delete a file, or a directory with all that is in it. It cannot be undone."""

    file_path: FilePath


class Glob(BaseModel):
    """Find files by pattern: `*.py` at any depth, `src/**/*.py` from where the search begins."""

    pattern: Annotated[str, Field(description="the pattern")]
    path: Annotated[str | None, Field(description="where the search begins")] = None


class Grep(BaseModel):
    """Find lines with a literal text (no regular expression), as `path:line: text`."""

    pattern: Annotated[str, Field(description="the text")]
    path: Annotated[str | None, Field(description="where the search begins")] = None
    glob: Annotated[str | None, Field(description="only in files of this pattern")] = None


class FileError(Exception):
    """A file operation failed; the text is for the model."""


def file_tools() -> list[BaseTool]:
    return [
        _tool("ls", Ls, _ls),
        _tool("read_file", Read, _read),
        _tool("write_file", Write, _write),
        _tool("edit_file", Edit, _edit),
        _tool("delete", Delete, _delete),
        _tool("glob", Glob, _glob),
        _tool("grep", Grep, _grep),
    ]


def _tool(name: str, arguments: type[BaseModel], work: Callable[..., str]) -> BaseTool:
    def run(runtime: ToolRuntime, **given: Any) -> ToolMessage:
        try:
            text, status = work(current_sandbox().files, **given), "success"
        except FileError as error:
            text, status = f"Error: {error}", "error"
        return ToolMessage(text, name=name, tool_call_id=runtime.tool_call_id or "", status=status)

    async def arun(runtime: ToolRuntime, **given: Any) -> ToolMessage:
        return await asyncio.to_thread(run, runtime, **given)

    return StructuredTool.from_function(
        name=name,
        description=arguments.__doc__ or name,
        func=run,
        coroutine=arun,
        infer_schema=False,
        args_schema=arguments,
    )


def _ls(files: Files, path: str = "/") -> str:
    found = files.ls(path)
    _check(found.error)
    return str([entry["path"] for entry in found.entries or []] or "No files found")


def _read(files: Files, file_path: str, offset: int = 0, limit: int = 100) -> str:
    found = files.read(file_path, offset, limit)
    _check(found.error)
    data = found.file_data
    if data is None or data["encoding"] != "utf-8":
        raise FileError(f"'{file_path}' is no text; use execute to look into it")
    header = _header(found)
    return f"{header}\n{data['content'].rstrip(chr(10))}" if header else data["content"]


def _header(found: ReadResult) -> str:
    if found.start_line is None:
        return ""
    more = f" | next offset {found.next_offset}" if found.next_offset is not None else ""
    return f"@@ lines {found.start_line}-{found.end_line} of {found.total_lines}{more} @@"


def _write(files: Files, file_path: str, content: str) -> str:
    with current().file_changes:
        found = files.write(file_path, content)
    _check(found.error)
    return f"Updated file {found.path}"


def _edit(files: Files, file_path: str, old_string: str, new_string: str, replace_all: bool = False) -> str:
    with current().file_changes:
        found = files.edit(file_path, old_string, new_string, replace_all)
    _check(found.error)
    return f"Replaced {found.occurrences} of it in {found.path}"


def _delete(files: Files, file_path: str) -> str:
    found = files.delete(file_path)
    _check(found.error)
    return f"Deleted {found.path}"


def _glob(files: Files, pattern: str, path: str | None = None) -> str:
    found = files.glob(pattern, path)
    _check(found.error)
    return _lines([match["path"] for match in found.matches or []], "No file matches", cut=found.truncated)


def _grep(files: Files, pattern: str, path: str | None = None, glob: str | None = None) -> str:
    found = files.grep(pattern, path, glob, max_count=MOST_LINES)
    _check(found.error)
    lines = [f"{match['path']}:{match['line']}: {match['text']}" for match in found.matches or []]
    return _lines(lines, "No line has it", cut=found.truncated)


def _lines(lines: list[str], none: str, *, cut: bool = False) -> str:
    if not lines and not cut:
        return none
    note = ["... there may be more: narrow the search"] if cut or len(lines) > MOST_LINES else []
    return "\n".join([*lines[:MOST_LINES], *note])


def _check(error: str | None) -> None:
    if error is not None:
        raise FileError(error.removeprefix("Error: "))
