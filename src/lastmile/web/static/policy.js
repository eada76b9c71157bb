"use strict";
// A policy that works beside the person. The page asks it for one click after the other, at the
// speed that is chosen. Whatever the person does to the screen takes the episode over: the policy
// pauses until it is handed back.

const LAST = "#ff3b6b";
let running = false; // whether it is asked again and again
let waiting = false; // whether a question is not answered yet
let lastAsked = 0;
let timer = 0;
let outlook = null; // what it says of the current screen

// The server has sent a screen.
function followPolicy(header) {
  const policy = header.policy;
  waiting = false;
  clearTimeout(timer);
  outlook = null;
  $("policy").hidden = !policy;
  $("top-clicks").hidden = true;
  if (!policy) return;
  $("policy-name").textContent = policy.name;
  $("outlooks").hidden = !policy.foresees;
  if (running) timer = setTimeout(ask, lastAsked + 1000 / Number($("speed").value) - now());
  askOutlook();
  describeTurn();
  drawOver();
}

function ask() {
  if (!screen_ || !screen_.policy || over || !ready || waiting) return;
  waiting = true;
  lastAsked = now();
  send({ type: "policy", step: screen_.step, screen: screen_.digest });
}

function stopPolicy() {
  if (waiting) send({ type: "pause" });
  running = waiting = false;
  clearTimeout(timer);
  describeTurn();
}

function startPolicy() {
  running = true;
  ask();
  describeTurn();
}

// The person presses a pointer or a key on the screen.
function takeOver() {
  if (running || waiting) stopPolicy();
}

function oneStep() {
  if (running) stopPolicy();
  ask();
}

function describeTurn() {
  if (!screen_ || !screen_.policy) return;
  const mine = screen_.clicked && screen_.clicked[2] !== "policy";
  const paused = !screen_.policy.worked ? "Start" : mine ? "Hand back" : "Go on";
  $("run-label").textContent = running ? "Pause" : paused;
  $("turn").textContent = running ? "The policy is at work. Click on the screen to take over."
    : screen_.policy.worked ? "It is your turn." : "";
}

function policyKey(event) {
  if (!screen_ || !screen_.policy || over || event.target.closest("button,summary,a")) return false;
  if (event.key === " ") toggle();
  else if (event.key === ".") oneStep();
  else return false;
  event.preventDefault();
  return true;
}

function toggle() {
  if (running) stopPolicy();
  else startPolicy();
}

// What it says of the current screen

function askOutlook() {
  if (!screen_ || !screen_.policy || !screen_.policy.foresees || over || !ready) return;
  if (!$("show-map").checked && !$("show-top").checked) return;
  send({ type: "outlook", step: screen_.step, screen: screen_.digest });
}

function showOutlook(message) {
  outlook = message;
  drawOver();
  listTop();
}

function percent(p) {
  return p >= 0.9995 ? "100 %" : `${(100 * p).toFixed(p < 0.0995 ? 1 : 0)} %`;
}

function listTop() {
  $("top-clicks").hidden = !outlook || !$("show-top").checked;
  if ($("top-clicks").hidden) return;
  $("top-clicks").replaceChildren(...outlook.top.map(([x, y, chance, label]) => {
    const bar = element("i");
    bar.style.width = `${100 * chance}%`;
    const item = element("li");
    const place = label === "image" || label === "nothing" ? `${label} (${x}, ${y})` : label;
    item.append(bar, element("span", place), element("span", percent(chance)));
    return item;
  }));
}

function drawPolicy(context, at, scale) {
  if (outlook && $("show-map").checked) {
    context.imageSmoothingEnabled = true;
    context.drawImage(heat(outlook, outlook.map), 0, 0, WIDTH * scale, HEIGHT * scale);
  }
  const size = 6 + 3 * scale;
  if (screen_ && screen_.clicked && screen_.clicked[2] === "policy") {
    const [x, y] = at(...screen_.clicked);
    for (const [color, width] of [["#fff", 4], [LAST, 2]]) {
      context.strokeStyle = color;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, size, 0, 2 * Math.PI);
      context.stroke();
    }
  }
  if (outlook && $("show-top").checked) drawTop(context, outlook.top, at, size);
}

$("run").onclick = () => { toggle(); canvas.focus({ preventScroll: true }); };
$("one").onclick = () => { oneStep(); canvas.focus({ preventScroll: true }); };
for (const id of ["show-map", "show-top"]) {
  $(id).onchange = () => {
    if (outlook) { drawOver(); listTop(); } else askOutlook();
    canvas.focus({ preventScroll: true });
  };
}
$("speed").onchange = () => canvas.focus({ preventScroll: true });
