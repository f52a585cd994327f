// 6 Switches: the method left out of one layer, or of all but one.

class Switches extends Shared {
  constructor() {
    super('layers');
    this.given = page.sides.filter(side => side.switches);
    if (this.given.length === 0) {
      this.root.closest('section').hidden = true;
      return;
    }
    this.single = this.chart('layers', {
      x: [0.4, page.layers + 0.6],
      y: [0, 1],
      height: 280,
      label: 'Loss of the target with the method in some layers only',
    });
    this.single.svg.addEventListener('click', event => {
      const layer = clamp(Math.round(this.single.pointed(event)[0]), [1, page.layers]) - 1;
      this.go(layer);
    });
    this.at = 0;
    const slider = this.get('[data-layer]');
    slider.max = page.layers;
    slider.addEventListener('input', () => this.go(Number(slider.value) - 1));
  }

  go(layer) {
    this.at = layer;
    view.draw();
  }

  mount() {
    if (!this.single) return;
    this.run({
      compute: s => ({
        losses: this.given.map(side =>
          s.out === 'all' ? side.tuned.loss : side.switches[s.out][this.at],
        ),
      }),
      draw: (s, v) => {
        this.draw(s.out);
        this.words(s.out, v.losses);
      },
      say: (s, v) => this.words(s.out, v.losses),
    });
  }

  draw(out) {
    const chart = this.single,
      every = this.given.flatMap(side => [
        side.frozen.loss,
        side.tuned.loss,
        ...side.switches.without,
        ...side.switches.only,
      ]);
    const [low, high] = [Math.min(...every), Math.max(...every)],
      room = 0.08 * (high - low) || 0.1;
    chart.y = [low - room, high + room];
    chart.padding = {left: 46, right: 60};
    chart.measure();
    chart.axes = {
      xs: Array.from({length: page.layers}, (_, l) => [l + 1, l + 1, false]),
      ys: ticks(...chart.y, 5).map(y => [y, plain(y)]),
      titles: ['layer', 'loss of the target, nats'],
    };
    const shift = s => (this.given.length > 1 ? 0.16 * (2 * s - 1) : 0);
    const level = (y, kind, more = '') =>
      chart.line(
        [
          [chart.x[0], y],
          [chart.x[1], y],
        ],
        kind,
        more,
      );
    const parts = this.given.map((side, s) => {
      const spots = name =>
        side.switches[name].map((y, l) => {
          const on = out === name && l === this.at;
          return `<circle class="spot ${side.role} ${name}" cx="${chart.px(l + 1 + shift(s))}"
            cy="${chart.py(y)}" r="${on ? 8 : 5}"><title>${name === 'only' ? 'only' : 'without'}
            layer ${l + 1}: ${show(y)}</title></circle>`;
        });
      return [
        level(side.frozen.loss, 'soft', 'stroke-dasharray="3 4"'),
        level(side.tuned.loss, `${side.role} thin`, `stroke-dasharray="${dash(side)}"`),
        spots('only'),
        spots('without'),
      ];
    });
    const band =
      out !== 'all' &&
      chart.rect(
        chart.px(this.at + 0.6),
        chart.pad.top,
        chart.px(1) - chart.px(0.2),
        chart.h - chart.pad.top - chart.pad.bottom,
        'target',
      );
    chart.draw([band, parts]);
    this.ends(chart);
  }

  // What the lines are, at their right ends, where names leave each other room; and whose they are.
  ends(chart) {
    const taken = [];
    const place = (y, name) => {
      const at = chart.py(y);
      if (taken.some(other => Math.abs(other - at) < 12)) return '';
      taken.push(at);
      return chart.text(chart.w - chart.pad.right + 4, at + 4, name, 'tick', 'start');
    };
    const names = this.given.flatMap(side => [
      place(side.tuned.loss, 'tuned'),
      place(side.frozen.loss, 'frozen'),
    ]);
    if (this.given.length > 1) names.push(chart.key(this.given));
    chart.under.insertAdjacentHTML('beforeend', names.join(''));
  }

  words(out, losses) {
    const slider = this.get('[data-layer]'),
      said = this.get('[data-layer-said]');
    slider.value = this.at + 1;
    slider.disabled = out === 'all';
    said.textContent = this.at + 1;
    const which = {
      all: 'in all layers',
      without: `left out of layer ${this.at + 1}`,
      only: `in layer ${this.at + 1} only`,
    }[out];
    this.facts(
      this.given.flatMap((side, s) => [
        [`${side.name}: the method ${which}`, `loss ${show(losses[s])}`],
        [
          `${side.name}: against the whole method (${show(side.tuned.loss)})`,
          `${losses[s] < side.tuned.loss ? '' : '+'}${show(losses[s] - side.tuned.loss)}`,
        ],
        [
          `${side.name}: in no layer; frozen`,
          `${show(side.switches.none)}; ${show(side.frozen.loss)}`,
        ],
      ]),
    );
    this.table(
      ['layer', ...this.given.flatMap(s => [`without, ${safe(s.name)}`, `only, ${safe(s.name)}`])],
      Array.from({length: page.layers}, (_, l) => [
        l + 1,
        ...this.given.flatMap(s => [show(s.switches.without[l]), show(s.switches.only[l])]),
      ]),
    );
    return `The method ${which}: loss ${losses.map(show).join(' and ')}.`;
  }
}
