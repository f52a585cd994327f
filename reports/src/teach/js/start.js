// The page's start: the check of every figure against the values of inducer-reference, then the
// figures themselves.

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

badge({
  passed: ({numbers, states, relative, share}) =>
    `${numbers.toLocaleString('en-GB')} numbers in ${states} states agree with the reference. ` +
    `Worst relative difference ${show(relative)}; at most ${Math.round(100 * share)} % of what ` +
    `rounding explains.`,
  failed: ({wrong}) =>
    `${wrong.length} numbers differ from the reference by more than rounding.`,
});
for (const figure of Object.values(teach.figures)) figure.mount();
mountClass();
address.read();
teach.ready = true;
// After the frames in which panels take their sizes.
setTimeout(() => {
  const all = Object.values(teach.figures).map(f => f.figure);
  pictures(all, () => all.forEach(figure => figure.update()));
}, 100);
