// 1 Nadaraya–Watson regression on a line.

teach.figures.smoother = {
  compute({points, x, bandwidth, kernel, probes}) {
    const row = at => points.map(p => maths.smoothing[kernel]((at - p[0]) / bandwidth));
    const at = place =>
      maths.estimate(
        row(place),
        points.map(p => [p[1]]),
      )[0];
    return {
      kernel: row(x),
      weights: maths.normalised(row(x)),
      estimate: at(x),
      curve: probes.map(at),
      reached: sum(row(x)) > 0,
      at,
      row,
    };
  },

  mount() {
    const figure = (this.figure = new Figure('smoother'));
    const panel = figure.panel('line', {
      x: [0, 10],
      y: [-2, 2],
      height: 330,
      ticks: [5, 4],
      label: 'Data, the estimate as a curve, and the place x at which it is read',
    });
    const handles = () => {
      figure.state.points.forEach((_, j) =>
        panel.handle(`point-${j}`, {
          role: 'data',
          label: `data point ${j + 1}`,
          name: `${j + 1}`,
          get: () => figure.state.points[j],
          set: p => {
            figure.state.points[j] = p;
            figure.update();
          },
        }),
      );
      panel.handle('x', {
        role: 'query',
        label: 'place x',
        name: 'x',
        axes: 'x',
        get: () => [figure.state.x, -2],
        set: p => {
          figure.state.x = p[0];
          figure.update();
        },
      });
    };
    handles();
    figure.run({
      compute: this.compute,
      draw: (s, v) => this.draw(figure, panel, s, v),
      say: this.say,
    });
  },

  draw(figure, panel, s, v) {
    const grid = Array.from({length: 601}, (_, i) => i / 60);
    const curve = grid.map(x => (sum(v.row(x)) > 0 ? [x, v.at(x)] : null));
    const bump = grid.map(x => [x, -2 + 0.9 * maths.smoothing[s.kernel]((x - s.x) / s.bandwidth)]);
    panel.draw([
      panel.area(
        bump,
        bump.map(p => [p[0], -2]),
        'query',
      ),
      panel.line(curve, 'estimate'),
      panel.line(
        [
          [s.x, -2],
          [s.x, v.reached ? v.estimate : 2],
        ],
        'query',
        'stroke-dasharray="3 4"',
      ),
      s.points.map(
        (p, j) =>
          `<circle class="weight query" cx="${panel.px(p[0])}" cy="${panel.py(p[1])}"
            r="${8 + 22 * Math.sqrt(v.weights[j])}" opacity="${0.15 + 0.85 * v.weights[j]}"/>`,
      ),
      v.reached && panel.mark([s.x, v.estimate], 'estimate', {name: 'f(x)'}),
    ]);
    const {n, i, o, fraction, sub} = math;
    const total = (...terms) => o('∑') + terms.join('');
    const kernel = math.sub(i('K'), i('j'));
    figure.live(
      math.block(
        math.of('f', 'x') +
          o('=') +
          fraction(total(kernel, sub(i('y'), i('j'))), total(kernel)) +
          o('=') +
          fraction(
            n(
              dot(
                v.kernel,
                s.points.map(p => p[1]),
              ),
            ),
            n(sum(v.kernel)),
          ) +
          o('=') +
          (v.reached ? n(v.estimate) : '<mtext>no point in reach</mtext>'),
      ),
    );
    figure.table(
      ['point', 'x', 'y', 'kernel', 'weight'],
      s.points.map((p, j) => [
        j + 1,
        show(p[0]),
        show(p[1]),
        show(v.kernel[j]),
        show(v.weights[j]),
      ]),
    );
  },

  say(s, v) {
    const most = v.weights.indexOf(Math.max(...v.weights)) + 1;
    return v.reached
      ? `At x ${show(s.x)} the estimate is ${show(v.estimate)}; point ${most} has the greatest ` +
          `weight, ${show(Math.max(...v.weights))}.`
      : `At x ${show(s.x)} no point is in reach of the kernel.`;
  },
};
