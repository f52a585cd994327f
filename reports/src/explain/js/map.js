// 2 λ or μ everywhere: tokens across, layers and heads down.

// Shades of a map: how much colour a value from 0 to 1 gets. Small gates are the rule, so a root.
const SHADES = 10;
const shade = x => Math.min(SHADES, Math.ceil(SHADES * Math.sqrt(Math.max(x, 0)) - 1e-9));

class GateMap extends Shared {
  constructor() {
    super('map');
    this.gated = page.sides.filter(side => side.engine.gate);
    if (this.gated.length === 0) {
      this.root.closest('section').hidden = true;
      return;
    }
    const rows = page.layers * page.heads;
    this.cell = rows <= 24 ? 14 : rows <= 60 ? 9 : 5;
    const height = rows * this.cell + page.layers * 3 + 78;
    this.charts = this.sides('gates', side => ({
      x: [0, tokens.length],
      y: [0, 1],
      height,
      widest: 1200,
      label:
        `${side.symbol || 'No gate'} of ${side.name}: tokens across, layers and heads down; ` +
        `arrow keys move`,
    }));
    this.charts.forEach(chart => {
      chart.padding = {left: 46, top: 12, bottom: 58};
      chart.measure();
      chart.svg.setAttribute('tabindex', '0');
      chart.svg.addEventListener('click', event => this.pick(chart, event));
      chart.svg.addEventListener('keydown', event => this.key(event));
    });
  }

  mount() {
    if (!this.charts) return;
    this.run({
      compute: s => ({show: s.show}),
      draw: () => {
        page.sides.forEach((side, i) => this.map(side, this.charts[i]));
        this.words();
      },
      say: () => this.words(),
    });
  }

  top(chart, layer, head) {
    return chart.pad.top + (layer * page.heads + head) * this.cell + layer * 3;
  }

  // Cells of one shade are one path; it changes with the window and with what is shown only.
  cells(side, chart) {
    const key = `${view.show} ${chart.w}`;
    if (chart.kept?.key === key) return chart.kept;
    const engine = view.show === 'gate' ? side.engine.gate : side.engine.distance;
    const most = view.show === 'gate' ? 1 : Math.max(...engine.numbers, 1e-9);
    const paths = Array.from({length: SHADES + 1}, () => []),
      lost = [],
      wide = (chart.px(1) - chart.px(0)).toFixed(2),
      // Narrow cells keep room between their marks.
      stroke = Math.min(2, wide / 2).toFixed(1),
      tall = this.cell - (this.cell > 6 ? 1 : 0.5);
    for (let l = 0; l < page.layers; l++) {
      for (let h = 0; h < page.heads; h++) {
        const y = this.top(chart, l, h),
          gates = side.engine.gate.row(l, h);
        engine.row(l, h).forEach((value, i) => {
          const x = chart.px(i).toFixed(2);
          paths[shade(value / most)].push(`M${x} ${y}h${wide}v${tall}h-${wide}z`);
          if (gates[i] < page.reached)
            lost.push(`M${(Number(x) + (wide - stroke) / 2).toFixed(1)} ${y + tall / 2}h${stroke}`);
        });
      }
    }
    const cells = paths.map(
      (path, k) =>
        path.length > 0 &&
        `<path class="cell ${side.role}" fill-opacity="${(0.06 + (0.94 * k) / SHADES).toFixed(2)}"
          d="${path.join('')}"/>`,
    );
    chart.kept = {key, most, parts: [...cells, `<path class="lost" d="${lost.join('')}"/>`]};
    return chart.kept;
  }

  map(side, chart) {
    if (!side.engine.gate) {
      chart.draw([chart.text(chart.w / 2, 40, 'This method adds no key and has no gate.')]);
      return;
    }
    const {parts, most} = this.cells(side, chart),
      layer = page.chosen.layers[view.layer],
      head = page.chosen.heads[view.head];
    const wide = chart.px(1) - chart.px(0),
      y = this.top(chart, layer, head);
    const names = Array.from({length: page.layers}, (_, l) =>
      chart.text(
        chart.pad.left - 8,
        this.top(chart, l, 0) + (page.heads * this.cell) / 2 + 4,
        l + 1,
        'tick',
        'end',
      ),
    );
    const last = this.top(chart, page.layers - 1, page.heads - 1) + this.cell;
    chart.axes = {};
    chart.draw([
      parts,
      chart.rect(
        chart.pad.left,
        y - 1,
        chart.px(tokens.length) - chart.pad.left,
        this.cell + 1,
        'row',
      ),
      chart.rect(
        chart.px(view.query) - 1,
        chart.pad.top - 3,
        wide + 2,
        last - chart.pad.top + 6,
        'row',
      ),
      chart.rect(chart.px(view.query) - 1.5, y - 1.5, wide + 3, this.cell + 2, 'chosen'),
    ]);
    // Outside of what is clipped: names of layers, positions, the key of the shades.
    const positions = ticks(1, tokens.length, 8).map(i =>
      chart.text(chart.px(i - 0.5), last + 16, i),
    );
    chart.under.insertAdjacentHTML(
      'beforeend',
      [...names, ...positions, this.shades(chart, side, most, last)].join(''),
    );
  }

  // What a shade is.
  shades(chart, side, most, last) {
    const at = [0, 0.04, 0.16, 0.36, 0.64, 1],
      step = 58;
    const swatches = at.map((x, k) => {
      const left = chart.pad.left + k * step;
      const opacity = (0.06 + (0.94 * shade(x)) / SHADES).toFixed(2);
      return (
        chart.rect(left, last + 26, 14, 10, `cell ${side.role}`, '', `fill-opacity="${opacity}"`) +
        chart.text(left + 17, last + 35, show(x * most).replace(/(\.\d)0+$/, '$1'), 'tick', 'start')
      );
    });
    return swatches.join('');
  }

  pick(chart, event) {
    const box = chart.svg.getBoundingClientRect();
    const y = ((event.clientY - box.top) * chart.h) / box.height - chart.pad.top;
    const block = page.heads * this.cell + 3;
    const layer = clamp(Math.floor(y / block), [0, page.layers - 1]);
    const head = clamp(Math.floor((y - layer * block) / this.cell), [0, page.heads - 1]);
    this.go(layer, head, Math.floor(chart.pointed(event)[0]));
  }

  // A layer and a head whose queries the page carries; of others it says that it does not.
  go(layer, head, query) {
    const l = page.chosen.layers.indexOf(layer),
      h = page.chosen.heads.indexOf(head);
    this.missing =
      l < 0 || h < 0 ? ` Layer ${layer + 1}, head ${head + 1} is not in this page.` : '';
    view.set({query, ...(l < 0 ? {} : {layer: l}), ...(h < 0 ? {} : {head: h})});
  }

  key(event) {
    const {layers, heads} = page.chosen,
      all = layers.length * heads.length,
      now = view.layer * heads.length + view.head;
    const rows = {ArrowDown: 1, ArrowUp: -1, PageDown: heads.length, PageUp: -heads.length};
    const across = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (across) view.set({query: view.query + across});
    else if (rows[event.key]) {
      const to = clamp(now + rows[event.key], [0, all - 1]);
      view.set({layer: Math.floor(to / heads.length), head: to % heads.length});
    } else return;
    event.preventDefault();
  }

  words() {
    const layer = page.chosen.layers[view.layer],
      head = page.chosen.heads[view.head],
      all = [];
    for (const side of page.sides) {
      if (!side.engine.gate) continue;
      const own = side.engine.gate.row(layer, head),
        share = list => list.filter(g => g < page.reached).length / list.length;
      const percent = x => `${(100 * x).toFixed(1)} %`;
      const mean = list => list.reduce((a, x) => a + x, 0) / list.length;
      const every = Array.from(side.engine.gate.numbers);
      all.push(
        [`${side.name}: mean ${side.symbol}, this head`, show(mean(own))],
        [`${side.name}: mean ${side.symbol}, all heads`, show(mean(every))],
        [
          `${side.name}: not reached (${side.symbol} < ${page.reached}), this head`,
          percent(share(own)),
        ],
        [`${side.name}: not reached, all heads`, percent(share(every))],
      );
    }
    this.facts(all);
    return (this.missing ?? '') || `Layer ${layer + 1}, head ${head + 1}, token ${view.query + 1}.`;
  }
}
