"""Random messages of any type, made from their descriptors: valid for protobuf, and as odd as it allows.

A part of the values is taken from `known`: the ids, handles and fences of things that exist, by the name of the field.
Without them almost every call would end at "not found". The same random numbers give the same messages.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf import message_factory, struct_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

Known = Mapping[str, Sequence[Any]]
"""By field, `Delta.kind`, or by the name alone, `kind`: values of the field's type."""
DEPTH = 4
LONG = 12_000
STRUCT_DEPTH = 45
TEXTS = (
    "",
    " ",
    "\u202eright to left",
    "e\u0301\u0301\u0301\u0301",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "\ufeff",
    "\uffff",
    "\U0010ffff",
    "Robert'); DROP TABLE executions;--",
    "../../etc/passwd",
    "${jndi:ldap://x}",
    "%s%n%x",
    "{0.__class__}",
    "-1",
    "1e999",
    "null",
    "[]",
    "{",
    '{"id": 5, "content": [], "text": {}, "status": null, "todos": "x", "phase": 9}',
    "\r\nX-Header: 1",
    "x" * 5000,
    "\u0661\u0662",
)
TIMES = ((0, 0), (2**62, 0), (-(2**62), -5), (253402300800, 0), (1, 2**31 - 1))
FLOATS = (0.0, -0.0, 1.5, -1.0, math.nan, math.inf, -math.inf, 1e308, 5e-324)
SHARES = (0.2, 0.6, 0.95)
"""Of the fields of a message: almost none are set, some, or almost all."""


class Messages:
    def __init__(self, numbers: random.Random, known: Known) -> None:
        self._numbers = numbers
        self._known = known

    def message(self, type_: Descriptor, depth: int = DEPTH) -> Message:
        """Some fields set, some not; of a oneof at most one, often none."""
        made: Any = message_factory.GetMessageClass(type_)()
        if type_.full_name == "google.protobuf.Struct":
            made.CopyFrom(self._struct(self._numbers.choice((1, 3, STRUCT_DEPTH))))
        elif type_.full_name == "google.protobuf.Timestamp":
            made.seconds, made.nanos = self._numbers.choice(TIMES)
        else:
            share = self._numbers.choice(SHARES)
            for field in type_.fields:
                if self._numbers.random() < share and (depth > 0 or field.message_type is None):
                    self._fill(made, field, depth)
        return made  # type: ignore[no-any-return]

    def _fill(self, made: Any, field: FieldDescriptor, depth: int) -> None:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            content = field.message_type.fields_by_name["value"]
            for _ in range(self._numbers.randrange(3)):
                name = self.text()
                if content.message_type is None:
                    getattr(made, field.name)[name] = self._scalar(content)
                else:
                    getattr(made, field.name)[name].CopyFrom(self.message(content.message_type, depth - 1))
        elif field.is_repeated:
            values = [self._value(field, depth) for _ in range(self._numbers.choice((0, 1, 2, 2, 20)))]
            getattr(made, field.name).extend(values)
        elif field.message_type is not None:
            getattr(made, field.name).CopyFrom(self.message(field.message_type, depth - 1))
        else:
            setattr(made, field.name, self._scalar(field))

    def _value(self, field: FieldDescriptor, depth: int) -> Any:
        if field.message_type is not None:
            return self.message(field.message_type, depth - 1)
        return self._scalar(field)

    def _scalar(self, field: FieldDescriptor) -> Any:
        known = self._known.get(".".join(field.full_name.split(".")[-2:])) or self._known.get(field.name) or ()
        made = _SCALARS[field.cpp_type](self, field)
        fitting = [value for value in known if type(value) is type(made)]
        return self._numbers.choice(fitting) if fitting and self._numbers.random() < 0.7 else made

    def text(self) -> str:
        match self._numbers.randrange(100):
            case 0:
                return "a\0b"
            case 1:  # what no index of a database holds, however well it packs
                return self._numbers.randbytes(LONG // 2).hex()
        if self._numbers.random() < 0.6:
            return self._numbers.choice(TEXTS)
        return "".join(map(self._character, range(self._numbers.randrange(20))))

    def _character(self, _: int) -> str:
        code = self._numbers.choice((self._numbers.randrange(128), self._numbers.randrange(0x110000)))
        return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)

    def _whole(self, bits: int, *, signed: bool) -> int:
        least = -(2 ** (bits - 1)) if signed else 0
        most = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
        return self._numbers.choice((0, 1, 2, 7, 100, least, most, max(least, -1), self._numbers.randint(least, most)))

    def _enum(self, field: FieldDescriptor) -> int:
        assert field.enum_type is not None
        defined: Sequence[int] = list(field.enum_type.values_by_number)
        return self._numbers.choice((*defined, 99, 2**31 - 1, -1))

    def _bytes_or_text(self, field: FieldDescriptor) -> Any:
        if field.type != FieldDescriptor.TYPE_BYTES:
            return self.text()
        return self._numbers.choice((self.text().encode(), self._numbers.randbytes(self._numbers.randrange(50))))

    def _struct(self, depth: int) -> struct_pb2.Struct:
        made = struct_pb2.Struct()
        for _ in range(self._numbers.choice((0, 1, 3))):
            made.fields[self.text()].CopyFrom(self._any(depth))
        return made

    def _any(self, depth: int) -> struct_pb2.Value:
        """A value in a struct; a chain of lists and structs as deep as `depth`."""
        match self._numbers.randrange(7 if depth > 0 else 5):
            case 0:
                return struct_pb2.Value()  # no kind at all
            case 1:
                return struct_pb2.Value(number_value=self._numbers.choice(FLOATS))
            case 2:
                return struct_pb2.Value(string_value=self.text())
            case 3:
                return struct_pb2.Value(bool_value=True)
            case 4:
                return struct_pb2.Value(null_value=99)  # type: ignore[arg-type]
            case 5:
                inner = struct_pb2.Struct()
                inner.fields[self.text()].CopyFrom(self._any(depth - 1))
                return struct_pb2.Value(struct_value=inner)
            case _:
                return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[self._any(depth - 1)]))


_SCALARS: Mapping[int, Callable[[Messages, FieldDescriptor], Any]] = {
    FieldDescriptor.CPPTYPE_STRING: Messages._bytes_or_text,
    FieldDescriptor.CPPTYPE_BOOL: lambda made, _: made._numbers.random() < 0.5,
    FieldDescriptor.CPPTYPE_ENUM: Messages._enum,
    FieldDescriptor.CPPTYPE_INT32: lambda made, _: made._whole(32, signed=True),
    FieldDescriptor.CPPTYPE_INT64: lambda made, _: made._whole(64, signed=True),
    FieldDescriptor.CPPTYPE_UINT32: lambda made, _: made._whole(32, signed=False),
    FieldDescriptor.CPPTYPE_UINT64: lambda made, _: made._whole(64, signed=False),
    FieldDescriptor.CPPTYPE_FLOAT: lambda made, _: made._numbers.choice((*FLOATS[:7], 1e38)),
    FieldDescriptor.CPPTYPE_DOUBLE: lambda made, _: made._numbers.choice(FLOATS),
}


def damaged(content: bytes, numbers: random.Random) -> bytes:
    """The bytes of a message, cut off, with flipped bits, doubled, or something else altogether."""
    match numbers.randrange(5):
        case 0:
            return content[: numbers.randrange(len(content) + 1)]
        case 1 if content:
            flipped = bytearray(content)
            for _ in range(numbers.choice((1, 1, 2, 8))):
                flipped[numbers.randrange(len(flipped))] ^= 1 << numbers.randrange(8)
            return bytes(flipped)
        case 2:
            at = numbers.randrange(len(content) + 1)
            return content[:at] + numbers.randbytes(numbers.randrange(1, 9)) + content[at:]
        case 3:
            # A message in a message in a message: deeper than any reader goes.
            return content + _nested(numbers.choice((50, 120, 1000)))
        case _:
            return numbers.randbytes(numbers.randrange(1, 200))


def _nested(levels: int) -> bytes:
    """Field 5 of length-delimited content, `levels` times."""
    inner = b""
    for _ in range(levels):
        inner = b"\x2a" + _varint(len(inner)) + inner
    return inner


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
