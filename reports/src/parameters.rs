//! The parameter counts of the paper's tables, computed from the model definitions.

use crate::study::paper::NO_OFFSET;
use inducer_gpu::{
    AdapterConfig, BackboneConfig, Gpt2Config, Method, Named, RobertaConfig, counts,
};
use serde::Serialize;

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

/// Whether a backbone is the paper's, GPT-2 small or RoBERTa base: its size and its vocabulary.
pub fn is_papers(backbone: &BackboneConfig) -> bool {
    let vocabulary = match backbone {
        BackboneConfig::Gpt2(_) => Gpt2Config::small().vocab_size,
        BackboneConfig::Roberta(_) => RobertaConfig::base().vocab_size,
    };
    backbone.is_papers_size() && backbone.spec().vocabulary == vocabulary
}

/// What the paper prints: Tables 1, 3 and 5 for GPT-2 small, Table 2 for RoBERTa base.
fn paper(method: Method, backbone: &BackboneConfig) -> Option<&'static str> {
    if !is_papers(backbone) {
        return None;
    }
    let nlu = matches!(backbone, BackboneConfig::Roberta(_));
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

/// The title of a method in tables; a name that is no method's is its own.
pub fn title(method: &str) -> &str {
    match Named::find(method) {
        Some(named) => named.title(),
        None if method == NO_OFFSET => "Prefix, no offset",
        None => method,
    }
}

/// The counts of an adapter.
pub fn row(name: &str, config: &AdapterConfig, backbone: &BackboneConfig) -> Row {
    let trained = counts::trained(config, backbone);
    let stored = counts::stored(config, backbone);
    let all = counts::of_backbone(backbone) as f64;
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
        paper: None,
    }
}

/// The table of a backbone. The special tokens' rows, or the classification head, are trained with
/// every method and not counted.
pub fn table(backbone: &BackboneConfig) -> Vec<Row> {
    let row_of = |m: Named| Row {
        paper: match m {
            Named::Paper(method) => paper(method, backbone),
            Named::Custom(_) => None,
        },
        ..row(m.title(), &m.on(backbone), backbone)
    };
    let methods = Named::all().into_iter();
    let trained = methods.filter(|m| !matches!(m, Named::Paper(Method::None)));
    trained.map(row_of).collect()
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
