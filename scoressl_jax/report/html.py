"""The parts of a page as HTML that needs nothing else: sections, tables, and pictures as a part of the text."""

import base64
import html
import shlex
from typing import NamedTuple

NOT_MEASURED = '<p class="absent">This was not measured yet.</p>'
CSS = """
:root{color-scheme:light dark;--ink:#1c1e21;--soft:#5c626b;--line:#dfe2e6;--page:#fff;--card:#f5f6f8;--blue:#2566a8}
@media (prefers-color-scheme:dark){:root{--ink:#e6e7e9;--soft:#a2a8b0;--line:#34383e;--page:#141414;--card:#202328;
--blue:#7db4ea} .chart img{filter:invert(.922) hue-rotate(180deg)}}
*{box-sizing:border-box} body{margin:0 auto;max-width:1320px;padding:1.2rem;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:break-word}
h1{font-size:1.6rem;line-height:1.25;margin:.3rem 0 1rem} h2{font-size:1.2rem;margin:2.4rem 0 .6rem;padding-top:1rem;
border-top:1px solid var(--line)} h3{font-size:1rem;margin:.8rem 0 .2rem} p,figcaption{max-width:46rem;margin:.5rem 0}
.absent,figcaption,.soft{color:var(--soft)} .figures{--least:20rem;display:grid;gap:1.6rem;align-items:start;
grid-template-columns:repeat(auto-fit,minmax(min(100%,var(--least)),1fr))} .figures>*,.beside>*{min-width:0}
.wide{--least:30rem} .tiles{--least:14rem} .tile,pre{background:var(--card);border-radius:8px;padding:.8rem 1rem}
.beside{display:grid;gap:0 2.4rem;align-items:start;grid-template-columns:minmax(0,auto) minmax(0,1fr)}
.tile{height:100%} .tile b{display:block;font-size:2.3rem;line-height:1.2;color:var(--blue)}
.tile small{font-size:1.1rem;font-weight:400} summary{cursor:pointer}
figcaption,details,.tile span,.soft{font-size:.92rem} pre{white-space:pre-wrap;overflow-wrap:anywhere}
figure{margin:.8rem 0} figure>div,.scroll{max-height:90rem;overflow:auto}
table{border-collapse:collapse;margin:.6rem 0}
img{display:block;max-width:100%;height:auto} .grid img{max-width:max(100%,20rem)} td:nth-child(2){white-space:nowrap}
th,td{text-align:left;padding:.3rem 1.2rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
.numbers td+td{white-space:nowrap} .told td:first-child{min-width:9rem}
.flow{columns:var(--least);column-gap:1.6rem} .above .flow{columns:auto;display:grid;gap:.6rem 1rem;
grid-template-columns:repeat(auto-fill,minmax(min(100%,var(--least)),1fr))}
.strip{break-inside:avoid;margin-bottom:.45rem;display:grid;gap:.6rem;align-items:center;
grid-template-columns:min(var(--name),8rem) minmax(0,1fr)}
.strip>b{font-size:.92rem;line-height:1.2;font-weight:600;overflow-wrap:anywhere}
.above .strip{grid-template-columns:minmax(0,1fr);gap:.1rem;align-content:start}
@media (max-width:800px){.beside{grid-template-columns:minmax(0,1fr)}}
@media (max-width:600px){th,td{padding-right:.7rem} .strip{grid-template-columns:min(var(--name),5rem) minmax(0,1fr)}
.told tr{display:grid;grid-template-columns:minmax(0,1fr) auto;border-bottom:1px solid var(--line)}
.told td,.told th{border:0;padding:.2rem .6rem .2rem 0;min-width:0}
.told td:nth-child(3){grid-column:1/-1;color:var(--soft)}
.told th:nth-child(3){display:none}}
"""


class Strip(NamedTuple):
    """A picture with the name that stands beside it; `text` says what it shows to those who cannot see it."""

    name: str
    png: bytes
    text: str


def share(value, error=None):
    """A share of 0..1 in percent, with its standard error where that is known and not 0 for want of either answer."""
    if value is None:
        return None
    return f"{100 * value:.1f} %" + (f" ± {100 * error:.{2 if error < 0.0005 else 1}f}" if error else "")


def number(value):
    """A number as text with four digits, thousands marked; other values are their text, None is empty."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def page(title, body):
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{CSS}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def section(name, title, body):
    return f'<section id="{name}"><h2>{html.escape(title)}</h2>\n{body or NOT_MEASURED}\n</section>'


def paragraph(text, kind=""):
    return f'<p class="{kind}">{html.escape(text)}</p>' if kind else f"<p>{html.escape(text)}</p>"


def details(title, body):
    return body and f"<details><summary>{html.escape(title)}</summary>{body}</details>"


def side_by_side(parts, kind=""):
    """Parts in as many columns as the window has room for; kind: "", wide, tiles."""
    return f'<div class="figures {kind}">{"".join(parts)}</div>'


def beside(narrow, rest):
    """A narrow part and, to its right, one that takes what room is left; one above the other on a narrow screen."""
    return f'<div class="beside"><div>{narrow}</div><div>{rest}</div></div>'


def table(header, rows, kind=""):
    """Rows of values as a table without the rows whose second value is None; "" if none is left. kind: told, where the
    third column is a text, which stands below the others on a narrow screen; numbers, where no column but the first
    is wrapped."""
    rows = [row for row in rows if row[1] is not None]
    line = lambda tag, row: "<tr>" + "".join(f"<{tag}>{html.escape(number(v))}</{tag}>" for v in row) + "</tr>\n"  # noqa: E731
    body = "".join(line("td", row) for row in rows)
    return f'<div class="scroll {kind}"><table>{line("th", header)}{body}</table></div>' if rows else ""


def picture(png, text):
    """Bytes of a PNG -> an image that holds it, shown at half its size in pixels; text says what it shows."""
    width = int.from_bytes(png[16:20], "big") // 2  # the header of a PNG holds its width there
    data = base64.b64encode(png).decode()
    return f'<img width="{width}" alt="{html.escape(text)}" src="data:image/png;base64,{data}">'


def embedded(png, caption, kind):
    """A figure of a PNG; kind: chart or grid."""
    return (
        f'<figure class="{kind}"><div>{picture(png, caption)}</div>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def strips(found: list[Strip], caption, least=30, above=False):
    """A figure of pictures with names as text beside or above them, in columns that are `least` rem wide or wider."""
    longest = max((len(strip.name) for strip in found), default=0)
    one = lambda s: f'<div class="strip"><b>{html.escape(s.name)}</b>{picture(s.png, s.text)}</div>'  # noqa: E731
    return (
        f'<figure class="strips{" above" if above else ""}" style="--least:{least}rem;--name:{longest + 1}ch"><div>'
        f'<div class="flow">{"".join(map(one, found))}</div></div>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def command(text):
    """A command as a shell takes it, a flag a line."""
    try:
        words = shlex.split(text)
    except ValueError:  # not one of ours
        return f"<pre><code>{html.escape(text)}</code></pre>"
    lines = "".join((" \\\n    " if word.startswith("--") else " ") + quoted(word) for word in words).strip()
    return f"<pre><code>{html.escape(lines)}</code></pre>"


def quoted(word):
    """As a shell needs it; of a flag the value alone, which is easier to read and to change."""
    name, equals, value = word.partition("=")
    return f"{name}={shlex.quote(value)}" if word.startswith("--") and equals else shlex.quote(word)
