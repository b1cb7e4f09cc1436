"""What was seen in a terminal as one SVG file that moves: a strip of frames behind a window, moved by a style sheet.

A viewer that shows no motion, or was asked for none, shows the last frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from xml.sax.saxutils import escape

from docs.pictures.terminal import COLUMNS, ROWS, Piece, Row, Screen, Style

LINE, LETTER, MARGIN = 18, 7.85, 14  # pixels
WIDTH, HEIGHT = round(COLUMNS * LETTER) + 2 * MARGIN, ROWS * LINE + 2 * MARGIN
SHORTEST_S, LONGEST_S, LAST_S = 0.3, 1.2, 8.0
COLOURS = {31: "#f47067", 32: "#8ddb8c", 33: "#e0b060", 34: "#6cb6ff", 35: "#dcbdfb", 36: "#76e3ea"}

FORM = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<title>{title}</title>
<style>
text {{ font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }}
text {{ fill: #d5dbe3; white-space: pre }}
.b {{ font-weight: bold }} .d {{ opacity: .6 }}
@media (prefers-reduced-motion: no-preference) {{ #strip {{ animation: play {took:.1f}s step-end infinite }} }}
@keyframes play {{ {moves} }}
</style>
<defs>
{rows}
</defs>
<rect width="100%" height="100%" rx="8" fill="#1c2128"/>
<svg x="{margin}" y="{margin}" width="{inner_width}" height="{inner_height}">
<g id="strip" transform="translate(0 -{last})">
{frames}
</g>
</svg>
</svg>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What is seen for some seconds."""

    rows: list[Row]
    lasts: float


def frames(pieces: Sequence[Piece]) -> list[Frame]:
    """One frame per change; what changed again at once is left out, and nobody waits long for the next one."""
    screen, found = Screen(), list[Frame]()
    begun = 0.0
    for index, piece in enumerate(pieces):
        screen.write(piece.text)
        last = index + 1 == len(pieces)
        lasts = LAST_S if last else pieces[index + 1].at - begun
        if last or lasts >= SHORTEST_S:
            found.append(Frame(rows=screen.seen(), lasts=LAST_S if last else min(lasts, LONGEST_S)))
            begun = piece.at if last else pieces[index + 1].at
    return found


def svg(title: str, shown: Sequence[Frame]) -> str:
    """The file. Each different row is written once and used wherever it is seen."""
    known: dict[str, str] = {}
    strips = []
    for number, frame in enumerate(shown):
        top = number * ROWS * LINE
        uses = [
            f'<use href="#{known.setdefault(_row(row), f"r{len(known)}")}" y="{top + (index + 1) * LINE - 5}"/>'
            for index, row in enumerate(frame.rows)
            if row
        ]
        strips.append("".join(uses))
    took, at, moves = sum(frame.lasts for frame in shown), 0.0, []
    for number, frame in enumerate(shown):
        moves.append(f"{100 * at / took:.2f}% {{ transform: translateY(-{number * ROWS * LINE}px) }}")
        at += frame.lasts
    return FORM.format(
        title=escape(title),
        width=WIDTH,
        height=HEIGHT,
        margin=MARGIN,
        inner_width=WIDTH - 2 * MARGIN,
        inner_height=ROWS * LINE,
        took=took,
        moves=" ".join(moves),
        rows="\n".join(f'<text id="{name}" xml:space="preserve">{row}</text>' for row, name in known.items()),
        last=(len(shown) - 1) * ROWS * LINE,
        frames="\n".join(strips),
    )


def _row(row: Row) -> str:
    return "".join(
        _span("".join(character for character, _ in cells), style)
        for style, cells in ((style, list(cells)) for style, cells in groupby(row, key=lambda cell: cell[1]))
    )


def _span(text: str, style: Style) -> str:
    classes = " ".join(name for code, name in ((1, "b"), (2, "d")) if code in style)
    colour = next((COLOURS[code] for code in reversed(style) if code in COLOURS), "")
    told = (f' class="{classes}"' if classes else "") + (f' fill="{colour}"' if colour else "")
    # The style sheet's own colour is stronger than an attribute, but not than a style.
    told = told.replace(' fill="', ' style="fill:')
    return f"<tspan{told}>{escape(text)}</tspan>" if told else escape(text)
