// 5 What the method does to the output: the next token, or the class, frozen beside tuned.

class Next extends Shared {
  constructor() {
    super('next');
    const rows = Math.max(...page.sides.flatMap(side => side.next.map(list => list.length)));
    this.charts = this.sides('next', side => ({
      x: [0, 1],
      y: [0, 1],
      height: rows * 30 + 56,
      widest: 640,
      label: `What comes next, frozen and tuned by ${side.name}`,
    }));
  }

  mount() {
    this.run({
      compute: () => {
        const at = page.target.from === null ? 0 : view.query;
        return {
          at,
          next: page.sides.map(side => side.next[at]),
          kl: page.sides.map(side => side.kl[at]),
        };
      },
      draw: (_, v) => {
        page.sides.forEach((side, s) => this.draw(side, v.next[s], this.charts[s]));
        this.words(v);
      },
      say: (_, v) => this.words(v),
    });
  }

  draw(side, list, chart) {
    chart.padding = {left: 120, top: 12, bottom: 36};
    chart.measure();
    const most = Math.max(...list.map(c => Math.max(c.frozen, c.tuned)));
    chart.x = [0, Math.min(1, 1.12 * most)];
    chart.axes = {
      xs: ticks(0, chart.x[1], 4).map(p => [p, plain(p)]),
      titles: ['probability: grey frozen, coloured tuned'],
    };
    const bar = (p, y, kind, name) =>
      chart.rect(
        chart.px(0),
        y,
        Math.max(chart.px(p) - chart.px(0), 0.7),
        9,
        kind,
        `${name}: ${show(p)}`,
      );
    const names = [];
    const bars = list.map(({text, frozen, tuned, true_one: own}, k) => {
      const y = chart.pad.top + 8 + 30 * k,
        name = text.trim() === '' ? '␣' : text.replace(/^ +| +$/g, '');
      const short = [...name].length > 15 ? `${[...name].slice(0, 14).join('')}…` : name;
      names.push(
        chart.text(
          chart.pad.left - 8,
          y + 14,
          `${safe(short)}${own ? ' ✓' : ''}`,
          own ? 'own' : 'other',
          'end',
          'unicode-bidi="plaintext"',
        ),
      );
      return [
        bar(frozen, y, 'bar soft', 'frozen'),
        bar(tuned, y + 10, `bar ${side.role}`, 'tuned'),
      ];
    });
    chart.draw([bars]);
    chart.under.insertAdjacentHTML('beforeend', names.join(''));
  }

  words({at, kl}) {
    const after = page.target.from === null ? 'the text' : `“${label(at)}”`;
    const facts = page.sides.flatMap((side, s) => {
      const own = side.next[at].find(c => c.true_one);
      const pair = own ? `${show(own.frozen)} → ${show(own.tuned)}` : '–';
      const next = own ? `“${own.text.trim()}”` : 'what comes next';
      return [
        [`${side.name}: KL(frozen ‖ tuned) after ${after}`, `${show(kl[s])} nats`],
        [`${side.name}: p of ${next}, frozen → tuned`, pair],
      ];
    });
    this.facts(facts);
    this.table(
      ['next', ...(page.sides.length > 1 ? ['adapter'] : []), 'frozen', 'tuned'],
      page.sides.flatMap(side =>
        side.next[at].map(c => [
          safe(c.text) + (c.true_one ? ' ✓' : ''),
          ...(page.sides.length > 1 ? [safe(side.name)] : []),
          show(c.frozen),
          show(c.tuned),
        ]),
      ),
    );
    return `After ${after}: KL ${kl.map(show).join(' and ')} nats.`;
  }
}

// KL and the loss of the next token along the row.
class Along extends Shared {
  constructor() {
    super('along');
    if (page.target.from === null) {
      this.root.closest('section').hidden = true;
      return;
    }
    this.single = this.chart('along', {
      x: [0, tokens.length],
      y: [0, 1],
      height: 260,
      label: 'KL of each token, and the loss of the next token, along the row',
    });
    this.single.svg.addEventListener('click', event =>
      view.set({query: Math.floor(this.single.pointed(event)[0])}),
    );
  }

  mount() {
    if (!this.single) return;
    this.run({
      compute: s => ({
        lines: page.sides.flatMap(side =>
          s.curve === 'kl'
            ? [[side.role, side.kl, side]]
            : [
                ['soft', side.frozen.losses, side],
                [side.role, side.tuned.losses, side],
              ],
        ),
      }),
      draw: (_, v) => {
        this.draw(v.lines);
        this.words();
      },
      say: () => this.words(),
    });
  }

  draw(lines) {
    const chart = this.single,
      most = 1.08 * Math.max(...lines.flatMap(([, list]) => list), 1e-9);
    chart.y = [0, most];
    chart.axes = {
      xs: ticks(1, tokens.length, 10).map(i => [i - 0.5, i, false]),
      ys: ticks(0, most, 4).map(y => [y, plain(y)]),
      titles: ['tokens by position', 'nats'],
    };
    const from = page.target.from - 1;
    const target = chart.rect(
      chart.px(from),
      chart.pad.top,
      chart.px(tokens.length - 1) - chart.px(from),
      chart.h - chart.pad.top - chart.pad.bottom,
      'target',
      'where the loss is taken',
    );
    const x = chart.px(view.query + 0.5);
    const marks = lines.map(([role, list]) => {
      const value = list[view.query];
      return value === undefined
        ? ''
        : `<circle class="spot ${role}" cx="${x}" cy="${chart.py(value)}" r="5"/>`;
    });
    chart.draw([
      target,
      `<path class="line soft thin" d="M${x} ${chart.pad.top}V${chart.h - chart.pad.bottom}"/>`,
      lines.map(([role, list, side]) =>
        chart.line(
          list.map((y, i) => [i + 0.5, y]),
          role === 'soft' ? 'soft thin' : role,
          `stroke-dasharray="${dash(side)}"`,
        ),
      ),
      marks,
    ]);
    if (page.sides.length > 1) chart.under.insertAdjacentHTML('beforeend', chart.key(page.sides));
  }

  words() {
    const {query} = view;
    this.facts(
      page.sides.flatMap(side => [
        [`${side.name}: KL here`, `${show(side.kl[query])} nats`],
        [
          `${side.name}: loss of the next token, frozen → tuned`,
          query < tokens.length - 1
            ? `${show(side.frozen.losses[query])} → ${show(side.tuned.losses[query])}`
            : '–',
        ],
        [
          `${side.name}: loss of the target, frozen → tuned`,
          `${show(side.frozen.loss)} → ${show(side.tuned.loss)}`,
        ],
      ]),
    );
    const here = page.sides.map(side => show(side.kl[query]));
    return `Token ${query + 1}: KL ${here.join(' and ')} nats.`;
  }
}
