"""Write the report: one HTML page, which links to those of the examples beside it.

It opens with what holds of the findings of the abstract. Then it shows what the policies can do,
and every claim beside its figure.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lastmile.pipeline import report_examples, run_columns
from lastmile.provenance.manifests import packages
from lastmile.storage import csv_tables
from lastmile.studies import tables
from lastmile.studies.abstract import abstract
from lastmile.studies.claims import Claim, Effect, from_json
from lastmile.studies.findings import VERDICT_WORDS, left_out_lines, performance, summary
from lastmile.studies.words import effects, in_words, ledger

if TYPE_CHECKING:
    from lastmile.pipeline.stages.report import Inputs, Spec

BADGES = {
    "shown": "shown",
    "contradicted": "opposite",
    "null": "open",
    "undecided": "open",
    "not testable": "untestable",
}
"""CSS class of the badge of each verdict."""
TITLES = {
    "emergence": "In which order skills are learned",
    "mistakes": "Mistakes: made, and repaired",
    "scaling": "Larger policies and more data",
    "transfer": "Fine-tuning to an unseen task",
    "probes": "What can be read from activations",
    "probe_generalization": "A mistake representation shared across tasks",
    "confidence": "Confidence: does the policy know when it errs?",
    "annotators": "The virtual annotators",
    "baselines": "Against scripts: are the tasks too easy?",
    "heads": "Output heads and contexts",
    "composition": "What demonstrations must hold",
    "repair": "What ends mistakes",
    "memory": "How many past screens a policy needs",
    "layouts": "Does a policy work on another interface?",
    "tasks": "The tasks",
    "comparison": "People, virtual annotators and policies",
}
"""Headings of studies; other studies are headed by their name."""
STYLE = """
:root{--ink:#22262e;--muted:#667085;--line:#e3e6eb;--accent:#0b63b0}
*{box-sizing:border-box}
body{margin:0;color:var(--ink);background:#f7f8fa;font:16px/1.55 system-ui,sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px 20px 80px}
h1{font-size:2rem;margin:.2em 0}h2{font-size:1.35rem;margin:0 0 .5em}
nav{display:flex;flex-wrap:wrap;gap:6px 14px;margin:12px 0 20px;font-size:.92rem}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
section{background:#fff;border:1px solid var(--line);border-radius:10px;\
padding:20px;margin:0 0 20px}
.muted{color:var(--muted);font-size:.92rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th{text-align:left;color:var(--muted);font-weight:600}
td,th{padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}
.bar{display:inline-block;width:90px;height:8px;background:#eef0f3;border-radius:4px;margin-left:8px}
.bar i{display:block;height:8px;border-radius:4px;background:var(--accent)}
.badge{display:inline-block;padding:1px 9px;border-radius:99px;font-size:.82rem;white-space:nowrap}
.shown{background:#d9f2e4;color:#0b5d34}.open{background:#eceef2;color:#475063}
.opposite{background:#fde4cf;color:#8a3f00}\
.untestable{background:#f3f4f6;color:#667085;border:1px dashed #b6bcc8}
.claim{border-top:1px solid var(--line);padding:10px 0}
.claim p{margin:4px 0}.claim ul{margin:4px 0;padding-left:20px}.claim li{margin:4px 0}
figure{margin:18px 0 0}figure img{width:100%;height:auto;display:block}
figcaption{color:var(--muted);font-size:.9rem;margin-top:8px}
.examples{color:var(--muted);font-size:.92rem;margin-top:14px}.examples p{margin:4px 0}
details summary{cursor:pointer;color:var(--accent);font-size:.9rem}
pre{overflow-x:auto;font-size:.82rem;background:#f7f8fa;padding:12px;border-radius:8px}
.player img{width:100%;max-width:672px;image-rendering:auto;border-radius:6px;display:block}
.player input{width:100%;max-width:672px;margin:10px 0 4px}
.player button{font:inherit;padding:3px 14px;\
border:1px solid var(--line);border-radius:6px;background:#fff}
"""
PLAYER = """
const steps=JSON.parse(document.getElementById('steps').textContent);
const picture=document.getElementById('picture'),slider=document.getElementById('slider');
const words=document.getElementById('words'),play=document.getElementById('play');
function show(i){picture.src='data:image/webp;base64,'+steps[i].image;
words.textContent=(i+1)+' of '+steps.length+': '+steps[i].words;slider.value=i}
slider.max=steps.length-1;slider.oninput=()=>show(+slider.value);
let timer=null;
play.onclick=()=>{if(timer){clearInterval(timer);timer=null;play.textContent='Play';return}
play.textContent='Pause';timer=setInterval(()=>show((+slider.value+1)%steps.length),450)};
show(0);
"""


def report_page(spec: Spec, inputs: Inputs) -> str:
    """Return the report as HTML.

    Args:
        spec: What to show.
        inputs: The files that it is made from.
    """
    measured = {path.stem: tables.read(path.stem, path) for path in inputs.tables}
    pictures = {path.stem: path for path in inputs.pictures}
    captions = {path.stem: path.read_text(encoding="utf-8") for path in inputs.captions}
    claims = {path.stem: from_json(path) for path in inputs.claims}
    published = {claim.claim: claim.published for claim in from_json(inputs.ledger)}
    examples = report_examples.read(inputs.examples, inputs.moments)
    words = effects()
    every_claim = [claim for of_study in claims.values() for claim in of_study]
    links = [
        ("#findings", "What holds"),
        ("#abilities", "What the policies can do"),
        ("#episode", "An episode"),
    ]
    links += [(f"#{study}", _title(study)) for study in spec.studies]
    links += [("#runs", "Training runs"), ("#settings", "Settings and versions")]
    body = [
        f"<h1>{html.escape(spec.name)}</h1>",
        f"<p class='muted'>{html.escape(summary(every_claim))} Verdicts are about these policies "
        "on held-out worlds, by rules fixed beforehand; intervals are 95 %.</p>",
        *(f"<p class='muted'>{html.escape(line)}</p>" for line in left_out_lines(spec.left_out)),
        "<nav>"
        + "".join(f"<a href='{to}'>{html.escape(text)}</a>" for to, text in links)
        + "</nav>",
        _findings(every_claim, spec.studies),
        _abilities(measured),
        _episode(spec, report_examples.introduction(examples)),
    ]
    for study in spec.studies:
        claims_of_study = [
            _claim(line.whole, line.by_task, words, published) for line in ledger(claims[study])
        ]
        links_to_examples = report_examples.beside(study, examples)
        body.append(
            _study(
                study,
                claims_of_study,
                pictures.get(study),
                captions.get(study),
                links_to_examples,
            )
        )
    body += [_runs(inputs.runs), _settings(spec.settings)]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>lastmile: {html.escape(spec.name)}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main><script>{PLAYER}</script></body></html>\n"
    )


def _title(study: str) -> str:
    return TITLES.get(study, _task(study))


def _task(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _findings(claims: list[Claim], studies: Sequence[str]) -> str:
    """Return what holds of each finding of the abstract, in sentences that link to the figures."""
    parts = []
    for finding, sentences in abstract(claims):
        title = html.escape(finding.title)
        if finding.study in studies:
            title += f" <a href='#{finding.study}'>figure</a>"
        items = "".join(
            f"<li>{_badge(sentence.verdict)} {html.escape(sentence.text)}</li>"
            for sentence in sentences
        )
        parts.append(f"<div class='claim'><p><b>{title}</b></p><ul>{items}</ul></div>")
    if not parts:
        return ""
    return f"<section id='findings'><h2>What holds</h2>{''.join(parts)}</section>"


def _abilities(tables: dict[str, pd.DataFrame]) -> str:
    """Return success in closed loop and placement accuracy of the single-task policies, by task."""
    table = performance(tables)
    if table.empty:
        return ""
    columns = {
        "success": "success of the policy",
        "success of the annotator": "success of the annotator",
        "placement": "placements within 5 px",
        "self-agreement": "annotator self-agreement",
    }
    shown = [name for name in columns if name in table]
    head = "".join(f"<th class='number'>{columns[name]}</th>" for name in shown)
    lines = []
    for row in table.to_dict("records"):
        cells = "".join(f"<td class='number'>{_share(row, name)}</td>" for name in shown)
        lines.append(f"<tr><td>{html.escape(_task(str(row['task'])))}</td>{cells}</tr>")
    return (
        "<section id='abilities'><h2>What the policies can do</h2><p class='muted'>One policy for "
        "each task, on held-out worlds: success in closed loop, and accuracy of the predicted "
        "placement where the annotator places (teacher-forced).</p><div class='scroll'><table>"
        f"<tr><th>task</th>{head}</tr>{''.join(lines)}</table></div></section>"
    )


def _share(row: dict[Any, Any], name: str) -> str:
    """Return a share in percent with its interval, and a bar if it is about a policy."""
    value, low, high = (row.get(f"{name}{end}") for end in ("", " low", " high"))
    if value is None or pd.isna(value):
        return "<span class='muted'>not measured</span>"
    text = f"{100 * value:.0f} %"
    if low is not None and high is not None and not pd.isna(low):
        text += f" <span class='muted'>({100 * low:.0f} to {100 * high:.0f})</span>"
    if name in ("success", "placement"):
        text += f"<span class='bar'><i style='width:{100 * value:.0f}%'></i></span>"
    return text


def _episode(spec: Spec, examples: str) -> str:
    """Return a player for an episode of the virtual annotator on the first task.

    Below it come links to the pages of the examples, as HTML.
    """
    from PIL import Image

    from lastmile.screen import draw
    from lastmile.simulation.session import Session
    from lastmile.simulation.trajectory import Source, record
    from lastmile.tasks import get_task

    source = Source(spec.task, "test", spec.seed, spec.difficulty, spec.style, worlds=spec.source)
    recording = record(source, 0)
    session = Session(get_task(spec.task), source.world(0), recording.look)
    columns = recording.columns
    steps = []
    for index, click in enumerate(zip(columns["x"], columns["y"])):
        image = draw(session.screen())
        _ring(image, click)
        file = io.BytesIO()
        Image.fromarray(image).save(file, "WEBP", quality=70)
        mistake = f", a mistake: {columns['mistake'][index]}" if columns["mistake"][index] else ""
        words = f"{columns['phase'][index]}, {columns['kind'][index]}{mistake}"
        steps.append({"image": base64.b64encode(file.getvalue()).decode(), "words": words})
        session.click(*click)
    return (
        "<section id='episode' class='player'><h2>An episode: "
        f"{html.escape(_task(spec.task))}</h2><p class='muted'>The virtual annotator at work; "
        "the ring is the click that follows.</p><img id='picture' alt='screen of the task'>"
        "<input id='slider' type='range' min='0' value='0' aria-label='step'>"
        "<div><button id='play'>Play</button> <span id='words'></span></div>"
        f"<script type='application/json' id='steps'>{json.dumps(steps)}</script>"
        f"{examples}</section>"
    )


def _ring(image: Any, click: tuple[int, int]) -> None:
    import cv2

    center = (int(click[0]) * 16, int(click[1]) * 16)
    cv2.circle(image, center, 11 * 16, (255, 255, 255), 4, cv2.LINE_AA, 4)
    cv2.circle(image, center, 11 * 16, (255, 59, 107), 2, cv2.LINE_AA, 4)


def _study(
    study: str,
    claims: Sequence[str],
    picture: Path | None,
    caption: str | None,
    examples: str,
) -> str:
    parts = [f"<section id='{study}'><h2>{html.escape(_title(study))}</h2>", *claims]
    if picture is not None:
        kind = "svg+xml" if picture.suffix == ".svg" else "png"
        data = base64.b64encode(picture.read_bytes()).decode()
        alt = html.escape(f"figure: {_title(study)}")
        parts.append(f"<figure><img alt='{alt}' src='data:image/{kind};base64,{data}'>")
        parts.append(f"<figcaption>{_markdown(caption or '')}</figcaption></figure>")
    return "".join([*parts, examples, "</section>"])


def _claim(
    whole: Claim, by_task: Sequence[Claim], words: dict[str, Effect], published: dict[str, str]
) -> str:
    effect = words.get(whole.claim)
    lines = [
        f"<div class='claim'><p><b>{html.escape(whole.statement)}</b> {_badge(whole.verdict)}</p>",
        f"<p>Measured: {html.escape(in_words(whole, effect))}"
        f" <span class='muted'>({html.escape(_task(whole.task))})</span></p>",
    ]
    if published.get(whole.claim):
        text = html.escape(published[whole.claim])
        lines.append(f"<p class='muted'>Original study: {text}</p>")
    rows = "".join(
        f"<tr><td>{html.escape(_task(claim.task))}</td>"
        f"<td>{html.escape(in_words(claim, effect))}</td><td>{_badge(claim.verdict)}</td></tr>"
        for claim in by_task
    )
    table = f"<div class='scroll'><table>{rows}</table></div>" if rows else ""
    lines.append(
        f"<details><summary>{'Task by task, and the rule' if rows else 'The rule'}</summary>{table}"
        f"<p class='muted'>{html.escape(whole.rule)} Statistic: {html.escape(whole.statistic)}. "
        f"Unit of inference: {html.escape(whole.unit)}.</p></details></div>"
    )
    return "".join(lines)


def _badge(verdict: str) -> str:
    words = VERDICT_WORDS.get(verdict, verdict)
    return f"<span class='badge {BADGES.get(verdict, 'open')}'>{html.escape(words)}</span>"


def _markdown(text: str) -> str:
    """Return a caption as HTML; bold is the only Markdown that captions use."""
    parts = html.escape(text.strip()).split("**")
    return "".join(f"<b>{part}</b>" if i % 2 else part for i, part in enumerate(parts))


def _runs(path: Path) -> str:
    table = csv_tables.read(path, run_columns.COLUMNS)
    frames, hours = table["frames"].sum(), table["seconds"].sum() / 3600
    shown = table.drop(columns="code")
    return (
        f"<section id='runs'><h2>Training runs</h2><p class='muted'>{len(table)} runs, "
        f"{frames:,} frames, {hours:.1f} hours in all.</p><div class='scroll'>"
        f"{shown.to_html(index=False, border=0, na_rep='')}</div></section>"
    )


def _settings(settings: dict[str, Any]) -> str:
    versions = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(version)}</td></tr>"
        for name, version in packages().items()
    )
    return (
        f"<section id='settings'><h2>Settings and versions</h2><table>{versions}</table>"
        "<details><summary>All settings</summary>"
        f"<pre>{html.escape(json.dumps(settings, indent=2))}"
        "</pre></details></section>"
    )
