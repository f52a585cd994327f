// 4 A fixed prefix and one inducer a query, while a causal input grows.

const median = a => {
  const sorted = [...a].sort((x, y) => x - y),
    half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};

teach.figures.growth = {
  compute({length, queries, keys, prefixKeys, threshold}) {
    const mu = [],
      lambda = [],
      nearest = [];
    for (let i = 0; i < length; i++) {
      const q = queries[i],
        seen = keys.slice(0, i + 1);
      const {lse} = maths.attend(q, seen, seen);
      mu.push(maths.logistic(maths.attend(q, prefixKeys, prefixKeys).lse - lse));
      lambda.push(maths.logistic(maths.score(q, q) - lse));
      const bandwidth = Math.sqrt(Math.sqrt(q.length));
      nearest.push(
        Math.sqrt(Math.min(...prefixKeys.map(p => maths.squaredDistance(q, p)))) / bandwidth,
      );
    }
    const below = gates => gates.filter(gate => gate < threshold).length;
    return {mu, lambda, nearest, notReachedByPrefix: below(mu), notReachedByInducer: below(lambda)};
  },

  mount() {
    const figure = (this.figure = new Figure('growth'));
    const plane = figure.panel('plane', {
      ...PLANE,
      label: 'Queries of the input so far, and the prefix keys',
    });
    const gates = figure.panel('gates', {
      x: [0, 64],
      y: [-4, 0],
      ratio: 1,
      ticks: [4, 4],
      label: 'Gates by position',
      power: true,
    });
    list(figure, plane, 'prefixKeys', {role: 'prefix', label: 'prefix key', name: 'P'});
    figure.run({
      compute: this.compute,
      draw: (s, v) => this.draw(figure, plane, gates, s, v),
      say: (s, v) =>
        `${s.length} tokens: the prefix does not reach ${v.notReachedByPrefix} of them, ` +
        `their inducers do not reach ${v.notReachedByInducer}.`,
    });
  },

  draw(figure, plane, gates, s, v) {
    const dot = i => {
      const [x, y] = plane.at(s.queries[i]),
        reached = v.mu[i] >= s.threshold;
      return `<circle class="token ${reached ? 'reached' : 'lost'}" cx="${x.toFixed(1)}"
        cy="${y.toFixed(1)}" r="${i === s.length - 1 ? 7 : 4.5}"/>`;
    };
    plane.draw([plane.line(s.queries.slice(0, s.length), 'path'), v.mu.map((_, i) => dot(i))]);
    const curve = (gate, kind, more) =>
      gates.line(
        gate.map((g, i) => [i + 1, Math.max(Math.log10(g), -4)]),
        kind,
        more,
      );
    gates.draw([
      gates.line(
        [
          [0, Math.log10(s.threshold)],
          [64, Math.log10(s.threshold)],
        ],
        'soft',
        'stroke-dasharray="3 4"',
      ),
      curve(v.mu, 'prefix', 'stroke-dasharray="7 3"'),
      curve(v.lambda, 'inducer'),
      `<text class="name prefix" x="${gates.px(s.length) + 4}"
        y="${gates.py(Math.max(Math.log10(v.mu.at(-1)), -3.9)) + 4}">μ</text>`,
      `<text class="name inducer" x="${gates.px(s.length) + 4}"
        y="${gates.py(Math.log10(v.lambda.at(-1))) + 4}">λ</text>`,
    ]);
    const share = count => `${Math.round((100 * count) / s.length)} %`;
    figure.get('[data-live]').innerHTML = `<dl class="facts">
      <div><dt>Queries that the <b class="prefix">prefix</b> does not reach</dt>
      <dd data-out="lost">${v.notReachedByPrefix} of ${s.length}
        (${share(v.notReachedByPrefix)})</dd></div>
      <div><dt>Queries that their <b class="inducer">inducer</b> does not reach</dt>
      <dd>${v.notReachedByInducer} of ${s.length} (${share(v.notReachedByInducer)})</dd></div>
      <div><dt>Median distance to the nearest prefix key</dt>
      <dd>${show(median(v.nearest))} bandwidths</dd></div>
      <div><dt>Distance of each query to its inducer here</dt><dd>0 bandwidths</dd></div></dl>`;
    figure.table(
      ['token', 'distance to the prefix, bandwidths', 'μ', 'λ'],
      v.mu.map((mu, i) => [i + 1, show(v.nearest[i]), show(mu), show(v.lambda[i])]),
    );
  },
};
