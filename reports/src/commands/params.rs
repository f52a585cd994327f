//! `inducer params`: the parameter counts of the paper's tables, computed from the model
//! definitions.

use crate::cli::model_directory;
use anyhow::Result;
use clap::Args;
use inducer_gpu::{AdapterConfig, BackboneConfig, Gpt2Config, Method, RobertaConfig, counts};
use serde::Serialize;
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
    #[arg(long)]
    pub json: bool,
}

/// One row of the table.
#[derive(Debug, Serialize)]
pub struct Row {
    /// `gpt2` or `roberta`.
    pub backbone: &'static str,
    /// Method.
    pub method: String,
    /// Trained parameters.
    pub trained: usize,
    /// Stored parameters.
    pub stored: usize,
    /// Stored share of the backbone in per cent.
    pub stored_percent: f64,
    /// Trained share of the backbone in per cent.
    pub trained_percent: f64,
    /// The paper's printed percentage (training, for a prefix also storing), where its row is this
    /// one.
    pub paper: Option<&'static str>,
}

/// What the paper prints: Tables 1, 3 and 5 for GPT-2 small, Table 2 for RoBERTa base.
fn paper(method: Method, backbone: &BackboneConfig) -> Option<&'static str> {
    let nlu = match backbone {
        BackboneConfig::Gpt2(c) if *c == Gpt2Config::small() => false,
        BackboneConfig::Roberta(c) if same_size(c) => true,
        _ => return None,
    };
    Some(match (nlu, method) {
        (_, Method::Full) => "100.00 %",
        (false, Method::Adapter | Method::Adaptive) => "1.62 %",
        (
            false,
            Method::Lora
            | Method::MamAdapter
            | Method::Gating
            | Method::Inducer
            | Method::InducerLora
            | Method::MamInducer,
        ) => "1.61 %",
        (false, Method::Prefix) => "7.98 % (1.60 % stored)",
        (false, Method::Extension) => "1.55 %",
        (true, Method::Inducer | Method::InducerLora | Method::MamInducer) => "0.5 %",
        (true, Method::Bitfit) => "0.1 %",
        _ => return None,
    })
}

fn same_size(c: &RobertaConfig) -> bool {
    let base = RobertaConfig::base();
    (c.hidden_size, c.num_hidden_layers, c.vocab_size)
        == (base.hidden_size, base.num_hidden_layers, base.vocab_size)
}

fn row(
    name: &str,
    config: &AdapterConfig,
    backbone: &BackboneConfig,
    paper: Option<&'static str>,
) -> Row {
    let (trained, stored, all) = (
        counts::trained(config, backbone),
        counts::stored(config, backbone),
        counts::of_backbone(backbone) as f64,
    );
    Row {
        backbone: match backbone {
            BackboneConfig::Gpt2(_) => "gpt2",
            BackboneConfig::Roberta(_) => "roberta",
        },
        method: name.into(),
        trained,
        stored,
        stored_percent: 100.0 * stored as f64 / all,
        trained_percent: 100.0 * trained as f64 / all,
        paper,
    }
}

/// The table of a backbone. The special tokens' rows, or the classification head, are trained with
/// every method and not counted.
pub fn table(backbone: &BackboneConfig) -> Vec<Row> {
    let methods = Method::ALL.iter().filter(|m| **m != Method::None);
    methods
        .map(|m| row(m.title(), &m.on(backbone), backbone, paper(*m, backbone)))
        .collect()
}

fn print(backbone: &BackboneConfig, rows: &[Row]) {
    let d = backbone.spec();
    println!(
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
    );
    println!(
        "{:<28} {:>12} {:>9} {:>12} {:>9}   paper",
        "method", "trained", "share", "stored", "share"
    );
    for r in rows {
        println!(
            "{:<28} {:>12} {:>7.2} % {:>12} {:>7.2} %   {}",
            r.method,
            r.trained,
            r.trained_percent,
            r.stored,
            r.stored_percent,
            r.paper.unwrap_or("–")
        );
    }
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
                let config = AdapterConfig::read(path)?;
                vec![row(&path.display().to_string(), &config, backbone, None)]
            }
            None => table(backbone),
        };
        if !args.json {
            if i > 0 {
                println!();
            }
            print(backbone, &rows);
        }
        all.extend(rows);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper prints two decimals for GPT-2 and one for RoBERTa.
    #[test]
    fn every_percentage_that_the_paper_prints_comes_out() {
        let backbones = [
            (BackboneConfig::Gpt2(Gpt2Config::small()), 2, 11),
            (BackboneConfig::Roberta(RobertaConfig::base()), 1, 5),
        ];
        for (backbone, digits, printed) in backbones {
            let rows = table(&backbone);
            let with: Vec<&Row> = rows.iter().filter(|r| r.paper.is_some()).collect();
            assert_eq!(with.len(), printed);
            for r in with {
                let paper = r.paper.unwrap();
                let digits = if r.method == "Fine-tuning" { 2 } else { digits };
                let trained = format!("{:.digits$} %", r.trained_percent);
                assert_eq!(paper.split(" (").next().unwrap(), trained, "{}", r.method);
                if paper.contains("stored") {
                    assert!(paper.contains(&format!("({:.2} % stored)", r.stored_percent)));
                }
            }
        }
    }
}
