//! A study as a list of independent runs, before any of them is made.
//!
//! The list depends on the command line alone, so several machines that are given the same one
//! divide it by number (`--only`, `--shard`) without talking to each other.

use super::generated;
use super::judged::listing;
use super::names::names;
use super::paper::{LONG_METHODS, NO_OFFSET, ON_LENGTH};
use super::planned::Planned;
use super::preset::Preset;
use super::rates::{self, Found, Search, Tried};
use crate::files::At;
use crate::progress::Progress;
use crate::run::{
    BackboneFacts, Budget, Hyperparameters, Knobs, MethodSpec, Prepared, Rates, RunConfig, Source,
};
use anyhow::{Result, bail, ensure};
use inducer_datasets::{Malformed, Reading, Surface, Task, directory};
use inducer_gpu::{AdapterConfig, BackboneConfig, hub};
use std::path::{Path, PathBuf};

/// Data and the runs on them.
pub struct Part {
    /// The data, encoded for the backbone.
    pub prepared: Prepared,
    /// Name of the data.
    pub data_name: String,
    /// Name of the backbone.
    pub backbone_name: String,
    /// The candidates of a search for learning rates: every method that is searched for, at every
    /// rate.
    pub candidates: Vec<Planned>,
    /// What the search found; none without a search, and until its candidates are made.
    pub rates: Option<Found>,
    /// Runs, all methods of one seed before the next seed. Until their rates are chosen they have
    /// the methods' own.
    pub runs: Vec<Planned>,
    facts: BackboneFacts,
    methods: Vec<MethodSpec>,
    prefix: &'static str,
    budget: Budget,
}

/// A study: inputs and runs.
pub struct Plan {
    /// The study.
    pub main: Part,
    /// The same question on long inputs.
    pub long: Option<Part>,
    /// Seeds, in order.
    pub seeds: Vec<u64>,
    planner: Planner,
}

impl Part {
    fn with<'a>(&'a self, runs: &'a [Planned]) -> impl Iterator<Item = (&'a Planned, &'a Self)> {
        runs.iter().map(move |run| (run, self))
    }

    /// The seeds whose runs are scored by their loss alone.
    pub fn loss_seeds(&self) -> Vec<u64> {
        let runs = self.runs.iter().filter(|run| run.config.loss_only);
        let mut seeds: Vec<u64> = runs.map(Planned::seed).collect();
        seeds.dedup();
        seeds
    }

    /// Whether the learning rate of a run is still to be chosen.
    pub fn is_open(&self, run: &Planned) -> bool {
        let chooser = rates::chooser(run.method());
        self.rates.is_none() && self.candidates.iter().any(|c| c.method() == chooser)
    }
}

impl Plan {
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        [Some(&self.main), self.long.as_ref()].into_iter().flatten()
    }

    /// All runs with their data, in the order of `--plan`.
    pub fn runs(&self) -> Vec<(&Planned, &Part)> {
        let all = self.parts();
        all.flat_map(|part| part.with(&part.runs)).collect()
    }

    /// The candidates of all searches for learning rates that are not over, with their data.
    pub fn candidates(&self) -> Vec<(&Planned, &Part)> {
        let open = self.parts().filter(|part| part.rates.is_none());
        open.flat_map(|part| part.with(&part.candidates)).collect()
    }

    /// Takes up the learning rates that the candidates made so far choose.
    ///
    /// # Errors
    /// A broken file; a method whose candidates all diverged.
    pub fn choose(&mut self) -> Result<()> {
        for part in [Some(&mut self.main), self.long.as_mut()]
            .into_iter()
            .flatten()
        {
            part.rates = self.planner.found(part)?;
            part.runs = self.planner.runs(part)?;
        }
        Ok(())
    }

    /// Checks that every learning rate is chosen.
    ///
    /// # Errors
    /// A method whose candidates are not all made.
    pub fn check_chosen(&self) -> Result<()> {
        let mut runs = self.runs().into_iter();
        match runs.find(|(run, part)| part.is_open(run)) {
            Some((run, _)) => bail!(
                "{}: the learning rate of {} is not chosen yet: run the study without --merge",
                self.planner.out.join("rates").display(),
                run.name()
            ),
            None => Ok(()),
        }
    }
}

/// What a study is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Task.
    pub task: Task,
    /// Directory of the data; none for generated ones.
    pub data: Option<PathBuf>,
    /// How they are read.
    pub reading: Reading,
    /// Directory of the backbone; none for the embedded one.
    pub backbone: Option<PathBuf>,
    /// Directory of CoQA's files for the part on long inputs; none for generated ones.
    pub long_data: Option<PathBuf>,
    /// Leave that part out.
    pub no_long: bool,
    /// Where the report and its runs go.
    pub out: PathBuf,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Further seeds of the methods whose steps are judged, by their loss alone.
    pub loss_seeds: Vec<u64>,
    /// Methods, in the order of the report.
    pub methods: Vec<String>,
    /// How much it does where nothing else is asked for.
    pub preset: Preset,
    /// Sizes of methods that have them.
    pub knobs: Knobs,
    /// What its runs are asked for.
    pub hyper: Hyperparameters,
    /// How learning rates are chosen, where they are.
    pub search: Option<Search>,
}

impl Request {
    /// Its seeds, of which a quick study has one.
    pub(super) fn seeds(&self) -> Vec<u64> {
        let mut seeds = self.seeds.clone();
        if self.quick() {
            seeds.truncate(1);
        }
        seeds
    }

    /// Whether it has a part on long inputs.
    pub(super) fn has_long(&self) -> bool {
        let usual = self.data.is_none() && self.task == Task::WebNlg && !self.no_long;
        self.long_data.is_some() || usual
    }

    pub(super) fn budget(&self) -> Budget {
        let (steps, batch_size, test_limit) = match (self.data.is_none(), self.quick()) {
            // pairs of sentences are short, and learnt slowly
            (true, false) if self.task == Task::Mnli => (400, 16, None),
            (true, false) => (160, 16, None),
            (true, true) => (80, 16, Some(120)),
            (false, false) => (300, 8, None),
            (false, true) => (60, 8, Some(100)),
        };
        Budget {
            steps,
            batch_size,
            test_limit,
        }
    }

    fn quick(&self) -> bool {
        self.preset == Preset::Quick
    }

    /// Long inputs need a smaller batch for the same work, and many questions share a passage: a
    /// choice of them is enough.
    pub(super) fn long_budget(&self) -> Budget {
        let (steps, test_limit) = if self.quick() { (60, 80) } else { (480, 800) };
        Budget {
            steps,
            batch_size: 8,
            test_limit: Some(test_limit),
        }
    }

    /// Data of a task, given or generated into a folder of the study, and their name; the backbone
    /// is the given one or the task's embedded one.
    fn source(
        &self,
        task: Task,
        given: Option<&PathBuf>,
        (folder, generate): (&str, impl FnOnce(&Path) -> Result<String>),
    ) -> Result<(Source, String)> {
        let (data, name, surface) = match given {
            Some(dir) if task.is_own() => (dir.clone(), last_name(dir), Surface::Raw),
            Some(dir) => (dir.clone(), task.title().into(), Surface::Raw),
            None => {
                let dir = self.out.join(folder);
                let name = generate(&dir)?;
                (dir, name, Surface::Plain)
            }
        };
        let backbone = match &self.backbone {
            Some(dir) => dir.clone(),
            None => generated::backbone(task)?,
        };
        let source = Source {
            task,
            data,
            backbone,
            surface,
            reading: match task == self.task {
                true => self.reading.clone(),
                false => Reading::default(),
            },
        };
        Ok((source, name))
    }

    /// The study's data.
    fn main_source(&self) -> Result<(Source, String)> {
        let folder = match self.task {
            Task::WebNlg => "data".into(),
            other => format!("data-{other}"),
        };
        let generate = |dir: &Path| generated::data(self.task, dir);
        let given = self.data.as_ref();
        self.source(self.task, given, (&folder, generate))
    }

    /// The long inputs, where they are part of the study.
    fn long_source(&self) -> Result<Option<(Source, String)>> {
        let given = self.long_data.as_ref();
        let generate = ("data-long", generated::long_data);
        self.has_long()
            .then(|| self.source(Task::Coqa, given, generate))
            .transpose()
    }
}

/// Plans a study: loads data and backbone, resolves every run, with the learning rates that a
/// search has chosen by now.
///
/// # Errors
/// Files that are missing or do not fit; an unknown method.
pub fn plan(request: &Request) -> Result<Plan> {
    let seeds = request.seeds();
    ensure!(
        !seeds.is_empty() && !request.methods.is_empty(),
        "--seeds and --methods: expected at least one of each"
    );
    let names = names(&request.methods, &request.seeds, &request.loss_seeds)?;
    let rates = &request.hyper.learning_rate;
    rates.check(names.iter().map(String::as_str))?;
    let loss_seeds = &request.loss_seeds;
    if let Some(search) = &request.search {
        let all: Vec<u64> = request.seeds.iter().chain(loss_seeds).copied().collect();
        search.check(&all, rates)?;
    }
    let planner = Planner {
        out: request.out.clone(),
        hyper: request.preset.hyper(request.task, request.hyper.clone()),
        seeds: seeds.clone(),
        loss_seeds: loss_seeds.clone(),
        search: request.search.clone(),
    };
    let part = |source: (Source, String), facts, names: &[&str], prefix, budget| {
        let name = backbone_name(request.backbone.as_deref(), source.0.task);
        planner.part(source, (name, facts), names, &request.knobs, prefix, budget)
    };
    let methods: Vec<&str> = request.methods.iter().map(String::as_str).collect();
    let source = request.main_source()?;
    let facts = BackboneFacts::read(&source.0.backbone)?;
    let main = part(source, facts, &methods, "", request.budget())?;
    let long = request.long_source()?.map(|source| {
        let facts = match &request.backbone {
            // both parts have the given one
            Some(_) => main.facts.clone(),
            None => BackboneFacts::read(&source.0.backbone)?,
        };
        let budget = request.long_budget();
        part(source, facts, &LONG_METHODS, "long-", budget)
    });
    let mut plan = Plan {
        long: long.transpose()?,
        main,
        seeds,
        planner,
    };
    plan.choose()?;
    Ok(plan)
}

/// [`plan`], with a line that data are read: a command says so, the ledger's claims do not.
///
/// # Errors
/// As [`plan`].
pub fn read(request: &Request) -> Result<Plan> {
    let _progress = Progress::new(0, "", "reading data and backbone");
    plan(request)
}

fn backbone_name(given: Option<&Path>, task: Task) -> String {
    match given {
        Some(dir) => last_name(Path::new(&hub::name(dir))),
        None => generated::backbone_name(task).into(),
    }
}

/// The last part of a path.
fn last_name(path: &Path) -> String {
    let last = path.file_name().unwrap_or(path.as_os_str());
    last.to_string_lossy().into_owned()
}

/// Plans the parts of a study.
struct Planner {
    out: PathBuf,
    hyper: Hyperparameters,
    seeds: Vec<u64>,
    loss_seeds: Vec<u64>,
    search: Option<Search>,
}

impl Planner {
    /// Some methods on one data set, in directories called after `prefix` and the method: the
    /// data, and the candidates of a search.
    fn part(
        &self,
        (source, data_name): (Source, String),
        (backbone_name, facts): (String, BackboneFacts),
        names: &[&str],
        knobs: &Knobs,
        prefix: &'static str,
        budget: Budget,
    ) -> Result<Part> {
        let backbone = BackboneConfig::read(&source.backbone)?;
        let find = |name| MethodSpec::find(name, &backbone, knobs);
        let methods: Vec<MethodSpec> = names
            .iter()
            .map(|name| match *name {
                NO_OFFSET => Ok(find(ON_LENGTH[0])?.without_offset(NO_OFFSET)),
                name => find(name),
            })
            .collect::<Result<_>>()?;
        if prefix.is_empty() {
            MethodSpec::check_sizes(&methods)?;
        }
        let (task, reading) = (source.task, &source.reading);
        let splits = directory::load_as(task, &source.data, Malformed::Refuse, reading);
        let splits = splits.at(&source.data)?;
        let adapters: Vec<AdapterConfig> = methods.iter().map(|m| m.adapter.clone()).collect();
        let mut part = Part {
            prepared: Prepared::new(source, splits, &adapters)?,
            data_name,
            backbone_name,
            facts,
            candidates: Vec::new(),
            rates: None,
            runs: Vec::new(),
            methods,
            prefix,
            budget,
        };
        if let Some(search) = &self.search {
            part.candidates = self.candidates(search, &part)?;
        }
        Ok(part)
    }

    /// The runs of a part, with the learning rates that were chosen for it.
    fn runs(&self, part: &Part) -> Result<Vec<Planned>> {
        let mut hyper = self.hyper.clone();
        let found = part.rates.iter().flat_map(|f| &f.methods);
        let rates = &mut hyper.learning_rate.of;
        rates.extend(found.map(|t| (t.method.clone(), t.chosen)));
        for method in &part.methods {
            if let Some(rate) = rates.get(rates::chooser(&method.name)).copied() {
                rates.insert(method.name.clone(), rate);
            }
        }
        let names: Vec<&str> = part.methods.iter().map(|m| m.name.as_str()).collect();
        let mut runs = Vec::new();
        for (seed, method, loss_only) in listing(&self.seeds, &self.loss_seeds, &names, part.prefix)
        {
            let name = format!("{}{}-seed{seed}", part.prefix, names[method]);
            let config = RunConfig {
                loss_only,
                ..self.run(part, &part.methods[method], &hyper, seed)?
            };
            let dir = self.out.join("runs").join(name);
            runs.push(Planned { dir, config });
        }
        Ok(runs)
    }

    fn run(
        &self,
        part: &Part,
        method: &MethodSpec,
        hyper: &Hyperparameters,
        seed: u64,
    ) -> Result<RunConfig> {
        let (prepared, budget) = (&part.prepared, part.budget);
        RunConfig::resolve(prepared, &part.facts, method, hyper, budget, seed)
    }

    /// Every method that trains something and has no rate of its own, at every rate.
    fn candidates(&self, search: &Search, part: &Part) -> Result<Vec<Planned>> {
        let mut all = Vec::new();
        for method in self.searched(part) {
            for rate in &search.rates {
                let hyper = Hyperparameters {
                    learning_rate: Rates {
                        all: Some(*rate),
                        ..Rates::default()
                    },
                    steps: search.steps.or(self.hyper.steps),
                    test_limit: Some(0),
                    ..self.hyper.clone()
                };
                let name = format!("{}{}-{rate:e}", part.prefix, method.name);
                all.push(Planned {
                    dir: self.out.join("rates").join(name),
                    config: self.run(part, method, &hyper, search.seed)?,
                });
            }
        }
        Ok(all)
    }

    fn searched<'a>(&'a self, part: &'a Part) -> impl Iterator<Item = &'a MethodSpec> {
        let given = |m: &MethodSpec| self.hyper.learning_rate.of(&m.name).is_some();
        let methods = part.methods.iter();
        methods.filter(move |m| m.trains() && !given(m) && rates::chooser(&m.name) == m.name)
    }

    /// What the candidates of a part say; none without a search, and while one of them is not
    /// made.
    fn found(&self, part: &Part) -> Result<Option<Found>> {
        let Some(search) = &self.search else {
            return Ok(None);
        };
        let mut methods = Vec::new();
        for method in self.searched(part) {
            match Tried::of(&method.name, &part.candidates)? {
                Some(tried) => methods.push(tried),
                None => return Ok(None),
            }
        }
        let steps = part.candidates.first().map_or(0, |c| c.config.train.steps);
        Ok(Some(Found {
            seed: search.seed,
            steps,
            methods,
        }))
    }
}
