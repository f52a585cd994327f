//! What was derived of a case already. All engines of a claim are held against the same numbers on
//! the same case, and so are a check and its control; these are computed once.

use crate::cases::ModelCase;
use crate::error::Result;
use std::any::{Any, TypeId};
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// How many numbers are held; the oldest results go first.
const NUMBERS: usize = 1 << 22;

static HELD: LazyLock<Mutex<Held>> = LazyLock::new(|| Mutex::new(Held::new(NUMBERS)));

/// Who derived it, what it is, and of what (128 bits, so that no two of them agree by chance).
type Key = (TypeId, TypeId, [u64; 2]);

/// A result and how many numbers it has.
type Entry = (Arc<dyn Any + Send + Sync>, usize);

struct Held {
    by_key: HashMap<Key, Entry>,
    oldest: VecDeque<Key>,
    numbers: usize,
    most: usize,
}

impl Held {
    fn new(most: usize) -> Self {
        Self {
            by_key: HashMap::new(),
            oldest: VecDeque::new(),
            numbers: 0,
            most,
        }
    }

    fn insert(&mut self, key: Key, (value, numbers): Entry) {
        if self.by_key.insert(key, (value, numbers)).is_some() {
            return; // another thread derived it meanwhile
        }
        self.oldest.push_back(key);
        self.numbers += numbers;
        while self.numbers > self.most
            && let Some(key) = self.oldest.pop_front()
        {
            self.numbers -= self.by_key.remove(&key).map_or(0, |(_, numbers)| numbers);
        }
    }
}

/// What `derive` makes of a case and of `further`, which has to name everything else that it
/// depends on. `numbers` says how large it is. `By` tells apart what has one type and two sources.
///
/// # Errors
/// Those of `derive`, which are not held.
pub(crate) fn derived<By: ?Sized + 'static, T: Any + Send + Sync>(
    case: &ModelCase,
    further: impl Hash,
    numbers: impl Fn(&T) -> usize,
    derive: impl FnOnce() -> Result<T>,
) -> Result<Arc<T>> {
    let key = (TypeId::of::<By>(), TypeId::of::<T>(), of(case, further));
    let held = || HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let found = held().by_key.get(&key).map(|(value, _)| value.clone());
    if let Some(Ok(found)) = found.map(Arc::downcast) {
        return Ok(found);
    }
    let made = Arc::new(derive()?);
    held().insert(key, (made.clone(), numbers(&made)));
    Ok(made)
}

/// A case's every number, shape, name and setting in 128 bits.
fn of(case: &ModelCase, further: impl Hash) -> [u64; 2] {
    [0, 1].map(|half: u8| {
        let mut into = DefaultHasher::new();
        half.hash(&mut into);
        case.hash(&mut into);
        further.hash(&mut into);
        into.finish()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::{Draw, gpt2};

    fn entry(n: u64, numbers: usize) -> (Key, Entry) {
        let key = (TypeId::of::<u64>(), TypeId::of::<u64>(), [n, n]);
        (key, (Arc::new(n), numbers))
    }

    #[test]
    fn what_is_derived_of_a_case_is_derived_once_and_anew_of_any_other() {
        let case = ModelCase::random(&mut Draw::new(1, "derived", 3), gpt2).unwrap();
        let count = std::cell::Cell::new(0);
        let derive = |case: &ModelCase, further: &str| {
            let made = derived::<Held, usize>(
                case,
                further,
                |_| 1,
                || {
                    count.set(count.get() + 1);
                    Ok(count.get())
                },
            );
            *made.unwrap()
        };
        assert_eq!([derive(&case, "a"), derive(&case, "a")], [1, 1]);
        assert_eq!([derive(&case, "b"), derive(&case, "a")], [2, 1]);
        let changed: [fn(&mut ModelCase); 5] = [
            |case| {
                let mut numbers = case.weights.values_mut().flatten();
                let number = numbers.next().unwrap();
                *number = number.next_up();
            },
            |case| case.rows[0].ids[0] ^= 1,
            |case| case.rows[0].labels[0] -= 1,
            |case| case.smoothing += 0.5,
            |case| case.method.full = !case.method.full,
        ];
        for (k, change) in changed.into_iter().enumerate() {
            let mut other = case.clone();
            change(&mut other);
            assert_eq!(derive(&other, "a"), 3 + k, "change {k}");
        }
    }

    #[test]
    fn the_oldest_results_go_when_there_is_no_room() {
        let mut held = Held::new(10);
        for n in 0..4 {
            let (key, entry) = entry(n, 3);
            held.insert(key, entry);
        }
        assert_eq!(held.by_key.len(), 3);
        assert!(!held.by_key.contains_key(&entry(0, 0).0));
        let (key, same) = entry(3, 3);
        held.insert(key, same);
        assert_eq!(held.numbers, 9, "a result counts once");
        let (key, large) = entry(4, 11);
        held.insert(key, large);
        assert_eq!((held.by_key.len(), held.numbers), (0, 0));
    }
}
