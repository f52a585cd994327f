//! What of a study may be compared with the paper, in sentences.

use super::plan::Plan;
use crate::document::format;
use crate::parameters::is_papers;
use inducer_datasets::Task;
use inducer_gpu::{BackboneConfig, counts};

/// What may be compared with the paper, from the facts of the study.
pub(super) fn comparable(plan: &Plan, generated: bool, matchers: Option<&[String]>) -> Vec<String> {
    let mut out = Vec::new();
    let task = plan.main.prepared.source.task;
    out.push(match task {
        Task::WebNlg => "BLEU and TER are computed as in the paper: multi-bleu, lower-cased, and \
         tercom's algorithm, three references at most, texts prepared as the WebNLG 2017 challenge \
         did; one row of the paper's Table 1 is one row here."
            .into(),
        Task::Coqa => "Exact match and F1 are CoQA's official ones, with its normalisation and \
         leave-one-out over the references, as in the paper's Table 1."
            .into(),
        Task::Mnli | Task::Sst2 => "Accuracy as in GLUE. The paper's figures on RoBERTa base are \
         not part of this program, so none stand beside these."
            .into(),
        Task::Generate => "BLEU and TER are sacrebleu's with its defaults; exact match and F1 of \
         words are SQuAD's, with the best of the references. The data are not the paper's, and \
         none of its figures stand beside these."
            .into(),
        Task::Classify => "Accuracy, and F1 as the mean over classes. The data are not the \
         paper's, and none of its figures stand beside these."
            .into(),
    });
    if task.is_own() {
        out.extend(plan.main.prepared.splits.notes.iter().cloned());
    }
    if let Some(ran) = matchers.filter(|m| m.len() < 4) {
        out.push(format!(
            "METEOR here ran with its matchers {} only (its jar and paraphrase table were not \
             given: METEOR_JAR, METEOR_PARAPHRASES), so it is not the paper's METEOR 1.5.",
            ran.join(" and ")
        ));
    }
    out.push(backbone_words(&plan.main.prepared.backbone));
    let steps = plan.main.runs.iter().map(|r| r.config.train.steps).max();
    out.push(format!(
        "The paper trains for 5 or 10 epochs; these runs take {} steps, the same for \
     every method. Only the order and the size of differences within this report can be held \
     against the paper's.",
        steps.unwrap_or(0)
    ));
    if generated {
        out.push(format!(
            "The data are generated, not {}: the paper's figures stand beside ours \
         for orientation only.",
            task.title()
        ));
    }
    out.push(
        "The trainable share counts what is trained: a prefix is trained through an MLP that \
     is not stored. The special tokens' rows (the classification head of a RoBERTa) are trained \
     with every method and not counted, as in the paper."
            .into(),
    );
    if plan.main.runs.iter().any(|r| r.method() == "none") {
        out.push(match task.generates() {
            true => "The untuned backbone has random rows for the special tokens.".into(),
            false => "The untuned backbone has a random classification head.".into(),
        });
    }
    out
}

fn backbone_words(backbone: &BackboneConfig) -> String {
    let count = format::count(counts::of_backbone(backbone));
    match backbone {
        BackboneConfig::Gpt2(_) if is_papers(backbone) => {
            "The backbone has the paper's size, GPT-2 small.".into()
        }
        BackboneConfig::Gpt2(_) => format!(
            "The paper's backbone is GPT-2 small (124,439,808 parameters); this one has {count} \
             parameters, so absolute scores cannot be compared, and bottlenecks are sized to one \
             budget on this backbone."
        ),
        BackboneConfig::Roberta(_) => format!(
            "The paper's backbone is RoBERTa base (124,645,632 parameters); this one has {count}."
        ),
    }
}
