//! The runs of a study as `--plan` shows them.

use super::generated;
use super::judged::listing;
use super::names::names;
use super::paper::LONG_METHODS;
use super::plan::{Request, read};
use crate::run::directory::is_finished;
use anyhow::Result;
use serde::Serialize;
use std::path::PathBuf;

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
/// As [`plan`](super::plan).
pub fn listed(request: &Request) -> Result<Vec<Listed>> {
    if request.data.is_some() && request.backbone.is_some() {
        let plan = read(request)?;
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
    let names = names(&request.methods, &request.seeds, &request.loss_seeds)?;
    let seeds = request.seeds();
    let main = (generated::name(request.task), "", names, request.budget());
    let long = LONG_METHODS.map(String::from).to_vec();
    let long = (generated::long_name(), "long-", long, request.long_budget());
    let mut all = Vec::new();
    for (data, prefix, names, budget) in [Some(main), request.has_long().then_some(long)]
        .into_iter()
        .flatten()
    {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for (seed, method, _) in listing(&seeds, &request.loss_seeds, &names, prefix) {
            let method = names[method];
            let name = format!("{prefix}{method}");
            let directory = request.out.join("runs").join(format!("{name}-seed{seed}"));
            let untuned = method == "none";
            all.push(Listed {
                number: all.len() + 1,
                data: data.clone(),
                method: method.into(),
                name,
                seed,
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
    Ok(all)
}
