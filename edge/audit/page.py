"""The audit as one HTML page with inline SVG and pictures; it has no script and loads nothing."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import edge
from edge.answers import Advice, Audited, Repeated, Suspect, Unsure
from edge.audit import charts
from edge.audit.findings import Audit, thumbnail, thumbnails
from edge.metrics.left_out import SCOPES

if TYPE_CHECKING:
    from edge.home.state import Home

SUSPECTS, HARD, PAIRS = 24, 8, 8  # shown

_STYLE = """
:root{--paper:#fbfaf7;--card:#fff;--ink:#23262b;--soft:#6a6f78;--line:#e3e0d8;--accent:#2f6f4f;--warn:#b3541e;
--shade:47,111,79}
@media(prefers-color-scheme:dark){:root{--paper:#16181b;--card:#1f2226;--ink:#e9e7e2;--soft:#9ba0a8;--line:#34383e;
--accent:#7cc29d;--warn:#e8965f;--shade:124,194,157}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1080px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:30px;line-height:1.2;margin:0 0 4px}h2{font-size:20px;margin:48px 0 4px}
p{margin:4px 0 14px;max-width:72ch}.soft,figcaption{color:var(--soft)}small{font-size:13px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:14px;margin-top:26px}
.tile,.card,figure,.list{background:var(--card);border:1px solid var(--line);border-radius:12px}
.tile{padding:16px 18px}.tile b{display:block;font-size:28px;line-height:1.15}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(232px,1fr));gap:14px}
.card{overflow:hidden;display:flex;flex-direction:column}
.card img,.none{display:block;width:100%;aspect-ratio:1;object-fit:cover;background:var(--line)}
.none{display:grid;place-items:center;color:var(--soft);font-size:13px;aspect-ratio:5/2}
.card>div{padding:12px 14px 14px}.card>.pair{padding:0}.pair{display:grid;grid-template-columns:1fr 1fr;gap:2px}
.is{color:var(--warn);font-weight:600}
code{display:block;font:13px/1.4 ui-monospace,Menlo,Consolas,monospace;background:var(--paper);border:1px solid
var(--line);border-radius:7px;padding:5px 9px;margin-top:8px;user-select:all;overflow-wrap:anywhere}
.path{display:block;color:var(--soft);font-size:12px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:18px;align-items:start}
figure{margin:0;padding:16px 18px}figcaption{font-size:13px;margin-top:8px}
svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font-size:12px}
.scroll{overflow-x:auto}table{border-collapse:separate;border-spacing:3px;font-size:14px}
th{font-weight:500;color:var(--soft);padding:2px 6px;text-align:right;white-space:nowrap}
thead th{vertical-align:bottom;text-align:center}
td{min-width:42px;height:36px;text-align:center;border-radius:6px}.hit{outline:1px solid var(--line)}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;font-size:13px;margin-top:8px}
.legend i{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:6px}
.list{padding:4px 18px;margin:0;list-style:none}.list li{padding:12px 0;border-top:1px solid var(--line)}
.list li:first-child{border:0}
footer{margin-top:56px;color:var(--soft);font-size:13px}
"""


def page(home: "Home", found: Audit, now: str) -> str:
    """Write the page."""
    answer = found.answer
    likely, hard = ([s for s in answer.suspects if s.likely is wanted] for wanted in (True, False))
    shown, pairs = [*likely[:SUSPECTS], *hard[:HARD]], answer.contradictions[:PAIRS]
    wanted = {s.example for s in shown} | {number for pair in pairs for number in pair.examples}
    pictures = thumbnails(home, [e for e in found.examples if e.id in wanted])
    body = [
        _head(home, answer, now),
        '<h2>How it tells them apart</h2><div class="two">',
        charts.confusion(answer),
        charts.map_of_examples(found),
        "</div>",
        _suspects(answer, shown, pictures),
        _pairs(pairs, pictures),
        _unsure(home, answer),
        _curve(answer),
        _rest(answer),
        f"<footer>edge-transfer {edge.__version__}, {escape(now[:16].replace('T', ' '))} UTC, home "
        f"{escape(str(home.home))}. Everything on this page stays in this file.</footer>",
    ]
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Audit of {escape(home.bundle.manifest.name)}</title><style>{_STYLE}</style></head><body><main>"
        f"{''.join(body)}</main></body></html>\n"
    )


def _head(home: "Home", answer: Audited, now: str) -> str:
    accuracy = "–" if answer.loo_accuracy is None else f"{100 * answer.loo_accuracy:.1f} %"
    about = escape(answer.note)
    if answer.loo_interval is not None:
        low, high = answer.loo_interval
        part = f" of {len(answer.labels) - len(answer.unmeasured)} labels" if answer.unmeasured else ""
        about = (
            f"classified correctly by a head trained without them (95 % interval {100 * low:.0f}–{100 * high:.0f}), "
            f"measured on {SCOPES[answer.scope]}{part}" + (f"; {escape(answer.note)}" if answer.note else "")
        )
    doubts = sum(s.likely for s in answer.suspects)
    tiles = [
        (accuracy, about),
        (f"{answer.examples:,}", f"examples taught here, {answer.factory_examples:,} from the factory"),
        (str(len(answer.labels)), f"labels: {escape(_some(answer.labels))}"),
        (str(doubts), f"{'example looks' if doubts == 1 else 'examples look'} mislabelled"),
    ]
    boxes = "".join(
        f'<div class="tile"><b>{value}</b><small class="soft">{text}</small></div>' for value, text in tiles
    )
    return (
        f"<h1>What {escape(home.bundle.manifest.name)} was taught</h1>"
        f'<p class="soft">An audit of the examples in this home, and what to do about them.</p>'
        f'<div class="tiles">{boxes}</div>'
    )


def _suspects(answer: Audited, shown: Sequence[Suspect], pictures: Mapping[int, bytes]) -> str:
    if not answer.suspects:
        measured = "Every example that could be measured" if answer.unmeasured else "Every example"
        return f"<h2>No label looks wrong</h2><p>{measured} is named as it was taught, by a head not taught it.</p>"
    likely, hard = ([s for s in shown if s.likely is wanted] for wanted in (True, False))
    text = ""
    if likely:
        total = sum(s.likely for s in answer.suspects)
        more = f" These are the first {len(likely)} of {total}." if total > len(likely) else ""
        text += (
            "<h2>Look at these first</h2><p class='soft'>A head that was not taught them is sure that they are "
            f"something else.{more} Is the label wrong? Run the command. Is the picture useless? "
            f"<b>edge forget NUMBER</b>. Then <b>edge retrain</b>.</p>{_cards(likely, pictures)}"
        )
    if hard:
        total = len(answer.suspects) - sum(s.likely for s in answer.suspects)
        text += (
            f"<h2>Hard pictures</h2><p class='soft'>{total} named otherwise, but not surely: a wrong label, or a "
            f"picture of which more are worth teaching.</p>{_cards(hard, pictures)}"
        )
    return text


def _cards(suspects: Sequence[Suspect], pictures: Mapping[int, bytes]) -> str:
    cards = "".join(
        f'<div class="card">{_picture(pictures.get(s.example))}<div>taught as <b>{escape(s.label)}</b><br>looks like '
        f'<span class="is">{escape(s.guess)}</span> ({100 * s.probability:.0f}&nbsp;%)<span class="path" '
        f'title="{escape(s.source)}">{s.example} · {escape(Path(s.source).name)}</span><code>{escape(s.remedy)}</code>'
        f"</div></div>"
        for s in suspects
    )
    return f'<div class="cards">{cards}</div>'


def _pairs(pairs: Sequence[Repeated], pictures: Mapping[int, bytes]) -> str:
    if not pairs:
        return ""
    cards = "".join(
        f'<div class="card"><div class="pair">'
        f"{''.join(_picture(pictures.get(number)) for number in pair.examples)}</div><div>"
        f"{pair.examples[0]} taught as <b>{escape(pair.labels[0])}</b><br>{pair.examples[1]} taught as "
        f"<b>{escape(pair.labels[1])}</b><code>{escape(pair.remedy)}</code></div></div>"
        for pair in pairs
    )
    return (
        "<h2>Nearly the same picture under two labels</h2><p class='soft'>One of the two is wrong; the command "
        f'changes the likelier one.</p><div class="cards">{cards}</div>'
    )


def _unsure(home: "Home", answer: Audited) -> str:
    if not answer.unsure:
        return ""
    cards = "".join(
        f'<div class="card">{_picture(thumbnail(home, Path(u.image)))}<div>'
        f"{_named(u)}"
        f'<span class="path">{escape(Path(u.image).name)}</span><code>{escape(u.remedy)}</code></div></div>'
        for u in answer.unsure
    )
    whose = (
        "Of the pictures you gave, the serving head is least sure of these."
        if answer.review is None
        else "Of the frames that watch kept lately. To go through all of them, one key each:"
        f"<code>{escape(answer.review)}</code>"
    )
    return f"<h2>Worth teaching next</h2><p class='soft'>{whose}</p><div class=\"cards\">{cards}</div>"


def _named(unsure: Unsure) -> str:
    if unsure.unknown:
        return f"unlike everything taught, <b>{escape(unsure.top[0].label)}</b> is nearest"
    return " or ".join(f"<b>{escape(g.label)}</b> ({100 * g.probability:.0f}&nbsp;%)" for g in unsure.top[:2])


def _curve(answer: Audited) -> str:
    title = "<h2>What more examples are worth</h2>"
    if answer.curve is None:
        return (
            f"{title}<p class='soft'>Not measurable yet: it takes eight examples of every label that is taught here; "
            "a burst counts once.</p>"
        )
    advice = "".join(f"<li>{_advice_text(a)}<code>{escape(a.remedy)}</code></li>" for a in answer.advice)
    drawing = charts.learning_curve(answer.curve, answer.advice[0].gain)
    return f'{title}<div class="two">{drawing}<ul class="list">{advice}</ul></div>'


def _advice_text(advice: Advice) -> str:
    what = (
        f"About {advice.more:,} more of <b>{escape(advice.label)}</b>"
        if advice.label
        else f"Twice the examples ({advice.more:,} more, of all labels)"
    )
    return f"{what} would add about <b>{100 * advice.gain:.1f} points</b>, {100 * advice.interval[1]:.1f} at most."


def _rest(answer: Audited) -> str:
    parts = []
    if answer.thin:
        items = (
            f"<li><b>{escape(t.label)}</b>: {_independent(t.examples, t.independent)}"
            f"<code>{escape(t.remedy)}</code></li>"
            for t in answer.thin
        )
        parts.append(_section("Too few to judge", "Five of every label are needed; a burst counts once.", items))
    if answer.repeated:
        items = (
            f"<li>{_some([str(n) for n in r.examples], 12)}: <b>{escape(r.labels[0])}</b>"
            f"<code>{escape(r.remedy)}</code></li>"
            for r in answer.repeated
        )
        parts.append(
            _section(
                "Nearly the same picture",
                "Repeated pictures teach nothing new and make every figure too good. Forget all but one, or teach a "
                "burst with --session NAME, which is then left out as a whole.",
                items,
            )
        )
    return "".join(parts)


def _independent(examples: int, independent: int) -> str:
    if examples == independent:
        return f"{examples} example{'s' * (examples != 1)}"
    return f"{examples} examples from {independent} session{'s' * (independent != 1)}"


def _section(title: str, text: str, items: Iterable[str]) -> str:
    return f"<h2>{title}</h2><p class='soft'>{text}</p><ul class='list'>{''.join(items)}</ul>"


def _picture(data: bytes | None) -> str:
    if data is None:
        return '<span class="none">picture not kept</span>'
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)})" if len(names) > most else "")
