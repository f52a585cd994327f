// One head under one adapter: queries, keys and what the method puts beside them, and everything
// that follows from them (Eqs. 3 to 8, 12, 13 and section 4.2).

class Head {
  constructor(side, l, h) {
    Object.assign(this, {side, l, h});
    const {queries, keys, added} = side.blocks;
    this.queries = queries.points(l, h);
    this.keys = keys.points(l, h);
    this.p = queries.shape[3];
    this.bandwidth = Math.sqrt(Math.sqrt(this.p));
    this.errors = {query: queries.error(l, h), key: keys.error(l, h), added: 0};
    this.prefix = [];
    this.inducers = [];
    if (side.kind === 'prefix') this.prefix = added.points(l, h);
    if (side.kind === 'inducer') {
      this.moved = added.points(l, h);
      this.inducers = this.queries.map((q, i) => q.map((x, a) => x + this.moved[i][a]));
    }
    // An inducer is its query and how far it was moved, each with its own half step.
    if (added) this.errors.added = added.error(l, h) + (this.moved ? this.errors.query : 0);
  }

  // The support points of a query: the text's keys that it sees, and the added ones.
  support(i) {
    const seen = page.causal ? this.keys.slice(0, i + 1) : this.keys;
    const own = this.inducers.length > 0 ? [this.inducers[i]] : [];
    return [
      ...this.prefix.map((key, index) => ({kind: 'prefix', index, key})),
      ...own.map(key => ({kind: 'inducer', index: i, key})),
      ...seen.map((key, index) => ({kind: 'key', index, key})),
    ];
  }

  // The weights of a query in both forms, and its gate.
  row(i) {
    const q = this.queries[i],
      points = this.support(i),
      root = Math.sqrt(this.p);
    const squares = points.map(({key}) => apart(q, key));
    // (3): ⟨q, k⟩/√p, and the share of each point in the sum of their exponentials.
    const scores = points.map(({key}) => inner(q, key) / root);
    const total = logSum(scores);
    // (12), (13): a Gaussian of the distance times a weight of the key; the query's part cancels.
    const gaussian = squares.map(d => -d / (2 * root));
    const keyWeight = points.map(({key}) => inner(key, key) / (2 * root));
    const logs = points.map((_, j) => gaussian[j] + keyWeight[j]);
    const factored = logSum(logs);
    const text = scores.filter((_, j) => points[j].kind === 'key');
    const beside = scores.filter((_, j) => points[j].kind !== 'key');
    const lse = logSum(text);
    const near = squares.filter((_, j) => points[j].kind !== 'key');
    return {
      points,
      scores,
      gaussian,
      keyWeight,
      lse,
      distances: squares.map(d => Math.sqrt(d) / this.bandwidth),
      weights: scores.map(s => Math.exp(s - total)),
      factors: logs.map(s => Math.exp(s - factored)),
      // The Gaussian alone, for keys of one length.
      alone: maths.normalised(gaussian.map(g => Math.exp(g - Math.max(...gaussian)))),
      // (7), section 4.2: the added points' share, by the log-sum-exp alone.
      gate: beside.length === 0 ? null : maths.logistic(logSum(beside) - lse),
      nearest: near.length === 0 ? null : Math.sqrt(Math.min(...near)) / this.bandwidth,
    };
  }

  // Everything in one list, for the plane of the principal components.
  cloud() {
    return [...this.queries, ...this.keys, ...this.prefix, ...this.inducers];
  }

  // How far numbers of the engine (single precision, from its own queries and keys) may be from
  // those of `row`: by the 16 bits of a coordinate and by the engine's rounding.
  bounds(i, row) {
    const u = 2 ** -24,
      root = Math.sqrt(this.p),
      q = this.queries[i],
      size = absolute(q),
      length = Math.sqrt(inner(q, q));
    const score = ({kind, key}) => {
      const error = kind === 'key' ? this.errors.key : this.errors.added;
      const kept = size * error + absolute(key) * this.errors.query;
      const rounded = (this.p + 8) * u * length * Math.sqrt(inner(key, key));
      return (1.01 * (kept + this.p * error * this.errors.query + rounded)) / root;
    };
    const greatest = kinds =>
      Math.max(0, ...row.points.filter(p => kinds.includes(p.kind)).map(score));
    const sums = u * (row.points.length + 32 + 2 * Math.max(...row.scores.map(Math.abs)));
    const lse = greatest(['key']) + sums;
    const gate = (greatest(['prefix', 'inducer']) + lse + sums) / 4 + 8 * u;
    return {lse, gate, distance: this.distanceBound(length, row)};
  }

  distanceBound(length, row) {
    const u = 2 ** -24,
      {query, added} = this.errors,
      own = row.points.filter(p => p.kind !== 'key').map(p => Math.sqrt(inner(p.key, p.key)));
    if (own.length === 0) return 0;
    const both = length + Math.max(...own);
    if (this.side.kind === 'inducer') {
      const kept = Math.sqrt(this.p) * (added - query);
      return (
        (kept + (this.p + 16) * u * (row.nearest * this.bandwidth) + 4 * u * both) / this.bandwidth
      );
    }
    // The engine takes ‖q‖² + ‖k‖² − 2⟨q, k⟩, whose rounding a root may widen.
    const square = (this.p + 8) * u * both * both,
      found = row.nearest * this.bandwidth;
    const rounded = found > 0 ? Math.min(square / found, Math.sqrt(square)) : Math.sqrt(square);
    return (Math.sqrt(this.p) * (query + added) + rounded) / this.bandwidth;
  }
}
