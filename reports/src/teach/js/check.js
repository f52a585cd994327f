// The self-check: the page's own formulas against the values of inducer-reference, each within its
// rounding bound.

teach.check = () => {
  const result = {numbers: 0, states: 0, relative: 0, share: 0, wrong: []};
  for (const {name, states} of teach.data) {
    states.forEach(({state, expected}, index) => {
      result.states += 1;
      const found = teach.figures[name].compute(state);
      for (const [quantity, {value, bound}] of Object.entries(expected)) {
        compare(
          result,
          `${name}, state ${index}, ${quantity}`,
          [found[quantity]].flat(9),
          value,
          bound,
        );
      }
    });
  }
  return result;
};

function compare(result, where, found, value, bound) {
  if (found.length !== value.length) {
    result.wrong.push(`${where}: expected ${value.length} numbers, found ${found.length}`);
    return;
  }
  const scale = Math.max(...value.map(Math.abs));
  value.forEach((expected, i) => {
    const apart = Math.abs(found[i] - expected);
    result.numbers += 1;
    // Written so that a NaN is wrong.
    if (!(apart <= bound[i]))
      result.wrong.push(
        `${where}[${i}]: expected ${expected}, found ${found[i]}, bound ${bound[i]}`,
      );
    if (apart > 0) {
      result.relative = Math.max(result.relative, apart / scale);
      result.share = Math.max(result.share, apart / bound[i]);
    }
  });
}

function badge() {
  const place = document.getElementById('badge');
  let result;
  try {
    result = teach.check();
  } catch (error) {
    result = {wrong: [String(error)], numbers: 0, states: 0, relative: NaN, share: NaN};
  }
  const green = result.wrong.length === 0;
  place.dataset.state = green ? 'green' : 'red';
  const count = result.numbers.toLocaleString('en-GB');
  place.textContent = green
    ? `✓ Self-check passed: ${count} numbers in ${result.states} states agree with the ` +
      `reference. Worst relative difference ${show(result.relative)}; at most ` +
      `${Math.round(100 * result.share)} % of what rounding explains.`
    : `✗ Self-check failed: ${result.wrong.length} numbers differ from the reference by more ` +
      `than rounding. First: ${result.wrong[0]}`;
  teach.result = result;
}

badge();
for (const figure of Object.values(teach.figures)) figure.mount();
mountClass();
address.read();
teach.ready = true;
