//! A batch: sequences packed one behind the other, without padding.
//!
//! Sequence `r` occupies positions `offsets[r] .. offsets[r + 1]` of every per-token vector.
//! Attention acts within a sequence; everything else acts on tokens, so padding costs nothing
//! because there is none.

/// The label that carries no loss, as in PyTorch and Hugging Face.
pub const IGNORE: i64 = -100;

/// What the loss of a batch is taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// No labels: inference.
    None,
    /// One label a token, aligned with the ids (the model shifts), [`IGNORE`] for "no loss".
    Tokens(Vec<i64>),
    /// One class a sequence.
    Classes(Vec<u32>),
}

/// Packed sequences of token ids with their segment ids and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Token ids of all sequences, length `offsets.last()`.
    pub ids: Vec<u32>,
    /// Segment (task-embedding) ids, the same length as `ids`.
    pub segments: Option<Vec<u32>>,
    /// Rows of the position table, the same length as `ids`; none where the model counts them.
    pub positions: Option<Vec<u32>>,
    /// Labels.
    pub labels: Labels,
    /// Boundaries of the sequences, as `cu_seqlens` elsewhere: `sequences + 1` offsets into `ids`,
    /// the first 0, rising.
    pub offsets: Vec<usize>,
}

impl Batch {
    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of tokens in all sequences.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Length of the longest sequence.
    pub fn longest(&self) -> usize {
        self.offsets
            .windows(2)
            .map(|w| w[1] - w[0])
            .max()
            .unwrap_or(0)
    }

    /// The sequences of a range as a batch of their own.
    pub fn slice(&self, rows: std::ops::Range<usize>) -> Self {
        let (from, to) = (self.offsets[rows.start], self.offsets[rows.end]);
        Self {
            ids: self.ids[from..to].to_vec(),
            segments: self.segments.as_ref().map(|s| s[from..to].to_vec()),
            positions: self.positions.as_ref().map(|p| p[from..to].to_vec()),
            labels: match &self.labels {
                Labels::None => Labels::None,
                Labels::Tokens(labels) => Labels::Tokens(labels[from..to].to_vec()),
                Labels::Classes(classes) => Labels::Classes(classes[rows.clone()].to_vec()),
            },
            offsets: self.offsets[rows.start..=rows.end]
                .iter()
                .map(|s| s - from)
                .collect(),
        }
    }

    /// The positions in `ids` of sequence `r`.
    pub fn sequence(&self, r: usize) -> std::ops::Range<usize> {
        self.offsets[r]..self.offsets[r + 1]
    }

    /// Packs sequences of `(ids, segments, labels)`. Every sequence has segments or none has;
    /// likewise labels.
    ///
    /// ```
    /// use inducer_datasets::batch::Batch;
    /// let b = Batch::pack(&[vec![5, 6], vec![7]], None, None);
    /// assert_eq!((b.sequences(), b.tokens(), b.sequence(1)), (2, 3, 2..3));
    /// ```
    pub fn pack(
        ids: &[Vec<u32>],
        segments: Option<&[Vec<u32>]>,
        labels: Option<&[Vec<i64>]>,
    ) -> Self {
        let mut offsets = vec![0];
        for row in ids {
            offsets.push(offsets[offsets.len() - 1] + row.len());
        }
        Self {
            ids: ids.concat(),
            segments: segments.map(|s| s.concat()),
            positions: None,
            labels: labels.map_or(Labels::None, |l| Labels::Tokens(l.concat())),
            offsets,
        }
    }
}
