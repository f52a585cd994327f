//! A study as a list of independent runs, before any of them is made.
//!
//! The list depends on the command line alone, so several machines that are given the same one
//! divide it by number (`--only`, `--shard`) without talking to each other.

use super::generated;
use super::planned::Planned;
use super::preset::Preset;
use super::rates::{Found, Search, Tried};
use crate::files::At;
use crate::progress::Progress;
use crate::run::{
    BackboneFacts, Budget, Hyperparameters, Knobs, MethodSpec, Prepared, Rates, RunConfig, Source,
};
use anyhow::{Result, bail, ensure};
use inducer_datasets::{Malformed, Surface, Task, directory};
use inducer_gpu::{AdapterConfig, BackboneConfig, hub};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Methods of the second part, which asks what long inputs do.
pub(super) const LONG_METHODS: [&str; 2] = ["prefix", "inducer"];

/// Data and the runs on them.
pub struct Part {
    /// The data, encoded for the backbone.
    pub prepared: Prepared,
    /// Name of the data.
    pub data_name: String,
    /// What a search for learning rates found.
    pub rates: Option<Found>,
    /// Runs, all methods of one seed before the next seed.
    pub runs: Vec<Planned>,
}

/// A study: inputs and runs.
pub struct Plan {
    /// The study.
    pub main: Part,
    /// The same question on long inputs.
    pub long: Option<Part>,
    /// Name of the backbone.
    pub backbone_name: String,
    /// Seeds, in order.
    pub seeds: Vec<u64>,
}

impl Plan {
    /// All runs with their data, in the order of `--plan`.
    pub fn runs(&self) -> Vec<(&Planned, &Part)> {
        let of = |part| move |run| (run, part);
        let long = self.long.iter().flat_map(|p| p.runs.iter().map(of(p)));
        self.main
            .runs
            .iter()
            .map(of(&self.main))
            .chain(long)
            .collect()
    }
}

/// What a study is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Task.
    pub task: Task,
    /// Directory of the data; none for generated ones.
    pub data: Option<PathBuf>,
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
        let (steps, test_limit) = if self.quick() { (60, 80) } else { (240, 240) };
        Budget {
            steps,
            batch_size: 8,
            test_limit: Some(test_limit),
        }
    }

    /// Data of a task, given or generated into a folder of the study, and their name.
    fn source(
        &self,
        task: Task,
        backbone: &Path,
        given: Option<&PathBuf>,
        (folder, generate): (&str, impl FnOnce(&Path) -> Result<String>),
    ) -> Result<(Source, String)> {
        let (data, name, surface) = match given {
            Some(dir) => (dir.clone(), task.title().into(), Surface::Raw),
            None => {
                let dir = self.out.join(folder);
                let name = generate(&dir)?;
                (dir, name, Surface::Plain)
            }
        };
        let source = Source {
            task,
            data,
            backbone: backbone.to_path_buf(),
            surface,
        };
        Ok((source, name))
    }

    /// The study's data.
    fn main_source(&self, backbone: &Path) -> Result<(Source, String)> {
        let folder = match self.task {
            Task::WebNlg => "data".into(),
            other => format!("data-{other}"),
        };
        let generate = |dir: &Path| generated::data(self.task, dir);
        let given = self.data.as_ref();
        self.source(self.task, backbone, given, (&folder, generate))
    }

    /// The long inputs, where they are part of the study.
    fn long_source(&self, backbone: &Path) -> Result<Option<(Source, String)>> {
        let given = self.long_data.as_ref();
        let generate = ("data-long", generated::long_data);
        self.has_long()
            .then(|| self.source(Task::Coqa, backbone, given, generate))
            .transpose()
    }
}

/// What of a study is planned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// The candidates of its search for learning rates.
    Candidates,
    /// Its runs, with the rates that were found.
    Runs,
    /// Its runs as far as they are known; rates that are not chosen yet are the methods' own.
    Listed,
}

/// Plans a study: loads data and backbone, resolves every run. Where learning rates are chosen by a
/// search, its candidates must have been made.
///
/// # Errors
/// Files that are missing or do not fit; an unknown method; candidates that are missing.
pub fn plan(request: &Request) -> Result<Plan> {
    planned(request, What::Runs)
}

/// The candidates of a study's search for learning rates, as a plan of their own; none without a
/// search.
///
/// # Errors
/// As [`plan`].
pub fn candidates(request: &Request) -> Result<Option<Plan>> {
    let searched = request.search.is_some();
    searched
        .then(|| planned(request, What::Candidates))
        .transpose()
}

/// A study with given data and backbone as far as it is known: rates that are not chosen yet are
/// the methods' own.
///
/// # Errors
/// As [`plan`].
pub(super) fn planned_so_far(request: &Request) -> Result<Plan> {
    planned(request, What::Listed)
}

fn planned(request: &Request, what: What) -> Result<Plan> {
    let seeds = request.seeds();
    ensure!(
        !seeds.is_empty() && !request.methods.is_empty(),
        "--seeds and --methods: expected at least one of each"
    );
    let names = names(request)?;
    let rates = &request.hyper.learning_rate;
    rates.check(names.iter().map(String::as_str))?;
    if let Some(search) = &request.search {
        search.check(&request.seeds, rates)?;
    }
    let dir = match &request.backbone {
        Some(dir) => dir.clone(),
        None => generated::backbone(request.task)?,
    };
    let _progress = Progress::new(0, "", "reading data and backbone");
    let planner = Planner {
        request,
        facts: BackboneFacts::read(&dir)?,
        hyper: request.preset.hyper(request.task, request.hyper.clone()),
        seeds: &seeds,
        what,
    };
    let methods: Vec<&str> = request.methods.iter().map(String::as_str).collect();
    let main = planner.part(request.main_source(&dir)?, &methods, "", request.budget())?;
    let long = request.long_source(&dir)?;
    let long = long.map(|s| planner.part(s, &LONG_METHODS, "long-", request.long_budget()));
    Ok(Plan {
        backbone_name: backbone_name(request.backbone.as_deref(), request.task),
        long: long.transpose()?,
        main,
        seeds,
    })
}

/// The names of the methods, once nothing is asked for twice: each run has a directory of its own.
///
/// # Errors
/// A seed or a name that stands there twice; no method of that name.
pub(super) fn names(request: &Request) -> Result<Vec<String>> {
    let mut seeds = BTreeSet::new();
    for seed in &request.seeds {
        ensure!(seeds.insert(seed), "--seeds: {seed} stands there twice");
    }
    let mut names: Vec<String> = Vec::new();
    for (i, given) in request.methods.iter().enumerate() {
        let name = MethodSpec::name_of(given)?;
        if let Some(same) = names.iter().position(|n| *n == name) {
            let (a, b) = (&request.methods[same], &request.methods[i]);
            bail!(
                "--methods: {a} and {b} would both be called `{name}`; rename a file or its folder"
            );
        }
        ensure!(
            !LONG_METHODS
                .iter()
                .any(|long| name == format!("long-{long}")),
            "--methods {given}: `{name}` is the name of a run on long inputs; rename the file"
        );
        names.push(name);
    }
    Ok(names)
}

fn backbone_name(given: Option<&Path>, task: Task) -> String {
    let Some(dir) = given else {
        let kind = if task.generates() { "GPT-2" } else { "RoBERTa" };
        return format!("a small {kind} pretrained on generated prose");
    };
    let name = hub::name(dir);
    let last = Path::new(&name).file_name();
    last.map_or_else(|| name.clone(), |n| n.to_string_lossy().into_owned())
}

/// Plans the parts of a study.
struct Planner<'a> {
    request: &'a Request,
    facts: BackboneFacts,
    hyper: Hyperparameters,
    seeds: &'a [u64],
    what: What,
}

impl Planner<'_> {
    /// Runs of some methods on one data set, in directories called after `prefix` and the method.
    fn part(
        &self,
        (source, data_name): (Source, String),
        names: &[&str],
        prefix: &str,
        budget: Budget,
    ) -> Result<Part> {
        let backbone = BackboneConfig::read(&source.backbone)?;
        let knobs = &self.request.knobs;
        let methods: Vec<MethodSpec> = names
            .iter()
            .map(|name| MethodSpec::find(name, &backbone, knobs))
            .collect::<Result<_>>()?;
        if prefix.is_empty() {
            MethodSpec::check_sizes(&methods)?;
        }
        let splits = directory::load(source.task, &source.data, Malformed::Refuse);
        let splits = splits.at(&source.data)?;
        let adapters: Vec<AdapterConfig> = methods.iter().map(|m| m.adapter.clone()).collect();
        let mut part = Part {
            prepared: Prepared::new(source, splits, &adapters)?,
            data_name,
            rates: None,
            runs: Vec::new(),
        };
        let candidates = match &self.request.search {
            Some(search) => self.candidates(search, &part.prepared, &methods, prefix, budget)?,
            None => Vec::new(),
        };
        if self.what == What::Candidates {
            part.runs = candidates;
            return Ok(part);
        }
        let mut hyper = self.hyper.clone();
        if let Some(search) = &self.request.search {
            part.rates = self.found(search, &methods, &candidates)?;
            let found = part.rates.iter().flat_map(|f| &f.methods);
            let chosen = found.map(|t| (t.method.clone(), t.chosen));
            hyper.learning_rate.of.extend(chosen);
        }
        let dir = self.request.out.join("runs");
        for seed in self.seeds {
            for method in &methods {
                let name = format!("{prefix}{}-seed{seed}", method.name);
                let run = self.run(&part.prepared, method, &hyper, budget, *seed);
                part.runs.push(Planned {
                    dir: dir.join(name),
                    config: run?,
                });
            }
        }
        Ok(part)
    }

    fn run(
        &self,
        prepared: &Prepared,
        method: &MethodSpec,
        hyper: &Hyperparameters,
        budget: Budget,
        seed: u64,
    ) -> Result<RunConfig> {
        RunConfig::resolve(prepared, &self.facts, method, hyper, budget, seed)
    }

    /// Every method that trains something and has no rate of its own, at every rate.
    fn candidates(
        &self,
        search: &Search,
        prepared: &Prepared,
        methods: &[MethodSpec],
        prefix: &str,
        budget: Budget,
    ) -> Result<Vec<Planned>> {
        let dir = self.request.out.join("rates");
        let mut all = Vec::new();
        for method in methods.iter().filter(|m| self.searched(m)) {
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
                all.push(Planned {
                    dir: dir.join(format!("{prefix}{}-{rate:e}", method.name)),
                    config: self.run(prepared, method, &hyper, budget, search.seed)?,
                });
            }
        }
        Ok(all)
    }

    fn searched(&self, method: &MethodSpec) -> bool {
        let given = self.hyper.learning_rate.of(&method.name).is_some();
        !given && method.adapter != AdapterConfig::none()
    }

    /// What the candidates say; none while they are not made, where that is no error.
    fn found(
        &self,
        search: &Search,
        methods: &[MethodSpec],
        candidates: &[Planned],
    ) -> Result<Option<Found>> {
        let mut found = Vec::new();
        for method in methods.iter().filter(|m| self.searched(m)) {
            match Tried::of(&method.name, candidates)? {
                Some(tried) => found.push(tried),
                None if self.what == What::Listed => return Ok(None),
                None => bail!(
                    "{}: the learning rate of {} is not chosen yet: run the study without --merge",
                    self.request.out.join("rates").display(),
                    method.name
                ),
            }
        }
        let steps = candidates.first().map_or(0, |c| c.config.train.steps);
        Ok(Some(Found {
            seed: search.seed,
            steps,
            methods: found,
        }))
    }
}
