// 5 An inducer beside each query; (7) and (8) are both computed.

teach.figures.inducer = {
  compute({queries, keys, values, keyNetwork, valueNetwork, keyScale, valueScale}) {
    const each = queries.map(q => {
      const {f, lse, scores} = maths.attend(q, keys, values);
      const mlpV = maths.bottleneck(q, valueNetwork, valueScale);
      const inducerKey = maths.inducerKey(q, maths.bottleneck(q, keyNetwork, keyScale));
      const inducerValue = maths.inducerValue(f, mlpV);
      const score = maths.score(q, inducerKey),
        lambda = maths.logistic(score - lse);
      const own = Math.exp(score),
        row = keys.map(k => maths.kernel(q, k));
      return {
        f,
        lse,
        inducerKey,
        inducerValue,
        score,
        lambda,
        mlpV,
        lambdaByDefinition: maths.gate(own, sum(row)),
        lambdaBySecondSoftmax: maths.secondSoftmax(score, scores),
        augmented: maths.augmented(own, row, inducerValue, values),
        mixture: maths.mixture(f, lambda, inducerValue),
        residual: maths.residual(f, lambda, mlpV),
      };
    });
    return Object.fromEntries(Object.keys(each[0]).map(name => [name, each.map(one => one[name])]));
  },

  mount() {
    const figure = (this.figure = new Figure('inducer'));
    Object.assign(figure.start, {active: 0});
    figure.state.active = 0;
    const keys = figure.panel('keys', {...PLANE, label: 'Queries, keys and inducers'});
    const values = figure.panel('values', {...PLANE, label: 'Values, estimates and outputs'});
    list(figure, keys, 'keys', {role: 'key', label: 'key', name: 'k'});
    list(figure, values, 'values', {role: 'value', label: 'value', name: 'v'});
    figure.state.queries.forEach((_, j) => {
      const handle = keys.handle(`queries-${j}`, {
        role: 'query',
        label: `query ${j + 1}`,
        name: `q_${j + 1}`,
        get: () => figure.state.queries[j],
        set: p => {
          figure.state.queries[j] = p;
          figure.update();
        },
      });
      handle.addEventListener('focus', () => {
        figure.state.active = j;
        figure.update();
      });
    });
    figure.run({
      compute: this.compute,
      draw: (s, v) => this.draw(figure, keys, values, s, v),
      say: (s, v) =>
        `Query ${s.active + 1}: lambda ${show(v.lambda[s.active])}, ` +
        `output ${point(v.residual[s.active])}.`,
      actions: {zero: () => Object.assign(figure.state, {keyScale: 0, valueScale: 0})},
    });
  },

  draw(figure, left, right, s, v) {
    const a = s.active;
    left.draw([
      ties(
        left,
        s.queries[a],
        s.keys,
        maths.attend(s.queries[a], s.keys, s.keys).weights.map(w => w * (1 - v.lambda[a])),
        'query',
      ),
      s.queries.map((q, i) => left.arrow(q, v.inducerKey[i], 'inducer')),
      v.inducerKey.map((k, i) => left.mark(k, 'inducer', {size: 0.9, faint: i !== a})),
    ]);
    right.draw([
      right.area(hull(s.values), [], 'value'),
      right.line([v.f[a], v.inducerValue[a]], 'inducer', 'stroke-dasharray="4 4"'),
      right.mark(v.inducerValue[a], 'inducer', {size: 0.8}),
      s.queries.map((_, i) => [
        right.mark(v.f[i], 'estimate', {size: 0.7, faint: i !== a}),
        right.arrow(v.f[i], v.residual[i], i === a ? 'estimate' : 'estimate faint'),
        i === a && right.mark(v.residual[i], 'estimate', {name: 'f̃'}),
      ]),
    ]);
    this.formulas(figure, s, v, a);
    figure.table(
      ['query', 's', 'LSE', 'λ', 'f', 'MLP_v', '(7)', '(8)', 'largest |(7) − (8)|'],
      s.queries.map((_, i) => [
        `q${i + 1}`,
        show(v.score[i]),
        show(v.lse[i]),
        show(v.lambda[i]),
        point(v.f[i]),
        point(v.mlpV[i]),
        point(v.augmented[i]),
        point(v.residual[i]),
        this.apart(v, i),
      ]),
    );
  },

  apart: (v, i) => show(Math.max(...minus(v.augmented[i], v.residual[i]).map(Math.abs))),

  formulas(figure, s, v, a) {
    const {n, i, o, row, pair} = math,
      lambda = i('λ', 'inducer');
    const label = text => `<mtext>${text}</mtext><mspace width="0.6em"/>`;
    figure.live(
      math.block(
        lambda +
          o('=') +
          i('σ') +
          o('(') +
          i('s') +
          o('−') +
          i('LSE') +
          o(')') +
          o('=') +
          i('σ') +
          o('(') +
          n(v.score[a]) +
          o('−') +
          n(v.lse[a]) +
          o(')') +
          o('=') +
          n(v.lambda[a]),
        label('(8)') +
          i('f') +
          o('+') +
          lambda +
          math.sub(i('MLP'), i('v')) +
          o('=') +
          pair(v.f[a]) +
          o('+') +
          n(v.lambda[a]) +
          pair(v.mlpV[a]),
        label('(8) gives:') + pair(v.residual[a]),
        label(`(7) over 1 + ${s.keys.length} points gives:`) + pair(v.augmented[a]),
        label('difference:') + row(`<mn data-out="apart">${this.apart(v, a)}</mn>`),
      ),
    );
  },
};
