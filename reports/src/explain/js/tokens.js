// 1 The row: its tokens as running text, each marked by the weight that it has for the query.

// The thickness of a token's line in pixels, and how far a font goes below its base line.
const LINE = 4,
  DESCENT = 0.24;
const styled = element => getComputedStyle(element);

class Tokens extends Shared {
  constructor() {
    super('tokens');
    const list = (this.list = this.get('[role=listbox]'));
    this.get('[data-panel]').picture = () => this.picture();
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
    this.shares = view.rows.map(row => {
      const all = tokens.map(() => 0);
      row.points.forEach(({kind, index}, j) => {
        if (kind === 'key') all[index] = row.weights[j];
      });
      return times(1 / Math.max(...all), all);
    });
    this.places.forEach((place, i) => {
      place.setAttribute('aria-selected', String(i === view.query));
      // one line above the other, so that neither shows through the other
      const lines = page.sides.map((side, s) => {
        const share = Math.round(100 * this.shares[s][i]);
        const colour = `color-mix(in srgb,var(--${side.role}) ${share}%,transparent)`;
        return {image: `linear-gradient(${colour},${colour})`, at: `0 calc(100% - ${LINE * s}px)`};
      });
      place.style.backgroundImage = lines.map(line => line.image).join(',');
      place.style.backgroundPosition = lines.map(line => line.at).join(',');
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

  // The row as a picture: each token where it stands in the page, above the lines of its weights.
  picture() {
    const box = this.list.getBoundingClientRect(),
      size = `${box.width.toFixed(1)} ${box.height.toFixed(1)}`,
      [width, height] = size.split(' ');
    return (
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
      `viewBox="0 0 ${size}" style="background:${styled(document.body).backgroundColor}">` +
      `${this.places.map((place, i) => this.drawn(place, i, box)).join('')}</svg>`
    );
  }

  // A token that goes over two lines of the page has its word in the longer part.
  drawn(place, i, box) {
    const parts = [...place.getClientRects()].filter(part => part.width > 0);
    if (parts.length === 0) return '';
    const rect = (part, top, height, more) =>
      `<rect x="${(part.left - box.left).toFixed(1)}" y="${(top - box.top).toFixed(1)}" ` +
      `width="${part.width.toFixed(1)}" height="${height.toFixed(1)}" ${more}/>`;
    const colour = name => styled(document.documentElement).getPropertyValue(`--${name}`).trim();
    const lines = parts.flatMap(part =>
      page.sides.map((side, s) => {
        const more = `fill="${colour(side.role)}" fill-opacity="${this.shares[s][i].toFixed(3)}"`;
        return rect(part, part.bottom - LINE * (s + 1), LINE, more);
      }),
    );
    if (i === view.query) {
      const more = `fill="none" stroke="${colour('query')}" stroke-width="2"`;
      lines.push(...parts.map(part => rect(part, part.top, part.height, more)));
    }
    const {color, fontFamily, fontSize, paddingBottom} = styled(place),
      part = parts.reduce((a, b) => (b.width > a.width ? b : a)),
      text = place.textContent.replace('\n', ''),
      base = part.bottom - parseFloat(paddingBottom) - DESCENT * parseFloat(fontSize);
    return (
      `${lines.join('')}<text x="${(part.left + part.width / 2 - box.left).toFixed(1)}" ` +
      `y="${(base - box.top).toFixed(1)}" text-anchor="middle" fill="${color}" ` +
      `font-family="${safe(fontFamily)}" font-size="${fontSize}" xml:space="preserve" ` +
      `style="white-space:pre">${safe(parts.length > 1 ? text.trim() : text)}</text>`
    );
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
