
/* What is drawn: screens, the map, clicks, the timeline and its legend. The rest is in page.js. */

/* Pictures: an episode's tiles are one image; a screen is a list of tiles. */

const loaded = new Map();
function pictures(episode) {
  if (!loaded.has(episode.key)) {
    const image = new Image();
    image.src = episode.picture;
    const screens = [];
    let tiles = [];
    for (const changes of episode.screens) {
      tiles = tiles.slice();
      for (let i = 0; i < changes.length; i += 3)
        for (let k = 0; k < changes[i + 2]; k++) tiles[changes[i] + k] = changes[i + 1] + k;
      screens.push(tiles);
    }
    if (loaded.size > 3) loaded.delete(loaded.keys().next().value);
    loaded.set(episode.key, {image, screens, ready: image.decode()});
  }
  return loaded.get(episode.key);
}
function drawPixels(canvas, episode, index) {
  const {image, screens} = pictures(episode);
  const context = canvas.getContext('2d', {alpha: false});
  const across = WIDTH / TILE;
  screens[index].forEach((tile, place) => context.drawImage(
    image, tile % episode.columns * TILE, Math.floor(tile / episode.columns) * TILE, TILE, TILE,
    place % across * TILE, Math.floor(place / across) * TILE, TILE, TILE));
}

/* What is drawn over a screen. */

function ring(context, x, y, radius, stroke, dash) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.setLineDash([]);
  context.strokeStyle = 'rgba(255,255,255,.9)';
  context.lineWidth = 4;
  if (!dash) context.stroke();
  context.setLineDash(dash || []);
  context.strokeStyle = stroke;
  context.lineWidth = 2;
  context.stroke();
  context.setLineDash([]);
}
function drawOver(canvas, track, step, scale) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(WIDTH * scale * ratio);
  canvas.height = Math.round(HEIGHT * scale * ratio);
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  const steps = track.steps;
  if (step >= steps.x.length) return;
  const at = (x, y) => [(x + 0.5) * scale, (y + 0.5) * scale];
  const size = 6 + 3 * scale;

  if (track.predictions && current.map) {
    context.imageSmoothingEnabled = true;
    context.drawImage(heat(track.predictions, track.predictions.maps[step]), 0, 0, WIDTH * scale, HEIGHT * scale);
  }
  if (steps.target_x[step] >= 0) {
    const [x, y] = at(steps.target_x[step], steps.target_y[step]);
    context.strokeStyle = '#37e08d';
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x - 5, y); context.lineTo(x + 5, y);
    context.moveTo(x, y - 5); context.lineTo(x, y + 5);
    context.stroke();
  }
  if (current.again && steps.again_x[step] >= 0)
    ring(context, ...at(steps.again_x[step], steps.again_y[step]), size - 4, '#5bd0ff', [3, 3]);
  ring(context, ...at(steps.x[step], steps.y[step]), size, '#ff3b6b');
  if (track.predictions && current.top)
    drawTop(context, track.predictions.top[step], at, size);
}

/* The timeline: a row per player on screen, all with the same steps. */

function mark(context, name, x, y, r) {
  context.fillStyle = context.strokeStyle = color(name);
  context.lineWidth = 1.6;
  context.beginPath();
  if (name === 'made') {
    context.moveTo(x - r, y - r + 1); context.lineTo(x + r, y - r + 1); context.lineTo(x, y + r);
    context.closePath(); context.fill();
  } else if (name === 'noticed') {
    context.arc(x, y, r - 0.8, 0, 2 * Math.PI); context.stroke();
  } else if (name === 'repaired') {
    context.moveTo(x, y - r); context.lineTo(x + r, y); context.lineTo(x, y + r);
    context.lineTo(x - r, y); context.closePath(); context.fill();
  } else {
    context.moveTo(x + r - 1, y - r + 1); context.lineTo(x - r + 2, y);
    context.lineTo(x + r - 1, y + r - 1); context.stroke();
  }
}
const LANE = {noticed: 6, made: 17, repaired: 17, undo: 48};
const EDGE = 9, BAR = 26, THICK = 14, NATS = 58, LOUD = 6; // px; nats of a bar of full height
function rowHeight(track) { return track.predictions ? 82 : 56; }
function columnOf(step, count, width) { return EDGE + (step + 0.5) / count * (width - 2 * EDGE); }
/* By phase if all players on screen have phases, else by kind of action: one legend for all. */
const colored = () =>
  visible().every(track => track.steps.phase.some(phase => phase)) ? 'phase' : 'kind';

function drawTimeline() {
  const box = $('timeline'), width = box.clientWidth, ratio = window.devicePixelRatio || 1;
  const tracks = visible(), count = stepCount() + 1;
  const height = tracks.reduce((sum, track) => sum + rowHeight(track), 0);
  let canvas = box.querySelector('canvas');
  if (!canvas) box.append(canvas = el('canvas', {'aria-hidden': 'true'}));
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.height = height + 'px';
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  const wide = (width - 2 * EDGE) / count;
  let top = 0;
  for (const track of tracks) {
    const names = track.steps[colored()];
    context.fillStyle = color('soft');
    context.fillRect(EDGE, top + BAR, width - 2 * EDGE, THICK);
    names.forEach((name, i) => {
      context.fillStyle = colorOf(name);
      const gap = wide > 5 && i < names.length - 1 ? 1 : 0;
      context.fillRect(EDGE + i * wide, top + BAR, wide - gap + (gap ? 0 : 0.3), THICK);
    });
    const r = Math.max(3.5, Math.min(5.5, wide));
    for (const name of Object.keys(MARKS))
      for (const step of track.events[name])
        mark(context, name, columnOf(step, count, width), top + LANE[name], r);
    if (track.predictions) {
      context.fillStyle = color('nats');
      track.predictions.nats.forEach((nats, i) => {
        const tall = Math.max(1, Math.min(1, nats / LOUD) * 20);
        context.fillRect(EDGE + i * wide, top + NATS + 20 - tall, Math.max(1, wide - 1), tall);
      });
    }
    top += rowHeight(track);
  }
  const x = columnOf(current.step, count, width);
  context.fillStyle = color('ink');
  context.fillRect(x - 1, 0, 2, height);
  context.beginPath();
  context.moveTo(x - 5, 0); context.lineTo(x + 5, 0); context.lineTo(x, 7);
  context.fill();
}
function legend() {
  const items = [], tracks = visible();
  const swatch = (name, text) => el('li', {}, dot(name), text);
  for (const track of tracks) {
    const by = colored(), order = by === 'phase' ? data.phases : KINDS;
    for (const name of order)
      if (track.steps[by].includes(name) && !items.some(item => item.dataset.name === name)) {
        const item = swatch(name, name);
        item.dataset.name = name;
        items.push(item);
      }
  }
  for (const [name, text] of Object.entries(MARKS)) {
    if (!tracks.some(track => track.events[name].length)) continue;
    const canvas = el('canvas', {width: 24, height: 24, 'aria-hidden': 'true'});
    const context = canvas.getContext('2d');
    context.scale(2, 2);
    mark(context, name, 6, 6, 5);
    items.push(el('li', {}, canvas, text));
  }
  if (tracks.some(track => track.predictions))
    items.push(el('li', {title: 'Negative log-likelihood of the click that was made'},
      dot('nats'), 'surprise, nats'));
  $('legend').replaceChildren(...items);
}
function dot(name) {
  const swatch = el('span', {class: 'swatch', 'aria-hidden': 'true'});
  swatch.style.background = colorOf(name);
  return swatch;
}

