//! Options of data of one's own, and where data lie.

use super::options::whole;
use clap::Args;
use clap::builder::{StringValueParser, TypedValueParser};
use inducer_datasets::Reading;
use inducer_datasets::reading::Split;
use inducer_datasets::table::parts;
use inducer_gpu::{hub, ranges};
use std::path::{Path, PathBuf};

/// How data of one's own are read.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Data of your own (--task generate, classify)")]
pub struct OwnData {
    /// Columns of other names, as in input=question,target=answer
    #[arg(long, value_name = "HOLDS=NAME", value_delimiter = ',', value_parser = column())]
    columns: Vec<(String, String)>,
    /// Divide one file into train, dev and test by these shares of its rows, whole groups (or equal
    /// inputs) to one part each, as in 0.9,0.05,0.05
    #[arg(long, value_name = "SHARES", value_parser = shares())]
    split: Option<[f64; 3]>,
    /// Seed of --split
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    split_seed: u64,
    /// Cut inputs after so many tokens, of pairs the longer text first (mnli and sst2 too)
    #[arg(long, value_name = ranges::COUNT.text, value_parser = whole(ranges::COUNT))]
    truncate: Option<usize>,
}

impl OwnData {
    /// What is asked for.
    pub fn reading(&self) -> Reading {
        Reading {
            columns: self.columns.iter().cloned().collect(),
            split: self.split.map(|shares| Split {
                shares,
                seed: self.split_seed,
            }),
            truncate: self.truncate,
            ..Reading::default()
        }
    }
}

/// What a column holds, and its name.
pub fn column() -> impl TypedValueParser<Value = (String, String)> {
    StringValueParser::new().try_map(|text| {
        let parts = text
            .split_once('=')
            .filter(|(of, name)| !of.is_empty() && !name.is_empty());
        let found = parts.map(|(of, name)| (of.to_owned(), name.to_owned()));
        found.ok_or_else(|| format!("expected HOLDS=NAME as in input=question, found `{text}`"))
    })
}

fn shares() -> impl TypedValueParser<Value = [f64; 3]> {
    StringValueParser::new().try_map(|text| {
        let numbers: Option<Vec<f64>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
        let shares: Option<[f64; 3]> = numbers.and_then(|n| n.try_into().ok());
        let shares = shares.filter(|s| Split::new(*s, 0).is_ok());
        shares.ok_or_else(|| {
            format!(
                "expected three shares above 0, together 1, as in 0.9,0.05,0.05; found `{text}`"
            )
        })
    })
}

/// A path, or the data set of that name in the cache of the hub or of `datasets`, the first one
/// that holds tables.
pub fn located(data: &Path) -> PathBuf {
    let name = data.to_str().filter(|_| !data.exists());
    let all = name.map(|name| hub::data_sets(name, &hub::cache(), &hub::datasets_cache()));
    let holds_tables = |dir: &PathBuf| !matches!(parts::folder(dir, &[]), Ok(None));
    let found = all.into_iter().flatten().find(holds_tables);
    found.unwrap_or_else(|| data.to_path_buf())
}
