"use strict";
// The page of `lastmile play`. It draws the screens that the server sends, and sends each click
// with the number and the digest of the screen that it was made on. What the server has not
// acknowledged by a new screen did not happen. policy.js is about a policy that works beside the
// person, review.js about the marks at the end, map.js draws probabilities.

const WIDTH = 448, HEIGHT = 336;
const SECRET = "lastmile.person";
const MALFORMED = 4400, WRONG_TOKEN = 4401;
const $ = (id) => document.getElementById(id);
const canvas = $("screen"), ring = $("ring");
const pixels = canvas.getContext("2d", { alpha: false });
const image = pixels.createImageData(WIDTH, HEIGHT);
image.data.fill(255);

let socket = null;
let screen_ = null; // header of the screen that is shown
let shown = 0; // when it was shown
let over = false; // whether the episode has ended
let ready = false; // whether clicks are taken
let worlds = 0;
let guides = {}; // how each task is done
let pressed = null; // the pointer or key that is down
let attempts = 0;
let resuming = false;

// The token of the address stays in memory, the secret of the person in the browser, and the task
// in the address: a reload comes back to it.
const token = (location.hash.match(/^#token=([\w-]+)$/) || ["", ""])[1];
if (token) history.replaceState(null, "", location.pathname);
const now = () => Math.round((performance.timeOrigin + performance.now()) * 10) / 10;

function secret() {
  try { return localStorage.getItem(SECRET) || ""; } catch { return ""; }
}
function keep(value) {
  try { localStorage.setItem(SECRET, value); } catch { /* private window: not after a reload */ }
}

function send(message) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function device() {
  const pointer = matchMedia("(pointer: coarse)").matches ? "touch" : "mouse";
  return `${innerWidth}x${innerHeight} @${Math.round(devicePixelRatio * 100) / 100} ${pointer}`;
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/socket`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => send({ type: "hello", token, person: secret(), device: device() });
  let last = Promise.resolve(); // one message after the other: a PNG takes a moment
  socket.onmessage = (event) => {
    last = last.then(() => (typeof event.data === "string"
      ? receive(JSON.parse(event.data)) : receivePixels(event.data))).catch(reportError);
  };
  socket.onclose = (event) => {
    ready = false;
    pressed = null;
    stopPolicy();
    delete canvas.dataset.step;
    if (event.code === WRONG_TOKEN) {
      banner("Open the address that lastmile play printed: this page has no valid token.");
      return;
    }
    if (event.code === MALFORMED) {
      banner(`The server did not understand this page (${event.reason}). Load it again.`);
      return;
    }
    attempts += 1;
    const reason = event.reason ? ` (${event.reason})` : "";
    banner(`The connection was lost${reason}. What you did so far is saved. Connecting again…`);
    setTimeout(connect, Math.min(5000, 250 * 2 ** attempts));
  };
}

function banner(text) {
  $("banner").textContent = text;
  $("banner").hidden = !text;
}

function receive(message) {
  if (message.type === "welcome") {
    banner("");
    keep(message.person);
    $("name").textContent = message.name;
    resuming = true;
  } else if (message.type === "menu") {
    attempts = 0;
    showMenu(message);
  } else if (message.type === "hint") {
    if (screen_ && message.step === screen_.step) showHint(message);
  } else if (message.type === "outlook") {
    if (screen_ && message.step === screen_.step) showOutlook(message);
  } else if (message.type === "notice") {
    if (message.paused) stopPolicy();
    notice(message.text);
  } else if (message.type === "result") {
    showResult(message);
  }
}

// Menu

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function showMenu(menu) {
  worlds = menu.worlds;
  guides = Object.fromEntries(menu.tasks.map((task) => [task.name, task.guide]));
  // A reload begins here, and goes on to the task of the address.
  const wish = location.hash.match(/^#(\w+)\/(practice|counts)$/);
  if (resuming && wish && menu.tasks.some((task) => task.name === wish[1])) {
    resuming = false;
    begin(wish[1], wish[2] === "practice");
    return;
  }
  resuming = false;
  history.replaceState(null, "", location.pathname);
  screen_ = null;
  $("tasks").replaceChildren(...menu.tasks.map(card));
  $("work").hidden = true;
  $("menu").hidden = false;
}

function card(task) {
  const item = element("li");
  const progress = task.done < worlds ? `${task.done} of ${worlds} worlds` : "All worlds are done";
  const buttons = element("p", "", "row");
  const practice = element("button", "Practice");
  practice.setAttribute("aria-label", `Practice: ${task.title}`);
  practice.onclick = () => begin(task.name, true);
  const counts = element("button", task.done ? "Continue" : "Start", "primary");
  counts.setAttribute("aria-label", `Worlds that count: ${task.title}`);
  counts.disabled = task.done >= worlds;
  counts.onclick = () => begin(task.name, false);
  buttons.append(practice, counts, element("span", progress, "muted"));
  item.append(element("h2", task.title), element("p", task.about, "muted"), buttons);
  return item;
}

function begin(task, practice) {
  history.replaceState(null, "", `#${task}/${practice ? "practice" : "counts"}`);
  send({ type: "start", task, practice });
}

// Screens

async function receivePixels(data) {
  const length = new DataView(data).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  if (header.png) {
    const file = new Blob([new Uint8Array(data, 4 + length)], { type: "image/png" });
    pixels.drawImage(await createImageBitmap(file, { colorSpaceConversion: "none" }), 0, 0);
  } else {
    drawRgb(new Uint8Array(data, 4 + length));
  }
  if (header.type === "review") showView(header.view);
  else showScreen(header);
}

function drawRgb(rgb) {
  const rgba = image.data;
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    rgba[to] = rgb[from];
    rgba[to + 1] = rgb[from + 1];
    rgba[to + 2] = rgb[from + 2];
  }
  pixels.putImageData(image, 0, 0);
}

function showScreen(header) {
  const sameScreen = screen_ && screen_.digest === header.digest && screen_.step === header.step;
  screen_ = header;
  if (!sameScreen) shown = now();
  over = false;
  ready = true;
  attempts = 0;
  ring.hidden = true;
  $("result").hidden = true;
  $("menu").hidden = true;
  $("work").hidden = false;
  notice(header.refused);
  describe(header);
  layOut();
  canvas.dataset.step = header.step;
  canvas.dataset.digest = header.digest;
  canvas.dataset.shown = shown;
  followPolicy(header);
  if (header.practice && $("always").checked) send({ type: "hint" });
}

function describe(header) {
  $("title").textContent = header.title;
  $("world").textContent = header.practice ? "Practice" : `World ${header.world + 1} of ${worlds}`;
  $("steps").textContent = header.step === 1 ? "1 click" : `${header.step} clicks`;
  $("hints").hidden = !header.practice;
  $("give-up").hidden = false;
  $("help").hidden = false;
  if ($("guide").dataset.task !== header.task) {
    $("guide").dataset.task = header.task;
    $("how").replaceChildren(...guides[header.task].flatMap(([title, text]) =>
      [element("dt", title), element("dd", text)]));
  }
  $("status").textContent = header.status.join(", ");
  const names = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };
  $("keys").replaceChildren(...header.buttons.filter((button) => button.key).map((button) => {
    const item = element("span", "", button.enabled ? "" : "off");
    item.append(element("kbd", names[button.key] || button.key), ` ${button.label}`);
    return item;
  }));
}

function notice(text, className) {
  $("notice").textContent = text;
  $("notice").className = className || "";
}

// Each pixel of a screen covers a whole number of pixels of the device, and begins on one.
function layOut() {
  const ratio = devicePixelRatio || 1;
  const portrait = innerHeight > innerWidth;
  const width = (innerWidth - (portrait ? 40 : 300)) * ratio;
  const height = (innerHeight - (portrait ? 260 : 40)) * ratio;
  const scale = Math.max(1, Math.floor(Math.min(width / WIDTH, height / HEIGHT) + 1e-3)) / ratio;
  canvas.style.width = `${WIDTH * scale}px`;
  canvas.style.height = `${HEIGHT * scale}px`;
  const stage = $("stage");
  stage.style.left = stage.style.top = "0px";
  const place = stage.getBoundingClientRect();
  const snapped = (value) => Math.round(value * ratio) / ratio - value;
  stage.style.left = `${snapped(place.left + scrollX)}px`;
  stage.style.top = `${snapped(place.top + scrollY)}px`;
  drawOver();
}
addEventListener("resize", layOut);

// What is drawn over the screen: what the policy says while it can be asked, marks at the end.
function drawOver() {
  const place = canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
  const over_ = $("over"), scale = place.width / WIDTH;
  over_.width = Math.round(place.width * ratio); // this also empties it
  over_.height = Math.round(place.height * ratio);
  over_.style.width = `${place.width}px`;
  over_.style.height = `${place.height}px`;
  const context = over_.getContext("2d");
  context.scale(ratio, ratio);
  const at = (x, y) => [(x + 0.5) * scale, (y + 0.5) * scale];
  if (over) drawMarks(context, at, scale);
  else drawPolicy(context, at, scale);
}

// Clicks

function pixelAt(event) {
  const place = canvas.getBoundingClientRect();
  const at = (offset, size, count) =>
    Math.min(count - 1, Math.max(0, Math.floor((offset * count) / size)));
  return {
    x: at(event.clientX - place.left, place.width, WIDTH),
    y: at(event.clientY - place.top, place.height, HEIGHT),
  };
}

function down(point, via, by) {
  if (!screen_ || over) return;
  if (!ready) { notice("Not connected: the click was not counted."); return; }
  takeOver();
  pressed = {
    by, via, ...point, step: screen_.step, screen: screen_.digest, shown_ms: shown, down_ms: now(),
  };
}

function up(by) {
  if (!pressed || pressed.by !== by) return;
  const { by: _, ...click } = pressed;
  pressed = null;
  send({ type: "click", ...click, up_ms: now() });
}

canvas.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button !== 0) return;
  event.preventDefault();
  canvas.focus({ preventScroll: true });
  try { canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone already */ }
  down(pixelAt(event), "pointer", event.pointerId);
});
canvas.addEventListener("pointerup", (event) => up(event.pointerId));
canvas.addEventListener("pointercancel", () => { pressed = null; });
canvas.addEventListener("contextmenu", (event) => event.preventDefault());

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || $("work").hidden) return;
  if (event.target.closest("input,select")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "h" && screen_ && screen_.practice && !over) {
    event.preventDefault();
    send({ type: "hint" });
    return;
  }
  if (policyKey(event)) return;
  const button = screen_ && screen_.buttons.find((one) => one.key === key);
  if (!button || !button.enabled || over) return;
  event.preventDefault();
  down({ x: button.x, y: button.y }, "key", event.code);
});
addEventListener("keyup", (event) => up(event.code));
addEventListener("blur", () => { pressed = null; });

// Hints and results

function showHint(hint) {
  const place = canvas.getBoundingClientRect();
  ring.style.left = `${((hint.x + 0.5) * place.width) / WIDTH}px`;
  ring.style.top = `${((hint.y + 0.5) * place.height) / HEIGHT}px`;
  ring.hidden = false;
  notice(`Hint: ${hint.text}.`, "hint");
}

const ENDED = { done: "Done", abandoned: "Given up", "cut off": "Cut off after too many clicks" };

function showResult(result) {
  over = true;
  pressed = null;
  ring.hidden = true;
  stopPolicy();
  for (const id of ["hints", "help", "give-up", "policy"]) $(id).hidden = true;
  notice("");
  const success = result.success ? "a success" : "not yet a success";
  $("verdict").textContent = `${ENDED[result.ended]}: ${success}`;
  $("score").textContent = `${Math.round(100 * result.score)} %`;
  $("bar").style.width = `${100 * result.score}%`;
  $("details").replaceChildren(...Object.entries(result.details).map(([name, value]) => {
    const row = element("tr");
    row.append(element("td", name.replaceAll("_", " ")), element("td", String(value)));
    return row;
  }));
  const missed = result.missed.length ? result.missed.map((text) => element("li", text))
    : [element("li", result.score >= 1 ? "Nothing." : "No mistakes; the work is incomplete.", "none")];
  $("missed").replaceChildren(...missed);
  showReview(result.views);
  const last = !screen_.practice && screen_.world + 1 >= worlds;
  $("next").textContent = last ? "All tasks" : screen_.practice ? "Practice again" : "Next world";
  $("next").onclick = () => (last ? send({ type: "menu" }) : begin(screen_.task, screen_.practice));
  $("result").hidden = false;
  $("next").focus({ preventScroll: true });
}

$("hint").onclick = () => { send({ type: "hint" }); canvas.focus({ preventScroll: true }); };
$("always").onchange = () => {
  if ($("always").checked) send({ type: "hint" });
  canvas.focus({ preventScroll: true });
};
$("back").onclick = () => { ready = false; stopPolicy(); send({ type: "menu" }); };
$("give-up").onclick = () => {
  if (confirm("Give up on this world? It ends as it is now.")) send({ type: "give up" });
};
$("other").onclick = () => {
  if (!token) {
    banner("Open the address that lastmile play printed: it lets a new person in.");
    return;
  }
  if (!confirm("Begin as somebody else? This browser then forgets who you were.")) return;
  keep("");
  socket.close();
};
addEventListener("DOMContentLoaded", connect); // when the other scripts are there, too
