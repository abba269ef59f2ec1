"""The parts of a page as HTML that needs nothing else: sections, tables, and pictures as a part of the text."""

import base64
import html

NOT_MEASURED = '<p class="absent">This was not measured yet.</p>'
CSS = """
:root{color-scheme:light dark;--ink:#1c1e21;--soft:#5c626b;--line:#dfe2e6;--page:#fff;--card:#f5f6f8;--blue:#2566a8}
@media (prefers-color-scheme:dark){:root{--ink:#e6e7e9;--soft:#a2a8b0;--line:#34383e;--page:#141414;--card:#202328;
--blue:#7db4ea} .chart img{filter:invert(.922) hue-rotate(180deg)}}
*{box-sizing:border-box} body{margin:0 auto;max-width:1120px;padding:1.2rem;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:break-word}
h1{font-size:1.6rem;line-height:1.25;margin:.3rem 0 1rem} h2{font-size:1.2rem;margin:2.4rem 0 .6rem;padding-top:1rem;
border-top:1px solid var(--line)} p,figcaption{max-width:46rem;margin:.5rem 0} .absent,figcaption{color:var(--soft)}
.figures{--least:20rem;display:grid;gap:1.6rem;align-items:start;
grid-template-columns:repeat(auto-fit,minmax(min(100%,var(--least)),1fr))} .figures>*{min-width:0}
.wide{--least:30rem} .tiles{--least:14rem} .tile,pre{background:var(--card);border-radius:8px;padding:.8rem 1rem}
.tile{height:100%} .tile b{display:block;font-size:2.3rem;line-height:1.2;color:var(--blue)} summary{cursor:pointer}
figcaption,details,.tile span{font-size:.92rem} pre{white-space:pre-wrap;overflow-wrap:anywhere}
figure{margin:.8rem 0} figure div,.scroll{max-height:90rem;overflow:auto} table{border-collapse:collapse;margin:.6rem 0}
img{display:block;max-width:100%;height:auto} .grid img{max-width:max(100%,20rem)} td:nth-child(2){white-space:nowrap}
th,td{text-align:left;padding:.3rem 1.2rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
"""


def share(value):
    return None if value is None else f"{100 * value:.1f} %"


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


def details(title, body):
    return body and f"<details><summary>{html.escape(title)}</summary>{body}</details>"


def side_by_side(parts, kind=""):
    """Parts in as many columns as the window has room for; kind: "", wide, tiles."""
    return f'<div class="figures {kind}">{"".join(parts)}</div>'


def table(header, rows):
    """Rows of values as a table without the rows whose second value is None; "" if none is left."""
    rows = [row for row in rows if row[1] is not None]
    line = lambda tag, row: "<tr>" + "".join(f"<{tag}>{html.escape(number(v))}</{tag}>" for v in row) + "</tr>\n"  # noqa: E731
    body = "".join(line("td", row) for row in rows)
    return f'<div class="scroll"><table>{line("th", header)}{body}</table></div>' if rows else ""


def embedded(png, caption, kind):
    """Bytes of a PNG -> a figure that holds it, shown at half its size in pixels; kind: chart or grid."""
    width = int.from_bytes(png[16:20], "big") // 2  # the header of a PNG holds its width there
    data, caption = base64.b64encode(png).decode(), html.escape(caption)
    return (
        f'<figure class="{kind}"><div><img width="{width}" alt="{caption}" src="data:image/png;base64,{data}"></div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )
