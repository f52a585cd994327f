//! `inducer params`: the parameter counts of the paper's tables.

use super::options::model_directory;
use super::print;
use crate::csv;
use crate::parameters::{Row, row, table};
use anyhow::Result;
use clap::Args;
use inducer_gpu::{AdapterConfig, BackboneConfig, Gpt2Config, RobertaConfig, counts};
use std::path::PathBuf;

/// `inducer params`.
#[derive(Args, Clone, Debug)]
pub struct ParamsArgs {
    /// Hugging Face directory or name, of which only config.json is read [default: GPT-2 small and
    /// RoBERTa base]
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: Option<PathBuf>,
    /// An adapter_config.json of one's own
    #[arg(long)]
    pub adapter: Option<PathBuf>,
    /// Print as JSON
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print as CSV
    #[arg(long)]
    pub csv: bool,
}

/// As text.
fn text(backbone: &BackboneConfig, rows: &[Row]) -> String {
    let d = backbone.spec();
    let mut lines = vec![
        format!(
            "Backbone: {}, {} layers, hidden {}, {} heads, {} parameters{}\n",
            rows.first().map_or("", |r| r.backbone),
            d.layers,
            d.hidden,
            d.heads.count,
            counts::of_backbone(backbone),
            match backbone {
                BackboneConfig::Gpt2(_) => "",
                BackboneConfig::Roberta(_) =>
                    " without the pooler and the head, which is trained with every method",
            }
        ),
        format!(
            "{:<28} {:>12} {:>9} {:>12} {:>9}   paper",
            "method", "trained", "share", "stored", "share"
        ),
    ];
    lines.extend(rows.iter().map(|r| {
        format!(
            "{:<28} {:>12} {:>7.2} % {:>12} {:>7.2} %   {}",
            r.method,
            r.trained,
            r.trained_percent,
            r.stored,
            r.stored_percent,
            r.paper.unwrap_or("–")
        )
    }));
    lines.join("\n") + "\n"
}

/// Runs the command: a backbone's table, or those of the paper's two backbones.
///
/// # Errors
/// Files that are missing or broken.
pub fn run(args: &ParamsArgs) -> Result<()> {
    let backbones = match &args.backbone {
        Some(dir) => vec![BackboneConfig::read(dir)?],
        None if args.adapter.is_some() => vec![BackboneConfig::Gpt2(Gpt2Config::small())],
        None => vec![
            BackboneConfig::Gpt2(Gpt2Config::small()),
            BackboneConfig::Roberta(RobertaConfig::base()),
        ],
    };
    let mut all = Vec::new();
    for (i, backbone) in backbones.iter().enumerate() {
        let rows = match &args.adapter {
            Some(path) => {
                let config = AdapterConfig::read(path, backbone)?;
                vec![row(&path.display().to_string(), &config, backbone)]
            }
            None => table(backbone),
        };
        if !args.json && !args.csv {
            let between = if i > 0 { "\n" } else { "" };
            print::whole(format_args!("{between}{}", text(backbone, &rows)))?;
        }
        all.extend(rows);
    }
    if args.csv {
        let records: Vec<_> = all
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()?;
        return print::whole(csv::of_records(&records));
    }
    match args.json {
        true => print::json(&all),
        false => Ok(()),
    }
}
