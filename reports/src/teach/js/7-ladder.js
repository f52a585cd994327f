// 7 The ablations as switches: one head with p = 1 in a model with d = 2.

const METHODS = ['prefix', 'adaptive', 'extension', 'gating', 'inducer', 'lora'];
const NAMES = {
  prefix: 'Prefix',
  adaptive: 'Adaptive',
  extension: 'Extension',
  gating: 'Gating',
  inducer: 'Inducer',
  lora: 'Inducer + LoRA',
};

teach.figures.ladder = {
  compute(s) {
    const query = maths.output(s.x, s.queryWeight, s.queryBias);
    const loraQuery = plus(query, maths.lora(s.x, s.loraA, s.loraB, s.loraBias, s.loraScale));
    const out = f => maths.output(f, s.outputWeight, s.outputBias);
    const w = s.outputWeight[0],
      b2 = times(s.valueScale, s.sharedBias);
    // U = W_2 W^oᵀ/‖W^o‖²: the part of the update that the head can give through W^o.
    const onLine = s.valueNetwork.up.map(row => [dot(row, w) / dot(w, w)]);
    const parts = (q, key) => {
      const {f, lse} = maths.attend(q, s.keys, s.values);
      return [
        f,
        maths.logistic(maths.score(q, key) - lse),
        maths.network(q, s.valueNetwork, s.valueScale),
      ];
    };
    const inducerKey = maths.inducerKey(query, maths.bottleneck(query, s.keyNetwork, s.keyScale));
    const loraKey = maths.inducerKey(
      loraQuery,
      maths.bottleneck(loraQuery, s.keyNetwork, s.keyScale),
    );
    const [f, adaptiveLambda, mlpV] = parts(query, query);
    const inducerLambda = parts(query, inducerKey)[1];
    const [loraF, loraLambda, loraV] = parts(loraQuery, loraKey);
    const over = maths.attend(query, s.prefixKeys, s.prefixValues),
      own = maths.attend(query, s.keys, s.values);
    const prefixMu = maths.logistic(over.lse - own.lse);
    const rest = [s.outputWeight, s.outputBias, b2];
    return {
      query,
      loraQuery,
      inducerKey,
      loraKey,
      adaptiveLambda,
      inducerLambda,
      loraLambda,
      prefixMu,
      frozen: out(f),
      prefix: out(maths.mixture(f, prefixMu, over.f)),
      adaptive: maths.adaptive(
        f,
        adaptiveLambda,
        maths.network(query, s.valueNetwork, s.valueScale, onLine),
        ...rest,
      ),
      extension: maths.extended(f, adaptiveLambda, mlpV, ...rest),
      gating: maths.gating(f, inducerLambda, mlpV, ...rest),
      inducer: maths.extended(f, inducerLambda, mlpV, ...rest),
      lora: maths.extended(loraF, loraLambda, loraV, ...rest),
    };
  },

  mount() {
    const figure = (this.figure = new Figure('ladder'));
    Object.assign(figure.start, {method: 'prefix'});
    figure.state.method = 'prefix';
    const keys = figure.panel('keys', {
      x: [-3, 3],
      y: [-1, 1],
      height: 130,
      widest: 640,
      ticks: [6, 2],
      flat: true,
      label: 'Query and keys of the head, on a line because p = 1',
    });
    const plane = figure.panel('plane', {
      x: [-4, 4],
      y: [-2, 2],
      ticks: [8, 4],
      widest: 640,
      label: 'What the head gives to the plane, d = 2',
    });
    figure.state.keys.forEach((_, j) =>
      keys.handle(`keys-${j}`, {
        role: 'key',
        label: `key ${j + 1}`,
        name: `k_${j + 1}`,
        axes: 'x',
        get: () => [figure.state.keys[j][0], -0.4],
        set: p => {
          figure.state.keys[j] = [p[0]];
          figure.update();
        },
      }),
    );
    keys.handle('x', {
      role: 'query',
      label: 'query, before LoRA',
      name: 'q',
      axes: 'x',
      get: () => [
        maths.output(figure.state.x, figure.state.queryWeight, figure.state.queryBias)[0],
        0.4,
      ],
      set: p => {
        this.queryTo(figure.state, p[0]);
        figure.update();
      },
    });
    const only = part => () => Object.assign(figure.state, part);
    figure.run({
      compute: this.compute,
      draw: (s, v) => this.draw(figure, keys, plane, s, v),
      say: (s, v) =>
        `${NAMES[s.method]}: output ${point(v[s.method])}, ` +
        `${show(this.drift(v, s.method))} from the frozen model.`,
      actions: {start: only({keyScale: 0, valueScale: 0, loraScale: 0})},
    });
  },

  // Moves x along its first coordinate until x W^q + b^q is `q`.
  queryTo(s, q) {
    s.x = [(q - s.queryBias[0] - s.x[1] * s.queryWeight[1][0]) / s.queryWeight[0][0], s.x[1]];
  },

  drift: (v, method) => Math.hypot(...minus(v[method], v.frozen)),

  draw(figure, line, plane, s, v) {
    const method = s.method,
      q = method === 'lora' ? v.loraQuery : v.query,
      level = x => [x[0], 0.4];
    const key = {
      prefix: null,
      adaptive: v.query,
      extension: v.query,
      gating: v.inducerKey,
      inducer: v.inducerKey,
      lora: v.loraKey,
    }[method];
    line.draw([
      `<path class="grid" d="M${line.pad.left} ${line.py(-0.4)}H${line.w - line.pad.right}"/>`,
      method === 'prefix' &&
        s.prefixKeys.map((k, a) =>
          line.mark([k[0], -0.4], 'prefix', {size: 0.9, name: `P${a + 1}`}),
        ),
      method === 'lora' && [
        line.arrow(level(v.query), level(q), 'query'),
        line.mark(level(q), 'query', {name: 'q′'}),
      ],
      key && [
        line.arrow(level(q), level(key), 'inducer'),
        line.mark([key[0], 0.4], 'inducer', {size: 0.8, name: 'P'}),
      ],
    ]);
    const w = s.outputWeight[0],
      b = s.outputBias,
      far = 4 / Math.abs(w[0]);
    const sweep = which =>
      Array.from({length: 121}, (_, i) => {
        const moved = {...s, x: [...s.x]};
        this.queryTo(moved, -3 + i / 20);
        return this.compute(moved)[which];
      });
    plane.draw([
      plane.line(
        [-far, far].map(t => plus(b, times(t, w))),
        'soft',
        'stroke-dasharray="2 4"',
      ),
      plane.line(sweep('frozen'), 'soft thick'),
      plane.line(sweep(method), method === 'prefix' ? 'prefix' : 'inducer'),
      s.values.map(x => plane.mark(plus(b, times(x[0], w)), 'value', {size: 0.55, faint: true})),
      METHODS.map(
        other => other !== method && plane.mark(v[other], 'estimate', {size: 0.55, faint: true}),
      ),
      plane.mark(v.frozen, 'data', {size: 0.9, name: 'frozen'}),
      plane.arrow(v.frozen, v[method], 'estimate'),
      plane.mark(v[method], 'estimate'),
    ]);
    this.facts(figure, s, v);
  },

  facts(figure, s, v) {
    figure.root
      .closest('section')
      .querySelectorAll('[data-method]')
      .forEach(note => {
        note.hidden = note.dataset.method !== s.method;
      });
    const gate = {
      prefix: v.prefixMu,
      adaptive: v.adaptiveLambda,
      extension: v.adaptiveLambda,
      gating: v.inducerLambda,
      inducer: v.inducerLambda,
      lora: v.loraLambda,
    };
    const shown = gate[s.method],
      {n, i, o, pair} = math;
    figure.live(
      math.block(
        i(s.method === 'prefix' ? 'μ' : 'λ', s.method === 'prefix' ? 'prefix' : 'inducer') +
          o('=') +
          n(shown) +
          '<mspace width="1em"/><mtext>output</mtext>' +
          o('=') +
          pair(v[s.method]),
        '<mtext>distance from the frozen model:</mtext><mspace width="0.3em"/>' +
          n(this.drift(v, s.method)),
      ),
    );
    figure.table(
      ['method', 'gate', 'output', 'distance from the frozen model'],
      METHODS.map(m => [NAMES[m], show(gate[m]), point(v[m]), show(this.drift(v, m))]),
    );
  },
};
