// 1 The row: its tokens as running text, each marked by the weight that it has for the query.

class Tokens extends Shared {
  constructor() {
    super('tokens');
    const list = (this.list = this.get('[role=listbox]'));
    this.places = page.tokens.map(({run, special}, i) => {
      const place = document.createElement('span');
      place.id = `token-${i}`;
      place.className = special || run === '' ? 'token special' : 'token';
      place.setAttribute('role', 'option');
      place.title = `${i + 1}: ${page.tokens[i].piece} (id ${page.tokens[i].id})`;
      // The rest of a character that several tokens make has a sign of its own.
      place.textContent = run.replace(/\n/g, '↵\n') || '·';
      list.append(place);
      return place;
    });
    const at = event => this.places.indexOf(event.target.closest('.token'));
    list.addEventListener('click', event => {
      if (at(event) >= 0) view.set({query: at(event)});
    });
    list.addEventListener('pointerover', event => {
      if (event.pointerType === 'mouse' && at(event) >= 0)
        view.set({query: at(event), preview: true});
    });
    list.addEventListener('pointerleave', () => view.set({query: view.pinned}));
    list.addEventListener('keydown', event => {
      const to = {
        ArrowRight: view.query + 1,
        ArrowDown: view.query + 1,
        ArrowLeft: view.query - 1,
        ArrowUp: view.query - 1,
        Home: 0,
        End: tokens.length - 1,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      view.set({query: to});
    });
  }

  mount() {
    this.run({
      compute: () => ({rows: view.rows}),
      draw: () => this.mark(),
      say: () => this.words(),
    });
  }

  // The weight of every token against the heaviest; the added points' is the gate.
  mark() {
    this.list.setAttribute('aria-activedescendant', `token-${view.query}`);
    const weights = view.rows.map(row => {
      const all = tokens.map(() => 0);
      row.points.forEach(({kind, index}, j) => {
        if (kind === 'key') all[index] = row.weights[j];
      });
      return times(1 / Math.max(...all), all);
    });
    this.places.forEach((place, i) => {
      place.setAttribute('aria-selected', String(i === view.query));
      const bars = page.sides.map((side, s) => {
        const share = Math.round(100 * weights[s][i]);
        const colour = `color-mix(in srgb,var(--${side.role}) ${share}%,transparent)`;
        return `inset 0 -${4 * (s + 1)}px 0 ${colour}`;
      });
      place.style.boxShadow = bars.join(',');
    });
    const fact = (side, row) => {
      if (row.gate === null) return [`${side.name}: heaviest token`, this.heaviest(row)];
      return [
        `${side.name}: ${side.symbol} of this query, and the heaviest token`,
        `${show(row.gate)}, ${this.heaviest(row)}`,
      ];
    };
    this.facts(page.sides.map((side, s) => fact(side, view.rows[s])));
  }

  heaviest(row) {
    const keys = row.points.map((p, j) => (p.kind === 'key' ? row.weights[j] : -1));
    const most = keys.indexOf(Math.max(...keys));
    return `“${label(row.points[most].index)}” ${show(keys[most])}`;
  }

  words() {
    const gates = page.sides.map((side, s) =>
      view.rows[s].gate === null ? '' : ` ${side.name}: ${side.symbol} ${show(view.rows[s].gate)}.`,
    );
    return (
      `Query ${view.query + 1}, ${label(view.query)}; layer ${view.layerName()}, head ` +
      `${view.headName()}.${gates.join('')}`
    );
  }
}
