// 3 The Nadaraya–Watson weights of one query: the text's keys, and the added points beside them.

const FORMS = {dot: 'weights', factors: 'factors', alone: 'alone'};

class Weights extends Shared {
  constructor() {
    super('weights');
    this.bars = this.sides('bars', side => ({
      x: [0, 1],
      y: [0, 1],
      height: 230,
      label: `Weights of the support points of the query, ${side.name}`,
    }));
    this.scatter = this.sides('distances', side => ({
      x: [0, 1],
      y: [-6, 0],
      height: 300,
      label: `Weight against the distance from the query, ${side.name}`,
    }));
    for (const chart of this.bars) chart.svg.addEventListener('click', e => this.pick(chart, e));
  }

  mount() {
    this.run({
      compute: () => this.differences(),
      draw: () => {
        page.sides.forEach((side, s) => {
          this.drawBars(side, view.rows[s], this.bars[s]);
          this.drawDistances(side, view.rows[s], this.scatter[s]);
        });
        this.numbers();
      },
      say: () => `Weights of query ${view.query + 1}.`,
    });
  }

  // Both forms of the kernel give the same weights; and the gate is what the added points weigh.
  differences() {
    const each = view.rows.map(row => {
      const forms = row.weights.map((w, j) => Math.abs(w - row.factors[j]));
      const added = row.points.map((p, j) => (p.kind === 'key' ? 0 : row.weights[j]));
      return {forms: Math.max(...forms), gate: Math.abs(sum(added) - (row.gate ?? 0))};
    });
    return {
      rows: view.rows,
      forms: Math.max(...each.map(e => e.forms)),
      gate: Math.max(...each.map(e => e.gate)),
    };
  }

  role(kind) {
    return kind === 'key' ? 'key' : kind;
  }

  named({kind, index}) {
    return kind === 'key' ? label(index) : kind === 'prefix' ? `P${index + 1}` : 'inducer';
  }

  drawBars(side, row, chart) {
    const shown = row[FORMS[view.form]],
      most = Math.max(...shown),
      count = shown.length;
    Object.assign(chart, {x: [0, count], y: [0, 1.18 * most]});
    const wide = chart.px(1) - chart.px(0),
      gap = wide > 5 ? 1 : 0;
    const bars = shown.map((w, j) => {
      const top = chart.py(w);
      return chart.rect(
        chart.px(j) + gap / 2,
        top,
        Math.max(wide - gap, 0.5),
        chart.py(0) - top,
        `bar ${this.role(row.points[j].kind)}`,
        `${safe(this.named(row.points[j]))}: ${show(w)}, ${show(row.distances[j])} bandwidths away`,
      );
    });
    const first = row.points.findIndex(p => p.kind === 'key');
    const xs = ticks(1, count - first, 7).map(i => [first + i - 0.5, i, false]);
    if (first > 0) xs.unshift([first / 2, side.kind === 'prefix' ? 'prefix' : '★', false]);
    chart.axes = {
      xs: xs.filter(([x], k) => k === 0 || first === 0 || chart.px(x) - chart.px(first / 2) > 34),
      ys: ticks(0, most, 4).map(w => [w, plain(w)]),
      titles: ['tokens by position', 'weight'],
    };
    chart.draw([bars, this.captions(row, shown, chart)]);
  }

  // The heaviest points by name, as far as the names leave each other room.
  captions(row, shown, chart) {
    const order = shown.map((_, j) => j).sort((a, b) => shown[b] - shown[a]);
    const taken = [],
      out = [];
    for (const j of order.slice(0, 12)) {
      const name = this.named(row.points[j]).slice(0, 14),
        half = 3.6 * [...name].length + 4;
      const x = clamp(chart.px(j + 0.5), [chart.pad.left + half, chart.w - chart.pad.right - half]),
        y = chart.py(shown[j]) - 6;
      if (taken.some(t => Math.abs(t.x - x) < t.half + half && Math.abs(t.y - y) < 15)) continue;
      taken.push({x, y, half});
      out.push(chart.text(x, y, safe(name), `name upright ${this.role(row.points[j].kind)}`));
    }
    return out;
  }

  drawDistances(side, row, chart) {
    const logs = row[FORMS[view.form]].map(w => Math.log10(w));
    const farthest = Math.max(...row.distances) * 1.06,
      low = Math.max(-9, Math.floor(Math.min(...logs.filter(Number.isFinite), -1)));
    const nearest = Math.max(0, Math.min(...row.distances) - 0.06 * farthest);
    Object.assign(chart, {x: [nearest, farthest], y: [low, 0]});
    chart.axes = {
      xs: ticks(nearest, farthest, 6).map(d => [d, plain(d)]),
      ys: ticks(low, 0, 5)
        .filter(Number.isInteger)
        .map(y => [y, y === 0 ? '1' : powerOfTen(y)]),
      titles: ['distance from the query, in bandwidths', 'weight'],
    };
    // The Gaussian through a key of the mean weight: a point above it is a heavier key.
    const keys = row.keyWeight.filter((_, j) => row.points[j].kind === 'key');
    const mean = sum(keys) / keys.length;
    const constant = logSum(row.gaussian.map((g, j) => g + row.keyWeight[j]));
    const alone = logSum(row.gaussian);
    const middle = view.form === 'alone' ? -alone : mean - constant;
    const gaussian = d => (middle - (d * d) / 2) / Math.LN10;
    const grid = Array.from({length: 81}, (_, k) => nearest + ((farthest - nearest) * k) / 80);
    const curve = grid.map(d => (gaussian(d) < low - 1 ? null : [d, gaussian(d)]));
    const order = row.points.map((_, j) => j).sort((a, b) => logs[a] - logs[b]);
    const place = j => [row.distances[j], Math.max(logs[j], low)];
    const stems = order.map(
      j =>
        view.form === 'factors' &&
        chart.line(
          [place(j), [row.distances[j], clamp(gaussian(row.distances[j]), [low, 0])]],
          `thin faint ${this.role(row.points[j].kind)}`,
        ),
    );
    const marks = order.map(j =>
      chart.mark(place(j), this.role(row.points[j].kind), {
        size: row.points[j].kind === 'inducer' ? 1 : 0.55,
        faint: logs[j] < low,
      }),
    );
    chart.draw([chart.line(curve, 'estimate', 'stroke-dasharray="6 4"'), stems, marks]);
  }

  numbers() {
    const {forms, gate} = this.values;
    const facts = [['Both forms differ by at most', show(forms)]];
    page.sides.forEach((side, s) => {
      const {gate: found, nearest} = view.rows[s];
      if (found === null) return;
      facts.push(
        [
          `${side.name}: ${side.symbol}`,
          `${show(found)}${found < page.reached ? ', not reached' : ''}`,
        ],
        [`${side.name}: nearest added key`, `${show(nearest)} bandwidths`],
      );
    });
    if (page.sides.some(side => side.kind !== 'none'))
      facts.push(['The gate and the added points’ weights differ by at most', show(gate)]);
    this.facts(facts);
    const rows = page.sides.flatMap((side, s) => {
      const row = view.rows[s];
      const order = row.points.map((_, j) => j).sort((a, b) => row.weights[b] - row.weights[a]);
      const own = j => [
        row.points[j].kind === 'key'
          ? `${row.points[j].index + 1} ${safe(this.named(row.points[j]))}`
          : this.named(row.points[j]),
        ...(page.sides.length > 1 ? [safe(side.name)] : []),
        show(row.weights[j]),
        show(row.scores[j]),
        show(row.gaussian[j]),
        show(row.keyWeight[j]),
        show(row.distances[j]),
      ];
      return order.map(own);
    });
    this.table(
      [
        'point',
        ...(page.sides.length > 1 ? ['adapter'] : []),
        'weight',
        '⟨q, k⟩/√p',
        'log Gaussian',
        'log key weight',
        'bandwidths',
      ],
      rows,
    );
  }

  // A click on a bar of the text makes its token the query.
  pick(chart, event) {
    const s = this.bars.indexOf(chart),
      at = view.rows[s].points[Math.floor(chart.pointed(event)[0])];
    if (at?.kind === 'key') view.set({query: at.index});
  }
}
