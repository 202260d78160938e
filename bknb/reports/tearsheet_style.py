"""Colours and layout of a tear sheet: light, dark, narrow, and on paper."""

from __future__ import annotations

from typing import Final

LIGHT: Final[dict[str, str]] = {
    "bg": "#ffffff", "ink": "#333333", "mute": "#646464", "line": "#d9d9d9", "hair": "#ebebeb", "wash": "#f6f6f6",
    "up": "#006f6b", "down": "#b3430a", "eq": "#1565b8", "ref": "#6f6f6f", "ind2": "#8a6100", "warn": "#8a5a00",
    "upf": "18,147,140", "downf": "217,98,43", "eqf": "21,101,184",
}  # fmt: skip
"""Colours on a light page by their meaning; those that end with f are fills, as red, green and blue."""
DARK: Final[dict[str, str]] = {
    "bg": "#111111", "ink": "#ececec", "mute": "#b8b8b8", "line": "#393939", "hair": "#262626", "wash": "#1b1b1b",
    "up": "#45cbc0", "down": "#f5915a", "eq": "#6cb2f5", "ref": "#a0a0a0", "ind2": "#dcb152", "warn": "#f0b84a",
    "upf": "43,179,170", "downf": "230,116,60", "eqf": "108,178,245",
}  # fmt: skip
"""The same on a dark page."""
HEAT: Final = 0.46
"""Most of a fill colour behind a number."""


def _variables(colours: dict[str, str]) -> str:
    return ";".join(f"--{name}:{value}" for name, value in colours.items())


HATCH: Final = "repeating-linear-gradient(135deg,currentColor 0 1.3px,transparent 1.3px 5px)"
"""Lines across an area: losses and shorts."""

_RULES: Final = """
*{box-sizing:border-box}
html{background:var(--bg);-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:794px;padding:22px 30px 28px;color:var(--ink);background:var(--bg);
font:12px/1.45 Inter,"Segoe UI","Helvetica Neue",Arial,"Liberation Sans",system-ui,sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:break-word}
h1,h2,p,dl,dd,ul,table{margin:0;padding:0}
h1{font-size:19px;line-height:1.3;font-weight:650;letter-spacing:-.005em}
h2{font-size:13px;font-weight:650}
header{display:flex;justify-content:space-between;gap:4px 16px;align-items:flex-start;padding-bottom:9px}
header p,.mute{color:var(--mute)}
header .side{text-align:right;white-space:nowrap;font-size:11px}
.alone{color:var(--mute);padding-top:8px}
.partial{color:var(--warn);font-weight:600;padding-bottom:8px}
.six{display:grid;grid-template-columns:repeat(6,1fr);border-top:1px solid var(--line);
border-bottom:1px solid var(--line)}
.six>div{padding:7px 8px 7px 10px;border-left:1px solid var(--hair);min-width:0}
.six>div:first-child{padding-left:0;border-left:0}
.six dt,.six .s{font-size:11px;color:var(--mute);line-height:1.4}
.six .v{font-size:18px;line-height:1.3;font-weight:600;letter-spacing:-.015em;overflow-wrap:normal}
.six .v.long{font-size:14px;line-height:1.67}
.six .v small{display:inline-block;font-size:11px;font-weight:450;letter-spacing:0;color:var(--mute);margin-left:2px}
.up,.six .v.up{color:var(--up)}.down,.six .v.down{color:var(--down)}.warn{color:var(--warn)}
section{padding-top:12px;min-width:0;break-inside:avoid}
.head{display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 12px;min-height:20px;margin-bottom:3px}
.key{display:flex;flex-wrap:wrap;gap:2px 12px;font-size:11px;color:var(--mute)}
.key span{display:inline-flex;align-items:center;gap:5px}
.key i{flex:none;width:18px;height:0;border-top:2px solid}
.key i.box{height:9px;border:1px solid}
.chart{position:relative;width:100%}
.plot{position:absolute;left:0;top:0;bottom:0}
.plot svg{position:absolute;left:0;top:0;width:100%;height:100%;overflow:visible}
.axis{position:absolute;right:0;top:0;bottom:0}
path{fill:none;vector-effect:non-scaling-stroke;stroke-linejoin:round}
path.grid{stroke:var(--hair);stroke-width:1}path.axis{stroke:var(--line);stroke-width:1}
path.start{stroke:var(--mute);stroke-width:1;stroke-dasharray:2 4}
.line.eq{stroke:var(--eq);stroke-width:1.8}.line.ref{stroke:var(--ref);stroke-width:1.2}
.line.down{stroke:var(--down);stroke-width:1.2}.line.net{stroke:var(--ink);stroke-width:1.2}
.line.long-edge{stroke:var(--eq);stroke-width:.9}.line.short-edge{stroke:var(--ind2);stroke-width:.9}
path.fall{fill:rgba(var(--downf),.22)}path.long{fill:rgba(var(--eqf),.34)}
.x,.y{position:absolute;font-size:11px;line-height:14px;color:var(--mute);white-space:nowrap}
.x{transform:translateX(-50%)}
.y{left:7px;margin-top:-7px}
.tag{position:absolute;left:2px;height:17px;margin-top:-8.5px;padding:0 5px;font-size:11px;line-height:15px;
font-weight:600;
border:1px solid;border-radius:3px;white-space:nowrap;background:var(--bg)}
.tag.eq{background:var(--eq);border-color:var(--eq);color:var(--bg)}.tag.ref{color:var(--ref)}
.dot{position:absolute;width:7px;height:7px;margin:-3.5px 0 0 -3.5px;border:1.5px solid var(--down);
border-radius:50%;
background:var(--bg)}
.plot .note{position:absolute;font-size:11px;line-height:16px;font-weight:600;color:var(--down);
white-space:nowrap;
background:var(--bg);padding-right:3px}
.hatch{background-image:%HATCH%}
.hatch.short{position:absolute;inset:0;color:var(--ind2)}
.hatch.before{position:absolute;color:var(--line)}
.paper{display:none}
.columns{display:flex;align-items:flex-end;gap:1.5px;height:92px;border-bottom:1px solid var(--line)}
.columns i{flex:1 1 0;min-width:0}
.columns i.won,.bar i.won{background:rgb(var(--upf))}
.columns i.lost,.bar i.lost{color:rgb(var(--downf));border:1px solid}
.below{position:relative;height:17px}
.below span{position:absolute;top:2px;white-space:nowrap;transform:translateX(-50%);font-size:11px;line-height:14px;
color:var(--mute)}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:11px}
th,td{padding:2.6px 6px;text-align:left;vertical-align:baseline;font-weight:450}
th:first-child,td:first-child{padding-left:0}th:last-child,td:last-child{padding-right:0}
thead th{font-weight:500;color:var(--mute);border-bottom:1px solid var(--line);vertical-align:bottom}
tbody tr+tr>*{border-top:1px solid var(--hair)}
.any{overflow-wrap:anywhere;min-width:72px}
.r{text-align:right;white-space:nowrap}.nb{white-space:nowrap}
td.up,td.down{font-weight:600}
.parts tbody+tbody tr:first-child>*{border-top:1px solid var(--line)}
.parts .last{width:22%}
.legs tbody tr+tr>*{border:0}.legs th{color:var(--ink)}.legs .bars{width:36%}
.bar{position:relative;height:11px;top:2px}
.bar i{position:absolute;top:0;height:11px;min-width:1px}.bar b{position:absolute;top:-4px;height:19px;
width:1px;background:var(--mute)}
.months{table-layout:fixed}
.months th,.months td{text-align:center;padding:3px 1px}
.months thead th{border:0}
.months th:first-child{text-align:left;width:48px}
.months td{border-left:2px solid var(--bg);border-top:2px solid var(--bg)}
.months tbody tr+tr>*{border-top:2px solid var(--bg)}
.months .whole{font-weight:650}
.columns3{display:flex;flex-wrap:wrap;gap:0 24px}.columns3>*{flex:1 1 195px;min-width:min-content}
.columns2{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:0 24px}
.figures{display:grid;grid-template-columns:repeat(4,1fr);gap:0 24px;border-top:1px solid var(--line);
padding-top:4px;font-size:11px}
.figures>div{display:flex;flex-wrap:wrap;justify-content:space-between;align-content:flex-start;gap:0 8px;
padding:2.3px 0;
border-bottom:1px solid var(--hair)}
.figures dt{color:var(--mute)}.figures dd{font-weight:550;margin-left:auto;text-align:right}
.figures .why{flex-basis:100%;font-weight:450;color:var(--mute);text-align:left}
.notes{padding-left:16px;font-size:11px}.notes li{padding:1px 0}
footer{font-size:10.5px;color:var(--mute);padding-top:12px;line-height:1.45}
footer p+p{margin-top:3px}footer b{color:var(--ink);font-weight:600}
code{font:10px/1.4 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;background:var(--wash);
padding:1px 4px;border-radius:3px}
@media (max-width:699px){
.x.more{display:none}
.six{grid-template-columns:repeat(3,1fr)}
.six>div:nth-child(3n+1){padding-left:0;border-left:0}.six>div:nth-child(n+4){border-top:1px solid var(--hair)}
.figures{grid-template-columns:1fr 1fr}}
@media (max-width:559px){
body{padding:12px}
header{flex-wrap:wrap}header .side{text-align:left}
.six{grid-template-columns:repeat(2,1fr)}
.six>div:nth-child(n){padding-left:10px;border-left:1px solid var(--hair)}
.six>div:nth-child(2n+1){padding-left:0;border-left:0}.six>div:nth-child(n+3){border-top:1px solid var(--hair)}
.more{display:none}
.months,.months thead,.months tbody,.months tr{display:contents}
.months-box{display:grid;grid-auto-flow:column;grid-template-rows:repeat(14,auto);
grid-auto-columns:minmax(44px,110px);
overflow-x:auto;font-size:11px}
.months th:first-child{width:auto}.months th{text-align:left;padding:2px 4px 2px 0}.months td{padding:2px 4px}
.months tbody th:first-child{text-align:center;border-top:0}}
@media (max-width:419px){
th,td{padding:2.6px 4px}.parts{font-size:10px}.parts .last{display:none}}
@media screen and (min-width:900px){body{margin:24px auto;border:1px solid var(--line);padding:36px 44px;
max-width:860px}}
@page{size:A4;margin:10mm 11mm}
@media print{
html,body{background:#fff}
body{max-width:none;padding:0;margin:0;border:0}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
tr,.figures>div{break-inside:avoid}h2{break-after:avoid}
body{zoom:.82}.screen{display:none}.paper{display:inline}section{padding-top:8px}footer{padding-top:7px}
.notes{columns:2;column-gap:24px}.notes li{break-inside:avoid}.columns{height:76px}}
"""

STYLE: Final = (
    f":root{{color-scheme:light dark;{_variables(LIGHT)}}}"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}"
    f"{_RULES.replace('%HATCH%', HATCH)}"
)
"""The style sheet: on paper it is light in any case."""
