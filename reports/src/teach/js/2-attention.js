// 2 Attention in the plane, as a product of vectors and as a Gaussian smoother.

const PLANE = {x: [-3, 3], y: [-3, 3], ticks: [6, 6]};

// The convex hull, anticlockwise from the leftmost point.
function hull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = all =>
    all
      .reduce((chain, p) => {
        const turn = (a, b) => (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]);
        while (chain.length > 1 && turn(chain.at(-2), chain.at(-1)) <= 0) chain.pop();
        return [...chain, p];
      }, [])
      .slice(0, -1);
  return sorted.length < 2 ? sorted : [...half(sorted), ...half([...sorted].reverse())];
}

// Points of a list as handles of a panel.
function list(figure, panel, key, {role, label, name}) {
  figure.state[key].forEach((_, j) =>
    panel.handle(`${key}-${j}`, {
      role,
      label: `${label} ${j + 1}`,
      name: `${name}_${j + 1}`,
      get: () => figure.state[key][j],
      set: p => {
        figure.state[key][j] = p;
        figure.update();
      },
    }),
  );
}

function single(figure, panel, key, options) {
  panel.handle(key, {
    ...options,
    get: () => figure.state[key],
    set: p => {
      figure.state[key] = p;
      figure.update();
    },
  });
}

// Lines whose width is a weight.
const ties = (panel, from, to, weights, kind) =>
  to.map((p, j) =>
    panel.line(
      [from, p],
      `tie ${kind}`,
      `stroke-width="${(0.6 + 9 * weights[j]).toFixed(2)}"
        opacity="${(0.25 + 0.6 * weights[j]).toFixed(2)}"`,
    ),
  );

teach.figures.attention = {
  compute({q, keys, values}) {
    const attended = maths.attend(q, keys, values);
    const near = keys.map(k => maths.gaussian(q, k)),
      heavy = keys.map(maths.keyWeight);
    return {
      ...attended,
      kernel: keys.map(k => maths.kernel(q, k)),
      gaussian: near,
      keyWeight: heavy,
      gaussianWeights: maths.normalised(near),
      gaussianOnly: maths.estimate(near, values),
      gaussianTimesWeight: maths.estimate(
        near.map((g, j) => g * heavy[j]),
        values,
      ),
    };
  },

  mount() {
    const figure = (this.figure = new Figure('attention'));
    Object.assign(figure.start, {form: 'dot'});
    figure.state.form = 'dot';
    const keys = figure.panel('keys', {...PLANE, label: 'Query and keys'});
    const values = figure.panel('values', {...PLANE, label: 'Values and output'});
    list(figure, keys, 'keys', {role: 'key', label: 'key', name: 'k'});
    list(figure, values, 'values', {role: 'value', label: 'value', name: 'v'});
    single(figure, keys, 'q', {role: 'query', label: 'query', name: 'q'});
    const lengths = to => {
      figure.state.keys = figure.state.keys.map((k, j) =>
        times(to(j, Math.hypot(...k) || 1), k).map(hundredth),
      );
    };
    figure.run({
      compute: this.compute,
      draw: (s, v) => this.draw(figure, keys, values, s, v),
      say: (s, v) =>
        `Output ${point(s.form === 'gaussian' ? v.gaussianOnly : v.f)}; weights ` +
        `${(s.form === 'gaussian' ? v.gaussianWeights : v.weights).map(show).join(', ')}.`,
      actions: {
        equal: () => lengths((_, length) => 1.6 / length),
        longer: () => lengths(j => (j === 2 ? 1.3 : 1)),
      },
    });
  },

  draw(figure, left, right, s, v) {
    const only = s.form === 'gaussian',
      weights = only ? v.gaussianWeights : v.weights;
    const output = only ? v.gaussianOnly : s.form === 'factors' ? v.gaussianTimesWeight : v.f;
    const round = r =>
      `<circle class="contour query" cx="${left.px(s.q[0])}" cy="${left.py(s.q[1])}"
        r="${r * (left.px(1) - left.px(0))}"/>`;
    left.draw([
      s.form === 'dot'
        ? left.arrow([0, 0], s.q, 'query')
        : [1, 2].map(c => round(c * Math.sqrt(Math.SQRT2))),
      s.form === 'dot' && s.keys.map(k => left.arrow([0, 0], k, 'key faint')),
      s.form === 'factors' &&
        s.keys.map(
          (k, j) =>
            `<circle class="weight key" cx="${left.px(k[0])}" cy="${left.py(k[1])}"
              r="${8 * Math.sqrt(v.keyWeight[j])}"/>`,
        ),
      ties(left, s.q, s.keys, weights, 'query'),
    ]);
    right.draw([
      right.area(hull(s.values), [], 'value'),
      ties(right, output, s.values, weights, 'value'),
      right.mark(output, 'estimate', {name: 'f(q)'}),
    ]);
    this.formula(figure, s, v, output);
    figure.table(
      [
        'key',
        'score',
        'Gaussian',
        'weight of the key',
        'product',
        'share of attention',
        'share, Gaussian only',
      ],
      s.keys.map((_, j) => [
        `k${j + 1}`,
        show(v.scores[j]),
        show(v.gaussian[j]),
        show(v.keyWeight[j]),
        show(v.gaussian[j] * v.keyWeight[j]),
        show(v.weights[j]),
        show(v.gaussianWeights[j]),
      ]),
    );
  },

  formula(figure, s, v, output) {
    const {n, i, o, sub} = math,
      key = sub(i('k', 'key'), n1(1));
    const name = sub(i('κ'), n1(1)) + o('=');
    const forms = {
      dot:
        name +
        i('exp') +
        o('(') +
        o('⟨') +
        i('q', 'query') +
        o(',') +
        key +
        o('⟩') +
        o('/') +
        '<msqrt><mi>p</mi></msqrt>' +
        o(')') +
        o('=') +
        i('exp') +
        o('(') +
        n(v.scores[0]) +
        o(')') +
        o('=') +
        n(v.kernel[0]),
      factors:
        name +
        '<mtext>query’s part</mtext>' +
        o('·') +
        '<mtext>Gaussian</mtext>' +
        o('·') +
        '<mtext>key’s part</mtext>' +
        o('=') +
        n(maths.keyWeight(s.q)) +
        o('·') +
        n(v.gaussian[0]) +
        o('·') +
        n(v.keyWeight[0]) +
        o('=') +
        n(v.kernel[0]),
      gaussian: '<mtext>Gaussian alone:</mtext><mspace width="0.5em"/>' + name + n(v.gaussian[0]),
    };
    figure.live(math.block(forms[s.form], math.of('f', 'q') + o('=') + math.pair(output)));
  },
};

// A whole number in a formula.
function n1(x) {
  return `<mn>${x}</mn>`;
}
