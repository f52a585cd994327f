//! A study as a list of independent runs, before any of them is made.
//!
//! The list depends on the command line alone, so several machines that are given the same one
//! divide it by number (`--only`, `--shard`) without talking to each other.

use super::generated;
use crate::files::At;
use crate::run::{BackboneFacts, Budget, Hyperparameters, MethodSpec, Prepared, RunConfig, Source};
use anyhow::{Result, ensure};
use inducer_datasets::{Malformed, Surface, Task, directory};
use inducer_gpu::{AdapterConfig, BackboneConfig, hub};
use std::path::{Path, PathBuf};

/// Methods of the second part, which asks what long inputs do.
const LONG_METHODS: [&str; 2] = ["prefix", "inducer"];

/// One run of a study.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Name of the method.
    pub method: String,
    /// Seed.
    pub seed: u64,
    /// Its directory.
    pub dir: PathBuf,
    /// Its configuration.
    pub config: RunConfig,
}

impl Planned {
    /// The name of its directory without the seed: `long-prefix`.
    pub fn name(&self) -> String {
        let name = self
            .dir
            .file_name()
            .map(|n| n.to_string_lossy().into_owned());
        let name = name.unwrap_or_else(|| self.method.clone());
        name.trim_end_matches(&format!("-seed{}", self.seed)).into()
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

/// What a study is asked for.
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
    /// A small budget: one seed, fewer steps, fewer test entries.
    pub quick: bool,
    /// Hyperparameters of a run with a budget and a seed.
    pub hyper: Box<dyn Fn(Budget, u64) -> Hyperparameters>,
}

impl Request {
    fn budget(&self) -> Budget {
        let (steps, batch_size, test_limit) = match (self.data.is_none(), self.quick) {
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

    /// Long inputs need a smaller batch for the same work, and many questions share a passage: a
    /// choice of them is enough.
    fn long_budget(&self) -> Budget {
        let (steps, test_limit) = if self.quick { (60, 80) } else { (240, 240) };
        Budget {
            steps,
            batch_size: 8,
            test_limit: Some(test_limit),
        }
    }

    /// The data, and their name.
    fn source(&self, backbone: &Path) -> Result<(Source, String)> {
        let (task, backbone) = (self.task, backbone.to_path_buf());
        let (data, name, surface) = match &self.data {
            Some(dir) => (dir.clone(), task.title().into(), Surface::Raw),
            None => {
                let dir = self.out.join(match task {
                    Task::WebNlg => "data".into(),
                    other => format!("data-{other}"),
                });
                let name = generated::data(task, &dir)?;
                (dir, name, Surface::Plain)
            }
        };
        let source = Source {
            task,
            data,
            backbone,
            surface,
        };
        Ok((source, name))
    }

    /// The long inputs, and their name.
    fn long_source(&self, backbone: &Path) -> Result<Option<(Source, String)>> {
        let usual = self.data.is_none() && self.task == Task::WebNlg;
        let (data, name, surface) = match &self.long_data {
            Some(dir) => (dir.clone(), Task::Coqa.title().into(), Surface::Raw),
            None if usual && !self.no_long => {
                let dir = self.out.join("data-long");
                let name = generated::long_data(&dir)?;
                (dir, name, Surface::Plain)
            }
            None => return Ok(None),
        };
        let source = Source {
            task: Task::Coqa,
            data,
            backbone: backbone.to_path_buf(),
            surface,
        };
        Ok(Some((source, name)))
    }
}

/// Plans a study: loads data and backbone, resolves every run.
///
/// # Errors
/// Files that are missing or do not fit; an unknown method.
pub fn plan(request: &Request, threads: usize) -> Result<Plan> {
    let mut seeds = request.seeds.clone();
    if request.quick {
        seeds.truncate(1);
    }
    ensure!(
        !seeds.is_empty() && !request.methods.is_empty(),
        "--seeds and --methods: expected at least one of each"
    );
    let dir = match &request.backbone {
        Some(dir) => dir.clone(),
        None => generated::backbone(request.task, threads)?,
    };
    let facts = BackboneFacts::read(&dir)?;
    let runs = |(source, name): (Source, String), methods: &[&str], prefix: &str, budget| {
        part(
            source,
            name,
            methods,
            &facts,
            |method, seed| {
                let run = format!("{prefix}{method}-seed{seed}");
                (
                    request.out.join("runs").join(run),
                    (request.hyper)(budget, seed),
                )
            },
            &seeds,
        )
    };
    let methods: Vec<&str> = request.methods.iter().map(String::as_str).collect();
    let main = runs(request.source(&dir)?, &methods, "", request.budget())?;
    let long = request.long_source(&dir)?;
    let long = long.map(|source| runs(source, &LONG_METHODS, "long-", request.long_budget()));
    Ok(Plan {
        backbone_name: backbone_name(request.backbone.as_deref(), request.task),
        long: long.transpose()?,
        main,
        seeds,
    })
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

fn part(
    source: Source,
    data_name: String,
    names: &[&str],
    facts: &BackboneFacts,
    run: impl Fn(&str, u64) -> (PathBuf, Hyperparameters),
    seeds: &[u64],
) -> Result<Part> {
    let backbone = BackboneConfig::read(&source.backbone)?;
    let methods: Vec<MethodSpec> = names
        .iter()
        .map(|name| MethodSpec::find(name, &backbone))
        .collect::<Result<_>>()?;
    let splits = directory::load(source.task, &source.data, Malformed::Refuse).at(&source.data)?;
    let adapters: Vec<AdapterConfig> = methods.iter().map(|m| m.adapter.clone()).collect();
    let prepared = Prepared::new(source, splits, &adapters)?;
    let mut runs = Vec::new();
    for seed in seeds {
        for method in &methods {
            let (dir, hyper) = run(&method.name, *seed);
            runs.push(Planned {
                method: method.name.clone(),
                seed: *seed,
                dir,
                config: RunConfig::resolve(&prepared, facts, method, &hyper),
            });
        }
    }
    Ok(Part {
        prepared,
        data_name,
        runs,
    })
}
