//! tercom's edit distance: a table of words of the reference against those of the hypothesis, one
//! column for each word of the latter, of which a beam is filled.

use super::{Alignment, Cell, Line, Op};

/// How much dearer than the cheapest diagonal step a cell may be that is gone on from.
const BEAM: usize = 20;

impl Line {
    /// Puts a cheaper way into a cell; whether it was cheaper. `row` is not before `from`.
    fn put(&mut self, row: usize, cost: usize, op: Op) -> bool {
        let index = row - self.from;
        if index >= self.cells.len() {
            while self.cells.len() < index {
                self.cells.push(None);
            }
            self.cells.push(Some((cost, op)));
            return true;
        }
        let better = self.cells[index].is_none_or(|(old, _)| cost < old);
        if better {
            self.cells[index] = Some((cost, op));
        }
        better
    }
}

/// What is known of a column before its own steps: ways from the column before, the last row that
/// they reached, and the cost above which no way goes on.
#[derive(Clone, Debug, Default)]
struct Entry {
    rows: Line,
    last: usize,
    limit: usize,
}

impl Entry {
    fn start() -> Self {
        Self {
            rows: Line {
                from: 0,
                cells: vec![Some((0, Op::Match))],
            },
            last: 0,
            limit: usize::MAX,
        }
    }

    /// Steps within the column (into `self`) and out of it by `word` (into `next`); none goes out
    /// of the last column, whose `word` is none, and none is too dear there.
    fn advance(&mut self, next: &mut Self, word: Option<u32>, reference: &[u32]) {
        next.rows.cells.clear();
        let mut cheapest = usize::MAX;
        let mut row = self.rows.from;
        while row <= reference.len() && row <= self.last {
            let i = row;
            row += 1;
            let Some((score, _)) = self.rows.at(i) else {
                continue;
            };
            if word.is_some() && score > self.limit {
                continue;
            }
            if let Some(word) = word {
                if next.rows.cells.is_empty() {
                    next.rows.from = i;
                }
                next.last = i + 1;
                if let Some(other) = reference.get(i) {
                    let same = *other == word;
                    let (cost, op) = if same {
                        (score, Op::Match)
                    } else {
                        (score + 1, Op::Substitute)
                    };
                    if next.rows.put(i + 1, cost, op) || same {
                        cheapest = cheapest.min(cost);
                    }
                }
                next.rows.put(i, score + 1, Op::Insert);
            }
            if i < reference.len() && self.rows.put(i + 1, score + 1, Op::Delete) && i >= self.last
            {
                self.last = i + 1;
            }
        }
        next.limit = cheapest.saturating_add(BEAM);
    }

    /// How much dearer this column is than `other`, of which all else is the same.
    fn dearer_than(&self, other: &Self) -> Option<isize> {
        let shape = |e: &Self| (e.last, e.rows.from, e.rows.cells.len());
        if shape(self) != shape(other) {
            return None;
        }
        let of = |e: &Self| e.rows.cells.iter().flatten().next().map_or(0, |(c, _)| *c);
        let by = of(self) as isize - of(other) as isize;
        let same = |(a, b): (&Cell, &Cell)| match (a, b) {
            (Some((a, x)), Some((b, y))) => x == y && *a as isize - *b as isize == by,
            (a, b) => a.is_none() && b.is_none(),
        };
        let limits = match (self.limit, other.limit) {
            (usize::MAX, b) => b == usize::MAX,
            (_, usize::MAX) => false,
            (a, b) => a as isize - b as isize == by,
        };
        let mut cells = self.rows.cells.iter().zip(&other.rows.cells);
        (limits && cells.all(same)).then_some(by)
    }
}

/// The table of one hypothesis. Its cheapest path goes to the diagonal where steps cost the same,
/// then to an insertion.
///
/// Every column has a row that is gone on from: the cheapest diagonal step out of the column
/// before leads to one within the beam, and without a diagonal step there is no limit. So the last
/// cell is always reached, by deletions down the last column.
pub struct Table<'a> {
    reference: &'a [u32],
    entries: Vec<Entry>,
    columns: Vec<Line>,
}

impl<'a> Table<'a> {
    pub fn new(hypothesis: &[u32], reference: &'a [u32]) -> Self {
        let mut entries = vec![Entry::start()];
        let mut columns = Vec::with_capacity(hypothesis.len() + 1);
        for j in 0..=hypothesis.len() {
            let mut column = entries[j].clone();
            let mut next = Entry::default();
            next.rows.cells.reserve(column.rows.cells.len() + 2);
            column.advance(&mut next, hypothesis.get(j).copied(), reference);
            columns.push(column.rows);
            entries.push(next);
        }
        Self {
            reference,
            entries,
            columns,
        }
    }

    /// The edit distance.
    pub fn edits(&self) -> usize {
        let end = self.columns.last().and_then(|c| c.at(self.reference.len()));
        end.map_or(0, |(cost, _)| cost)
    }

    /// The cheapest path.
    pub fn alignment(&self) -> Alignment {
        let hypothesis = self.columns.len() - 1;
        Alignment::back(hypothesis, self.reference.len(), |j, i| {
            self.columns[j].at(i)
        })
    }

    /// The edit distance of other words, `moved`, as many as this table's and the same outside of
    /// `changed`. Only the columns of these are filled again, and those behind them until one is as
    /// it was here but for a cost that all its cells have more or less.
    pub fn edits_of(&self, moved: &[u32], changed: std::ops::Range<usize>) -> usize {
        let mut column = self.entries[changed.start].clone();
        let mut next = Entry::default();
        for j in changed.start..=moved.len() {
            if j >= changed.end
                && let Some(more) = column.dearer_than(&self.entries[j])
            {
                return (self.edits() as isize + more) as usize;
            }
            column.advance(&mut next, moved.get(j).copied(), self.reference);
            if j < moved.len() {
                std::mem::swap(&mut column, &mut next);
            }
        }
        column
            .rows
            .at(self.reference.len())
            .map_or(0, |(cost, _)| cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two texts of few different words, so that many paths cost the same, and a run of the first
    /// that goes elsewhere.
    fn moved_runs() -> impl Strategy<Value = (Vec<u32>, Vec<u32>, usize, usize, usize)> {
        (1_u32..30).prop_flat_map(|kinds| {
            let text = |most| proptest::collection::vec(0..kinds, 1..most);
            (
                text(150),
                text(150),
                any::<usize>(),
                1_usize..10,
                any::<usize>(),
            )
        })
    }

    proptest! {
        #[test]
        fn filling_a_part_again_gives_the_table_of_the_moved_words(
            (words, reference, start, length, to) in moved_runs(),
        ) {
            let start = start % words.len();
            let end = (start + length).min(words.len());
            let mut moved = words.clone();
            let run: Vec<u32> = moved.drain(start..end).collect();
            let to = to % (moved.len() + 1);
            moved.splice(to..to, run);
            let changed = start.min(to)..end.max(to + end - start);
            let table = Table::new(&words, &reference);
            let found = table.edits_of(&moved, changed);
            prop_assert_eq!(found, Table::new(&moved, &reference).edits());
        }

        /// The beam may only make the distance greater; the path has as many edits as it says and
        /// as many words.
        #[test]
        fn the_path_makes_its_distance((words, reference, ..) in moved_runs()) {
            let a = Table::new(&words, &reference).alignment();
            let of = |op: Op| a.path.iter().filter(|o| **o == op).count();
            prop_assert_eq!(a.edits, a.path.len() - of(Op::Match));
            prop_assert_eq!(a.path.len() - of(Op::Delete), words.len());
            prop_assert_eq!(a.path.len() - of(Op::Insert), reference.len());
        }
    }

    /// A long text is as far from itself with a word more as a short one, and its columns hold no
    /// more than the beam allows.
    #[test]
    fn the_columns_of_a_long_text_are_short() {
        let words: Vec<u32> = (0..3000).collect();
        let mut other = words.clone();
        other.insert(1500, 7);
        let table = Table::new(&other, &words);
        assert_eq!(table.edits(), 1);
        let cells: usize = table.columns.iter().map(|c| c.cells.len()).sum();
        assert!(cells < 3000 * (2 * BEAM + 8), "{cells} cells");
    }
}
