// What is looked at: one query in one head of one layer. All figures show it together.

const page = teach.data;

page.sides.forEach((side, index) => {
  const {queries, keys, added} = side;
  side.index = index;
  side.blocks = {
    queries: new Blocks(queries),
    keys: new Blocks(keys),
    added: added && new Blocks(added),
  };
  side.engine = {
    lse: new Engine(side.lse),
    gate: side.gate && new Engine(side.gate),
    distance: side.distance && new Engine(side.distance),
  };
  side.symbol = {prefix: 'μ', inducer: 'λ', none: ''}[side.kind];
  // The colour of the adapter: that of its method, and the estimate's for a second of its kind.
  const same = page.sides.slice(0, index).some(other => other.kind === side.kind);
  side.role = side.kind === 'none' || same ? 'value' : side.kind;
  side.made = new Map();
  side.head = (l, h) => {
    const at = `${l} ${h}`;
    if (!side.made.has(at)) {
      if (side.made.size > 8) side.made.clear();
      side.made.set(at, new Head(side, l, h));
    }
    return side.made.get(at);
  };
});

const tokens = page.tokens.map(({text, special}) => ({text, special}));
// A token in one line of a picture: spaces at its ends would be lost there.
const label = i => {
  const {text} = tokens[i];
  return text.trim() === '' ? '␣' : text.replace(/^ +| +$/g, '');
};

// Where it starts: some way into the row, so that there are keys to be seen and a token to come.
const START =
  page.target.from === null
    ? 0
    : Math.max(page.target.from - 1, Math.floor(0.75 * (tokens.length - 1)));

const view = {
  query: START,
  pinned: START,
  layer: 0,
  head: 0,
  form: 'dot',
  show: 'gate',
  curve: 'kl',
  out: 'without',

  // The figures' own share of the state is what the controls bind; this is what all of them share.
  set(change) {
    Object.assign(view, change);
    view.query = clamp(view.query, [0, tokens.length - 1]);
    if (!change.preview) view.pinned = view.query;
    view.preview = false;
    view.draw();
  },

  // Once a frame, however many figures ask for it.
  draw() {
    if (view.waiting) return;
    view.waiting = true;
    requestAnimationFrame(() => {
      view.waiting = false;
      view.now();
    });
  },

  now() {
    view.rows = page.sides.map(side => side.head(view.layer, view.head).row(view.query));
    for (const figure of Object.values(teach.figures)) figure.show();
    view.chooser();
  },

  chooser() {
    for (const select of document.querySelectorAll('[data-pick]')) {
      select.value = view[select.dataset.pick];
    }
    document.querySelector('[data-query]').textContent = `${view.query + 1}: ${label(view.query)}`;
  },

  // The names of layer and head, from 1.
  layerName: () => page.chosen.layers[view.layer] + 1,
  headName: () => page.chosen.heads[view.head] + 1,
};

// A figure of the page: it draws the view, and its controls change it.
class Shared extends Figure {
  constructor(name) {
    super(name, {});
    this.state = view;
  }

  update() {
    view.draw();
  }

  show() {
    if (this.paint) super.update();
  }

  // Panels of all adapters side by side, each in a place of its own.
  sides(name, options) {
    const host = this.get(`[data-sides="${name}"]`);
    return page.sides.map(side => {
      const place = document.createElement('div'),
        title = document.createElement('p'),
        panel = document.createElement('div');
      title.className = 'panel-title';
      title.textContent = `${side.name}: ${side.method}`;
      panel.dataset.panel = `${name}-${side.index + 1}`;
      place.append(title, panel);
      host.append(place);
      const chart = new Chart(panel, options(side));
      this.panels.push(chart);
      return chart;
    });
  }

  chart(name, options) {
    const chart = new Chart(this.get(`[data-panel="${name}"]`), options);
    this.panels.push(chart);
    return chart;
  }

  // Names with numbers: [name, number] pairs.
  facts(pairs) {
    const entry = ([name, number]) =>
      `<div><dt>${safe(name)}</dt><dd>${safe(String(number))}</dd></div>`;
    this.live(`<dl class="facts">${pairs.map(entry).join('')}</dl>`);
  }
}

// A panel whose ticks are given: [value, text] pairs of each axis.
class Chart extends Panel {
  frame() {
    const {xs = [], ys = [], titles = []} = this.axes ?? {};
    const bottom = this.h - this.pad.bottom,
      right = this.w - this.pad.right;
    const lines = ys.map(
      ([y, text]) =>
        `<path class="grid" d="M${this.pad.left} ${this.py(y)}H${right}"/>
        <text class="tick" text-anchor="end" x="${this.pad.left - 5}"
          y="${this.py(y) + 4}">${text}</text>`,
    );
    lines.push(
      ...xs.map(
        ([x, text, grid = true]) =>
          `${grid ? `<path class="grid" d="M${this.px(x)} ${this.pad.top}V${bottom}"/>` : ''}
          ${this.text(this.px(x), bottom + 16, text)}`,
      ),
    );
    const [below, beside] = titles;
    if (below)
      lines.push(
        `<text class="tick" text-anchor="end" x="${right}" y="${this.h - 2}">${below}</text>`,
      );
    if (beside)
      lines.push(
        `<text class="tick" x="${this.pad.left}" y="${this.pad.top - 5}">${beside}</text>`,
      );
    return lines.join('');
  }

  measure() {
    super.measure();
    this.pad = {...this.pad, top: 22, bottom: 36, ...this.padding};
  }

  // A new height, or room at the left.
  resize({height = this.height, padding = this.padding}) {
    Object.assign(this, {height, padding});
    this.measure();
  }

  // A rectangle in pixels.
  rect(x, y, w, h, kind, title = '', more = '') {
    const text = title && `<title>${title}</title>`;
    return `<rect class="${kind}" x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${w.toFixed(1)}"
      height="${Math.max(h, 0).toFixed(1)}" ${more}>${text}</rect>`;
  }

  text(x, y, content, kind = 'tick', anchor = 'middle', more = '') {
    return `<text class="${kind}" text-anchor="${anchor}" x="${x.toFixed(1)}" y="${y.toFixed(1)}"
      ${more}>${content}</text>`;
  }

  // Which adapter is which, where one panel shows all: colour and dash.
  key(sides) {
    let right = this.w - this.pad.right;
    const parts = [...sides].reverse().map(side => {
      const name = side.name,
        end = right;
      right -= 6.4 * [...name].length + 40;
      return (
        this.text(end, this.pad.top - 8, safe(name), 'tick', 'end') +
        `<path class="line ${side.role}" stroke-dasharray="${dash(side)}"
          d="M${right + 8} ${this.pad.top - 12}h22"/>`
      );
    });
    return parts.join('');
  }

  // Where somebody points, in the panel's units.
  pointed(event) {
    const box = this.svg.getBoundingClientRect();
    return this.value(
      ((event.clientX - box.left) * this.w) / box.width,
      ((event.clientY - box.top) * this.h) / box.height,
    );
  }
}

// The second adapter's lines are dashed: colour is not all that tells them apart.
const dash = side => (side.index === 0 ? 'none' : '7 3');

// Round steps for an axis from `low` to `high`.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1,
    ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * ten).find(s => s >= rough);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from(
    {length: Math.floor(high / step + 1e-9) - first + 1},
    (_, i) => (first + i) * step,
  );
}
const plain = x => minusSign(String(Number(x.toPrecision(6))));
