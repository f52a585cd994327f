//! What an entry says: facts about one thing, and about things that these lead to.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha12Rng;

use super::world::{self, Category, Property, Thing};

/// One triple with what is needed to say it.
#[derive(Clone)]
pub(super) struct Fact {
    pub subject: Thing,
    pub property: &'static Property,
    pub object: Thing,
}

impl Fact {
    fn new(rng: &mut ChaCha12Rng, subject: &Thing, property: &'static Property) -> Self {
        Self {
            subject: subject.clone(),
            property,
            object: Thing::new(rng, property.object),
        }
    }
}

/// `size` facts, or as many as the category has to offer. With more than two, one in three entries
/// or so ends the facts of its subject early and goes on to a city or a person among the objects;
/// such facts follow the one that led to them.
pub(super) fn draw(rng: &mut ChaCha12Rng, category: &'static Category, size: usize) -> Vec<Fact> {
    let subject = Thing::new(rng, category.kind);
    let mut properties: Vec<&Property> = category.properties.iter().collect();
    properties.shuffle(rng);
    let leave = if size > 2 {
        rng.random_range(0..3).min(size - 2)
    } else {
        0
    };
    properties.truncate(size - leave);
    let mut facts: Vec<Fact> = properties
        .into_iter()
        .map(|p| Fact::new(rng, &subject, p))
        .collect();
    while facts.len() < size {
        let fresh = |f: &Fact| {
            let said = |p: &&Property| {
                facts
                    .iter()
                    .any(|g| g.subject == f.object && g.property.name == p.name)
            };
            world::about(f.object.kind)
                .iter()
                .filter(|p| !said(p))
                .collect::<Vec<_>>()
        };
        let open: Vec<(usize, Vec<&Property>)> = facts
            .iter()
            .map(&fresh)
            .enumerate()
            .filter(|(_, p)| !p.is_empty())
            .collect();
        let Some((at, choice)) = open.choose(rng) else {
            break;
        };
        let Some(property) = choice.choose(rng) else {
            break;
        };
        let next = Fact::new(rng, &facts[*at].object.clone(), property);
        let mut after = at + 1;
        while facts.get(after).is_some_and(|f| f.subject == next.subject) {
            after += 1;
        }
        facts.insert(after, next);
    }
    facts
}
