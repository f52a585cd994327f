// Panels: an SVG in CSS pixels with axes in the figure's own units, and points that mouse, finger
// and arrow keys move.

const SVG = 'http://www.w3.org/2000/svg';
const el = (name, attributes, ...children) => {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};
const clamp = (x, [low, high]) => Math.min(Math.max(x, low), high);
const hundredth = x => Math.round(x * 100) / 100;
const minusSign = text => text.replace('-', '−');
const powerOfTen = k =>
  `10${[...minusSign(String(k))].map(c => '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'['−0123456789'.indexOf(c)]).join('')}`;
// A number as it is read: three significant digits, small ones as a power of ten.
function show(x) {
  if (x === null || Number.isNaN(x)) return '–';
  if (x === 0) return '0';
  const size = Math.abs(x);
  if (size !== 0 && size < 0.0005) {
    const [head, tail] = x.toExponential(1).split('e');
    return `${minusSign(head)}·${powerOfTen(Number(tail))}`;
  }
  return minusSign(
    size >= 100
      ? x.toFixed(0)
      : size >= 10
        ? x.toFixed(1)
        : size >= 1
          ? x.toFixed(2)
          : x.toFixed(3),
  );
}
const point = a => `(${a.map(x => minusSign(x.toFixed(2))).join(', ')})`;

// Each role has a shape as well as a colour.
const SHAPES = {
  query: 'M0-9A9 9 0 1 1 0 9A9 9 0 1 1 0-9Z',
  key: 'M-7-7H7V7H-7Z',
  value: 'M0-10L10 0L0 10L-10 0Z',
  prefix: 'M0-10L10 8H-10Z',
  inducer: 'M0-11L3-3.5L10.5-3.5L4.5 1.5L6.5 9L0 4.5L-6.5 9L-4.5 1.5L-10.5-3.5L-3-3.5Z',
  estimate: 'M-8-3H-3V-8H3V-3H8V3H3V8H-3V3H-8Z',
  data: 'M0-6A6 6 0 1 1 0 6A6 6 0 1 1 0-6Z',
};

class Panel {
  // `x`, `y`: ranges; `ratio`: height by width, or null for equal units; `height`: fixed pixels
  // instead; `flat`: no y axis; `power`: y is a logarithm to base 10.
  constructor(
    host,
    {
      x,
      y,
      label,
      ratio = null,
      height = null,
      ticks = [4, 4],
      flat = false,
      power = false,
      widest = height ? 1200 : 460,
    },
  ) {
    Object.assign(this, {
      host,
      x,
      y,
      ratio,
      height,
      ticks,
      flat,
      power,
      widest,
      handles: new Map(),
    });
    this.under = el('g', {'aria-hidden': 'true'});
    this.over = el('g', {});
    this.svg = el('svg', {role: 'group', 'aria-label': label}, this.under, this.over);
    host.append(this.svg);
    this.measure();
  }

  measure() {
    this.w = Math.max(240, Math.min(this.host.clientWidth || 340, this.widest));
    this.pad = {left: this.flat ? 14 : 38, right: 12, top: 14, bottom: 30};
    const inner = this.w - this.pad.left - this.pad.right;
    const units = (this.y[1] - this.y[0]) / (this.x[1] - this.x[0]);
    this.h = this.height ?? inner * (this.ratio ?? units) + this.pad.top + this.pad.bottom;
    this.svg.setAttribute('viewBox', `0 0 ${this.w} ${this.h}`);
    this.svg.setAttribute('width', this.w);
    this.svg.setAttribute('height', this.h);
  }

  px(x) {
    return (
      this.pad.left +
      ((x - this.x[0]) / (this.x[1] - this.x[0])) * (this.w - this.pad.left - this.pad.right)
    );
  }
  py(y) {
    return (
      this.h -
      this.pad.bottom -
      ((y - this.y[0]) / (this.y[1] - this.y[0])) * (this.h - this.pad.top - this.pad.bottom)
    );
  }
  at(p) {
    return [this.px(p[0]), this.py(p[1])];
  }
  value(px, py) {
    const wide = this.w - this.pad.left - this.pad.right,
      high = this.h - this.pad.top - this.pad.bottom;
    return [
      this.x[0] + ((px - this.pad.left) / wide) * (this.x[1] - this.x[0]),
      this.y[0] + ((this.h - this.pad.bottom - py) / high) * (this.y[1] - this.y[0]),
    ];
  }

  // What is under the points: text of SVG elements, drawn anew each time.
  draw(parts) {
    // An inner SVG clips what leaves the axes; marks at the rim stay whole.
    const [x, y] = [this.pad.left - 12, this.pad.top - 12];
    const [w, h] = [this.w - this.pad.right + 12 - x, this.h - this.pad.bottom + 12 - y];
    const inside = parts.flat(9).filter(Boolean).join('');
    this.under.innerHTML = `${this.frame()}<svg class="inside" x="${x}" y="${y}"
      width="${w}" height="${h}" viewBox="${x} ${y} ${w} ${h}">${inside}</svg>`;
    for (const handle of this.handles.values()) handle.place();
  }

  frame() {
    const lines = [],
      [nx, ny] = this.ticks;
    const every = (range, n) =>
      Array.from({length: n + 1}, (_, i) => range[0] + ((range[1] - range[0]) * i) / n);
    const tick = x => minusSign(String(hundredth(x)));
    for (const x of every(this.x, nx)) {
      lines.push(
        `<path class="grid" d="M${this.px(x)} ${this.pad.top}V${this.h - this.pad.bottom}"/>`,
        `<text class="tick" text-anchor="middle" x="${this.px(x)}"
          y="${this.h - this.pad.bottom + 16}">${tick(x)}</text>`,
      );
    }
    if (!this.flat) {
      for (const y of every(this.y, ny)) {
        lines.push(
          `<path class="grid" d="M${this.pad.left} ${this.py(y)}H${this.w - this.pad.right}"/>`,
          `<text class="tick" text-anchor="end" x="${this.pad.left - 5}"
            y="${this.py(y) + 4}">${this.power ? powerOfTen(y) : tick(y)}</text>`,
        );
      }
    }
    return lines.join('');
  }

  line(points, kind, more = '') {
    const runs = [];
    let open = false;
    for (const p of points) {
      if (!p || p.some(Number.isNaN)) {
        open = false;
        continue;
      }
      const [x, y] = this.at(p);
      runs.push(`${open ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`);
      open = true;
    }
    return `<path class="line ${kind}" d="${runs.join('')}" ${more}/>`;
  }

  area(upper, lower, kind) {
    const path = [...upper, ...[...lower].reverse()]
      .map(p =>
        this.at(p)
          .map(c => c.toFixed(1))
          .join(' '),
      )
      .join('L');
    return `<path class="area ${kind}" d="M${path}Z"/>`;
  }

  mark(p, kind, {size = 1, name = '', faint = false} = {}) {
    const [x, y] = this.at(p);
    const text = name ? `<text class="name" x="${x + 12}" y="${y - 9}">${name}</text>` : '';
    const transform = `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${size})`;
    const shape = `<path transform="${transform}" d="${SHAPES[kind] ?? SHAPES.estimate}"/>`;
    return `<g class="mark ${kind}${faint ? ' faint' : ''}">${shape}${text}</g>`;
  }

  arrow(from, to, kind) {
    const [ax, ay] = this.at(from),
      [bx, by] = this.at(to),
      long = Math.hypot(bx - ax, by - ay);
    if (long < 4) return '';
    const [ux, uy] = [(bx - ax) / long, (by - ay) / long],
      head = Math.min(9, long / 2);
    const left = [bx - head * ux - head * 0.5 * uy, by - head * uy + head * 0.5 * ux];
    const right = [bx - head * ux + head * 0.5 * uy, by - head * uy - head * 0.5 * ux];
    return `<path class="line ${kind}" d="M${ax} ${ay}L${bx} ${by}M${left}L${bx} ${by}L${right}"/>`;
  }

  // A point that can be moved. `get` and `set` speak the panel's units; `axes` is 'xy' or 'x'.
  handle(id, {role, label, name, get, set, axes = 'xy', step = 0.1}) {
    const group = el(
      'g',
      {
        class: `handle ${role} ${axes}`,
        tabindex: '0',
        role: 'slider',
        'data-handle': id,
        'aria-label': label,
        'aria-roledescription': axes === 'x' ? 'point on a line' : 'point in the plane',
        'aria-valuemin': this.x[0],
        'aria-valuemax': this.x[1],
      },
      el('circle', {class: 'hit', r: 20}),
      el('circle', {class: 'ring', r: 14}),
      el('path', {d: SHAPES[role]}),
    );
    if (name) group.append(this.caption(name));
    const place = () => {
      const p = get();
      group.setAttribute(
        'transform',
        `translate(${this.at(p)
          .map(c => c.toFixed(1))
          .join(' ')})`,
      );
      group.setAttribute('aria-valuenow', p[0].toFixed(2));
      group.setAttribute(
        'aria-valuetext',
        axes === 'x'
          ? minusSign(p[0].toFixed(2))
          : `x ${minusSign(p[0].toFixed(2))}, y ${minusSign(p[1].toFixed(2))}`,
      );
    };
    const move = p => {
      const now = get();
      set([hundredth(clamp(p[0], this.x)), axes === 'x' ? now[1] : hundredth(clamp(p[1], this.y))]);
    };
    this.listen(group, get, move, axes, step);
    this.handles.set(id, {group, place});
    this.over.append(group);
    return group;
  }

  caption(name) {
    const [base, sub] = name.split('_');
    const text = el('text', {class: 'name', x: 11, y: -9, 'aria-hidden': 'true'}, base);
    if (sub) text.append(el('tspan', {dy: 4, 'font-size': '75%'}, sub));
    return text;
  }

  listen(group, get, move, axes, step) {
    let grip = null;
    const under = event => {
      const box = this.svg.getBoundingClientRect();
      return this.value(
        ((event.clientX - box.left) * this.w) / box.width,
        ((event.clientY - box.top) * this.h) / box.height,
      );
    };
    group.addEventListener('pointerdown', event => {
      event.preventDefault();
      group.focus({preventScroll: true});
      group.setPointerCapture(event.pointerId);
      const [p, hit] = [get(), under(event)];
      grip = [p[0] - hit[0], p[1] - hit[1]];
    });
    group.addEventListener('pointermove', event => {
      if (grip) move(plus(under(event), grip));
    });
    for (const end of ['pointerup', 'pointercancel'])
      group.addEventListener(end, () => {
        grip = null;
      });
    group.addEventListener('keydown', event => {
      const far = event.shiftKey ? 5 * step : step,
        p = get();
      const to = {
        ArrowRight: [p[0] + far, p[1]],
        ArrowLeft: [p[0] - far, p[1]],
        ArrowUp: axes === 'x' ? [p[0] + far, p[1]] : [p[0], p[1] + far],
        ArrowDown: axes === 'x' ? [p[0] - far, p[1]] : [p[0], p[1] - far],
        Home: [this.x[0], p[1]],
        End: [this.x[1], p[1]],
      }[event.key];
      if (!to) return;
      event.preventDefault();
      move(to);
    });
  }

  clear() {
    for (const {group} of this.handles.values()) group.remove();
    this.handles.clear();
  }
}
