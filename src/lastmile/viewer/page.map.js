'use strict';
/* The probability map. It is blurred, since a policy that has learned to press a button is sure of
   a single pixel in its middle, and brightness is the cube root, so that one percent is seen. */

const BLUR = 2; // standard deviation in squares of the map
const KERNEL = [...Array(6 * BLUR + 1)].map((_, i) => Math.exp(-(((i / BLUR) - 3) ** 2) / 2));

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

/* Return a canvas with a map, given its size in squares, the side of its cells, and the cells. */
function heat({width, height, block}, cells) {
  const columns = width / block;
  const chances = new Float32Array(width * height);
  for (const [cell, mass, fine] of cells) {
    const bytes = fine ? Uint8Array.from(atob(fine), c => c.charCodeAt(0)) : null;
    const total = bytes ? bytes.reduce((a, b) => a + b, 0) : block * block;
    const left = cell % columns * block, top = Math.floor(cell / columns) * block;
    for (let i = 0; i < block * block; i++)
      chances[(top + Math.floor(i / block)) * width + left + i % block] =
        mass * (bytes ? bytes[i] : 1) / total;
  }
  const density = blurred(chances, width, height);
  const largest = density.reduce((a, b) => Math.max(a, b), 0);
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
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

/* Draw the most likely clicks with their ranks, the last ones first.

   clicks: [x, y, chance] each; at: maps them to the canvas; size: distance of a rank from its
   place. */
function drawTop(context, clicks, at, size) {
  context.font = '600 11px system-ui,sans-serif';
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  clicks.map((click, i) => [click, i]).reverse().forEach(([click, i]) => {
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

