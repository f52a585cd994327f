//! `inducer report`: the ablation study, run by run, and its report.
//!
//! A study is a list of independent runs, each a directory under `OUT/runs`. Runs that are done are
//! read, runs that were stopped go on.

use super::inputs::check_places;
use super::options::{
    Compute, Decode, Hyper, MethodSizes, Pictures, Span, model_directory, numbers, preset, real,
    task, whole,
};
use super::own::{OwnData, located};
use super::plan::{list, say_how_long};
use super::shard::{Shard, chosen};
use super::{print, study_file};
use crate::files;
use crate::pictures;
use crate::progress::{Progress, note};
use crate::report::{self, compare};
use crate::run::Steps;
use crate::study::assemble::{self, LEDGER_CASES, Ledgers};
use crate::study::estimate::unfinished;
use crate::study::listed::listed;
use crate::study::plan::{Part, Plan, Request, read};
use crate::study::planned::Planned;
use crate::study::preset::{Preset, usual_methods};
use crate::study::rates::Search;
use crate::study::schedule::{Left, Workers};
use crate::study::{Going, Study, looks, schedule};
use anyhow::{Result, anyhow, ensure};
use candle_core::Device;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use inducer_datasets::Task;
use inducer_gpu::ranges;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// `inducer report`.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// Task
    #[arg(long, default_value = "webnlg", value_parser = task())]
    pub task: Task,
    /// Directory with the task's official files or the Hub's tables, or a name in the hub's cache;
    /// for generate and classify your own [default: data from the embedded generator]
    #[arg(long, requires = "backbone")]
    pub data: Option<PathBuf>,
    /// Hugging Face directory, or name in the hub's cache, of a GPT-2, for MNLI and SST-2 of a
    /// RoBERTa [default: a small one that comes with the program]
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: Option<PathBuf>,
    /// CoQA's files, to measure prefix against inducer by length of the input [default with
    /// embedded data: generated conversations]
    #[arg(long, value_name = "DIR", conflicts_with = "no_long")]
    pub long_data: Option<PathBuf>,
    /// Leave out the part on long inputs
    #[arg(long)]
    pub no_long: bool,
    /// Where the report and its runs go
    #[arg(long, default_value = "out")]
    pub out: PathBuf,
    /// Read options from a file, as in `seeds = [1, 2]`; those of the command line come first. A
    /// report leaves its own as study.toml in --out
    #[arg(long, value_name = "study.toml")]
    pub config: Option<PathBuf>,
    /// What was given, to be written back
    #[arg(skip)]
    pub given: toml::Table,
    /// Every option of the study, for the report
    #[arg(skip)]
    pub options: serde_json::Value,
    /// Seeds: 1,2,3 or 1-3 or 1 2 3
    #[arg(long, value_delimiter = ',', num_args = 1.., default_value = "1,2,3",
        value_name = "SEEDS")]
    pub seeds: Vec<Span>,
    /// Further seeds of the methods whose steps are judged, scored by the loss of the test part
    /// alone: nothing is decoded. Prefix and inducer on long inputs have the first two of them,
    /// decoded [default: on generated data 4-16, with --quick, --seeds or --budget none]
    #[arg(long, value_delimiter = ',', num_args = 1.., value_name = "SEEDS",
        conflicts_with = "budget")]
    pub loss_seeds: Vec<Span>,
    /// Methods, in the order of the report: names, or files called adapter_config.json
    #[arg(
        long,
        value_delimiter = ',',
        num_args = 1..,
        value_parser = NonEmptyStringValueParser::new(),
        default_value = usual_methods()
    )]
    pub methods: Vec<String>,
    /// Choose each method's learning rate among these by the validation loss, with a seed that is
    /// not reported; rates of --learning-rate METHOD=RATE stay [default: on generated data
    /// 1.25e-3,3.5e-3,1e-2, with --quick or --learning-rate RATE none]
    #[arg(long, value_delimiter = ',', num_args = 1.., value_name = ranges::LEARNING_RATE.text,
        value_parser = real(ranges::LEARNING_RATE))]
    pub rates: Vec<f64>,
    /// Seed of the runs of --rates
    #[arg(long, default_value_t = 0, requires = "rates", value_name = "SEED")]
    pub rates_seed: u64,
    /// Steps of each run of --rates [default: the study's]
    #[arg(long, requires = "rates", value_name = ranges::STEPS.text,
        value_parser = whole(ranges::STEPS))]
    pub rates_steps: Option<usize>,
    /// How much it does where nothing else is asked for
    #[arg(long, default_value = "default", value_parser = preset())]
    pub preset: Preset,
    /// As many steps and seeds as fit into a time: 10m, 1h30m. Steps by measured ones, then seed
    /// after seed; the building of the report and the choice of learning rates count
    #[arg(long, value_name = "TIME", value_parser = super::budget::seconds,
        conflicts_with_all = ["seeds", "steps", "epochs", "only", "shard"])]
    pub budget: Option<f64>,
    /// The same as --preset quick
    #[arg(long, conflicts_with = "preset")]
    pub quick: bool,
    /// Random cases of each claim of the ledger that the report shows; 0 leaves it out [default: 4,
    /// with --quick 0]
    #[arg(long, value_name = ranges::COUNT_OR_NONE.text,
        value_parser = whole(ranges::COUNT_OR_NONE))]
    pub ledger_cases: Option<usize>,
    /// List the study's runs by number and stop
    #[arg(long)]
    pub plan: bool,
    /// Make only these runs of the list, and no report
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        num_args = 1..,
        conflicts_with_all = ["plan", "shard"]
    )]
    pub only: Vec<Span>,
    /// Make only the I-th of N parts of the list (from 1), and no report
    #[arg(long, value_name = "I/N", conflicts_with = "plan")]
    pub shard: Option<Shard>,
    /// Make no run: report what is there, and what is missing; the study is the one that --out
    /// holds
    #[arg(long, conflicts_with_all = ["plan", "only", "shard"])]
    pub merge: bool,
    /// Remove the runs that stand in the directories of this study first
    #[arg(long, conflicts_with_all = ["plan", "merge"])]
    pub overwrite: bool,
    /// Look into so many test entries, each on a page of its own that the report links to: in turn
    /// the one with the largest gain, with the largest loss, and the longest
    #[arg(long, value_name = ranges::COUNT.text, value_parser = whole(ranges::COUNT),
        conflicts_with_all = ["plan", "only", "shard"])]
    pub explain: Option<usize>,
    /// Write the report's tables as CSV and LaTeX (booktabs) into this directory too
    #[arg(long, value_name = "DIR")]
    pub tables: Option<PathBuf>,
    /// Pictures
    #[command(flatten)]
    pub pictures: Pictures,
    /// Compare two reports, or each further one with the first: writes compare.html, compare.md and
    /// compare.json into --out, and nothing else
    #[arg(
        long,
        num_args = 2..,
        value_name = "A.json B.json",
        conflicts_with_all = ["plan", "only", "shard", "merge", "data"]
    )]
    pub compare: Option<Vec<PathBuf>>,
    /// Runs at a time, each with threads / jobs threads [default: as many as threads, on a card 1]
    #[arg(long, value_name = ranges::THREADS.text, value_parser = whole(ranges::THREADS))]
    pub jobs: Option<usize>,
    /// Write every table of the report into --out's folder tables/ as CSV as well
    #[arg(long)]
    pub csv: bool,
    /// Write one line for each run, with its scores and settings, to this CSV file as well
    #[arg(long, value_name = "FILE")]
    pub export_runs: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Data of one's own
    #[command(flatten)]
    pub own: OwnData,
    /// Hyperparameters
    #[command(flatten)]
    pub hyper: Hyper,
    /// Sizes
    #[command(flatten)]
    pub sizes: MethodSizes,
    /// Decoding
    #[command(flatten)]
    pub decode: Decode,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// `--compare A.json B.json …`.
fn compared(args: &ReportArgs, paths: &[PathBuf]) -> Result<()> {
    let Some((first, others)) = paths.split_first() else {
        return Err(anyhow!("--compare: expected two files"));
    };
    let a = Study::read(first)?;
    for (i, other) in others.iter().enumerate() {
        let found = compare::Comparison::of(&a, &Study::read(other)?, [first, other]);
        let name = match others.len() {
            1 => "compare".into(),
            _ => format!("compare-{}", i + 1),
        };
        let pages = [found.markdown(), found.html()];
        write(args, &found, &name, pages)?;
    }
    Ok(())
}

/// Writes the files of a report and prints its JSON, or where they are.
fn write(args: &ReportArgs, data: &impl Serialize, name: &str, pages: [String; 2]) -> Result<()> {
    let (json, paths) = put(&args.out, data, name, pages)?;
    if args.json {
        return print::whole(json);
    }
    paths.iter().try_for_each(|p| print::line(p.display()))
}

/// Writes `name`.html, `name`.md and `name`.json into a directory, each whole or not at all; the
/// last one's text, and where they are.
fn put(
    dir: &Path,
    data: &impl Serialize,
    name: &str,
    [markdown, html]: [String; 2],
) -> Result<(String, [PathBuf; 3])> {
    let json = serde_json::to_string_pretty(data)? + "\n";
    files::create_dir(dir)?;
    let paths = ["html", "md", "json"].map(|kind| dir.join(format!("{name}.{kind}")));
    for (path, text) in paths.iter().zip([&html, &markdown, &json]) {
        files::write(path, text)?;
    }
    Ok((json, paths))
}

impl ReportArgs {
    fn preset(&self) -> Preset {
        if self.quick {
            Preset::Quick
        } else {
            self.preset
        }
    }

    fn request(&self) -> Request {
        let hyper = self.hyper.with(&self.decode, &self.compute);
        let seeds = numbers(&self.seeds);
        let usual = || {
            let open = self.data.is_none() && hyper.learning_rate.all.is_none();
            open.then(|| self.preset().search(&seeds)).flatten()
        };
        let seeds_are_given = self.given.contains_key("seeds") || self.budget.is_some();
        let usual_seeds = self.data.is_none() && !seeds_are_given;
        let loss_seeds = match self.loss_seeds.as_slice() {
            [] if usual_seeds => self.preset().loss_seeds(),
            given => numbers(given),
        };
        Request {
            task: self.task,
            data: self.data.as_deref().map(located),
            reading: self.own.reading(),
            backbone: self.backbone.clone(),
            long_data: self.long_data.clone(),
            no_long: self.no_long,
            out: self.out.clone(),
            methods: self.methods.clone(),
            preset: self.preset(),
            knobs: self.sizes.knobs(),
            search: self.search().or_else(usual),
            hyper,
            seeds,
            loss_seeds,
        }
    }

    /// What its runs are made on.
    pub(super) fn workers<'a>(&self, jobs: usize, device: &'a Device) -> Workers<'a> {
        Workers {
            jobs,
            at_once: self.compute.device.at_once(jobs),
            threads: self.compute.threads(),
            device,
        }
    }

    /// `--rates`, `--rates-seed` and `--rates-steps`.
    fn search(&self) -> Option<Search> {
        let mut rates = self.rates.clone();
        rates.sort_by(f64::total_cmp);
        (!rates.is_empty()).then_some(Search {
            rates,
            seed: self.rates_seed,
            steps: self.rates_steps.map(Steps::Count),
        })
    }
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or do not fit; a run that failed.
pub fn run(args: &ReportArgs) -> Result<()> {
    if let Some(paths) = &args.compare {
        return compared(args, paths);
    }
    let started = SystemTime::now();
    let threads = args.compute.threads();
    let jobs = args.compute.device.jobs(args.jobs, threads);
    let given = args.data.is_some() && args.backbone.is_some();
    ensure!(
        given || args.preset() != Preset::Paper,
        "--preset paper: expected --data and --backbone, the paper's data and a pretrained model"
    );
    if let (Some(data), Some(backbone)) = (&args.data, &args.backbone) {
        check_places(data, backbone)?;
    }
    ensure!(
        args.data.is_some() || !args.task.is_own(),
        "--task {}: expected --data, your own, and --backbone",
        args.task
    );
    let mut request = args.request();
    if args.plan {
        if args.budget.is_some() {
            request = super::budget::decided(request)?;
        }
        if request.preset == Preset::Paper {
            let (device, plan) = (args.compute.device.open()?, read(&request)?);
            let all: Vec<usize> = (0..plan.runs().len()).collect();
            say_how_long(&unfinished(&plan, &all)?, args.workers(jobs, &device))?;
        }
        return list(&listed(&request)?, args.json);
    }
    if let Some(seconds) = args.budget {
        return super::budget::run(args, request, seconds, jobs);
    }
    let plan = made(args, &request, jobs, started)?;
    if !args.only.is_empty() || args.shard.is_some() {
        return Ok(());
    }
    let study = assembled(args, &plan, started)?;
    finish(args, &plan, study)
}

/// The study of the runs that there are.
fn put_together(
    args: &ReportArgs,
    plan: &Plan,
    ledgers: &Ledgers<'_>,
    started: SystemTime,
) -> Result<Study> {
    let _progress = Progress::new(0, "", "assembling the report");
    let mut study = assemble::study(plan, args.data.is_none(), ledgers, started)?;
    study.provenance.options = args.options.clone();
    Ok(study)
}

/// The plan, its runs made unless the study is only merged.
pub(super) fn made(
    args: &ReportArgs,
    request: &Request,
    jobs: usize,
    started: SystemTime,
) -> Result<Plan> {
    let mut plan = read(request)?;
    if !args.merge {
        make(args, request, &mut plan, jobs, started)?;
    }
    plan.check_chosen()?;
    files::create_dir(&args.out)?;
    Ok(plan)
}

/// The study of the runs that there are, with the ledger.
pub(super) fn assembled(args: &ReportArgs, plan: &Plan, started: SystemTime) -> Result<Study> {
    let usual = match args.preset() {
        Preset::Quick => 0,
        _ => LEDGER_CASES,
    };
    let kept = Ledgers {
        cases: args.ledger_cases.unwrap_or(usual),
        threads: args.compute.threads(),
        dir: &args.out,
    };
    put_together(args, plan, &kept, started)
}

/// Writes all that is asked for of a study, and says where it is.
pub(super) fn finish(args: &ReportArgs, plan: &Plan, mut study: Study) -> Result<()> {
    if let Some(count) = args.explain {
        let (pool, device) = (args.compute.pool()?, args.compute.device.open()?);
        study.looks = pool.install(|| looks::make(plan, count, &args.out, &device))?;
    }
    if let Some(dir) = &args.tables {
        report::tables::write(&study, dir)?;
    }
    let pages = [report::markdown(&study), report::html(&study)];
    write(args, &study, "report", pages)?;
    keep(args, &study)
}

/// Writes the report of a study that may go on.
pub(super) fn write_pages(args: &ReportArgs, study: &Study) -> Result<()> {
    let pages = [report::markdown(study), report::html(study)];
    put(&args.out, study, "report", pages).map(drop)
}

/// Makes the runs that are asked for: those whose learning rate is known, then the candidates of
/// the others', then these.
fn make(
    args: &ReportArgs,
    request: &Request,
    plan: &mut Plan,
    jobs: usize,
    started: SystemTime,
) -> Result<()> {
    let device = args.compute.open_for(request.hyper.dtype)?;
    let workers = args.workers(jobs, &device);
    files::create_dir(&args.out)?;
    study_file::write(&args.out, &args.given)?;
    let chosen = chosen(&args.only, args.shard, plan.runs().len())?;
    if args.overwrite {
        schedule::clear(&picked(plan, &chosen))?;
    }
    if request.preset == Preset::Paper {
        say_how_long(&unfinished(plan, &chosen)?, workers)?;
    }
    let of = |plan: &Plan, runs: &[usize], later: Left| {
        schedule::execute(&picked(plan, runs), workers, later, &|left| {
            page_so_far(args, plan, left, started)
        })
    };
    let runs = plan.runs();
    let (open, known): (Vec<usize>, Vec<usize>) = chosen
        .into_iter()
        .partition(|i| runs[*i].1.is_open(runs[*i].0));
    let candidates = if open.is_empty() {
        Vec::new()
    } else {
        plan.candidates()
    };
    let rest = Left::of(&picked(plan, &open));
    let both = Left::of(&candidates);
    let both = Left {
        runs: both.runs + rest.runs,
        steps: both.steps + rest.steps,
        ..both
    };
    of(plan, &known, both)?;
    schedule::execute(&candidates, workers, rest, &|left| {
        page_so_far(args, plan, left, started)
    })?;
    plan.choose()?;
    of(plan, &open, Left::default())
}

/// The runs of these numbers, from 0.
fn picked<'a>(plan: &'a Plan, numbers: &[usize]) -> Vec<(&'a Planned, &'a Part)> {
    let all = plan.runs();
    numbers.iter().map(|i| all[*i]).collect()
}

/// Writes the report of the runs that are finished, in which the others are to come; nothing where
/// none is, or where this process makes only a part of them.
fn page_so_far(args: &ReportArgs, plan: &Plan, left: Left, started: SystemTime) -> Result<()> {
    let parts = !args.only.is_empty() || args.shard.is_some();
    if parts || !assemble::can_report(plan)? {
        return Ok(());
    }
    let none = Ledgers {
        cases: 0,
        threads: args.compute.threads(),
        dir: &args.out,
    };
    let mut study = put_together(args, plan, &none, started)?;
    study.going = Some(Going {
        runs: left.runs,
        seconds: left.seconds,
    });
    write_pages(args, &study)
}

/// `--svg`, `--png`, `--csv` and `--export-runs`.
fn keep(args: &ReportArgs, study: &Study) -> Result<()> {
    pictures::write(&report::tables::pictures(study), args.pictures.places())?;
    if args.csv {
        let dir = args.out.join("tables");
        files::create_dir(&dir)?;
        for (name, text) in report::export::tables(study) {
            files::write(&dir.join(name), &text)?;
        }
        note(format_args!("{}: every table as CSV", dir.display()));
    }
    if let Some(path) = &args.export_runs {
        files::write(path, &report::export::runs(study)?)?;
        note(format_args!("{}: every run, one a line", path.display()));
    }
    Ok(())
}
