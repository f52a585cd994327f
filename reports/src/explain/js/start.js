// The page's start: its own numbers against the engine's, in every carried head, then the figures.

teach.check = () => {
  const result = {numbers: 0, states: 0, relative: 0, share: 0, worst: 0, wrong: []};
  for (const side of page.sides) {
    page.chosen.layers.forEach((layer, l) =>
      page.chosen.heads.forEach((head, h) => {
        result.states += 1;
        checkHead(result, side, [l, h], [layer, head]);
      }),
    );
  }
  return result;
};

function checkHead(result, side, [l, h], [layer, head]) {
  const own = new Head(side, l, h),
    where = `${side.name}, layer ${layer + 1}, head ${head + 1}`,
    found = {lse: [], gate: [], distance: [], forms: []},
    bounds = {lse: [], gate: [], distance: [], forms: []};
  for (let i = 0; i < tokens.length; i++) {
    const row = own.row(i),
      bound = own.bounds(i, row);
    found.lse.push(row.lse);
    bounds.lse.push(bound.lse);
    // Both forms in one arithmetic: a few roundings of the greatest exponent.
    const greatest = Math.max(...row.keyWeight, ...row.gaussian.map(Math.abs), 1);
    found.forms.push(Math.max(...row.weights.map((w, j) => Math.abs(w - row.factors[j]))));
    bounds.forms.push(8 * (own.p + 8) * 2 ** -53 * greatest);
    if (row.gate === null) continue;
    for (const name of ['gate', 'distance']) {
      found[name].push(name === 'gate' ? row.gate : row.nearest);
      bounds[name].push(bound[name]);
    }
  }
  const {lse, gate, distance} = side.engine;
  held(result, `${where}, log-sum-exp`, found.lse, lse.row(l, h), bounds.lse);
  held(
    result,
    `${where}, the two forms`,
    found.forms,
    found.forms.map(() => 0),
    bounds.forms,
  );
  if (gate) {
    held(result, `${where}, ${side.symbol}`, found.gate, gate.row(layer, head), bounds.gate);
    held(result, `${where}, distance`, found.distance, distance.row(layer, head), bounds.distance);
  }
  // A spectrum takes a while: one head of each layer.
  if (h !== l % page.chosen.heads.length) return;
  const {share, trace} = own.plane(),
    error = Math.max(own.errors.query, own.errors.key, own.errors.added),
    moved =
      2 * error * Math.sqrt(own.p / trace) + (error * error * own.p) / trace + own.p * 2 ** -22;
  const expected = side.share[l * page.chosen.heads.length + h];
  held(
    result,
    `${where}, share of the variance`,
    share,
    expected,
    share.map(() => 4 * moved),
  );
}

// As `compare`, and keeps the greatest difference itself.
function held(result, where, found, expected, bounds) {
  compare(result, where, found, expected, bounds);
  expected.forEach((x, i) => {
    result.worst = Math.max(result.worst, Math.abs(found[i] - x));
  });
}

badge({
  passed: ({numbers, states, worst, share}) =>
    `${numbers.toLocaleString('en-GB')} numbers of ${states} heads, computed again from the ` +
    `queries and keys in this page, agree with the engine’s. Worst difference ${show(worst)}; at ` +
    `most ${Math.round(100 * share)} % of what 16 bits and the engine’s rounding explain.`,
  failed: ({wrong}) =>
    `${wrong.length} numbers differ from the engine’s by more than 16 bits and rounding explain.`,
});

for (const [pick, values] of [
  ['layer', page.chosen.layers],
  ['head', page.chosen.heads],
]) {
  const select = document.querySelector(`[data-pick=${pick}]`);
  values.forEach((value, i) => select.append(new Option(String(value + 1), String(i))));
  select.addEventListener('change', () => view.set({[pick]: Number(select.value)}));
}
for (const button of document.querySelectorAll('[data-step]')) {
  button.addEventListener('click', () =>
    view.set({query: view.query + Number(button.dataset.step)}),
  );
}

view.rows = page.sides.map(side => side.head(view.layer, view.head).row(view.query));
Object.assign(teach.figures, {
  tokens: new Tokens(),
  map: new GateMap(),
  weights: new Weights(),
  plane: new Plane(),
  next: new Next(),
  along: new Along(),
  layers: new Switches(),
});
for (const figure of Object.values(teach.figures)) {
  figure.mount();
  if (figure.paint) savers(figure);
}
view.now();
Object.assign(teach, {view, page});
teach.ready = true;
// After the frames in which panels take their sizes.
setTimeout(() => pictures(Object.values(teach.figures), view.now), 100);
