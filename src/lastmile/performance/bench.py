"""Speed, measured: medians of several rounds after a warm-up. Figures are per core unless they say otherwise."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lastmile.screen import HEIGHT, WIDTH, Look, Screen, draw
from lastmile.screen.theme import THEMES
from lastmile.simulation import tokens, trajectory
from lastmile.simulation.env import AnnotationEnv
from lastmile.simulation.trajectory import Source
from lastmile.tasks import get_task, task_names
from lastmile.tasks.annotator import click, make_annotator
from lastmile.tasks.task import generator

ROUNDS = 5


def rate(work: Callable[[], int], rounds: int = ROUNDS, seconds: float = 0.6) -> float:
    """Median units per second of `work`, which returns how many it did; each round lasts at least `seconds`."""
    work()
    found = []
    for _ in range(rounds):
        done, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            done += work()
        found.append(done / spent)
    return statistics.median(found)


def bench(
    task: str = "colored_dots", size: str = "s", chromium: bool = True, training: bool = True
) -> dict[str, Any]:
    """All figures: screens, annotators, environments and worlds of every task, tokens, training and rollouts of a policy of `size` on `task`."""
    import torch

    result: dict[str, Any] = {
        "task": task,
        "size": size,
        "cores": len(os.sched_getaffinity(0)),
        "tasks": {name: bench_task(name) for name in task_names()},
    }
    result |= {
        key: result["tasks"][task][key] for key in ("annotator_steps_per_s", "env_steps_per_s")
    }
    screens = _screens(task)
    result["screens_per_s"] = rate(lambda: sum(draw(screen) is not None for screen in screens))
    if chromium and (path := shutil.which("chromium") or shutil.which("chromium-browser")):
        result["chromium_screens_per_s"] = chromium_rate(screens[:20], path)
        result["screens_over_chromium"] = (
            result["screens_per_s"] / result["chromium_screens_per_s"]
            if result["chromium_screens_per_s"]
            else None
        )
    with tempfile.TemporaryDirectory() as folder:
        store = _store(Path(folder), task)
        rng = np.random.default_rng(0)
        starts = rng.integers(0, store.frames - 20, 4096)
        index = iter(np.tile(starts, 1000).tolist())
        threads = torch.get_num_threads()
        result["token_read_frames_per_s"] = rate(
            lambda: sum(len(store.screens(s, s + 20)) for s in (next(index) for _ in range(50)))
        )
        result["bytes_per_frame"] = store.path.stat().st_size / store.frames
        if training:
            from lastmile.performance.speed import bench_policy

            result |= bench_policy(store, size, task) | {"threads": threads}
    return result


def bench_task(name: str) -> dict[str, float]:
    """One task: annotator steps (no drawing) and environment steps (drawn, shrunk) per second, milliseconds of one core
    for a `full` world with its first picture."""
    task, look = get_task(name), Look()
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
            interface, rng = task.interface(world), generator((index,), name, "bench")
            annotator, state = (
                make_annotator(task, world, interface, "typical", rng),
                interface.start(),
            )
            while not state.done:
                screen = interface.screen(state, look)
                state = interface.apply(
                    state, screen.hit(*click(annotator.next(state), screen, rng))
                )
                steps += 1
        return steps

    env = AnnotationEnv(name, "full")
    recorded = trajectory.record(Source(name, "test", 0, "full"), 0).columns
    clicks = list(zip(recorded["x"], recorded["y"]))[:-1]

    env.reset(seed=0)
    env.world = Source(name, "test", 0, "full").world(0)
    env.interface = task.interface(env.world)
    start = env.interface.start()

    def play() -> int:
        env.state = start
        for action in clicks:
            env.step(action)
        return len(clicks)

    return {
        "annotator_steps_per_s": rate(annotate, 3, 0.4),
        "env_steps_per_s": rate(play, 3, 0.4),
        "world_ms": statistics.median(world_ms),
    }


def _screens(task: str) -> list[Screen]:
    source = Source(task, "test", 0)
    recorded, world = trajectory.record(source, 0), source.world(0)
    interface = get_task(task).interface(world)
    state, screens = interface.start(), []
    for x, y in zip(recorded.columns["x"], recorded.columns["y"]):
        screens.append(interface.screen(state))
        state = interface.apply(state, interface.hit(state, x, y))
    return screens


def _store(folder: Path, task: str) -> tokens.TokenStore:
    trajectory.write(folder / "train.parquet", Source(task, "train", 0), 60)
    tokens.write(folder / "train.tokens", trajectory.read(folder / "train.parquet"))
    return tokens.TokenStore(folder / "train.tokens")


def html(screen: Screen) -> str:
    """The same screen as a web page."""
    import base64

    import cv2

    theme = THEMES[screen.look.theme]

    def css(color) -> str:
        return f"rgb({','.join(map(str, color))})"

    parts = []
    for button, (x, y, w, h) in screen.widgets:
        fill = theme.active if button.active else theme.button if button.enabled else theme.disabled
        parts.append(
            f'<button style="left:{x}px;top:{y}px;width:{w}px;height:{h}px;background:{css(fill)};color:{css(theme.button_text)}">{button.label}</button>'
        )
    picture = base64.b64encode(
        cv2.imencode(".png", screen.image()[..., ::-1])[1].tobytes()
    ).decode()
    x, y, w, h = screen.canvas
    parts.append(
        f'<img style="left:{x}px;top:{y}px;width:{w}px;height:{h}px" src="data:image/png;base64,{picture}">'
    )
    rings = "".join(
        f'<circle cx="{u}" cy="{v}" r="{mark.size}" fill="none" stroke="{css(mark.color)}" stroke-width="2"/>'
        for mark in screen.marks()
        for u, v in mark.points
    )
    parts.append(f'<svg style="left:{x}px;top:{y}px" width="{w}" height="{h}">{rings}</svg>')
    parts.append(
        f'<div style="left:12px;top:317px">{" &nbsp; ".join(screen.status())}</div><b style="left:14px;top:8px">{screen.title}</b>'
    )
    look = f"body{{margin:0;background:{css(theme.background)};color:{css(theme.text)};font:11px sans-serif}} body>*{{position:absolute;box-sizing:border-box}}"
    return f"<!doctype html><style>{look}</style>{''.join(parts)}"


def chromium_rate(screens: list[Screen], path: str) -> float | None:
    """Screens per second of headless Chromium through Playwright: page set, screenshot taken. None if Playwright is not installed."""
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
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=path, args=options)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})

        def capture() -> int:
            for content in pages:
                page.set_content(content)
                page.screenshot(type="png")
            return len(pages)

        found = rate(capture, 3, 1.0)
        browser.close()
    return found
