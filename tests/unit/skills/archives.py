"""Archives for tests: good ones, and ones that nobody should accept."""

import io
import stat
import struct
import zipfile

SKILL_MD = """---
name: Invoices
description: Reads invoices. Use it for PDF bills.
---
# Invoices

Run `scripts/read.sh`.
"""


def archive(files: dict[str, str | bytes] | None = None, *, skill_md: str | bytes | None = SKILL_MD) -> bytes:
    """A zip with SKILL.md (unless it is None) and these files; what ends with `.sh` can be executed."""
    found: dict[str, str | bytes] = {} if skill_md is None else {"SKILL.md": skill_md}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in {**found, **(files or {})}.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFREG | (0o755 if name.endswith(".sh") else 0o644)) << 16
            opened.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def with_entry(name: str, *, mode: int = stat.S_IFREG | 0o644, content: str = "x") -> bytes:
    """One more entry, of any name and kind."""
    file = io.BytesIO(archive())
    with zipfile.ZipFile(file, "a") as opened:
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = name
        entry.create_system, entry.external_attr = 3, mode << 16
        opened.writestr(entry, content)
    return file.getvalue()


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    """The bytes of a name replaced in place, as no library would write them."""
    assert len(old) == len(new)
    assert data.count(old) >= 2
    return data.replace(old, new)


def encrypted() -> bytes:
    """The flag of an encrypted entry set in both headers."""
    data = bytearray(archive())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(signature) + offset
        data[at : at + 2] = struct.pack("<H", 1)
    return bytes(data)


def lying_about_its_size(data: bytes, size: int) -> bytes:
    """The unpacked size of the first entry of the directory set to `size`."""
    found = bytearray(data)
    at = found.index(b"PK\x01\x02") + 24
    found[at : at + 4] = struct.pack("<I", size)
    return bytes(found)
