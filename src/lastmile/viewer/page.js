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
const color = name =>
  getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
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
  const distinct = values => [...new Set(values)].sort().map(value => [value, value]);
  const titles = new Map(data.episodes.map(episode => [episode.task, episode.title]));
  options($('filter-task'), 'all tasks', [...titles]);
  options($('filter-source'), 'all sources', distinct(data.episodes.flatMap(sources)));
  options($('filter-success'), 'any', distinct(data.episodes.flatMap(episode =>
    episode.tracks.map(outcome))));
  options($('filter-mistake'), 'any', [...distinct(data.episodes.flatMap(mistakes)),
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
    const phase = steps.phase[i], verdict = steps.verdict[i];
    if (phase) row('phase', el('span', {class: 'phase'}, dot(phase), phase));
    row('action', steps.kind[i] + ', ' + labelOf(track, steps.widget[i]));
    row('click', '(' + steps.x[i] + ', ' + steps.y[i] + ')', 'number');
    if (verdict) row('verdict', verdict, verdict === 'right' ? 'right' : 'alarm');
    if (steps.mistake[i]) row('mistake', steps.mistake[i], 'alarm');
    if (steps.critical[i]) row('decision', 'critical');
    if (steps.target_x[i] >= 0) row('off target', Math.hypot(steps.x[i] - steps.target_x[i],
      steps.y[i] - steps.target_y[i]).toFixed(1) + ' px', 'number');
  } else row('result', outcome(track), track.success ? 'right' : 'alarm');
  row('open mistakes', String(track.open[i]), track.open[i] ? 'alarm number' : 'number');
  if (i < count) row('position', steps.position[i].toFixed(2), 'number');
  row('score', track.score[i].toFixed(3), 'number');
  row('status', track.status[i].join(' · '));
  if (i < count && steps.again_x[i] >= 0) row('asked again', agreement(track, i));
  const head = el('h3', {}, el('span', {class: 'who'}, track.player),
    el('span', {class: 'muted number'}, i < count ? (i + 1) + ' of ' + count : 'end'));
  const section = el('section', {}, head, el('dl', {}, ...rows));
  return el('div', {class: 'card'}, section, guess(track, i));
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
  const words = ended ? 'end, after ' + number(count, 'step')
    : 'step ' + (current.step + 1) + ' of ' + count;
  $('where').textContent = words;
  const slider = $('timeline'), first = visible()[0], i = current.step;
  const {phase, kind, mistake} = first.steps; // past the end there are none
  const said = [words, phase[i], kind[i], mistake[i] && 'mistake ' + mistake[i]]
    .filter(Boolean).join(', ');
  slider.setAttribute('aria-valuemax', count + 1);
  slider.setAttribute('aria-valuenow', i + 1);
  slider.setAttribute('aria-valuetext', said);
  if (!timer && document.activeElement !== slider) $('spoken').textContent = said;
  const view = current.view ? '&v=' + (visible().length > 1 ? 'all' : current.view + 1) : '';
  history.replaceState(null, '', '#e=' + encodeURIComponent(episode.key) + '&s=' + (i + 1) + view);
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
    onclick: () => {
      current.view = n;
      current.step = Math.min(current.step, stepCount());
      buttons();
      layout();
    },
  }, name)));
  const overlays = [];
  if (visible().some(track => track.predictions))
    overlays.push(['map', 'Map'], ['top', 'Top clicks']);
  if (visible().some(track => track.steps.again_x.some(x => x >= 0)))
    overlays.push(['again', 'Asked again']);
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

/* Links such as #e=3&s=17&v=all, keys, the pointer. */

function follow() {
  const link = new URLSearchParams(location.hash.slice(1));
  const episode = data.episodes.find(one => one.key === link.get('e')) || data.episodes[0];
  const view = link.get('v'), players = episode.tracks.length;
  if (players > 1)
    current.view = view === 'all' ? players
      : Math.max(0, Math.min(parseInt(view, 10) || 1, players) - 1);
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
$('note').textContent = data.note;
$('note').hidden = !data.note;
fillFilters();
listEpisodes();
follow();
