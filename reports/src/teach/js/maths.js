// The formulas of the figures, in the order of the paper and with its symbols. Points are arrays,
// matrices arrays of rows.
// Each stands in inducer-reference too; check.js holds the two against each other.

const sum = a => a.reduce((s, x) => s + x, 0);
const dot = (a, b) => sum(a.map((x, i) => x * b[i]));
const plus = (a, b) => a.map((x, i) => x + b[i]);
const minus = (a, b) => a.map((x, i) => x - b[i]);
const times = (c, a) => a.map(x => c * x);
const through = (x, matrix) =>
  matrix[0].map((_, c) => sum(x.map((value, r) => value * matrix[r][c])));

const maths = {
  // Kernels of smoothing on a line.
  smoothing: {
    gaussian: u => Math.exp(-u * u / 2),
    laplace: u => Math.exp(-Math.abs(u)),
    epanechnikov: u => Math.max(1 - u * u, 0),
    uniform: u => (Math.abs(u) <= 1 ? 1 : 0),
  },

  // (NW, §4.1): D⁻¹ M V for one row of M; zero where no support point is in reach.
  normalised(weights) {
    const total = sum(weights);
    return total === 0 ? weights.map(() => 0) : weights.map(w => w / total);
  },
  estimate(weights, values) {
    return through(maths.normalised(weights), values);
  },

  // (3) The score ⟨q, k⟩/√p and the kernel exp of it.
  score: (q, k) => dot(q, k) / Math.sqrt(q.length),
  kernel: (q, k) => Math.exp(maths.score(q, k)),

  // (12), (13) The kernel is a Gaussian of the distance times a weight of the key (and of the
  // query, which cancels).
  squaredDistance: (a, b) => dot(minus(a, b), minus(a, b)),
  gaussian: (q, k) => Math.exp(-maths.squaredDistance(q, k) / (2 * Math.sqrt(q.length))),
  keyWeight: k => Math.exp(dot(k, k) / (2 * Math.sqrt(k.length))),

  // (3) One query: softmax over its scores, the output f(q), and LSE, the logarithm of the sum of
  // the kernel's values.
  attend(q, keys, values) {
    const scores = keys.map(k => maths.score(q, k));
    const shift = Math.max(...scores);
    const shifted = scores.map(s => Math.exp(s - shift));
    return {
      scores,
      weights: maths.normalised(shifted),
      f: maths.estimate(shifted, values),
      lse: shift + Math.log(sum(shifted)),
    };
  },

  // The gate: own / (own + rest), also as the logistic function of a difference of logarithms.
  gate: (own, rest) => own / (own + rest),
  logistic: x => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x))),

  // (§4.2) (1 − μ) f + μ g.
  mixture: (f, mu, g) => plus(times(1 - mu, f), times(mu, g)),

  // (11) tanh(q W_1 + b_1) W_2 + b_2, the last layer times `scale`.
  network(q, net, scale, up = net.up) {
    const hidden = plus(through(q, net.down), net.downBias).map(Math.tanh);
    return times(scale, through(hidden, up));
  },
  bottleneck: (q, net, scale) => plus(maths.network(q, net, scale), times(scale, net.upBias)),

  // (5), (6) The inducer of a query.
  inducerKey: (q, mlpK) => plus(q, mlpK),
  inducerValue: (f, mlpV) => plus(f, mlpV),
  // (7) The estimator over n + 1 support points, nothing simplified.
  augmented: (own, weights, ownValue, values) =>
    maths.estimate([own, ...weights], [ownValue, ...values]),
  // (8) The residual form.
  residual: (f, lambda, mlpV) => plus(f, times(lambda, mlpV)),
  // λ as the first of n + 1 softmax weights.
  secondSoftmax: (s, scores) =>
    maths.attend([1], [[s], ...scores.map(x => [x])], [[0], ...scores.map(() => [0])]).weights[0],

  // (10) The update of a query: scale · (x Aᵀ Bᵀ + b).
  lora: (x, a, b, bias, scale) =>
    times(scale, plus(b.map(row => dot(row, a.map(r => dot(x, r)))), bias)),

  // (4), (9), §6.2: what one head gives to the plane.
  output: (f, weight, bias) => plus(through(f, weight), bias),
  adaptive: (f, lambda, mlpV, weight, bias) =>
    maths.output(maths.residual(f, lambda, mlpV), weight, bias),
  extended: (f, lambda, mlpV, weight, bias, b2) =>
    plus(plus(plus(through(f, weight), times(lambda, mlpV)), b2), bias),
  gating: (f, lambda, mlpV, weight, bias, b2) =>
    plus(plus(plus(times(1 - lambda, through(f, weight)), times(lambda, mlpV)), b2), bias),
};
