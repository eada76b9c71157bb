
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const [WIDTH, HEIGHT] = data.size;
const TILE = data.tile;
const RATE = 4; // steps per second while playing
const NEAR = 10; // px between clicks that are taken for the same
const KINDS = ['navigate', 'look', 'mode', 'place', 'decide', 'undo', 'done', 'invalid'];
const MARKS = {made: 'mistake made', noticed: 'noticed', repaired: 'repaired', undo: 'undo'};
const $ = id => document.getElementById(id);
const current = {episode: null, step: 0, view: 0, map: true, top: true, again: true};
let timer = null;

/* Elements are made from text, never from markup: a recording may hold anything. */
function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name in element && typeof value !== 'string') element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child != null));
  return element;
}
const color = name => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
const colorOf = name => color(name === 'undo' ? 'undoing' : name) || color('muted');
const number = (count, noun) => count + ' ' + noun + (count === 1 ? '' : 's');
const percent = p => p >= 0.9995 ? '100 %' : (100 * p).toFixed(p < 0.0995 ? 1 : 0) + ' %';

/* Episodes, and which of them the filters let through. */

function outcome(track) {
  return track.success ? 'success' : track.finished ? 'no success' : 'not finished';
}
const sources = episode => episode.tracks.map(track => track.player);
const mistakes = episode => [...new Set(episode.tracks.flatMap(track => track.mistakes))];
const shown = () => data.episodes.filter(episode => {
  const success = $('filter-success').value, mistake = $('filter-mistake').value;
  const source = $('filter-source').value, task = $('filter-task').value;
  const tracks = episode.tracks.filter(track => !source || track.player === source);
  return (!task || episode.task === task) && tracks.some(track =>
    (!success || outcome(track) === success) &&
    (!mistake || (mistake === ' none' ? !track.mistakes.length
      : mistake === ' left' ? track.open.at(-1) > 0 : track.mistakes.includes(mistake))));
});

function options(select, all, pairs) {
  select.parentElement.hidden = pairs.length < 2;
  select.append(el('option', {value: ''}, all));
  for (const [value, text] of pairs) select.append(el('option', {value}, text));
  select.onchange = listEpisodes;
}
function fillFilters() {
  const distinct = values => [...new Set(values)].sort();
  const titles = new Map(data.episodes.map(episode => [episode.task, episode.title]));
  options($('filter-task'), 'all tasks', [...titles]);
  options($('filter-source'), 'all sources', distinct(data.episodes.flatMap(sources)).map(s => [s, s]));
  options($('filter-success'), 'any', distinct(data.episodes.flatMap(episode =>
    episode.tracks.map(outcome))).map(s => [s, s]));
  options($('filter-mistake'), 'any', [...distinct(data.episodes.flatMap(mistakes)).map(m => [m, m]),
    [' none', 'none made'], [' left', 'some left']]);
}
function listEpisodes() {
  const chosen = shown();
  const many = new Set(data.episodes.map(episode => episode.task)).size > 1;
  $('episodes').replaceChildren(...chosen.map(episode => {
    const source = $('filter-source').value;
    const tracks = episode.tracks.filter(track => !source || track.player === source);
    const first = tracks[0];
    return el('li', {}, el('button', {
      'data-key': episode.key,
      'aria-current': String(episode === current.episode),
      onclick: () => { openEpisode(episode, 0); $('timeline').focus({preventScroll: true}); },
    }, el('span', {}, (many ? episode.title : 'Episode') + ' ' + episode.number),
    el('span', {class: 'states'}, ...tracks.map(track => {
      const words = track.player + ': ' + outcome(track);
      return el('span', {class: 'state ' + (track.success ? 'good' : 'bad'), title: words},
        track.success ? '✓' : '✗', el('span', {class: 'hidden'}, words));
    })),
    el('small', {}, [number(first.steps.x.length, 'step'), ...first.mistakes].join(', '))));
  }));
  $('count').textContent = chosen.length + ' of ' + data.episodes.length;
}

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

/* The probability map. It is blurred, since a policy that has learned to press a button is sure of a
   single pixel in its middle, and brightness is the cube root, so that one percent is still seen. */

const BLUR = 2; // standard deviation in squares of the map
const KERNEL = [...Array(6 * BLUR + 1)].map((_, i) => Math.exp(-((i - 3 * BLUR) ** 2) / (2 * BLUR ** 2)));

function blurred(values, width, height) {
  const along = (source, step, line, length, lines) => {
    const result = new Float32Array(source.length), reach = 3 * BLUR;
    for (let n = 0; n < lines; n++)
      for (let i = 0; i < length; i++) {
        const value = source[n * line + i * step];
        if (!value) continue;
        for (let k = Math.max(-reach, -i); k <= reach && i + k < length; k++)
          result[n * line + (i + k) * step] += value * KERNEL[k + reach];
      }
    return result;
  };
  return along(along(values, 1, width, width, height), width, 1, height, width);
}
function heat(predictions, step) {
  const {width, height, block} = predictions, columns = width / block;
  const chances = new Float32Array(width * height);
  for (const [cell, mass, fine] of predictions.maps[step]) {
    const bytes = fine ? Uint8Array.from(atob(fine), c => c.charCodeAt(0)) : null;
    const total = bytes ? bytes.reduce((a, b) => a + b, 0) : block * block;
    const left = cell % columns * block, top = Math.floor(cell / columns) * block;
    for (let i = 0; i < block * block; i++)
      chances[(top + Math.floor(i / block)) * width + left + i % block] = mass * (bytes ? bytes[i] : 1) / total;
  }
  const density = blurred(chances, width, height);
  const largest = density.reduce((a, b) => Math.max(a, b), 0);
  const canvas = el('canvas', {width, height});
  const context = canvas.getContext('2d');
  const image = context.createImageData(width, height);
  density.forEach((value, i) => {
    const v = Math.cbrt(value / largest);
    if (v < 0.1) return;
    image.data.set([255, Math.round(40 + 190 * v * v), Math.round(120 * (1 - v)),
      Math.round(255 * 0.66 * Math.min(1, (v - 0.1) / 0.6))], 4 * i);
  });
  context.putImageData(image, 0, 0);
  return canvas;
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
    context.drawImage(heat(track.predictions, step), 0, 0, WIDTH * scale, HEIGHT * scale);
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
  if (track.predictions && current.top) {
    context.font = '600 11px system-ui,sans-serif';
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    track.predictions.top[step].map((click, i) => [click, i]).reverse().forEach(([click, i]) => {
      if (click[2] < 0.01) return; // those are in the list alone
      const [x, y] = at(click[0], click[1]);
      // Beside the place, so that what is clicked can be seen.
      const bx = x > 30 ? x - size - 6 : x + size + 6, by = y > 30 ? y - size - 3 : y + size + 3;
      context.fillStyle = '#ffd54a';
      context.strokeStyle = '#222';
      context.lineWidth = 1;
      for (const [cx, cy, r] of [[x, y, 2.5], [bx, by, 7.5]]) {
        context.beginPath();
        context.arc(cx, cy, r, 0, 2 * Math.PI);
        context.fill();
        context.stroke();
      }
      context.fillStyle = '#222';
      context.fillText(i + 1, bx, by + 0.5);
    });
  }
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

/* Facts about a step. */

function labelOf(track, widget) {
  if (!widget) return 'nothing';
  return widget === 'canvas' ? 'canvas' : '“' + (track.labels[widget] || widget) + '”';
}
function facts(track) {
  const steps = track.steps, count = steps.x.length, i = Math.min(current.step, count);
  const rows = [];
  const row = (name, value, kind) => rows.push(el('dt', {}, name),
    el('dd', kind ? {class: kind} : {}, value));
  if (i < count) {
    if (steps.phase[i]) row('phase', el('span', {class: 'phase'}, dot(steps.phase[i]), steps.phase[i]));
    row('action', steps.kind[i] + ', ' + labelOf(track, steps.widget[i]));
    row('click', '(' + steps.x[i] + ', ' + steps.y[i] + ')', 'number');
    if (steps.verdict[i]) row('verdict', steps.verdict[i], steps.verdict[i] === 'right' ? 'right' : 'alarm');
    if (steps.mistake[i]) row('mistake', steps.mistake[i], 'alarm');
    if (steps.critical[i]) row('decision', 'critical');
    if (steps.target_x[i] >= 0) row('off target', Math.hypot(steps.x[i] - steps.target_x[i],
      steps.y[i] - steps.target_y[i]).toFixed(1) + ' px', 'number');
  } else row('result', track.success ? 'success' : outcome(track), track.success ? 'right' : 'alarm');
  row('open mistakes', String(track.open[i]), track.open[i] ? 'alarm number' : 'number');
  if (i < count) row('position', steps.position[i].toFixed(2), 'number');
  row('score', track.score[i].toFixed(3), 'number');
  row('status', track.status[i].join(' · '));
  if (i < count && steps.again_x[i] >= 0) row('asked again', agreement(track, i));
  const head = el('h3', {}, el('span', {class: 'who'}, track.player),
    el('span', {class: 'muted number'}, i < count ? (i + 1) + ' of ' + count : 'end'));
  return el('div', {class: 'card'}, el('section', {}, head, el('dl', {}, ...rows)), guess(track, i));
}
function agreement(track, i) {
  const steps = track.steps;
  const same = track.again_widget[i] === steps.widget[i] && track.again_kind[i] === steps.kind[i];
  if (same && steps.widget[i] !== 'canvas') return 'same button';
  if (same) return 'same action, ' + Math.hypot(steps.again_x[i] - steps.x[i],
    steps.again_y[i] - steps.y[i]).toFixed(0) + ' px away';
  return track.again_kind[i] + ', ' + labelOf(track, track.again_widget[i]);
}
function guess(track, i) {
  const predictions = track.predictions, steps = track.steps;
  if (!predictions || i >= track.steps.x.length) return null;
  const items = predictions.top[i].map(([x, y, chance, widget, kind], n) => {
    const bar = el('i');
    bar.style.width = 100 * chance + '%';
    const place = widget && widget !== 'canvas' ? labelOf(track, widget)
      : (widget ? kind + ' ' : 'nothing ') + '(' + x + ', ' + y + ')';
    const button = widget && widget !== 'canvas';
    const same = widget === steps.widget[i] && (button ||
      Math.max(Math.abs(x - steps.x[i]), Math.abs(y - steps.y[i])) <= NEAR);
    return el('li', {class: same ? 'same' : '', title: kind + ' at (' + x + ', ' + y + ')'},
      bar, el('span', {}, String(n + 1)),
      el('span', {}, place, same ? el('span', {class: 'muted'}, '  this click') : null),
      el('span', {}, percent(chance)));
  });
  const nats = predictions.nats[i];
  return el('section', {}, el('h3', {}, 'Prediction',
    el('span', {class: 'muted'}, data.predictor)),
  el('dl', {}, el('dt', {}, 'surprise'), el('dd', {class: 'number'}, nats.toFixed(2) + ' nats')),
  el('ol', {class: 'top', 'aria-label': 'Most likely clicks'}, ...items));
}

/* One place where everything is shown. */

function visible() {
  const tracks = current.episode.tracks;
  return current.view < tracks.length ? [tracks[current.view]] : tracks;
}
const stepCount = () => Math.max(...visible().map(track => track.steps.x.length));

function zoomScale() {
  const chosen = Number($('zoom').value);
  if (chosen) return chosen;
  const box = $('screens'), count = visible().length;
  const side = box.clientWidth / count - (count - 1) * 10;
  const rest = visible().reduce((sum, track) => sum + rowHeight(track), 0) + 150;
  const room = window.innerHeight - $('stage').getBoundingClientRect().top - window.scrollY - rest;
  return Math.max(1, Math.min(Math.floor(side / WIDTH), Math.floor(room / HEIGHT)));
}
function makeScreens() {
  const tracks = visible(), s = zoomScale();
  $('screens').replaceChildren(...tracks.map(track => {
    const box = el('div', {class: 'screen', role: 'img'},
      el('canvas', {class: 'pixels', width: WIDTH, height: HEIGHT}), el('canvas', {class: 'over'}));
    box.style.width = WIDTH * s + 'px';
    box.style.height = HEIGHT * s + 'px';
    return el('figure', {}, tracks.length > 1 ? el('figcaption', {}, track.player) : null, box);
  }));
}
function draw() {
  const episode = current.episode;
  const s = zoomScale();
  pictures(episode).ready.then(() => {
    if (episode !== current.episode) return;
    visible().forEach((track, n) => {
      const box = $('screens').querySelectorAll('.screen')[n];
      if (!box) return;
      const i = Math.min(current.step, track.steps.x.length);
      drawPixels(box.querySelector('.pixels'), episode, track.screen[i]);
      drawOver(box.querySelector('.over'), track, i, s);
      box.setAttribute('aria-label', 'Screen ' + (i + 1) + ': ' + track.status[i].join(', '));
    });
    document.documentElement.dataset.drawn = episode.key + '/' + (current.step + 1);
  });
  drawTimeline();
  $('facts').replaceChildren(...visible().map(facts));
  const count = stepCount(), ended = current.step >= count;
  const words = ended ? 'end, after ' + number(count, 'step') : 'step ' + (current.step + 1) + ' of ' + count;
  $('where').textContent = words;
  const slider = $('timeline'), first = visible()[0], i = current.step;
  const said = words + (i < first.steps.x.length
    ? ', ' + [first.steps.phase[i], first.steps.kind[i], first.steps.mistake[i] && 'mistake ' + first.steps.mistake[i]]
      .filter(Boolean).join(', ') : '');
  slider.setAttribute('aria-valuemax', count + 1);
  slider.setAttribute('aria-valuenow', i + 1);
  slider.setAttribute('aria-valuetext', said);
  if (!timer && document.activeElement !== slider) $('spoken').textContent = said;
  history.replaceState(null, '', '#e=' + encodeURIComponent(episode.key) + '&s=' + (i + 1));
}
function layout() {
  document.querySelector('main').classList.toggle('wide',
    visible().length > 1 || Number($('zoom').value) > 1);
  makeScreens();
  legend();
  draw();
}

function openEpisode(episode, step) {
  pause();
  current.episode = episode;
  if (current.view > episode.tracks.length) current.view = 0;
  $('episode').textContent = episode.title + ', episode ' + episode.number;
  $('badges').replaceChildren(
    ...episode.tracks.map(track => el('span', {class: 'badge ' + (track.success ? 'good' : 'bad')},
      (episode.tracks.length > 1 ? track.player.split(/[ ,]/)[0] + ': ' : '') + outcome(track) +
      ', score ' + track.score.at(-1).toFixed(2))),
    el('span', {class: 'badge'}, episode.difficulty),
    el('span', {class: 'badge'}, episode.split + ' split, seed ' + episode.seed));
  buttons();
  for (const button of $('episodes').querySelectorAll('button'))
    button.setAttribute('aria-current', String(button.dataset.key === episode.key));
  $('episodes').querySelector('[aria-current=true]')?.scrollIntoView({block: 'nearest'});
  current.step = Math.max(0, Math.min(step, stepCount()));
  layout();
}
function buttons() {
  const tracks = current.episode.tracks;
  const names = tracks.map(track => track.player);
  if (tracks.length > 1) names.push('side by side');
  $('views').replaceChildren(...(tracks.length > 1 ? names : []).map((name, n) => el('button', {
    'aria-pressed': String(current.view === n),
    onclick: () => { current.view = n; current.step = Math.min(current.step, stepCount()); buttons(); layout(); },
  }, name)));
  const overlays = [];
  if (visible().some(track => track.predictions)) overlays.push(['map', 'Map'], ['top', 'Top clicks']);
  if (visible().some(track => track.steps.again_x.some(x => x >= 0))) overlays.push(['again', 'Asked again']);
  $('overlays').replaceChildren(...overlays.map(([name, text]) => el('button', {
    'aria-pressed': String(current[name]), onclick: () => toggle(name),
  }, text)));
}
function toggle(name) { current[name] = !current[name]; buttons(); draw(); }
function go(step) {
  current.step = Math.max(0, Math.min(step, stepCount()));
  draw();
}
function pause() {
  clearInterval(timer);
  timer = null;
  $('play').textContent = 'Play';
}
function play() {
  if (timer) { pause(); return draw(); }
  if (current.step >= stepCount()) current.step = 0;
  $('play').textContent = 'Pause';
  timer = setInterval(() => {
    go(current.step + 1);
    if (current.step >= stepCount()) pause();
  }, 1000 / RATE);
  draw();
}
function neighbor(by) {
  const chosen = shown(), at = chosen.indexOf(current.episode);
  const next = chosen[at < 0 ? 0 : at + by];
  if (next) openEpisode(next, 0);
}

/* Links such as #e=3&s=17, keys, the pointer. */

function follow() {
  const link = new URLSearchParams(location.hash.slice(1));
  const episode = data.episodes.find(one => one.key === link.get('e')) || data.episodes[0];
  openEpisode(episode, (parseInt(link.get('s'), 10) || 1) - 1);
}
const KEYS = {
  ArrowLeft: () => go(current.step - 1), ArrowRight: () => go(current.step + 1),
  PageUp: () => go(current.step - 10), PageDown: () => go(current.step + 10),
  Home: () => go(0), End: () => go(stepCount()), ' ': play,
  ArrowUp: () => neighbor(-1), ArrowDown: () => neighbor(1),
  m: () => toggle('map'), t: () => toggle('top'), a: () => toggle('again'),
};
document.addEventListener('keydown', event => {
  const action = KEYS[event.key.length > 1 ? event.key : event.key.toLowerCase()];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest('select')) return;
  if (event.key === ' ' && event.target.closest('button,summary,a')) return;
  event.preventDefault();
  if (timer && event.key !== ' ') pause();
  action();
});
function point(event) {
  const box = $('timeline').getBoundingClientRect();
  const share = (event.clientX - box.left - EDGE) / (box.width - 2 * EDGE);
  pause();
  go(Math.floor(share * (stepCount() + 1)));
}
$('timeline').addEventListener('pointerdown', event => {
  $('timeline').setPointerCapture(event.pointerId);
  point(event);
});
$('timeline').addEventListener('pointermove', event => { if (event.buttons) point(event); });
$('first').onclick = () => { pause(); go(0); };
$('back').onclick = () => { pause(); go(current.step - 1); };
$('play').onclick = play;
$('forward').onclick = () => { pause(); go(current.step + 1); };
$('last').onclick = () => { pause(); go(stepCount()); };
$('zoom').onchange = layout;
window.addEventListener('hashchange', follow);
window.addEventListener('resize', layout);
matchMedia('(prefers-color-scheme:dark)').addEventListener('change', layout);

$('title').textContent = data.title;
$('summary').textContent = number(data.episodes.length, 'episode') +
  (data.predictor ? ' · predictions of ' + data.predictor : '');
if (innerWidth <= 760) $('drawer').open = false;
fillFilters();
listEpisodes();
follow();
