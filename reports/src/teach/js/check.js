// The self-check that a page makes of itself: its own formulas against numbers that it carries,
// each within a bound.

// Numbers of one quantity against what is expected, each within its bound.
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

// Runs the page's check and says how it went; `words` has its sentences.
function badge(words) {
  const place = document.getElementById('badge');
  let result;
  try {
    result = teach.check();
  } catch (error) {
    result = {wrong: [String(error)], numbers: 0, states: 0, relative: NaN, share: NaN};
  }
  const green = result.wrong.length === 0;
  place.dataset.state = green ? 'green' : 'red';
  place.textContent = green
    ? `✓ Self-check passed: ${words.passed(result)}`
    : `✗ Self-check failed: ${words.failed(result)} First: ${result.wrong[0]}`;
  teach.result = result;
}
