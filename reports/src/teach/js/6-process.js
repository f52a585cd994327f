// 6 Inducing variables of a sparse Gaussian process.

teach.figures.process = {
  compute({inputs, targets, pseudo, length, deviation, probes}) {
    const data = {inputs, targets, length, noise: deviation * deviation};
    // Two pseudo-inputs at one place say the same thing once.
    const distinct = [...new Set(pseudo)];
    const exact = maths.exactProcess(data),
      sparse = maths.sparseProcess(data, distinct);
    const at = (process, part) => (process ? probes.map(x => process.at(x)[part]) : []);
    return {
      exact,
      sparse,
      mean: at(exact, 'mean'),
      variance: at(exact, 'variance'),
      sparseMean: at(sparse, 'mean'),
      sparseVariance: at(sparse, 'variance'),
      evidence: exact ? exact.evidence : null,
      sparseEvidence: sparse ? sparse.evidence : null,
      titsias: sparse ? sparse.titsias : null,
    };
  },

  mount() {
    const figure = (this.figure = new Figure('process'));
    const panel = figure.panel('line', {
      x: [-1, 7],
      y: [-3, 3],
      height: 350,
      ticks: [8, 6],
      label: 'Data, exact process, sparse process and its pseudo-inputs',
    });
    const handles = () => {
      panel.clear();
      figure.state.pseudo.forEach((_, a) =>
        panel.handle(`pseudo-${a}`, {
          role: 'inducer',
          label: `pseudo-input ${a + 1}`,
          name: `z_${a + 1}`,
          axes: 'x',
          get: () => [figure.state.pseudo[a], -2.7],
          set: p => {
            figure.state.pseudo[a] = p[0];
            figure.update();
          },
        }),
      );
    };
    handles();
    const place = to => () => {
      figure.state.pseudo = to(figure.state);
      handles();
    };
    figure.run({
      compute: this.compute,
      draw: (s, v) => this.draw(figure, panel, s, v),
      say: (s, v) =>
        `${s.pseudo.length} pseudo-inputs: log evidence ${show(v.evidence)} exact, ` +
        `${show(v.sparseEvidence)} with pseudo-inputs, bound ${show(v.titsias)}.`,
      reset: handles,
      actions: {
        add: place(s => (s.pseudo.length < 14 ? [...s.pseudo, this.gap(s.pseudo)] : s.pseudo)),
        remove: place(s => (s.pseudo.length > 1 ? s.pseudo.slice(0, -1) : s.pseudo)),
        crowd: place(s => s.pseudo.map((_, a) => hundredth(-0.8 + 0.25 * a))),
        all: place(s => [...s.inputs]),
      },
    });
  },

  // The middle of the widest stretch without a pseudo-input.
  gap(pseudo) {
    const ends = [0, ...[...pseudo].sort((a, b) => a - b), 6],
      gaps = ends.slice(1).map((x, i) => x - ends[i]);
    const widest = gaps.indexOf(Math.max(...gaps));
    return hundredth(ends[widest] + gaps[widest] / 2);
  },

  draw(figure, panel, s, v) {
    const grid = Array.from({length: 161}, (_, i) => -1 + i / 20);
    const band = (process, side) =>
      grid.map(x => {
        const {mean, variance} = process.at(x);
        return [x, clamp(mean + side * 2 * Math.sqrt(Math.max(variance, 0)), panel.y)];
      });
    const middle = process => grid.map(x => [x, clamp(process.at(x).mean, panel.y)]);
    panel.draw([
      v.sparse && [
        panel.area(band(v.sparse, 1), band(v.sparse, -1), 'inducer'),
        panel.line(middle(v.sparse), 'inducer'),
      ],
      v.exact && [
        panel.line(middle(v.exact), 'estimate', 'stroke-dasharray="7 4"'),
        panel.line(band(v.exact, 1), 'estimate thin', 'stroke-dasharray="2 4"'),
        panel.line(band(v.exact, -1), 'estimate thin', 'stroke-dasharray="2 4"'),
      ],
      s.inputs.map((x, i) => panel.mark([x, s.targets[i]], 'data', {size: 0.7})),
    ]);
    const number = x =>
      x === null ? 'K_M is singular to working precision: move two pseudo-inputs apart' : show(x);
    figure.live(`<dl class="facts">
      <div><dt>Exact log evidence, <i>log p</i>(<i>y</i>)</dt><dd>${number(v.evidence)}</dd></div>
      <div><dt>Log evidence with pseudo-inputs</dt><dd>${number(v.sparseEvidence)}</dd></div>
      <div><dt>Titsias’ bound, never above the exact one</dt>
      <dd data-out="titsias">${number(v.titsias)}</dd></div>
      <div><dt>What the bound still misses</dt><dd>${
        v.titsias === null || v.evidence === null ? '–' : show(v.evidence - v.titsias)
      }</dd></div></dl>`);
    figure.table(
      ['x', 'mean', 'sparse mean', 'deviation', 'sparse deviation'],
      v.sparse && v.exact
        ? s.probes.map((x, i) => [
            show(x),
            show(v.mean[i]),
            show(v.sparseMean[i]),
            show(Math.sqrt(v.variance[i])),
            show(Math.sqrt(v.sparseVariance[i])),
          ])
        : [],
    );
  },
};
