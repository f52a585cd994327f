//! How an example becomes a row: special tokens, segments and labels of each task, token by token
//! (§6 of the project's statement, Table 4 of the paper: the task's embeddings).

use crate::cases::Draw;
use crate::{Case, Claim, Error, Result, Target};
use inducer_datasets::{Encoded, Example, IGNORE, Input, Layout, Task, Tokenizer, Triple};
use std::sync::OnceLock;

/// Rows of the backbone's embedding; the tokenizer has fewer.
const VOCABULARY: usize = 300;

/// The claims of this file.
#[must_use]
pub fn claims() -> Vec<Claim> {
    vec![
        Claim::new("layout-webnlg").on_one_sided(Target::CpuF64, webnlg),
        Claim::new("layout-coqa").on_one_sided(Target::CpuF64, coqa),
        Claim::new("layout-classes").on_one_sided(Target::CpuF64, classes),
    ]
}

fn missing(error: impl std::fmt::Display) -> Error {
    Error::Missing(error.to_string())
}

/// A small tokenizer of bytes and a few merges, GPT-2's or RoBERTa's.
fn tokenizer(roberta: bool) -> Result<&'static Tokenizer> {
    static MADE: [OnceLock<std::result::Result<Tokenizer, String>>; 2] =
        [const { OnceLock::new() }; 2];
    let texts = [
        "the cat sat on the mat",
        "an airport serves a city",
        "the city has an airport",
    ];
    let made = MADE[usize::from(roberta)].get_or_init(|| {
        let made = match roberta {
            true => Tokenizer::train_roberta(texts, 280),
            false => Tokenizer::train(texts, 280),
        };
        made.map_err(|e| e.to_string())
    });
    made.as_ref().map_err(missing)
}

/// A few words.
fn text(draw: &mut Draw) -> String {
    const WORDS: [&str; 8] = [
        "the", "cat", "airport", "serves", "a", "city", "Aarhus", "1947",
    ];
    let n = draw.size(1, 5);
    let words: Vec<&str> = (0..n).map(|_| draw.pick(&WORDS)).collect();
    words.join(" ")
}

fn example(input: Input, references: Vec<String>, class: Option<u32>) -> Example {
    Example {
        position: 1,
        category: String::new(),
        seen: true,
        input,
        references,
        class,
        id: None,
    }
}

/// A row by hand: each part is a marker, which is the segment of what follows it.
struct Expected {
    ids: Vec<u32>,
    segments: Vec<u32>,
}

impl Expected {
    fn part(&mut self, marker: u32, text: &str) -> Result<()> {
        self.push(marker, marker);
        self.text(marker, text)
    }

    fn text(&mut self, segment: u32, text: &str) -> Result<()> {
        let ids = tokenizer(false)?.encode(text).map_err(missing)?;
        ids.into_iter().for_each(|id| self.push(id, segment));
        Ok(())
    }

    fn push(&mut self, id: u32, segment: u32) {
        self.ids.push(id);
        self.segments.push(segment);
    }
}

/// The row of a prompt and one reference, which alone has labels, its end token among them; in the
/// control the labels are those of the token after.
fn same(
    case: &mut Case,
    found: &Encoded,
    prompt: Expected,
    [target, end]: [u32; 2],
    reference: &str,
) -> Result<()> {
    let start = prompt.ids.len();
    let mut row = prompt;
    row.text(target, reference)?;
    row.push(end, target);
    let first = start + case.or_control(0, 1);
    let label = |(i, id): (usize, &u32)| match i < first {
        true => IGNORE,
        false => i64::from(*id),
    };
    let labels: Vec<i64> = row.ids.iter().enumerate().map(label).collect();
    case.same(&found.ids, &row.ids, || {
        format!("tokens before {reference:?}")
    });
    case.same(found.segments.as_ref(), Some(&row.segments), || {
        format!("segments before {reference:?}")
    });
    case.same(&found.labels, &labels, || {
        format!("labels of {reference:?}")
    });
    case.same(found.prompt_len, start, || "length of the prompt".into());
    Ok(())
}

/// `<bos_webnlg> (<subject> s <property> p <object> o)* <target_webnlg> text <eos_webnlg>`, a row
/// for each reference.
fn webnlg(case: &mut Case) -> Result<()> {
    let [bos, subject, property, object, target, end] =
        [0, 1, 2, 3, 4, 5].map(|i| (VOCABULARY + i) as u32);
    let triples: Vec<Triple> = (0..case.draw.size(1, 3))
        .map(|_| {
            let [subject, property, object] = [(); 3].map(|()| text(&mut case.draw));
            Triple {
                subject,
                property,
                object,
            }
        })
        .collect();
    let references: Vec<String> = (0..case.draw.size(1, 3))
        .map(|_| text(&mut case.draw))
        .collect();
    let given = example(Input::Triples(triples.clone()), references.clone(), None);
    let layout = Layout::new(tokenizer(false)?, Task::WebNlg, VOCABULARY, 400).map_err(missing)?;
    let rows = layout.training_rows(&given).map_err(missing)?;
    case.same(rows.len(), references.len(), || "rows".into());
    for (row, reference) in rows.iter().zip(&references) {
        let mut prompt = Expected {
            ids: vec![bos],
            segments: vec![bos],
        };
        for t in &triples {
            prompt.part(subject, &t.subject)?;
            prompt.part(property, &t.property)?;
            prompt.part(object, &t.object)?;
        }
        prompt.push(target, target);
        same(case, row, prompt, [target, end], reference)?;
    }
    Ok(())
}

/// `<bos_qa> <document> passage (<question> q <answer> a){last 2 turns} <question> q <answer> a
/// <eos_qa>`, the passage cut after 400 tokens; one row, of the first answer.
fn coqa(case: &mut Case) -> Result<()> {
    let [bos, document, question, answer, end] = [0, 1, 2, 3, 4].map(|i| (VOCABULARY + i) as u32);
    let mut passage = text(&mut case.draw);
    if case.draw.chance(0.3) {
        // one token a byte at least every seventh: beyond 400 of them
        passage = vec![passage; 420].join(" ");
    }
    let turn = |draw: &mut Draw| (text(draw), text(draw));
    let history: Vec<_> = (0..case.draw.size(0, 4))
        .map(|_| turn(&mut case.draw))
        .collect();
    let asked = text(&mut case.draw);
    let references: Vec<String> = (0..case.draw.size(1, 3))
        .map(|_| text(&mut case.draw))
        .collect();
    let input = Input::Conversation {
        passage: passage.as_str().into(),
        history: history.clone(),
        question: asked.clone(),
    };
    let given = example(input, references.clone(), None);
    let layout = Layout::new(tokenizer(false)?, Task::Coqa, VOCABULARY, 4000).map_err(missing)?;
    let rows = layout.training_rows(&given).map_err(missing)?;
    case.same(rows.len(), 1, || "rows".into());
    let mut prompt = Expected {
        ids: vec![bos],
        segments: vec![document],
    };
    prompt.part(document, &passage)?;
    prompt.ids.truncate(402);
    prompt.segments.truncate(402);
    for (q, a) in &history[history.len().saturating_sub(2)..] {
        prompt.part(question, q)?;
        prompt.part(answer, a)?;
    }
    prompt.part(question, &asked)?;
    prompt.push(answer, answer);
    same(case, &rows[0], prompt, [answer, end], &references[0])
}

/// `<s> premise </s></s> hypothesis </s>` and `<s> sentence </s>`, with the class and without
/// segments or labels. In the control the pair has one `</s>` between.
fn classes(case: &mut Case) -> Result<()> {
    let [start, end] = ["<s>", "</s>"].map(|token| tokenizer(true).map(|t| t.id(token)));
    let (Some(start), Some(end)) = (start?, end?) else {
        return Err(missing("<s> and </s>"));
    };
    let [first, second] = [(); 2].map(|()| text(&mut case.draw));
    let class = case.draw.size(0, 2) as u32;
    let pair = case.draw.turn.is_multiple_of(2);
    let encode =
        |text: &str| -> Result<Vec<u32>> { tokenizer(true)?.encode(text).map_err(missing) };
    let (task, input, ids) = match pair {
        true => {
            let between = vec![end; case.or_control(2, 1)];
            let ids = [
                vec![start],
                encode(&first)?,
                between,
                encode(&second)?,
                vec![end],
            ];
            (Task::Mnli, Input::Pair(first, second), ids.concat())
        }
        false => {
            let last = vec![end; case.or_control(1, 2)];
            let ids = [vec![start], encode(&first)?, last].concat();
            (Task::Sst2, Input::Sentence(first), ids)
        }
    };
    let layout = Layout::new(tokenizer(true)?, task, VOCABULARY, 400).map_err(missing)?;
    let rows = layout.training_rows(&example(input, Vec::new(), Some(class)));
    let rows = rows.map_err(missing)?;
    case.same(rows.len(), 1, || "rows".into());
    case.same(&rows[0].ids, &ids, || format!("tokens of {task}"));
    case.same(rows[0].class, Some(class), || format!("class of {task}"));
    case.same(rows[0].segments.is_none(), true, || {
        format!("segments of {task}")
    });
    Ok(())
}
