//! A study as a list of independent runs, before any of them is made.
//!
//! The list depends on the command line alone, so several machines that are given the same one
//! divide it by number (`--only`, `--shard`) without talking to each other.

use super::generated;
use super::preset::Preset;
use crate::files::At;
use crate::progress::Progress;
use crate::run::directory::is_finished;
use crate::run::{
    BackboneFacts, Budget, Hyperparameters, Knobs, MethodSpec, Prepared, RunConfig, Source,
};
use anyhow::{Result, bail, ensure};
use inducer_datasets::{Malformed, Surface, Task, directory};
use inducer_gpu::{AdapterConfig, BackboneConfig, hub};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Methods of the second part, which asks what long inputs do.
const LONG_METHODS: [&str; 2] = ["prefix", "inducer"];

/// One run of a study.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its directory.
    pub dir: PathBuf,
    /// Its configuration.
    pub config: RunConfig,
}

impl Planned {
    /// Name of the method.
    pub fn method(&self) -> &str {
        &self.config.method
    }

    /// Seed.
    pub fn seed(&self) -> u64 {
        self.config.train.seed
    }

    /// The name of its directory without the seed: `long-prefix`.
    pub fn name(&self) -> String {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        let seed = format!("-seed{}", self.seed());
        name.trim_end_matches(&seed).into()
    }
}

/// Data and the runs on them.
pub struct Part {
    /// The data, encoded for the backbone.
    pub prepared: Prepared,
    /// Name of the data.
    pub data_name: String,
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

/// A run of the list that `--plan` shows.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// From 1.
    pub number: usize,
    /// Name of its data.
    pub data: String,
    /// Method.
    pub method: String,
    /// Its name in the study: `long-prefix`.
    #[serde(skip)]
    pub name: String,
    /// Seed.
    pub seed: u64,
    /// Steps; none where they are epochs of data that are not there yet.
    pub steps: Option<usize>,
    /// Its directory.
    pub directory: PathBuf,
    /// Whether it is done.
    pub done: bool,
}

/// The runs of a study. Nothing is written, and nothing is pretrained: where the study's data or
/// backbone are made by it, only what stands in the directories tells which runs are done.
///
/// # Errors
/// As [`plan`].
pub fn listed(request: &Request) -> Result<Vec<Listed>> {
    if request.data.is_some() && request.backbone.is_some() {
        let plan = plan(request, 1)?;
        let runs = plan.runs().into_iter().enumerate();
        return runs
            .map(|(i, (planned, part))| {
                Ok(Listed {
                    number: i + 1,
                    data: part.data_name.clone(),
                    method: planned.method().into(),
                    name: planned.name(),
                    seed: planned.seed(),
                    steps: Some(planned.config.train.steps),
                    directory: planned.dir.clone(),
                    done: is_finished(&planned.dir, &planned.config)?,
                })
            })
            .collect();
    }
    let (names, seeds) = (names(request)?, request.seeds());
    let main = (generated::name(request.task), "", names, request.budget());
    let long = LONG_METHODS.map(String::from).to_vec();
    let long = (generated::long_name(), "long-", long, request.long_budget());
    let mut all = Vec::new();
    for (data, prefix, names, budget) in [Some(main), request.has_long().then_some(long)]
        .into_iter()
        .flatten()
    {
        for seed in &seeds {
            for method in &names {
                let name = format!("{prefix}{method}");
                let directory = request.out.join("runs").join(format!("{name}-seed{seed}"));
                let untuned = method == "none";
                all.push(Listed {
                    number: all.len() + 1,
                    data: data.clone(),
                    method: method.clone(),
                    name,
                    seed: *seed,
                    steps: if untuned {
                        Some(0)
                    } else {
                        request.hyper.counted(budget)
                    },
                    done: directory.join("result.json").exists(),
                    directory,
                });
            }
        }
    }
    Ok(all)
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
}

impl Request {
    /// Its seeds, of which a quick study has one.
    fn seeds(&self) -> Vec<u64> {
        let mut seeds = self.seeds.clone();
        if self.quick() {
            seeds.truncate(1);
        }
        seeds
    }

    /// Whether it has a part on long inputs.
    fn has_long(&self) -> bool {
        let usual = self.data.is_none() && self.task == Task::WebNlg && !self.no_long;
        self.long_data.is_some() || usual
    }

    fn budget(&self) -> Budget {
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
    fn long_budget(&self) -> Budget {
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

/// Plans a study: loads data and backbone, resolves every run.
///
/// # Errors
/// Files that are missing or do not fit; an unknown method.
pub fn plan(request: &Request, threads: usize) -> Result<Plan> {
    let seeds = request.seeds();
    ensure!(
        !seeds.is_empty() && !request.methods.is_empty(),
        "--seeds and --methods: expected at least one of each"
    );
    let names = names(request)?;
    request
        .hyper
        .learning_rate
        .check(names.iter().map(String::as_str))?;
    let dir = match &request.backbone {
        Some(dir) => dir.clone(),
        None => generated::backbone(request.task, threads)?,
    };
    let _progress = Progress::new(0, "", "reading data and backbone");
    let facts = BackboneFacts::read(&dir)?;
    let hyper = request.preset.hyper(request.task, request.hyper.clone());
    let runs = |source, methods: &[&str], prefix: &str, budget| {
        let config = |prepared: &Prepared, method: &MethodSpec, seed| {
            RunConfig::resolve(prepared, &facts, method, &hyper, budget, seed)
        };
        let dir = request.out.join("runs");
        let knobs = &request.knobs;
        part(source, methods, knobs, &dir, prefix, &seeds, config)
    };
    let methods: Vec<&str> = request.methods.iter().map(String::as_str).collect();
    let main = runs(request.main_source(&dir)?, &methods, "", request.budget())?;
    let long = request.long_source(&dir)?;
    let long = long.map(|source| runs(source, &LONG_METHODS, "long-", request.long_budget()));
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
fn names(request: &Request) -> Result<Vec<String>> {
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

/// Runs of some methods on one data set, in `dir` under their names after `prefix`.
fn part(
    (source, data_name): (Source, String),
    names: &[&str],
    knobs: &Knobs,
    dir: &Path,
    prefix: &str,
    seeds: &[u64],
    config: impl Fn(&Prepared, &MethodSpec, u64) -> Result<RunConfig>,
) -> Result<Part> {
    let backbone = BackboneConfig::read(&source.backbone)?;
    let methods: Vec<MethodSpec> = names
        .iter()
        .map(|name| MethodSpec::find(name, &backbone, knobs))
        .collect::<Result<_>>()?;
    if prefix.is_empty() {
        MethodSpec::check_sizes(&methods)?;
    }
    let splits = directory::load(source.task, &source.data, Malformed::Refuse).at(&source.data)?;
    let adapters: Vec<AdapterConfig> = methods.iter().map(|m| m.adapter.clone()).collect();
    let prepared = Prepared::new(source, splits, &adapters)?;
    let mut runs = Vec::new();
    for seed in seeds {
        for method in &methods {
            runs.push(Planned {
                dir: dir.join(format!("{prefix}{}-seed{seed}", method.name)),
                config: config(&prepared, method, *seed)?,
            });
        }
    }
    Ok(Part {
        prepared,
        data_name,
        runs,
    })
}
