//! METEOR's alignment: every possible match, then a beam search for the heaviest, least broken set
//! of them.

/// A run of the reference that matches a run of the hypothesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Start and length in the reference.
    pub reference: (usize, usize),
    /// Start and length in the hypothesis.
    pub hypothesis: (usize, usize),
    /// Which matcher found it.
    pub stage: usize,
}

const BEAM: usize = 40;

/// How a path stands, whichever matches it has taken.
#[derive(Clone, Copy, Default)]
struct State {
    weight: usize,
    chunks: usize,
    index: usize,
    last_end: Option<usize>,
    distance: usize,
}

#[derive(Clone)]
struct Path {
    matches: Vec<Option<Match>>,
    used_hypothesis: Vec<bool>,
    used_reference: Vec<bool>,
    state: State,
}

/// A way on from a path. Of the many ways few are gone, so that a path is made for those alone.
struct Way {
    from: usize,
    state: State,
    takes: Option<Match>,
}

impl Path {
    fn occupy(&mut self, m: Match) {
        self.used_reference[m.reference.0..m.reference.0 + m.reference.1].fill(true);
        self.used_hypothesis[m.hypothesis.0..m.hypothesis.0 + m.hypothesis.1].fill(true);
        self.matches[m.reference.0] = Some(m);
    }

    fn free(&self, m: &Match) -> bool {
        !self.used_reference[m.reference.0..m.reference.0 + m.reference.1].contains(&true)
            && !self.used_hypothesis[m.hypothesis.0..m.hypothesis.0 + m.hypothesis.1]
                .contains(&true)
    }
}

impl State {
    /// Exact matches weigh one a word, others a half rounded down.
    fn follow(&mut self, m: Match) {
        let share = |n: usize| if m.stage == 0 { n } else { n / 2 };
        self.weight += share(m.hypothesis.1) + share(m.reference.1);
        self.chunks += usize::from(self.last_end.is_some_and(|end| end != m.hypothesis.0));
        self.index = m.reference.0 + m.reference.1;
        self.last_end = Some(m.hypothesis.0 + m.hypothesis.1);
    }

    fn close(&mut self) {
        self.chunks += usize::from(self.last_end.take().is_some());
    }

    fn rank(&self) -> (std::cmp::Reverse<usize>, usize, usize) {
        (std::cmp::Reverse(self.weight), self.chunks, self.distance)
    }
}

/// The matches chosen, by their start in the reference, and the number of chunks that they form.
pub fn resolve(all: &[Match], hypothesis: usize, reference: usize) -> (Vec<Match>, usize) {
    let mut by_start: Vec<Vec<Match>> = vec![Vec::new(); reference];
    let (mut over_h, mut over_r) = (vec![0; hypothesis], vec![0; reference]);
    for m in all {
        by_start[m.reference.0].push(*m);
        let (h, r) = (m.hypothesis, m.reference);
        over_h[h.0..h.0 + h.1].iter_mut().for_each(|n| *n += 1);
        over_r[r.0..r.0 + r.1].iter_mut().for_each(|n| *n += 1);
    }
    let mut start = Path {
        matches: vec![None; reference],
        used_hypothesis: vec![false; hypothesis],
        used_reference: vec![false; reference],
        state: State::default(),
    };
    for matches in &by_start {
        if let [m] = matches[..] {
            let (h, r) = (m.hypothesis, m.reference);
            let alone = |n: &i32| *n == 1;
            if over_h[h.0..h.0 + h.1].iter().all(alone) && over_r[r.0..r.0 + r.1].iter().all(alone)
            {
                start.occupy(m);
            }
        }
    }
    let mut paths = vec![start];
    for (current, matches) in by_start.iter().enumerate() {
        let mut ways = Vec::new();
        for (from, path) in paths.iter().enumerate() {
            step(path, from, current, matches, &mut ways);
        }
        // no path can go on: the best of them waits
        if ways.is_empty() {
            paths.truncate(1);
            continue;
        }
        if current + 1 == reference {
            ways.iter_mut().for_each(|way| way.state.close());
        }
        ways.sort_by_key(|way| way.state.rank());
        ways.truncate(BEAM);
        let go = |way: Way| {
            let mut path = paths[way.from].clone();
            path.state = way.state;
            way.takes.into_iter().for_each(|m| path.occupy(m));
            path
        };
        paths = ways.into_iter().map(go).collect();
    }
    chosen(paths.first().map(|p| &p.matches[..]).unwrap_or_default())
}

/// All ways on from a path over one word of the reference.
fn step(path: &Path, from: usize, current: usize, matches: &[Match], ways: &mut Vec<Way>) {
    let mut state = path.state;
    let mut way = |state, takes| ways.push(Way { from, state, takes });
    if path.used_reference[current] {
        if current < state.index {
            way(state, None);
        } else if let Some(m) = path.matches.get(state.index).copied().flatten() {
            state.follow(m);
            state.distance += m.reference.0.abs_diff(m.hypothesis.0);
            way(state, None);
        }
        return;
    }
    for m in matches.iter().filter(|m| path.free(m)) {
        let mut with = state;
        with.follow(*m);
        // METEOR adds the distance to the path that goes on without the match, and so do we
        state.distance += m.reference.0.abs_diff(m.hypothesis.0);
        way(with, Some(*m));
    }
    state.close();
    state.index += 1;
    way(state, None);
}

fn chosen(matches: &[Option<Match>]) -> (Vec<Match>, usize) {
    let (mut out, mut chunks, mut last, mut at) = (Vec::new(), 0, None, 0);
    while at < matches.len() {
        match matches[at] {
            None => {
                chunks += usize::from(last.take().is_some());
                at += 1;
            }
            Some(m) => {
                chunks += usize::from(last.is_some_and(|end| end != m.hypothesis.0));
                last = Some(m.hypothesis.0 + m.hypothesis.1);
                at = m.reference.0 + m.reference.1;
                out.push(m);
            }
        }
    }
    (out, chunks + usize::from(last.is_some()))
}
