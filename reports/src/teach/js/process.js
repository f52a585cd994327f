// Gaussian processes with inducing variables: exact, pseudo-inputs (Snelson and Ghahramani 2005),
// Titsias' bound (2009).

// A = L Lᵀ, or null when A is not positive definite to working precision.
function cholesky(a) {
  const n = a.length, l = a.map(row => row.map(() => 0));
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let rest = a[i][j];
      for (let k = 0; k < j; k++) rest -= l[i][k] * l[j][k];
      if (i === j && !(rest > 0)) return null;
      l[i][j] = i === j ? Math.sqrt(rest) : rest / l[j][j];
    }
  }
  return l;
}

// A⁻¹ b from the factor.
function solve(l, b) {
  const n = b.length, x = [...b];
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i] -= l[i][k] * x[k];
    x[i] /= l[i][i];
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i] -= l[k][i] * x[k];
    x[i] /= l[i][i];
  }
  return x;
}

const logDeterminant = l => 2 * sum(l.map((row, i) => Math.log(row[i])));
const withDiagonal = (a, d) => a.map((row, i) => row.map((x, j) => (i === j ? x + d[i] : x)));

// log N(y | 0, C).
function logNormal(y, c) {
  const l = cholesky(c);
  return l && -0.5 * (dot(y, solve(l, y)) + logDeterminant(l) + y.length * Math.log(2 * Math.PI));
}

maths.squaredExponential = (a, b, length) => maths.gaussian([a / length], [b / length]);

// The exact process: a function from an input to mean and variance (noise included), and the log
// evidence.
maths.exactProcess = ({inputs, targets, length, noise}) => {
  const covariance = (a, b) => maths.squaredExponential(a, b, length);
  const covariances = inputs.map(a => inputs.map(b => covariance(a, b)));
  const k = withDiagonal(covariances, inputs.map(() => noise));
  const l = cholesky(k);
  if (!l) return null;
  const alpha = solve(l, targets);
  return {
    at(x) {
      const near = inputs.map(a => covariance(x, a));
      return {mean: dot(near, alpha), variance: 1 - dot(near, solve(l, near)) + noise};
    },
    evidence: logNormal(targets, k),
  };
};

// The process with pseudo-inputs z, its evidence, and Titsias' bound; null when K_M is singular.
maths.sparseProcess = ({inputs, targets, length, noise}, z) => {
  const covariance = (a, b) => maths.squaredExponential(a, b, length);
  const kM = z.map(a => z.map(b => covariance(a, b)));
  const kNM = inputs.map(a => z.map(b => covariance(a, b)));
  const lM = cholesky(kM);
  if (!lM) return null;
  const solved = kNM.map(row => solve(lM, row));
  const q = kNM.map(row => solved.map(other => dot(row, other)));
  const lambda = q.map((row, i) => 1 - row[i]);
  const scaled = kNM.map((row, i) => times(1 / (lambda[i] + noise), row));
  const qM = kM.map((row, a) => row.map((x, b) => x + sum(kNM.map((k, i) => k[a] * scaled[i][b]))));
  const lQ = cholesky(qM);
  if (!lQ) return null;
  const beta = solve(lQ, z.map((_, a) => sum(scaled.map((row, i) => row[a] * targets[i]))));
  const noisy = withDiagonal(q, inputs.map(() => noise));
  const fit = logNormal(targets, noisy);
  return {
    at(x) {
      const near = z.map(a => covariance(x, a));
      const explained = dot(near, solve(lM, near)) - dot(near, solve(lQ, near));
      return {mean: dot(near, beta), variance: 1 - explained + noise};
    },
    evidence: logNormal(targets, withDiagonal(noisy, lambda)),
    titsias: fit === null ? null : fit - sum(lambda) / (2 * noise),
  };
};
