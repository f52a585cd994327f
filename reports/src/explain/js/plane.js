// 4 Queries, keys and added points in the plane of their first two principal components.

// Eigenvalues and vectors of a symmetric matrix, the greatest first: cyclic Jacobi rotations.
function spectrum(matrix) {
  const n = matrix.length,
    a = matrix.map(row => Float64Array.from(row)),
    v = a.map((_, i) => Float64Array.from({length: n}, (_, j) => Number(i === j)));
  const size = Math.max(...a.map((row, i) => row[i]), 0);
  for (let sweep = 0; sweep < 30; sweep++) {
    let off = 0;
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) off = Math.max(off, Math.abs(a[i][j]));
    if (off <= 1e-13 * size) break;
    for (let p = 0; p < n - 1; p++) for (let q = p + 1; q < n; q++) rotate(a, v, p, q);
  }
  const order = a.map((_, i) => i).sort((i, j) => a[j][j] - a[i][i]);
  return order.map(i => ({value: a[i][i], vector: v.map(row => row[i])}));
}

// Makes a[p][q] zero.
function rotate(a, v, p, q) {
  if (a[p][q] === 0) return;
  const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1)),
    c = 1 / Math.sqrt(t * t + 1),
    s = t * c;
  for (let k = 0; k < a.length; k++) {
    const [x, y] = [a[k][p], a[k][q]];
    a[k][p] = c * x - s * y;
    a[k][q] = s * x + c * y;
  }
  for (let k = 0; k < a.length; k++) {
    const [x, y] = [a[p][k], a[q][k]];
    a[p][k] = c * x - s * y;
    a[q][k] = s * x + c * y;
  }
  for (const row of v) {
    const [x, y] = [row[p], row[q]];
    row[p] = c * x - s * y;
    row[q] = s * x + c * y;
  }
}

// The plane of a cloud: shares of the variance, and where a point lies in it.
function components(cloud) {
  const p = cloud[0].length,
    mean = Array.from({length: p}, (_, a) => sum(cloud.map(x => x[a])) / cloud.length);
  const covariance = Array.from({length: p}, () => new Float64Array(p));
  for (const x of cloud) {
    for (let a = 0; a < p; a++) {
      const xa = x[a] - mean[a];
      for (let b = 0; b <= a; b++) covariance[a][b] += (xa * (x[b] - mean[b])) / cloud.length;
    }
  }
  for (let a = 0; a < p; a++) for (let b = 0; b < a; b++) covariance[b][a] = covariance[a][b];
  const trace = sum(covariance.map((row, a) => row[a]));
  if (!(trace > 0) || p < 2) return {share: [1, 0], trace, at: x => [x[0], 0]};
  const [first, second] = spectrum(covariance).map(({value, vector}) => {
    // A component's sign is free: the greatest entry is positive, so that pictures stay.
    const greatest = vector.reduce((m, x) => (Math.abs(x) > Math.abs(m) ? x : m), 0);
    return {value, vector: vector.map(x => (greatest < 0 ? -x : x))};
  });
  return {
    trace,
    share: [first.value / trace, second.value / trace],
    at: x =>
      [first, second].map(({vector}) =>
        inner(
          vector,
          x.map((c, a) => c - mean[a]),
        ),
      ),
  };
}

Head.prototype.plane = function () {
  this.components ??= components(this.cloud());
  return this.components;
};

class Plane extends Shared {
  constructor() {
    super('plane');
    this.charts = this.sides('plane', side => ({
      x: [-1, 1],
      y: [-1, 1],
      ratio: 0.85,
      widest: 640,
      label: `Queries, keys and added keys of ${side.name} in the plane of two components`,
    }));
    this.charts.forEach((chart, s) =>
      chart.svg.addEventListener('click', event => this.pick(chart, s, event)),
    );
  }

  mount() {
    this.run({
      compute: () => {
        const heads = page.sides.map(side => side.head(view.layer, view.head));
        return {share: heads.map(head => head.plane().share)};
      },
      draw: () => {
        page.sides.forEach((side, s) => this.draw(side, view.rows[s], this.charts[s]));
        this.words();
      },
      say: () => this.words(),
    });
  }

  draw(side, row, chart) {
    const head = side.head(view.layer, view.head),
      {at, share} = head.plane();
    const places = {
      query: head.queries.map(at),
      key: head.keys.map(at),
      prefix: head.prefix.map(at),
      inducer: head.inducers.map(at),
    };
    chart.places = places;
    this.frame(chart, Object.values(places).flat(), share);
    const from = places.query[view.query];
    const ties = row.points.map((p, j) =>
      row.weights[j] < 0.002
        ? ''
        : chart.line(
            [from, places[p.kind][p.index]],
            `tie ${p.kind === 'key' ? 'query' : p.kind}`,
            `stroke-width="${(0.6 + 9 * row.weights[j]).toFixed(2)}"
              opacity="${(0.25 + 0.6 * row.weights[j]).toFixed(2)}"`,
          ),
    );
    const seen = new Set(row.points.filter(p => p.kind === 'key').map(p => p.index));
    const marks = kind =>
      places[kind].map((p, i) =>
        chart.mark(p, kind, {
          size: kind === 'inducer' ? 0.6 : 0.5,
          faint:
            kind === 'key'
              ? !seen.has(i)
              : kind === 'query' || (kind === 'inducer' && i !== view.query),
        }),
      );
    chart.draw([
      ties,
      marks('key'),
      marks('query'),
      marks('prefix'),
      marks('inducer'),
      chart.mark(from, 'query'),
      this.named(chart, from),
      places.inducer.length > 0 && chart.mark(places.inducer[view.query], 'inducer', {size: 0.9}),
    ]);
  }

  // The query's token, on the side of its point where there is room.
  named(chart, p) {
    const [x, y] = chart.at(p),
      left = x > chart.w / 2;
    const name = safe(label(view.query));
    return chart.text(x + (left ? -12 : 12), y - 9, name, 'name', left ? 'end' : 'start');
  }

  // Both axes in one unit, so that distances in the plane are distances.
  frame(chart, all, share) {
    const range = a => [Math.min(...all.map(p => p[a])), Math.max(...all.map(p => p[a]))];
    const [x, y] = [range(0), range(1)],
      room = [
        chart.w - chart.pad.left - chart.pad.right,
        chart.h - chart.pad.top - chart.pad.bottom,
      ];
    const unit = 1.1 * Math.max((x[1] - x[0]) / room[0], (y[1] - y[0]) / room[1], 1e-9);
    const around = ([low, high], pixels) => [
      (low + high - unit * pixels) / 2,
      (low + high + unit * pixels) / 2,
    ];
    Object.assign(chart, {x: around(x, room[0]), y: around(y, room[1])});
    const percent = s => `${(100 * s).toFixed(1)} %`;
    chart.axes = {
      xs: ticks(...chart.x, 5).map(t => [t, plain(t)]),
      ys: ticks(...chart.y, 5).map(t => [t, plain(t)]),
      titles: [
        `first component, ${percent(share[0])} of the variance`,
        `second component, ${percent(share[1])}`,
      ],
    };
  }

  pick(chart, s, event) {
    const [x, y] = chart.pointed(event),
      away = chart.places.query.map(p => Math.hypot(p[0] - x, p[1] - y));
    view.set({query: away.indexOf(Math.min(...away))});
  }

  words() {
    const percent = s => `${(100 * (s[0] + s[1])).toFixed(1)} %`;
    this.facts(
      page.sides.map((side, s) => [
        `${side.name}: variance that the plane shows`,
        percent(this.values.share[s]),
      ]),
    );
    return `The plane shows ${this.values.share.map(percent).join(' and ')} of the variance.`;
  }
}
