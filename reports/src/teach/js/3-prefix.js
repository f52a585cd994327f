// 3 A prefix as extra support points, and as a gated mixture.

teach.figures.prefix = {
  compute({q, keys, values, prefixKeys, prefixValues}) {
    const own = maths.attend(q, keys, values);
    const all = maths.attend(q, [...prefixKeys, ...keys], [...prefixValues, ...values]);
    const result = {f: own.f, lse: own.lse, concatenated: all.f, weights: all.weights};
    // log 0: an empty prefix has the gate 0.
    if (prefixKeys.length === 0)
      return {
        ...result,
        g: [0, 0],
        mu: 0,
        muByDefinition: 0,
        mixture: own.f,
        prefixSum: 0,
        keySum: Math.exp(own.lse),
      };
    const over = maths.attend(q, prefixKeys, prefixValues);
    const mu = maths.logistic(over.lse - own.lse);
    const prefixSum = sum(prefixKeys.map(k => maths.kernel(q, k))),
      keySum = sum(keys.map(k => maths.kernel(q, k)));
    return {
      ...result,
      g: over.f,
      lsePrefix: over.lse,
      mu,
      prefixSum,
      keySum,
      muByDefinition: maths.gate(prefixSum, keySum),
      mixture: maths.mixture(own.f, mu, over.f),
    };
  },

  mount() {
    const figure = (this.figure = new Figure('prefix'));
    const keys = figure.panel('keys', {...PLANE, label: 'Query, keys and prefix keys'});
    const values = figure.panel('values', {...PLANE, label: 'Values, prefix values and output'});
    const handles = () => {
      keys.clear();
      values.clear();
      list(figure, keys, 'keys', {role: 'key', label: 'key', name: 'k'});
      list(figure, values, 'values', {role: 'value', label: 'value', name: 'v'});
      list(figure, keys, 'prefixKeys', {role: 'prefix', label: 'prefix key', name: 'P'});
      list(figure, values, 'prefixValues', {role: 'prefix', label: 'prefix value', name: 'P'});
      single(figure, keys, 'q', {role: 'query', label: 'query', name: 'q'});
    };
    handles();
    figure.run({
      compute: this.compute,
      draw: (s, v) => this.draw(figure, keys, values, s, v),
      say: (s, v) => `Gate mu ${show(v.mu)}; output ${point(v.mixture)}.`,
      reset: handles,
      actions: {
        add: () => this.resize(figure, handles, 1),
        remove: () => this.resize(figure, handles, -1),
      },
    });
  },

  resize(figure, handles, by) {
    const {prefixKeys, prefixValues} = figure.state,
      l = prefixKeys.length;
    if (by > 0 && l < 4) {
      prefixKeys.push(
        [
          [0.4, 1.9],
          [1.9, 0.3],
          [-2.2, 0.4],
          [0.2, -2.3],
        ][l],
      );
      prefixValues.push(
        [
          [-0.4, -1.9],
          [0.8, -2.1],
          [2.2, 2.2],
          [-2.4, 2.4],
        ][l],
      );
    } else if (by < 0 && l > 0) {
      prefixKeys.pop();
      prefixValues.pop();
    }
    handles();
  },

  draw(figure, left, right, s, v) {
    const l = s.prefixKeys.length;
    left.draw([
      ties(left, s.q, s.keys, v.weights.slice(l), 'query'),
      ties(left, s.q, s.prefixKeys, v.weights.slice(0, l), 'prefix'),
    ]);
    right.draw([
      right.area(hull([...s.values, ...s.prefixValues]), [], 'prefix'),
      right.area(hull(s.values), [], 'value'),
      l > 0 && right.line([v.f, v.g], 'prefix', 'stroke-dasharray="4 4"'),
      l > 0 && right.mark(v.g, 'prefix', {size: 0.6, faint: true, name: 'g'}),
      right.mark(v.f, 'estimate', {size: 0.8, faint: l > 0, name: 'f'}),
      right.mark(v.mixture, 'estimate', {name: 'f′'}),
    ]);
    const {n, i, o, fraction, sub} = math,
      mu = i('μ', 'prefix');
    figure.live(
      math.block(
        mu +
          o('=') +
          fraction(
            sub(o('∑'), i('P', 'prefix')) + i('κ'),
            sub(o('∑'), i('P', 'prefix')) + i('κ') + o('+') + sub(o('∑'), i('k', 'key')) + i('κ'),
          ) +
          o('=') +
          fraction(n(v.prefixSum), n(v.prefixSum) + o('+') + n(v.keySum)) +
          o('=') +
          n(v.mu),
        sub(i('f'), i('prefix')) +
          o('=') +
          n(1 - v.mu) +
          math.pair(v.f) +
          o('+') +
          n(v.mu) +
          math.pair(v.g),
        '<mtext>the mixture gives:</mtext><mspace width="0.5em"/>' + math.pair(v.mixture),
        `<mtext>attention over ${l} + ${s.keys.length} points gives:</mtext>` +
          '<mspace width="0.5em"/>' +
          math.pair(v.concatenated),
      ),
    );
    figure.table(
      ['point', 'weight among all'],
      v.weights.map((w, j) => [j < l ? `P${j + 1}` : `k${j - l + 1}`, show(w)]),
    );
  },
};
