//! The cases as strategies of proptest: a case that fails shrinks to the smallest that still does.
//!
//! A case shrinks by its choices, one after the other: each is made as small as it can be while the
//! case still fails (fewer heads, layers, tokens, units; no option; no corner), until no choice
//! alone can be made smaller. Its numbers stay as they are drawn.

use super::draw::Choice;
use super::{CaseName, Draw, Family, ModelCase};
use proptest::prelude::any;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::cell::RefCell;
use std::ops::Range;

/// The cases that a strategy draws from: two hundred of each corner.
const INDICES: Range<usize> = 0..2000;

/// The cases of a claim, or of a property of your own by any name.
#[derive(Clone, Copy, Debug)]
pub struct Cases(pub &'static str);

impl Strategy for Cases {
    type Tree = CaseTree;
    type Value = Draw;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let seed = any::<u64>().new_tree(runner)?.current();
        let index = INDICES.new_tree(runner)?.current();
        Ok(CaseTree::new(seed, self.0, index.into()))
    }
}

/// Random models on this backbone, with any of the paper's methods and a batch of texts.
///
/// ```
/// use inducer_verify::cases::{gpt2, models};
/// use inducer_verify::{Engine as _, engines::Candle};
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(model in models(gpt2))| {
///     let found = Candle::cpu_f64().compute(&model).unwrap();
///     prop_assert!(found.loss.is_some_and(|loss| loss > 0.0));
/// });
/// ```
pub fn models(family: Family) -> impl Strategy<Value = ModelCase> {
    let model = move |mut draw: Draw| ModelCase::random(&mut draw, family).ok();
    Cases("models").prop_filter_map("a shape that ndarray refuses", model)
}

/// A case and its smaller ones.
#[derive(Debug)]
pub struct CaseTree {
    seed: u64,
    id: &'static str,
    /// The smallest case known to fail, at first the one to be tried.
    smallest: CaseName,
    /// Its choices.
    choices: Vec<Choice>,
    /// How many the first case to fail had.
    first: usize,
    /// Which of them is being made smaller.
    at: usize,
    /// The smallest that this choice can be, for all that is known.
    least: Option<usize>,
    /// What is tried for it.
    tried: Option<usize>,
    /// Whether a choice became smaller since they were last begun with.
    smaller: bool,
    /// The case given away last, whose choices its clone knows.
    given: RefCell<Option<Draw>>,
}

impl CaseTree {
    /// A case by its name.
    #[must_use]
    pub fn new(seed: u64, id: &'static str, case: CaseName) -> Self {
        Self {
            seed,
            id,
            smallest: case,
            choices: Vec::new(),
            first: 0,
            at: 0,
            least: None,
            tried: None,
            smaller: false,
            given: RefCell::default(),
        }
    }

    /// The next smaller case, or the smallest that fails and false.
    fn next(&mut self) -> bool {
        loop {
            let Some(choice) = self.choices.get(self.at) else {
                if !self.smaller {
                    self.tried = None;
                    return false;
                }
                (self.at, self.smaller) = (0, false);
                continue;
            };
            let least = self.least.unwrap_or(choice.least);
            if least < choice.taken {
                // the least of all first, then halves
                self.tried = Some(match self.least {
                    None => least,
                    Some(least) => least.midpoint(choice.taken),
                });
                return true;
            }
            (self.at, self.least) = (self.at + 1, None);
        }
    }
}

impl ValueTree for CaseTree {
    type Value = Draw;

    fn current(&self) -> Draw {
        let mut name = self.smallest.clone();
        name.otherwise
            .extend(self.tried.map(|tried| (self.at, tried)));
        let draw = Draw::new(self.seed, self.id, name);
        *self.given.borrow_mut() = Some(draw.clone());
        draw
    }

    /// The case given away last fails.
    fn simplify(&mut self) -> bool {
        let given = self.given.borrow().as_ref().map(Draw::choices);
        let given = given.unwrap_or_default();
        // a case that goes on choosing (until a backbone has two heads, say) is no smaller one
        if self.tried.is_some() && given.len() > 2 * self.first {
            return self.complicate();
        }
        self.choices = given;
        if self.first == 0 {
            self.first = self.choices.len();
        }
        if let Some(tried) = self.tried {
            self.smallest.otherwise.insert(self.at, tried);
            self.smaller = true;
        }
        self.next()
    }

    /// The case given away last does not fail.
    fn complicate(&mut self) -> bool {
        match self.tried {
            Some(tried) => self.least = Some(tried + 1),
            None => return false,
        }
        self.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::{Corner, gpt2, roberta};
    use proptest::test_runner::{Config, TestCaseError, TestError};

    /// The smallest case with this fault, from each of some cases that have it.
    fn smallest(fault: impl Fn(&mut Draw) -> bool) -> Vec<Draw> {
        let mut runner = TestRunner::new(Config {
            failure_persistence: None,
            ..Config::default()
        });
        let found = (0..30).filter_map(|index| {
            let tree = CaseTree::new(5, "x", index.into());
            let found = runner.run_one(tree, |mut draw| match fault(&mut draw) {
                true => Err(TestCaseError::fail("a fault")),
                false => Ok(()),
            });
            match found {
                Err(TestError::Fail(_, draw)) => Some(draw),
                _ => None,
            }
        });
        found.collect()
    }

    #[test]
    fn a_size_shrinks_to_where_its_fault_begins_and_the_rest_to_nothing() {
        let found = smallest(|draw| {
            let [heads, width] = draw.sizes([(1, 40), (3, 90)]);
            let option = draw.chance(0.5);
            heads >= 17 && (width == 3 || !option || width > 3)
        });
        assert!(found.len() > 10);
        for mut draw in found {
            assert_eq!(draw.corner(), Corner::Plain);
            assert_eq!(draw.sizes([(1, 40), (3, 90)]), [17, 3]);
            assert!(!draw.chance(0.5));
        }
    }

    #[test]
    fn a_choice_that_others_hang_on_shrinks_too() {
        // the fewest numbers with a great one among them: one great number
        let numbers = |draw: &mut Draw| -> Vec<usize> {
            let count = draw.size(1, 9);
            (0..count).map(|_| draw.size(0, 100)).collect()
        };
        let found = smallest(|draw| numbers(draw).into_iter().sum::<usize>() >= 50);
        assert!(found.len() > 10);
        for mut draw in found {
            let left = numbers(&mut draw);
            assert_eq!(left.iter().sum::<usize>(), 50, "{left:?}");
        }
    }

    #[test]
    fn a_case_that_chooses_until_it_is_content_does_not_go_on_choosing() {
        let several = |draw: &mut Draw| {
            loop {
                let heads = draw.size(1, 4);
                if heads > 1 {
                    return heads;
                }
            }
        };
        for mut draw in smallest(|draw| several(draw) > 2) {
            assert_eq!(several(&mut draw), 3, "{}", draw.name());
            assert!(draw.choices().len() < 20, "{}", draw.name());
        }
    }

    #[test]
    fn a_whole_model_shrinks_to_the_fewest_layers_heads_and_tokens() {
        for family in [gpt2, roberta] {
            let model = |draw: &mut Draw| ModelCase::random(draw, family).unwrap();
            let found = smallest(|draw| {
                let model = model(draw);
                model.rows.iter().any(|row| row.ids.len() >= 3)
            });
            let plain = found.iter().filter(|draw| draw.corner() == Corner::Plain);
            assert!(plain.count() > 10);
            for mut draw in found {
                let model = model(&mut draw);
                let sizes = (model.backbone.layers(), model.backbone.heads());
                assert_eq!(sizes, (1, 1), "{}", model.describe());
                if draw.corner() != Corner::Plain {
                    continue; // a corner has lengths of its own, and may not be left alone
                }
                // a text before the long one is the shortest that there is
                let least = [2, 1][usize::from(model.backbone.classifies())];
                let lengths = model.rows.iter().map(|row| row.ids.len());
                let lengths: Vec<usize> = lengths.collect();
                let (last, before) = lengths.split_last().unwrap();
                assert_eq!(*last, 3, "{}", model.describe());
                assert!(before.iter().all(|n| *n == least), "{}", model.describe());
                assert_eq!(model.backbone.hidden(), 4, "{}", model.describe());
            }
        }
    }

    #[test]
    fn a_strategy_of_models_finds_the_smallest_one_with_a_fault() {
        let mut runner = TestRunner::new(Config {
            failure_persistence: None,
            ..Config::default()
        });
        let found = runner.run(&models(gpt2), |model| match model.backbone.heads() {
            1 => Ok(()),
            _ => Err(TestCaseError::fail("heads")),
        });
        let Err(TestError::Fail(_, model)) = found else {
            panic!("no case was found");
        };
        assert_eq!(model.backbone.heads(), 2);
        assert_eq!((model.backbone.layers(), model.rows.len()), (1, 1));
    }
}
