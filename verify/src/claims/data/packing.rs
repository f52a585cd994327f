//! Examples as sequences of tokens, and these as batches.

use super::{given, prose};
use crate::cases::Draw;
use crate::{Case, Result};
use inducer_datasets::batches::{epoch_batches, pack, sorted_batches};
use inducer_datasets::{Encoded, Example, IGNORE, Input, Labels, Layout, Task, Tokenizer, Triple};

/// Rows of the backbone's embedding; the special tokens follow.
const VOCABULARY: usize = 300;
const POSITIONS: usize = 2000;

/// Tokens after which a passage is cut.
const PASSAGE: usize = 400;

/// A sequence as the paper writes it.
struct Sequence {
    ids: Vec<u32>,
    segments: Vec<u32>,
    /// How many tokens come before the target.
    prompt: usize,
    class: Option<u32>,
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

/// A batch of these rows is their sequences one behind the other, with a label where a token is to
/// be predicted, or a class each.
fn packed(case: &mut Case, rows: &[usize], encoded: &[Encoded], expected: &[Sequence]) {
    let batch = pack(&rows.iter().map(|r| &encoded[*r]).collect::<Vec<_>>());
    let own = || rows.iter().map(|r| &expected[*r]);
    let ids: Vec<u32> = own().flat_map(|s| s.ids.clone()).collect();
    let segments: Vec<u32> = own().flat_map(|s| s.segments.clone()).collect();
    let mut offsets = vec![0];
    own().for_each(|s| offsets.push(offsets[offsets.len() - 1] + s.ids.len()));
    let classes: Option<Vec<u32>> = own()
        .map(|s| s.class.map(|class| class + u32::from(case.control)))
        .collect();
    let early = usize::from(case.control);
    let labels = own().flat_map(|s| {
        let label = move |i| {
            if i + early < s.prompt {
                IGNORE
            } else {
                i64::from(s.ids[i])
            }
        };
        (0..s.ids.len()).map(label)
    });
    let labels = match classes {
        Some(classes) => Labels::Classes(classes),
        None => Labels::Tokens(labels.collect()),
    };
    let place = |what: &'static str| move || what.to_owned();
    case.same(
        batch.segments.unwrap_or_default(),
        segments,
        place("segments"),
    );
    case.same(
        (batch.ids, batch.offsets),
        (ids, offsets),
        place("ids and offsets"),
    );
    case.same(
        (batch.labels, batch.positions),
        (labels, None),
        place("labels"),
    );
}

/// Examples become the sequences that the paper writes, an epoch has each of them once, in batches
/// of the size asked for but for one, and a batch is its sequences in a row, labels at targets
/// alone. In the control the marker in front of a target is a label too, or classes are others.
pub(super) fn packing(case: &mut Case) -> Result<()> {
    let tasks = [
        Task::WebNlg,
        Task::Coqa,
        Task::Generate,
        Task::Mnli,
        Task::Sst2,
    ];
    let task = *case.draw.in_turn(&tasks);
    let tokenizer = match task {
        Task::Mnli | Task::Sst2 => Tokenizer::train_roberta(["plain words"], 263),
        _ => Tokenizer::train(["plain words"], 260),
    };
    let tokenizer = given(tokenizer)?;
    let layout = given(Layout::new(&tokenizer, task, VOCABULARY, POSITIONS))?;
    let (mut encoded, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..case.draw.size(1, 5) {
        let example = example(&mut case.draw, task);
        encoded.extend(given(layout.training_rows(&example))?);
        expected.extend(sequences(&tokenizer, task, &example)?);
    }
    case.same(encoded.len(), expected.len(), || "sequences".into());
    let count = encoded.len().min(expected.len());
    let prompts = |(e, s): (&Encoded, &Sequence)| e.prompt_len == s.prompt;
    let same = encoded.iter().zip(&expected).all(prompts);
    case.same(same, true, || "lengths of the prompts".into());
    let lengths: Vec<usize> = expected[..count].iter().map(|s| s.ids.len()).collect();
    let [size, seed] = case.draw.sizes([(1, 4), (0, 99)]);
    let every: Vec<usize> = (0..count).collect();
    for epoch in 0..3 {
        let batches = epoch_batches(&lengths, size, seed as u64, epoch);
        let mut rows = batches.concat();
        rows.sort_unstable();
        case.same(&rows, &every, || format!("rows of epoch {epoch}"));
        let short = batches.iter().filter(|batch| batch.len() != size).count();
        case.same(short, usize::from(!count.is_multiple_of(size)), || {
            "batches of another size".into()
        });
        for rows in &batches {
            packed(case, rows, &encoded, &expected);
        }
    }
    let mut rows = sorted_batches(&lengths, size).concat();
    case.same(
        rows.is_sorted_by_key(|r| usize::MAX - lengths[*r]),
        true,
        || "longest first".into(),
    );
    rows.sort_unstable();
    case.same(&rows, &every, || "rows by length".into());
    Ok(())
}
