// The numbers that the page carries: text of 85 characters back to 16 and 32 bits.

const digit = code => (code === 125 ? 20 : code === 126 ? 52 : code - 40);

// Five characters are four bytes, the lowest first, as every browser's machine has them.
function bytes(text) {
  const words = new Uint32Array(text.length / 5);
  for (let i = 0; i < words.length; i++) {
    let word = 0;
    for (let k = 5 * i + 4; k >= 5 * i; k--) word = word * 85 + digit(text.charCodeAt(k));
    words[i] = word;
  }
  return words.buffer;
}

// Points of every carried layer and head, in 16 bits with a scale for each head.
class Blocks {
  constructor({shape, scale, data}) {
    Object.assign(this, {shape, scale});
    this.whole = data ? new Int16Array(bytes(data)) : null;
  }

  get count() {
    return this.shape[2];
  }

  // The points of the l-th carried layer and the h-th carried head, as arrays of p numbers.
  points(l, h) {
    const [, heads, count, p] = this.shape,
      block = l * heads + h,
      from = block * count * p;
    return Array.from({length: count}, (_, i) =>
      Float64Array.from({length: p}, (_, a) =>
        this.whole ? this.scale[block] * this.whole[from + i * p + a] : 0,
      ),
    );
  }

  // How far a coordinate may be from the engine's: half a step.
  error(l, h) {
    return 0.505 * this.scale[l * this.shape[1] + h];
  }
}

// Numbers of the engine, one for each token of each layer and head.
class Engine {
  constructor({shape, data}) {
    this.shape = shape;
    this.numbers = new Float32Array(bytes(data));
  }

  row(l, h) {
    const [, heads, count] = this.shape,
      from = (l * heads + h) * count;
    return Array.from(this.numbers.subarray(from, from + count));
  }
}

// ⟨a, b⟩ and ‖a‖² without arrays in between: a check makes millions of them.
function inner(a, b) {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i] * b[i];
  return total;
}
function apart(a, b) {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += (a[i] - b[i]) * (a[i] - b[i]);
  return total;
}
function absolute(a) {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += Math.abs(a[i]);
  return total;
}

// log Σ exp.
function logSum(scores) {
  const top = Math.max(...scores);
  let total = 0;
  for (const s of scores) total += Math.exp(s - top);
  return top + Math.log(total);
}

// Text of a token where it stands in HTML or SVG.
const safe = text =>
  text
    .replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`)
    .replace(/[\n\r]/g, '↵')
    .replace(/\t/g, '⇥');
