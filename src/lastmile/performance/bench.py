"""Measure the speed of everything.

Figures are medians of several rounds after a warm-up, on one core unless a figure says otherwise.
"""

from __future__ import annotations

import base64
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lastmile.progress import say as to_stderr
from lastmile.screen import HEIGHT, WIDTH, Look, Screen, draw
from lastmile.screen.theme import THEMES
from lastmile.simulation import tokens, trajectory
from lastmile.simulation.env import AnnotationEnv
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import Source
from lastmile.tasks import get_task, task_names
from lastmile.tasks.annotator import click, make_annotator
from lastmile.tasks.task import generator

ROUNDS = 5


def rate(work: Callable[[], int], rounds: int = ROUNDS, seconds: float = 0.6) -> float:
    """Measure units per second.

    Args:
        work: What is measured; it returns how many units it did.
        rounds: Number of rounds; their median counts.
        seconds: Least length of a round.
    """
    work()
    rates = []
    for _ in range(rounds):
        done = 0
        start = time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            done += work()
        rates.append(done / elapsed)
    return statistics.median(rates)


def bench(
    task: str = "colored_dots",
    size: str = "s",
    chromium: bool = True,
    training: bool = True,
    say: Callable[[str], None] = to_stderr,
) -> dict[str, Any]:
    """Measure everything, which takes about a minute.

    Args:
        task: Task of whose screens, tokens and policy the speed is measured.
        size: Size of the policy.
        chromium: Whether to compare drawing with Chromium, if it is installed.
        training: Whether to measure the policy: training and rollouts.
        say: Called with a line before each part.

    Returns:
        Figures by name; `table` lists them with their units. `tasks` holds the ones of each task.
    """
    import torch

    result: dict[str, Any] = {
        "task": task,
        "size": size,
        "cores": len(os.sched_getaffinity(0)),
        "tasks": {},
    }
    names = task_names()
    for number, name in enumerate(names, 1):
        say(f"bench: task {name} ({number} of {len(names)})")
        result["tasks"][name] = bench_task(name)
    for key in ("annotator_steps_per_s", "env_steps_per_s"):
        result[key] = result["tasks"][task][key]

    say("bench: drawing screens")
    screens = _screens(task)
    result["screens_per_s"] = rate(lambda: sum(draw(screen) is not None for screen in screens))
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium and path:
        say("bench: drawing the same screens in Chromium")
        result["chromium_screens_per_s"] = in_chromium = chromium_rate(screens[:20], path)
        ratio = result["screens_per_s"] / in_chromium if in_chromium else None
        result["screens_over_chromium"] = ratio

    with tempfile.TemporaryDirectory() as folder:
        say("bench: reading tokens")
        store = _store(Path(folder), task)
        threads = torch.get_num_threads()
        result["token_read_frames_per_s"] = _read_rate(store)
        result["bytes_per_frame"] = store.path.stat().st_size / store.frames
        if training:
            from lastmile.performance.speed import bench_policy

            say(f"bench: training and rollouts of a policy of size {size}")
            result |= bench_policy(store, size, task)
            result["threads"] = threads
    return result


TASK_COLUMNS = {
    "annotator_steps_per_s": "annotator, steps/s",
    "env_steps_per_s": "environment, steps/s",
    "world_ms": "world, ms",
}
"""Figures of a task, with headings."""
FIGURES = {
    "screens_per_s": ("drawing, full screens", "screens/s"),
    "chromium_screens_per_s": ("drawing, in Chromium", "screens/s"),
    "screens_over_chromium": ("drawing, times as fast as Chromium", ""),
    "token_read_frames_per_s": ("reading tokens, windows of 20 frames", "frames/s"),
    "bytes_per_frame": ("size of a frame in the token file", "bytes"),
    "parameters": ("policy, parameters", ""),
    "flops_per_frame": ("policy, FLOPs per frame (forward)", "MFLOP"),
    "train_frames_per_s": ("training, reading included", "frames/s"),
    "train_wait_share": ("training, share of the time waiting for data", "%"),
    "gemm_gflops": ("matrix product in {arithmetic}", "GFLOP/s"),
    "train_flops_share_of_gemm": ("training in {arithmetic}, share of that product's FLOP/s", "%"),
    "rollout_steps_per_s": ("closed loop, 32 rollouts at a time", "steps/s"),
}
"""Other figures: what they are, and their units."""
_SCALES = {"%": 100.0, "MFLOP": 1e-6}


def table(result: dict[str, Any]) -> str:
    """Format the result of `bench` as a table with units, to be read by people."""
    threads = result.get("threads")
    lines = [
        f"On {result['cores']} cores; task {result['task']}, policy of size {result['size']}"
        + (f" on {threads} thread{'s' if threads > 1 else ''}." if threads else "."),
        "",
        f"{'task, full difficulty':<24}" + "".join(f"{h:>24}" for h in TASK_COLUMNS.values()),
    ]
    for name, figures in result["tasks"].items():
        cells = "".join(f"{_number(figures[key]):>24}" for key in TASK_COLUMNS)
        lines.append(f"{name:<24}{cells}")

    lines.append("")
    for key, (label, unit) in FIGURES.items():
        if result.get(key) is not None:
            label = label.format(arithmetic=result.get("arithmetic", ""))
            value = _number(result[key] * _SCALES.get(unit, 1.0))
            lines.append(f"{label:<60}{value:>14} {unit}".rstrip())
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    """Format a figure with about three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def bench_task(name: str) -> dict[str, float]:
    """Measure a task at full difficulty.

    Returns:
        `annotator_steps_per_s` (nothing is drawn), `env_steps_per_s` (drawn and shrunk), and
        `world_ms`, the processor time for a world with its first image.
    """
    task = get_task(name)
    world_ms = []
    for index in range(12):
        start = time.process_time()
        interface = task.interface(task.world((0, 5, index), "full"))
        interface.image(interface.start())
        world_ms.append(1000 * (time.process_time() - start))
    worlds = [task.world((0, 5, index), "full") for index in range(4)]

    def annotate() -> int:
        steps = 0
        for index, world in enumerate(worlds):
            session = Session(task, world)
            rng = generator((index,), name, "bench")
            annotator = make_annotator(task, world, session.interface, "typical", rng)
            while not session.done:
                session.click(*click(annotator.next(session.state), session.screen(), rng))
            steps += len(session.steps)
        return steps

    columns = trajectory.record(Source(name, "test", 0, "full"), 0).columns
    clicks = list(zip(columns["x"], columns["y"]))[:-1]
    env = AnnotationEnv(name, "full")
    env.reset(options={"world": 0, "split": "test"})
    session = env.session
    first_state = session.state

    def play() -> int:
        # Back to the start of the same world: making worlds is measured apart.
        session.state = first_state
        session.steps.clear()
        for action in clicks:
            env.step(action)
        return len(clicks)

    return {
        "annotator_steps_per_s": rate(annotate, 3, 0.4),
        "env_steps_per_s": rate(play, 3, 0.4),
        "world_ms": statistics.median(world_ms),
    }


def _screens(task: str) -> list[Screen]:
    """Return the screens of a recorded episode."""
    source = Source(task, "test", 0)
    columns = trajectory.record(source, 0).columns
    session = Session(get_task(task), source.world(0))
    screens = []
    for x, y in zip(columns["x"], columns["y"]):
        screens.append(session.screen())
        session.click(x, y)
    return screens


def _store(folder: Path, task: str) -> tokens.TokenStore:
    """Make a token file of 60 episodes."""
    from lastmile.performance.speedrun import record  # with torch

    _, frames = record(folder, task, "train", 60)
    return tokens.TokenStore(frames)


def _read_rate(store: tokens.TokenStore) -> float:
    """Measure frames read per second, in windows of 20 frames at random places."""
    starts = itertools.cycle(np.random.default_rng(0).integers(0, store.frames - 20, 4096).tolist())

    def read() -> int:
        return sum(len(store.screens(start, start + 20)) for start in itertools.islice(starts, 50))

    return rate(read)


def html(screen: Screen) -> str:
    """Return the same screen as a web page."""
    assert isinstance(screen.look, Look)
    theme = THEMES[screen.look.theme]

    def css(color: tuple[int, int, int]) -> str:
        return f"rgb({','.join(map(str, color))})"

    def box(x: int, y: int, width: int, height: int) -> str:
        return f"left:{x}px;top:{y}px;width:{width}px;height:{height}px"

    parts = []
    for button, rect in screen.widgets:
        fill = theme.active if button.active else theme.button if button.enabled else theme.disabled
        parts.append(
            f'<button style="{box(*rect)};background:{css(fill)};color:{css(theme.button_text)}">'
            f"{button.label}</button>"
        )

    png = cv2.imencode(".png", screen.image()[..., ::-1])[1].tobytes()  # OpenCV expects BGR
    picture = base64.b64encode(png).decode()
    parts.append(f'<img style="{box(*screen.canvas)}" src="data:image/png;base64,{picture}">')

    rings = "".join(
        f'<circle cx="{u}" cy="{v}" r="{mark.size}" fill="none" stroke="{css(mark.color)}" '
        'stroke-width="2"/>'
        for mark in screen.marks()
        for u, v in mark.points
    )
    x, y, width, height = screen.canvas
    parts.append(
        f'<svg style="left:{x}px;top:{y}px" width="{width}" height="{height}">{rings}</svg>'
    )
    parts.append(
        f'<div style="left:12px;top:317px">{" &nbsp; ".join(screen.status())}</div>'
        f'<b style="left:14px;top:8px">{screen.title}</b>'
    )
    style = (
        f"body{{margin:0;background:{css(theme.background)};color:{css(theme.text)};"
        "font:11px sans-serif} body>*{position:absolute;box-sizing:border-box}"
    )
    return f"<!doctype html><style>{style}</style>{''.join(parts)}"


def chromium_rate(screens: list[Screen], path: str) -> float | None:
    """Measure screens per second of headless Chromium: page set, screenshot taken.

    Args:
        screens: The screens to draw.
        path: The program.

    Returns:
        The rate, or None if Playwright is not installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    pages = [html(screen) for screen in screens]
    options = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})

        def capture() -> int:
            for content in pages:
                page.set_content(content)
                page.screenshot(type="png")
            return len(pages)

        screens_per_s = rate(capture, 3, 1.0)
        browser.close()
    return screens_per_s
