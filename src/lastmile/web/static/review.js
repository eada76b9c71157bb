"use strict";
// At the end of an episode: what was missed, is misplaced or wrong, as marks over the screens.

const KINDS = {
  missed: ["missed", "#ffd54a"],
  misplaced: ["misplaced, with a line to its place", "#ff8a3d"],
  wrong: ["wrong", "#ff4d8d"],
};
let views = []; // what is to be seen, the last screen first
let view = 0;

function showReview(all) {
  views = all;
  view = 0;
  const marks = views.flatMap((one) => one.marks);
  $("review").hidden = !marks.length;
  $("legend").replaceChildren(...Object.entries(KINDS).flatMap(([kind, [text]]) => {
    const count = marks.filter((mark) => mark.kind === kind).length;
    return count ? [legendItem(kind, `${count} ${text}`)] : [];
  }));
  for (const id of ["previous-view", "next-view"]) $(id).hidden = views.length < 2;
  describeView();
  drawOver();
}

function legendItem(kind, text) {
  const icon = element("canvas"), ratio = devicePixelRatio || 1;
  icon.width = icon.height = 24 * ratio;
  icon.setAttribute("aria-hidden", "true");
  const context = icon.getContext("2d");
  context.scale(ratio, ratio);
  drawMark(context, kind, [kind === "misplaced" ? 8 : 12, 12], [20, 12], 6);
  const item = element("li");
  item.append(icon, text);
  return item;
}

function describeView() {
  if (!views.length) return;
  const count = views[view].marks.length;
  const marks = `${count} ${count === 1 ? "mark" : "marks"}`;
  const place = view ? views[view].status : "last screen";
  $("view").textContent = views.length > 1
    ? `${view + 1} of ${views.length}: ${place}, ${marks}` : `${place}, ${marks}`;
}

function go(by) {
  view = (view + by + views.length) % views.length;
  send({ type: "review", view });
}

// The server has sent the screen of a view.
function showView(number) {
  if (!over || number !== view) return;
  describeView();
  drawOver();
}

function drawMarks(context, at, scale) {
  if (!views.length) return;
  for (const mark of views[view].marks)
    drawMark(context, mark.kind, at(mark.x, mark.y), at(mark.to_x, mark.to_y), 4 + 3 * scale);
}

function drawMark(context, kind, [x, y], [toX, toY], size) {
  const paths = {
    missed: () => { context.arc(x, y, size, 0, 2 * Math.PI); },
    misplaced: () => {
      context.arc(x, y, size / 2, 0, 2 * Math.PI);
      context.moveTo(x, y);
      context.lineTo(toX, toY);
    },
    wrong: () => {
      const r = 0.75 * size;
      context.moveTo(x - r, y - r);
      context.lineTo(x + r, y + r);
      context.moveTo(x + r, y - r);
      context.lineTo(x - r, y + r);
    },
  };
  // A dark line under each: images are dark or light.
  for (const [color, width] of [["rgba(0,0,0,.75)", 5], [KINDS[kind][1], 2.5]]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.setLineDash(kind === "missed" && width < 4 ? [5, 3] : []);
    context.beginPath();
    paths[kind]();
    context.stroke();
  }
  context.setLineDash([]);
}

$("previous-view").onclick = () => go(-1);
$("next-view").onclick = () => go(1);
