// Figures: a state, its values by the formulas, panels that show them, controls that change it.

const teach = {figures: {}, data: JSON.parse(document.getElementById('witnesses').textContent)};
window.teach = teach;

// Formulas with live numbers, as MathML.
const math = {
  n: x => `<mn>${show(x)}</mn>`,
  i: (name, role = '') => `<mi${role && ` class="${role}"`}>${name}</mi>`,
  o: sign => `<mo>${sign}</mo>`,
  row: (...parts) => `<mrow>${parts.join('')}</mrow>`,
  fraction: (top, bottom) => `<mfrac><mrow>${top}</mrow><mrow>${bottom}</mrow></mfrac>`,
  sub: (base, index) => `<msub>${base}${index}</msub>`,
  of: (name, argument, role) => math.i(name, role) + math.o('(') + math.i(argument) + math.o(')'),
  pair: a => math.o('(') + a.map(math.n).join(math.o(',')) + math.o(')'),
  block: (...lines) =>
    lines.map(line => `<math display="block"><mrow>${line}</mrow></math>`).join(''),
};

class Figure {
  // Without `start`, the state in which the page's data have the figure start.
  constructor(name, start = teach.data.find?.(f => f.name === name).states[0].state) {
    this.root = document.querySelector(`figure[data-figure="${name}"]`);
    this.start = start;
    this.state = structuredClone(this.start);
    this.panels = [];
    this.name = name;
  }

  get(selector) {
    return this.root.querySelector(selector);
  }
  panel(name, options) {
    const panel = new Panel(this.get(`[data-panel="${name}"]`), options);
    this.panels.push(panel);
    return panel;
  }

  // Binds every control and draws; `compute` gives the values of a state, `draw` shows them, `say`
  // puts them in words.
  run({compute, draw, say, reset = () => {}, actions = {}}) {
    // what is drawn anew when another state is put in place of this one
    Object.assign(this, {compute, paint: draw, say, restored: reset});
    this.root.querySelectorAll('[data-bind]').forEach(input => this.bind(input));
    this.root.querySelectorAll('[data-do]').forEach(button =>
      button.addEventListener('click', () => {
        if (button.dataset.do === 'reset') {
          this.state = structuredClone(this.start);
          reset();
        } else {
          actions[button.dataset.do]();
        }
        this.update();
      }),
    );
    // In a frame of its own: a panel that takes another size while sizes are told is told again.
    new ResizeObserver(() =>
      requestAnimationFrame(() => {
        this.panels.forEach(panel => panel.measure());
        this.update();
      }),
    ).observe(this.get('.panels'));
    this.update();
  }

  bind(input) {
    const key = input.dataset.bind;
    input.addEventListener('input', () => {
      this.state[key] =
        input.type === 'checkbox'
          ? input.checked
          : input.type === 'radio'
            ? input.value
            : Number(input.value);
      this.update();
    });
  }

  update() {
    this.root.querySelectorAll('[data-bind]').forEach(input => {
      const now = this.state[input.dataset.bind];
      if (input.type === 'checkbox') input.checked = Boolean(now);
      else if (input.type === 'radio') input.checked = input.value === now;
      else input.value = now;
      const shown = this.get(`output[for="${input.id}"]`);
      if (shown) shown.textContent = Number(input.step) === 1 ? now : show(now);
    });
    this.values = this.compute(this.state);
    this.paint(this.state, this.values);
    teach.address?.write();
    // Said once the hand rests, not at every pixel.
    clearTimeout(this.later);
    this.later = setTimeout(() => {
      const words = this.say(this.state, this.values),
        place = this.get('[data-say]');
      if (place.textContent !== words) place.textContent = words;
    }, 500);
  }

  live(html) {
    this.get('[data-live]').innerHTML = html;
  }

  table(heads, rows) {
    const cells = (row, first) =>
      row
        .map((cell, i) => (i === 0 ? `<th scope="${first}">${cell}</th>` : `<td>${cell}</td>`))
        .join('');
    const head = heads.map(h => `<th scope="col">${h}</th>`).join('');
    this.get('[data-table]').innerHTML =
      `<thead><tr>${head}</tr></thead>` +
      `<tbody>${rows.map(row => `<tr>${cells(row, 'row')}</tr>`).join('')}</tbody>`;
  }
}
