//! The invented world: kinds of things, how they are named, what can be said of them.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha12Rng;

use Kind::*;
use Occurrence::*;

use crate::layout::split_camel;

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

/// A property: its name in triples, what its object is, and how it is said after the subject.
pub(super) struct Property {
    pub name: &'static str,
    pub object: Kind,
    pub phrases: Words,
}

impl Property {
    /// The name in words: `founding year` for `foundingYear`.
    pub fn words(&self) -> String {
        split_camel(self.name)
    }
}

/// Where a category is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occurrence {
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
    pub occurrence: Occurrence,
    pub kind: Kind,
    pub properties: &'static [Property],
}

/// Words or phrases to choose from.
pub(super) type Words = &'static [&'static str];
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

/// One of the list.
pub(super) fn pick(rng: &mut ChaCha12Rng, list: Words) -> &'static str {
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

const fn p(name: &'static str, object: Kind, phrases: Words) -> Property {
    Property {
        name,
        object,
        phrases,
    }
}

/// Properties that several categories have.
macro_rules! properties {
    ($($id:ident = $name:literal, $object:ident, $phrases:expr;)*) => {
        $(const $id: Property = p($name, $object, &$phrases);)*
    };
}

properties! {
    COUNTRY = "country", Country, ["is in {}", "lies in {}", "belongs to {}"];
    LOCATION = "location", City, ["is located in {}", "stands in {}", "can be found in {}"];
    FOUNDED = "foundingYear", Year, ["was founded in {}", "was established in {}"];
    FOUNDER = "founder", Person, ["was founded by {}", "was started by {}"];
    LEADER = "leader", Person, ["is led by {}", "has {} as its leader"];
    BUILT = "completionYear", Year, ["was completed in {}", "was finished in {}"];
    MADE_OF = "material", Material, ["is made of {}", "is built of {}"];
    LENGTH = "length", Metres, ["is {} long", "has a length of {}"];
    HEIGHT = "height", Metres, ["is {} high", "has a height of {}"];
    POPULATION = "population", Number, ["has {} inhabitants", "has a population of {}"];
    LANGUAGE = "language", Language, ["uses the {} language", "speaks {}"];
    WRITTEN = "language", Language, ["is in the {} language", "was written in {}"];
    BIRTHPLACE = "birthPlace", City, ["was born in {}", "comes from {}"];
    BIRTHYEAR = "birthYear", Year, ["was born in the year {}", "has been alive since {}"];
    OWNER = "owner", Person, ["is owned by {}", "belongs to {}"];
    COLOUR = "colour", Colour, ["is {}", "is painted {}"];
    DESIGNER = "designer", Person, ["was designed by {}", "was drawn by {}"];
}

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
    occurrence: Occurrence,
    kind: Kind,
    properties: &'static [Property],
) -> Category {
    Category {
        name,
        noun,
        occurrence,
        kind,
        properties,
    }
}

/// All categories.
#[rustfmt::skip]
pub(super) static CATEGORIES: [Category; 15] = [
    c("City", "city", Seen, City, &[COUNTRY, POPULATION, LEADER, LANGUAGE, FOUNDED,
        p("river", River, &["stands on the river {}", "is crossed by the river {}"])]),
    c("Building", "building", Seen, House, &[LOCATION, BUILT, MADE_OF, OWNER,
        p("architect", Person, &["was designed by {}", "was drawn by {}"]),
        p("floorCount", Count, &["has {} floors", "counts {} floors"])]),
    c("Ship", "ship", Seen, Ship, &[LENGTH, OWNER, COLOUR,
        p("homePort", City, &["sails from {}", "has its home port in {}"]),
        p("captain", Person, &["is commanded by {}", "has {} as its captain"]),
        p("launchYear", Year, &["was launched in {}", "first sailed in {}"])]),
    c("Food", "dish", Seen, Dish, &[
        p("country", Country, &["is from {}", "comes from {}"]),
        p("ingredient", Ingredient, &["contains {}", "is made with {}"]),
        p("creator", Person, &["was created by {}", "was invented by {}"]),
        p("region", City, &["is eaten in {}", "is popular in {}"])]),
    c("WrittenWork", "book", Seen, Book, &[WRITTEN,
        p("author", Person, &["was written by {}", "is the work of {}"]),
        p("publicationYear", Year, &["was published in {}", "appeared in {}"]),
        p("pageCount", Number, &["has {} pages", "runs to {} pages"]),
        p("setting", City, &["is set in {}", "takes place in {}"])]),
    c("University", "university", Seen, School, &[LOCATION, FOUNDED, FOUNDER, LEADER,
        p("studentCount", Number, &["has {} students", "teaches {} students"])]),
    c("Bridge", "bridge", Seen, Bridge, &[LOCATION, LENGTH, MADE_OF, BUILT,
        p("river", River, &["crosses the river {}", "spans the river {}"])]),
    c("SportsTeam", "club", Seen, Club, &[FOUNDED, FOUNDER, OWNER,
        p("ground", City, &["plays in {}", "has its ground in {}"]),
        p("coach", Person, &["is coached by {}", "is trained by {}"]),
        p("shirtColour", Colour, &["plays in {} shirts", "wears {} shirts"])]),
    c("Person", "person", Seen, Person, &[BIRTHPLACE, BIRTHYEAR,
        p("employer", School, &["works at the {}", "is employed by the {}"]),
        p("residence", City, &["lives in {}", "resides in {}"]),
        p("notableWork", Book, &["wrote {}", "is known for {}"])]),
    c("Festival", "festival", Seen, Festival, &[FOUNDED, FOUNDER,
        p("location", City, &["takes place in {}", "is held in {}"]),
        p("visitorCount", Number, &["draws {} visitors", "has {} visitors"])]),
    c("CelestialBody", "moon", Unseen, Moon, &[COLOUR,
        p("discoverer", Person, &["was discovered by {}", "was first seen by {}"]),
        p("discoveryYear", Year, &["was discovered in {}", "was first seen in {}"]),
        p("orbitalPeriod", Days, &["has an orbital period of {}", "orbits in {}"])]),
    c("Artist", "band", Unseen, Band, &[FOUNDED, FOUNDER,
        p("genre", Genre, &["plays {}", "is known for {}"]),
        p("singer", Person, &["has {} as its singer", "is fronted by {}"]),
        p("hometown", City, &["comes from {}", "was formed in {}"])]),
    c("MeanOfTransportation", "engine", Unseen, Engine, &[LENGTH, COLOUR, DESIGNER,
        p("productionYear", Year, &["was built in {}", "went into production in {}"]),
        p("assemblyPlace", City, &["is assembled in {}", "is put together in {}"])]),
    c("Mountain", "mountain", Prose, Mountain, &[COUNTRY, HEIGHT,
        p("firstAscent", Year, &["was first climbed in {}"]),
        p("firstClimber", Person, &["was first climbed by {}"])]),
    c("Company", "company", Prose, Company, &[FOUNDED, FOUNDER, OWNER, LEADER,
        p("headquarters", City, &["has its headquarters in {}", "is based in {}"]),
        p("employeeCount", Number, &["employs {} people", "has {} employees"])]),
];
