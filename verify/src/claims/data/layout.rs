//! Examples as sequences of tokens: special tokens, segments and labels of each task (§6 of the
//! project's statement, Table 4 of the paper: the task's embeddings).

use super::{given, prose};
use crate::cases::Draw;
use crate::{Case, Result};
use inducer_datasets::{Encoded, Example, IGNORE, Input, Layout, Task, Tokenizer, Triple};

/// Rows of the backbone's embedding; the special tokens follow.
const VOCABULARY: usize = 300;
const POSITIONS: usize = 2000;

/// Tokens after which a passage is cut.
const PASSAGE: usize = 400;

/// A sequence as the paper writes it.
pub(super) struct Sequence {
    pub ids: Vec<u32>,
    pub segments: Vec<u32>,
    /// How many tokens come before the target.
    pub prompt: usize,
    pub class: Option<u32>,
}

fn example(draw: &mut Draw, task: Task) -> Example {
    let input = match task {
        Task::WebNlg => {
            let triple = |draw: &mut Draw| Triple {
                subject: prose(draw, 1, 2),
                property: prose(draw, 1, 1),
                object: prose(draw, 1, 2),
            };
            let n = draw.size(1, 3);
            Input::Triples((0..n).map(|_| triple(draw)).collect())
        }
        Task::Coqa => {
            // a word takes six tokens or so
            let words = draw.pick(&[4, 80]);
            let turns = draw.size(0, 3);
            Input::Conversation {
                passage: prose(draw, words, words).into(),
                history: (0..turns)
                    .map(|_| (prose(draw, 0, 2), prose(draw, 0, 2)))
                    .collect(),
                question: prose(draw, 1, 3),
            }
        }
        Task::Mnli => Input::Pair(prose(draw, 1, 3), prose(draw, 0, 3)),
        _ => Input::Sentence(prose(draw, 1, 4)),
    };
    let references = draw.size(1, 3);
    Example {
        position: 1,
        category: String::new(),
        seen: true,
        input,
        references: (0..references).map(|_| prose(draw, 0, 3)).collect(),
        class: Some(draw.size(0, 1) as u32),
        id: None,
    }
}

/// The parts of an example, each with the number of its marker among the special tokens and in the
/// order of the paper; the last is that of the target, which is empty so far.
fn pieces(example: &Example) -> Vec<(u32, &str)> {
    match &example.input {
        Input::Triples(triples) => {
            let fields = triples.iter().flat_map(|t| {
                [
                    (1, &t.subject[..]),
                    (2, &t.property[..]),
                    (3, &t.object[..]),
                ]
            });
            fields.chain([(4, "")]).collect()
        }
        Input::Conversation {
            passage,
            history,
            question,
        } => {
            let shown = &history[history.len().max(2) - 2..];
            let turns = shown.iter().flat_map(|(q, a)| [(2, &q[..]), (3, &a[..])]);
            let passage = [(1, &passage[..])].into_iter();
            passage
                .chain(turns)
                .chain([(2, &question[..]), (3, "")])
                .collect()
        }
        Input::Sentence(text) => vec![(1, text), (2, "")],
        Input::Pair(..) => Vec::new(),
    }
}

/// The sequences of an example: of generation one for each text, of CoQA one for the first answer.
fn sequences(tokenizer: &Tokenizer, task: Task, example: &Example) -> Result<Vec<Sequence>> {
    let encode = |text: &str| given(tokenizer.encode(text));
    if matches!(task, Task::Mnli | Task::Sst2) {
        // 0 is <s> and 2 is </s>
        let mut ids = vec![0];
        match &example.input {
            Input::Pair(first, second) => {
                ids.extend([&encode(first)?[..], &[2, 2], &encode(second)?].concat());
            }
            Input::Sentence(text) => ids.extend(encode(text)?),
            _ => {}
        }
        ids.push(2);
        let (segments, prompt, class) = (Vec::new(), ids.len(), example.class);
        return Ok(vec![Sequence {
            ids,
            segments,
            prompt,
            class,
        }]);
    }
    let special = |i: u32| VOCABULARY as u32 + i;
    // the first token belongs to the passage in CoQA, and to no part elsewhere
    let first = if task == Task::Coqa { 1 } else { 0 };
    let (mut ids, mut segments) = (vec![special(0)], vec![special(first)]);
    let pieces = pieces(example);
    for (marker, text) in &pieces {
        let mut tokens = encode(text)?;
        if task == Task::Coqa && *marker == 1 {
            tokens.truncate(PASSAGE);
        }
        segments.extend(vec![special(*marker); tokens.len() + 1]);
        ids.push(special(*marker));
        ids.extend(tokens);
    }
    let marker = pieces.last().map_or(0, |(marker, _)| *marker);
    let texts = if task == Task::Coqa {
        1
    } else {
        example.references.len()
    };
    let of = |text: &String| {
        let target = [&encode(text)?[..], &[special(marker + 1)]].concat();
        Ok(Sequence {
            prompt: ids.len(),
            ids: [&ids[..], &target].concat(),
            segments: [&segments[..], &vec![special(marker); target.len()]].concat(),
            class: None,
        })
    };
    example.references[..texts].iter().map(of).collect()
}

/// What the layout makes of some examples, and what it has to.
pub(super) struct Rows {
    pub encoded: Vec<Encoded>,
    pub expected: Vec<Sequence>,
}

/// A tokenizer and random examples of a task.
pub(super) fn examples(
    draw: &mut Draw,
    task: Task,
    count: usize,
) -> Result<(Tokenizer, Vec<Example>)> {
    let tokenizer = match task {
        Task::Mnli | Task::Sst2 => Tokenizer::train_roberta(["plain words"], 263),
        _ => Tokenizer::train(["plain words"], 260),
    };
    let all = (0..count).map(|_| example(draw, task)).collect();
    Ok((given(tokenizer)?, all))
}

/// The layout of a task for a backbone of these sizes.
pub(super) fn layout(tokenizer: &Tokenizer, task: Task) -> inducer_datasets::Result<Layout<'_>> {
    Layout::new(tokenizer, task, VOCABULARY, POSITIONS)
}

/// The rows of `count` random examples of a task.
pub(super) fn rows(draw: &mut Draw, task: Task, count: usize) -> Result<Rows> {
    let (tokenizer, examples) = examples(draw, task, count)?;
    let layout = given(layout(&tokenizer, task))?;
    let (mut encoded, mut expected) = (Vec::new(), Vec::new());
    for example in examples {
        encoded.extend(given(layout.training_rows(&example))?);
        expected.extend(sequences(&tokenizer, task, &example)?);
    }
    Ok(Rows { encoded, expected })
}

/// The rows of an example are its sequences, token by token, with the segment of each; labels are
/// those of the target alone, its end token among them. In the control the target's first token has
/// no label.
pub(super) fn generation(case: &mut Case, task: Task) -> Result<()> {
    let Rows { encoded, expected } = rows(&mut case.draw, task, 1)?;
    case.same(encoded.len(), expected.len(), || "rows".into());
    for (i, (found, row)) in encoded.iter().zip(&expected).enumerate() {
        let first = row.prompt + case.or_control(0, 1);
        let label = |(i, id): (usize, &u32)| match i < first {
            true => IGNORE,
            false => i64::from(*id),
        };
        let labels: Vec<i64> = row.ids.iter().enumerate().map(label).collect();
        case.same(&found.ids, &row.ids, || format!("tokens of row {i}"));
        case.same(found.segments.as_ref(), Some(&row.segments), || {
            format!("segments of row {i}")
        });
        case.same(&found.labels, &labels, || format!("labels of row {i}"));
        case.same(found.prompt_len, row.prompt, || {
            format!("prompt of row {i}")
        });
    }
    Ok(())
}

/// A pair or a sentence is one row with its class, without segments. In the control it ends with
/// one more end token.
pub(super) fn classes(case: &mut Case) -> Result<()> {
    let task = *case.draw.in_turn(&[Task::Mnli, Task::Sst2]);
    let Rows { encoded, expected } = rows(&mut case.draw, task, 1)?;
    case.same(encoded.len(), 1, || "rows".into());
    for (found, row) in encoded.iter().zip(&expected) {
        let ids = [&row.ids[..], &vec![2; case.or_control(0, 1)]].concat();
        case.same(&found.ids, &ids, || format!("tokens of {task}"));
        case.same(found.class, row.class, || format!("class of {task}"));
        case.same(found.segments.is_none(), true, || {
            format!("segments of {task}")
        });
    }
    Ok(())
}
