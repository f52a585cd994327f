//! The random numbers of one case, and the choices that make it large or small.
//!
//! A case is named by its number; what it draws follows from that number, the claim's id and the
//! seed. Its sizes and options are [`Choice`]s, counted in the order in which they are made: any of
//! them can be taken otherwise ([`CaseName`]), and the numbers that follow are drawn all the same.
//! So a case that fails shrinks ([`super::strategy`]), and the smallest one has a name.

use super::{Corner, Sample};
use crate::error::Error;
use inducer_reference::attention::Linear;
use ndarray::{Array, ArrayD, Dimension, IxDyn, ShapeBuilder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// A size, an option (0 or 1), or the place of what was picked in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The smallest that there is.
    pub least: usize,
    /// What was chosen.
    pub taken: usize,
}

/// The name of a case of a claim at a seed: its number, and the choices in it that are made
/// otherwise than drawn, each by its place and with what is chosen.
///
/// ```
/// use inducer_verify::cases::CaseName;
/// let smaller: CaseName = "10:0=0,3=1".parse()?;
/// assert_eq!((smaller.index, smaller.otherwise[&3]), (10, 1));
/// assert_eq!(smaller.to_string(), "10:0=0,3=1");
/// # Ok::<(), inducer_verify::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaseName {
    /// The case's number.
    pub index: usize,
    /// What is chosen in place of what was drawn.
    pub otherwise: BTreeMap<usize, usize>,
}

impl From<usize> for CaseName {
    fn from(index: usize) -> Self {
        Self {
            index,
            otherwise: BTreeMap::new(),
        }
    }
}

impl fmt::Display for CaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.index)?;
        for (at, (place, choice)) in self.otherwise.iter().enumerate() {
            let before = [',', ':'][usize::from(at == 0)];
            write!(f, "{before}{place}={choice}")?;
        }
        Ok(())
    }
}

impl FromStr for CaseName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::Missing(format!(
                "a case by its number, as `10` or, with choices made otherwise, as `10:0=0,3=1`; \
                 found `{text}`"
            ))
        };
        let (index, choices) = text.split_once(':').unwrap_or((text, ""));
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let mut name = Self::from(number(index)?);
        for choice in choices.split(',').filter(|_| text.contains(':')) {
            let (place, taken) = choice.split_once('=').ok_or_else(wrong)?;
            name.otherwise.insert(number(place)?, number(taken)?);
        }
        Ok(name)
    }
}

/// Where FNV-1a begins.
const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a.
fn hashed(from: u64, bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(from, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Cases in a row that meet every pair of one of the ten corners and one of the thirteen methods.
pub const PAIRS: usize = 130;

/// Where a claim begins among the pairs, so that claims of few cases meet other pairs than their
/// neighbours do.
fn begin(id: &str) -> usize {
    (hashed(FNV, id.bytes()) % PAIRS as u64) as usize
}

/// What a model, its method or its batch has or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelOption {
    /// Label smoothing.
    Smoothing,
    /// Segments of tokens (GPT-2).
    Segments,
    /// Trained special tokens behind the vocabulary (GPT-2).
    SpecialTokens,
    /// Dropout, where a claim trains.
    Dropout,
    /// LoRA's bias, where the method leaves it open.
    LoraBias,
    /// LoRA on the keys, where the method leaves it open.
    LoraKeys,
    /// Positions that begin behind the prefix.
    OffsetPositions,
    /// An adapter's own layer normalisation.
    LayerNorm,
}

impl ModelOption {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Smoothing,
        Self::Segments,
        Self::SpecialTokens,
        Self::Dropout,
        Self::LoraBias,
        Self::LoraKeys,
        Self::OffsetPositions,
        Self::LayerNorm,
    ];
}

/// A stream of random numbers for one case of one claim. A clone draws what the stream would have,
/// and makes the same choices.
#[derive(Clone, Debug)]
pub struct Draw {
    rng: ChaCha8Rng,
    /// The seed.
    pub seed: u64,
    /// The case's number.
    pub index: usize,
    /// Its turn among the corners and methods: the number, from where the claim begins.
    pub turn: usize,
    /// Whether the claim begins at an odd place. A method meets a corner once in [`PAIRS`] turns,
    /// with the options of that turn; of a method's own options these claims have the opposite.
    has_opposite: bool,
    /// The case's own corner.
    own: Corner,
    /// The corner, where it is not the case's own.
    forced: Option<Corner>,
    otherwise: BTreeMap<usize, usize>,
    /// How many choices were made.
    made: usize,
    /// The choices in their order, for clones as well; the first is the corner's.
    choices: Arc<Mutex<Vec<Choice>>>,
}

impl Draw {
    /// The stream of a case of the claim `id`, by its number or its whole name: the same for every
    /// engine, for the check and for its control.
    #[must_use]
    pub fn new(seed: u64, id: &str, case: impl Into<CaseName>) -> Self {
        let CaseName { index, otherwise } = case.into();
        let mut key = [0_u8; 32];
        // over everything that names the case
        let mut hash = FNV;
        for (place, slot) in key.chunks_exact_mut(8).enumerate() {
            let words = [seed, index as u64, place as u64];
            let bytes = words
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .chain(id.bytes());
            hash = hashed(hash, bytes);
            slot.copy_from_slice(&hash.to_le_bytes());
        }
        let mut draw = Self {
            rng: ChaCha8Rng::from_seed(key),
            seed,
            index,
            turn: index + begin(id),
            has_opposite: begin(id) % 2 == 1,
            own: Corner::Plain,
            forced: None,
            otherwise,
            made: 0,
            choices: Arc::default(),
        };
        // ten cases in a row visit all ten corners
        let corner = draw.turn % Corner::ALL.len();
        draw.own = Corner::ALL[draw.choose(0, Corner::ALL.len() - 1, corner)];
        draw
    }

    /// The case's name.
    #[must_use]
    pub fn name(&self) -> CaseName {
        CaseName {
            index: self.index,
            otherwise: self.otherwise.clone(),
        }
    }

    /// The choices made so far, by this stream or a clone of it.
    #[must_use]
    pub fn choices(&self) -> Vec<Choice> {
        let choices = self.choices.lock();
        choices.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was drawn for the next choice, or what the case's name says.
    fn choose(&mut self, least: usize, most: usize, drawn: usize) -> usize {
        let said = self.otherwise.get(&self.made);
        let taken = said.map_or(drawn, |said| (*said).clamp(least, most));
        let mut choices = self.choices.lock().unwrap_or_else(PoisonError::into_inner);
        choices.truncate(self.made);
        choices.push(Choice { least, taken });
        self.made += 1;
        taken
    }

    /// The corner of this case.
    #[must_use]
    pub fn corner(&self) -> Corner {
        self.forced.unwrap_or(self.own)
    }

    /// From here on in this corner, for claims that are not about all of them.
    pub fn force(&mut self, corner: Corner) {
        self.forced = Some(corner);
    }

    /// An integer in `from..=to`; the smaller, the smaller the case.
    pub fn size(&mut self, from: usize, to: usize) -> usize {
        let drawn = self.rng.random_range(from..=to);
        self.choose(from, to, drawn)
    }

    /// Integers in these ranges, drawn in their order.
    pub fn sizes<const N: usize>(&mut self, ranges: [(usize, usize); N]) -> [usize; N] {
        ranges.map(|(from, to)| self.size(from, to))
    }

    /// True with this probability; false is smaller.
    pub fn chance(&mut self, probability: f64) -> bool {
        let drawn = self.rng.random_bool(probability);
        self.choose(0, 1, usize::from(drawn)) == 1
    }

    /// One of them; the first is the smallest.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let drawn = self.rng.random_range(0..from.len());
        from[self.choose(0, from.len() - 1, drawn)]
    }

    /// One of them by the case's turn: as many cases in a row as there are visit them all.
    #[must_use]
    pub fn in_turn<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.turn % of.len()]
    }

    /// One of them by the case's turn, the next one from one round of the corners to the next, so
    /// that each meets all corners where the number of them divides a round.
    #[must_use]
    pub fn in_shifted_turn<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[(self.turn + self.turn / Corner::ALL.len()) % of.len()]
    }

    /// Whether this option is on: in half of the cases, by their turn.
    ///
    /// Eight turns make an orthogonal array of seven columns: any two options meet in all four
    /// ways, but for segments and LoRA's keys, which share one and meet so in two claims. The turn
    /// is one further after every ten cases, so that the cases of a corner alternate as well, and
    /// begins elsewhere for another seed.
    pub fn option(&mut self, option: ModelOption) -> bool {
        let bit = |turn: usize, place: usize| {
            let turn = turn + turn / Corner::ALL.len() + (self.seed % 8) as usize;
            turn >> place & 1
        };
        let model = |place| bit(self.turn, place);
        // the same in all claims for a method in a corner
        let method = |place| bit(self.turn % PAIRS, place);
        let opposite = usize::from(self.has_opposite);
        let on = match option {
            ModelOption::Smoothing => model(0),
            ModelOption::Segments => model(1),
            ModelOption::SpecialTokens => model(2),
            ModelOption::Dropout => model(0) ^ model(1) ^ model(2),
            ModelOption::LoraBias => method(0) ^ method(1) ^ opposite,
            ModelOption::LoraKeys => method(1) ^ opposite,
            ModelOption::OffsetPositions => method(0) ^ method(2) ^ opposite,
            ModelOption::LayerNorm => method(1) ^ method(2) ^ opposite,
        };
        self.choose(0, 1, on) == 1
    }

    /// A number in ±`scale`, exact in `f32` and not zero.
    pub fn number(&mut self, scale: f64) -> f64 {
        loop {
            let x = f64::from((self.rng.random_range(-1.0..=1.0_f64) * scale) as f32);
            if x != 0.0 {
                return x;
            }
        }
    }

    /// A number between `from` and `to`, exact in `f32`.
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        f64::from(self.rng.random_range(from..=to) as f32)
    }

    /// An array of numbers in ±`scale`.
    pub fn array<D: Dimension, Sh: ShapeBuilder<Dim = D>>(
        &mut self,
        shape: Sh,
        scale: f64,
    ) -> Array<f64, D> {
        Array::from_shape_simple_fn(shape, || self.number(scale))
    }

    /// An array of ±1.
    pub fn signs(&mut self, shape: &[usize]) -> ArrayD<f64> {
        ArrayD::from_shape_simple_fn(IxDyn(shape), || {
            if self.rng.random_bool(0.5) { 1.0 } else { -1.0 }
        })
    }

    /// An array of free elements of a field.
    pub fn elements<F: Sample, D: Dimension, Sh: ShapeBuilder<Dim = D>>(
        &mut self,
        shape: Sh,
    ) -> Array<F, D> {
        Array::from_shape_simple_fn(shape, || F::any(self))
    }

    /// An array of kernel values: positive, or any element of a field that has no order.
    pub fn kernels<F: Sample, D: Dimension, Sh: ShapeBuilder<Dim = D>>(
        &mut self,
        shape: Sh,
    ) -> Array<F, D> {
        Array::from_shape_simple_fn(shape, || F::positive(self))
    }

    /// A linear map of free elements of a field.
    pub fn linear<F: Sample>(&mut self, from: usize, to: usize) -> Linear<F> {
        Linear {
            weight: self.elements((from, to)),
            bias: self.elements(to),
        }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.rng.random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_that_was_written_is_read_as_it_was(
            index in 0..1000_usize,
            otherwise in proptest::collection::btree_map(0..90_usize, 0..70_usize, 0..5),
        ) {
            let name = CaseName { index, otherwise };
            prop_assert_eq!(name.to_string().parse::<CaseName>().unwrap(), name);
        }
    }

    #[test]
    fn what_is_no_name_of_a_case_is_refused() {
        for text in ["", "x", "-1", "1:", "1:2", "1:2=", "1:a=1", "1:2=3,", "1 2"] {
            let error = text.parse::<CaseName>().unwrap_err().to_string();
            assert!(error.contains(&format!("found `{text}`")), "{error}");
        }
    }

    #[test]
    fn a_clone_makes_the_same_choices() {
        let sizes = [(1, 40), (2, 90), (0, 7)];
        let mut draw = Draw::new(3, "x", "7:2=11".parse::<CaseName>().unwrap());
        let first = draw.clone().sizes(sizes);
        assert_eq!(first[1], 11);
        assert_eq!(draw.clone().sizes(sizes), first);
        assert_eq!(draw.sizes(sizes), first);
        let taken: Vec<usize> = draw.choices().iter().map(|c| c.taken).collect();
        assert_eq!(taken[1..], first);
    }

    #[test]
    fn a_choice_made_otherwise_changes_nothing_else() {
        let drawn = |name: &str| {
            let mut draw = Draw::new(3, "x", name.parse::<CaseName>().unwrap());
            let corner = draw.corner();
            (
                corner,
                draw.size(2, 900),
                draw.chance(0.5),
                draw.number(1.0),
            )
        };
        let (corner, size, option, number) = drawn("7");
        assert_eq!(corner, Corner::ALL[(7 + begin("x")) % 10]);
        assert_ne!(corner, Corner::Plain);
        assert!((2..=900).contains(&size));
        assert_eq!(drawn("7:1=5"), (corner, 5, option, number));
        // no choice leaves its range
        assert_eq!(drawn("7:1=1"), (corner, 2, option, number));
        assert_eq!(drawn("7:0=0,2=1"), (Corner::Plain, size, true, number));
        assert_eq!(drawn("7:2=0"), (corner, size, false, number));
    }
}
