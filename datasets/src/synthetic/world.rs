//! The invented world: kinds of things, how they are named, what can be said of them.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha12Rng;

/// Kinds of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Person,
    City,
    Country,
    House,
    Ship,
    Dish,
    Book,
    School,
    Bridge,
    Club,
    River,
    Festival,
    Moon,
    Band,
    Engine,
    Mountain,
    Company,
    Year,
    Number,
    Count,
    Metres,
    Material,
    Ingredient,
    Genre,
    Language,
    Days,
    Colour,
}

/// A thing with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thing {
    pub kind: Kind,
    pub name: String,
    female: bool,
}

/// A property: its name in triples, in words, what its object is, and how it is said after the
/// subject.
pub(super) struct Property {
    pub name: &'static str,
    pub words: &'static str,
    pub object: Kind,
    pub phrases: &'static [&'static str],
}

/// Where a category is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In every part of the data.
    Seen,
    /// In the test part only.
    Unseen,
    /// In prose only.
    Prose,
}

/// A category of entries.
pub(super) struct Category {
    pub name: &'static str,
    pub noun: &'static str,
    pub place: Place,
    pub kind: Kind,
    pub properties: &'static [Property],
}

type Words = &'static [&'static str];
const HEADS: Words = &[
    "Bel", "Dor", "Fan", "Gar", "Hol", "Kor", "Lam", "Mer", "Nor", "Pel", "Ran", "Sel", "Tor",
    "Ul", "Vik", "Wes",
];
const TAILS: Words = &[
    "ana", "by", "den", "ford", "gard", "ika", "mond", "ner", "ovic", "stad", "ton", "um",
];
const WOMEN: Words = &["Anna", "Clara", "Ida", "Maria", "Nora", "Vera"];
const MEN: Words = &["Carl", "Hugo", "Ivan", "Oscar", "Paul", "Tom"];
const MATERIALS: Words = &["stone", "brick", "wood", "iron", "glass", "marble"];
const INGREDIENTS: Words = &[
    "rice", "beans", "apples", "butter", "onions", "almonds", "honey",
];
const GENRES: Words = &["jazz", "folk music", "rock music", "opera", "swing"];
const COLOURS: Words = &["red", "green", "blue", "white", "black", "yellow"];

fn pick(rng: &mut ChaCha12Rng, list: Words) -> &'static str {
    list.choose(rng).copied().unwrap_or_default()
}

/// An invented name, one of 192: few enough that each becomes one token of a small vocabulary, so
/// that a small backbone can learn to copy them; what goes with what is chance, so that it has to.
fn name(rng: &mut ChaCha12Rng) -> String {
    format!("{}{}", pick(rng, HEADS), pick(rng, TAILS))
}

/// A quantity, one of 40, each a token of its own like the names.
fn number(rng: &mut ChaCha12Rng) -> u32 {
    rng.random_range(10..50) * 10
}

impl Thing {
    /// A new thing of a kind.
    pub fn new(rng: &mut ChaCha12Rng, kind: Kind) -> Self {
        let female = rng.random_bool(0.5);
        let name = match kind {
            Kind::Person => format!(
                "{} {}",
                pick(rng, if female { WOMEN } else { MEN }),
                name(rng)
            ),
            Kind::City | Kind::River => name(rng),
            Kind::Country => format!("{}ia", pick(rng, HEADS)),
            Kind::House => format!("{} {}", name(rng), pick(rng, &["House", "Hall", "Tower"])),
            Kind::Ship => format!(
                "{} {}",
                pick(rng, &["Northern", "Silver", "Royal", "Old"]),
                name(rng)
            ),
            Kind::Dish => format!(
                "{} {}",
                name(rng),
                pick(rng, &["soup", "cake", "stew", "bread"])
            ),
            Kind::Book => format!(
                "The {} of {}",
                pick(rng, &["Song", "House", "Year", "Road"]),
                name(rng)
            ),
            Kind::School => format!("University of {}", name(rng)),
            Kind::Bridge => format!("{} Bridge", name(rng)),
            Kind::Club => format!("{} {}", name(rng), pick(rng, &["United", "Rovers", "City"])),
            Kind::Festival => format!("{} Festival", name(rng)),
            Kind::Moon => format!("{} {}", name(rng), rng.random_range(2..10)),
            Kind::Band => format!("The {}s", name(rng)),
            Kind::Engine => format!("{} {}", name(rng), number(rng)),
            Kind::Mountain => format!("Mount {}", name(rng)),
            Kind::Company => format!("{} Works", name(rng)),
            Kind::Year => (rng.random_range(150..202) * 10).to_string(),
            Kind::Number => number(rng).to_string(),
            Kind::Count => rng.random_range(3..40).to_string(),
            Kind::Metres => format!("{} metres", number(rng)),
            Kind::Days => format!("{} days", number(rng)),
            Kind::Material => pick(rng, MATERIALS).to_owned(),
            Kind::Ingredient => pick(rng, INGREDIENTS).to_owned(),
            Kind::Genre => pick(rng, GENRES).to_owned(),
            Kind::Language => format!("{}ish", pick(rng, HEADS)),
            Kind::Colour => pick(rng, COLOURS).to_owned(),
        };
        Self { kind, name, female }
    }

    pub fn is_person(&self) -> bool {
        self.kind == Kind::Person
    }

    pub fn pronoun(&self) -> &'static str {
        match (self.is_person(), self.female) {
            (true, true) => "She",
            (true, false) => "He",
            _ => "It",
        }
    }

    /// The noun of its category, for "The bridge"; people have pronouns.
    pub fn noun(&self) -> Option<&'static str> {
        CATEGORIES
            .iter()
            .find(|c| c.kind == self.kind && !self.is_person())
            .map(|c| c.noun)
    }
}

const fn p(name: &'static str, words: &'static str, object: Kind, phrases: Words) -> Property {
    Property {
        name,
        words,
        object,
        phrases,
    }
}

#[rustfmt::skip]
mod properties {
    use super::{Kind, Property, p};
    pub const COUNTRY: Property = p("country", "country", Kind::Country, &["is in {}", "lies in {}", "belongs to {}"]);
    pub const LOCATION: Property = p("location", "location", Kind::City, &["is located in {}", "stands in {}", "can be found in {}"]);
    pub const FOUNDED: Property = p("foundingYear", "founding year", Kind::Year, &["was founded in {}", "was established in {}"]);
    pub const FOUNDER: Property = p("founder", "founder", Kind::Person, &["was founded by {}", "was started by {}"]);
    pub const LEADER: Property = p("leader", "leader", Kind::Person, &["is led by {}", "has {} as its leader"]);
    pub const BUILT: Property = p("completionYear", "completion year", Kind::Year, &["was completed in {}", "was finished in {}"]);
    pub const MADE_OF: Property = p("material", "material", Kind::Material, &["is made of {}", "is built of {}"]);
    pub const LENGTH: Property = p("length", "length", Kind::Metres, &["is {} long", "has a length of {}"]);
    pub const HEIGHT: Property = p("height", "height", Kind::Metres, &["is {} high", "has a height of {}"]);
    pub const POPULATION: Property = p("population", "population", Kind::Number, &["has {} inhabitants", "has a population of {}"]);
    pub const LANGUAGE: Property = p("language", "language", Kind::Language, &["uses the {} language", "speaks {}"]);
    pub const WRITTEN: Property = p("language", "language", Kind::Language, &["is in the {} language", "was written in {}"]);
    pub const BIRTHPLACE: Property = p("birthPlace", "birth place", Kind::City, &["was born in {}", "comes from {}"]);
    pub const BIRTHYEAR: Property = p("birthYear", "birth year", Kind::Year, &["was born in the year {}", "has been alive since {}"]);
    pub const OWNER: Property = p("owner", "owner", Kind::Person, &["is owned by {}", "belongs to {}"]);
    pub const COLOUR: Property = p("colour", "colour", Kind::Colour, &["is {}", "is painted {}"]);
    pub const DESIGNER: Property = p("designer", "designer", Kind::Person, &["was designed by {}", "was drawn by {}"]);
}
use properties::*;

const OF_CITY: [Property; 4] = [COUNTRY, POPULATION, LEADER, LANGUAGE];
const OF_PERSON: [Property; 2] = [BIRTHPLACE, BIRTHYEAR];

/// What can be said of a thing that is not an entry's subject.
pub(super) fn about(kind: Kind) -> &'static [Property] {
    match kind {
        Kind::City => &OF_CITY,
        Kind::Person => &OF_PERSON,
        _ => &[],
    }
}

const fn c(
    name: &'static str,
    noun: &'static str,
    place: Place,
    kind: Kind,
    properties: &'static [Property],
) -> Category {
    Category {
        name,
        noun,
        place,
        kind,
        properties,
    }
}

/// All categories.
#[rustfmt::skip]
pub(super) static CATEGORIES: [Category; 15] = [
    c("City", "city", Place::Seen, Kind::City, &[COUNTRY, POPULATION, LEADER, LANGUAGE, FOUNDED,
        p("river", "river", Kind::River, &["stands on the river {}", "is crossed by the river {}"])]),
    c("Building", "building", Place::Seen, Kind::House, &[LOCATION, BUILT, MADE_OF, OWNER,
        p("architect", "architect", Kind::Person, &["was designed by {}", "was drawn by {}"]),
        p("floorCount", "floor count", Kind::Count, &["has {} floors", "counts {} floors"])]),
    c("Ship", "ship", Place::Seen, Kind::Ship, &[LENGTH, OWNER, COLOUR,
        p("homePort", "home port", Kind::City, &["sails from {}", "has its home port in {}"]),
        p("captain", "captain", Kind::Person, &["is commanded by {}", "has {} as its captain"]),
        p("launchYear", "launch year", Kind::Year, &["was launched in {}", "first sailed in {}"])]),
    c("Food", "dish", Place::Seen, Kind::Dish, &[
        p("country", "country", Kind::Country, &["is from {}", "comes from {}"]),
        p("ingredient", "ingredient", Kind::Ingredient, &["contains {}", "is made with {}"]),
        p("creator", "creator", Kind::Person, &["was created by {}", "was invented by {}"]),
        p("region", "region", Kind::City, &["is eaten in {}", "is popular in {}"])]),
    c("WrittenWork", "book", Place::Seen, Kind::Book, &[WRITTEN,
        p("author", "author", Kind::Person, &["was written by {}", "is the work of {}"]),
        p("publicationYear", "publication year", Kind::Year, &["was published in {}", "appeared in {}"]),
        p("pageCount", "page count", Kind::Number, &["has {} pages", "runs to {} pages"]),
        p("setting", "setting", Kind::City, &["is set in {}", "takes place in {}"])]),
    c("University", "university", Place::Seen, Kind::School, &[LOCATION, FOUNDED, FOUNDER, LEADER,
        p("studentCount", "student count", Kind::Number, &["has {} students", "teaches {} students"])]),
    c("Bridge", "bridge", Place::Seen, Kind::Bridge, &[LOCATION, LENGTH, MADE_OF, BUILT,
        p("river", "river", Kind::River, &["crosses the river {}", "spans the river {}"])]),
    c("SportsTeam", "club", Place::Seen, Kind::Club, &[FOUNDED, FOUNDER, OWNER,
        p("ground", "ground", Kind::City, &["plays in {}", "has its ground in {}"]),
        p("coach", "coach", Kind::Person, &["is coached by {}", "is trained by {}"]),
        p("shirtColour", "shirt colour", Kind::Colour, &["plays in {} shirts", "wears {} shirts"])]),
    c("Person", "person", Place::Seen, Kind::Person, &[BIRTHPLACE, BIRTHYEAR,
        p("employer", "employer", Kind::School, &["works at the {}", "is employed by the {}"]),
        p("residence", "residence", Kind::City, &["lives in {}", "resides in {}"]),
        p("notableWork", "notable work", Kind::Book, &["wrote {}", "is known for {}"])]),
    c("Festival", "festival", Place::Seen, Kind::Festival, &[FOUNDED, FOUNDER,
        p("location", "location", Kind::City, &["takes place in {}", "is held in {}"]),
        p("visitorCount", "visitor count", Kind::Number, &["draws {} visitors", "has {} visitors"])]),
    c("CelestialBody", "moon", Place::Unseen, Kind::Moon, &[COLOUR,
        p("discoverer", "discoverer", Kind::Person, &["was discovered by {}", "was first seen by {}"]),
        p("discoveryYear", "discovery year", Kind::Year, &["was discovered in {}", "was first seen in {}"]),
        p("orbitalPeriod", "orbital period", Kind::Days, &["has an orbital period of {}", "orbits in {}"])]),
    c("Artist", "band", Place::Unseen, Kind::Band, &[FOUNDED, FOUNDER,
        p("genre", "genre", Kind::Genre, &["plays {}", "is known for {}"]),
        p("singer", "singer", Kind::Person, &["has {} as its singer", "is fronted by {}"]),
        p("hometown", "hometown", Kind::City, &["comes from {}", "was formed in {}"])]),
    c("MeanOfTransportation", "engine", Place::Unseen, Kind::Engine, &[LENGTH, COLOUR, DESIGNER,
        p("productionYear", "production year", Kind::Year, &["was built in {}", "went into production in {}"]),
        p("assemblyPlace", "assembly place", Kind::City, &["is assembled in {}", "is put together in {}"])]),
    c("Mountain", "mountain", Place::Prose, Kind::Mountain, &[COUNTRY, HEIGHT,
        p("firstAscent", "first ascent", Kind::Year, &["was first climbed in {}"]),
        p("firstClimber", "first climber", Kind::Person, &["was first climbed by {}"])]),
    c("Company", "company", Place::Prose, Kind::Company, &[FOUNDED, FOUNDER, OWNER, LEADER,
        p("headquarters", "headquarters", Kind::City, &["has its headquarters in {}", "is based in {}"]),
        p("employeeCount", "employee count", Kind::Number, &["employs {} people", "has {} employees"])]),
];
