//! CoQA as its official JSON has it.

use super::{given, parts_are, prose};
use crate::cases::Draw;
use crate::{Case, Result};
use inducer_datasets::{Example, Input, Malformed, Task, directory};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Turns before a question that are shown with it.
const HISTORY: usize = 2;

struct Story {
    source: &'static str,
    text: String,
    questions: Vec<String>,
    /// A list for each who answered, the first those that are trained on.
    answers: Vec<Vec<String>>,
}

impl Story {
    fn draw(draw: &mut Draw) -> Self {
        let [turns, others] = draw.sizes([(1, 5), (0, 2)]);
        let source = draw.pick(&["cnn", "race", "mctest"]);
        let mut texts = |most| (0..turns).map(|_| prose(draw, 0, most)).collect::<Vec<_>>();
        Self {
            source,
            questions: texts(3),
            answers: (0..=others).map(|_| texts(2)).collect(),
            text: prose(draw, 1, 6),
        }
    }

    fn json(&self) -> Value {
        let turns = |texts: &[String]| -> Vec<Value> {
            let turn = |(text, i): (&String, usize)| json!({"turn_id": i, "input_text": text});
            texts.iter().zip(1..).map(turn).collect()
        };
        let mut story = json!({
            "id": "3x",
            "source": self.source,
            "story": self.text,
            "questions": turns(&self.questions),
            "answers": turns(&self.answers[0]),
        });
        let others = self.answers[1..].iter().enumerate();
        let others: serde_json::Map<String, Value> = others
            .map(|(i, texts)| (i.to_string(), turns(texts).into()))
            .collect();
        if !others.is_empty() {
            story["additional_answers"] = others.into();
        }
        story
    }

    /// An example for each turn, whose positions count on from `before`; each shows so many turns.
    fn examples(&self, before: usize, shown: usize) -> Vec<Example> {
        let turn = |i: usize| {
            let history = (0..i).filter(|past| past + shown >= i);
            let history = history.map(|j| (self.questions[j].clone(), self.answers[0][j].clone()));
            Example {
                position: before + i + 1,
                category: self.source.into(),
                seen: true,
                input: Input::Conversation {
                    passage: self.text.as_str().into(),
                    history: history.collect(),
                    question: self.questions[i].clone(),
                },
                references: self.answers.iter().map(|texts| texts[i].clone()).collect(),
                class: None,
                id: None,
            }
        };
        (0..self.questions.len()).map(turn).collect()
    }
}

/// Writes a file of stories and says what examples each of them is.
fn write(draw: &mut Draw, path: &Path, most: usize, shown: usize) -> Result<Vec<Vec<Example>>> {
    let stories = draw.size(1, most);
    let stories: Vec<Story> = (0..stories).map(|_| Story::draw(draw)).collect();
    let data: Vec<Value> = stories.iter().map(Story::json).collect();
    fs::write(path, json!({"version": "1.0", "data": data}).to_string())?;
    let mut before = 0;
    let turns = |story: &Story| {
        let turns = story.examples(before, shown);
        before += turns.len();
        turns
    };
    Ok(stories.iter().map(turns).collect())
}

/// Turns that were written are the examples that are read: passage, question, the two turns before
/// with their first answers, all answers to it, the first of them in front; and every 20th story of
/// train is dev, while what is called dev is test, or with no other file of every ten stories the
/// first is test and the sixth dev. In the control a turn shows all turns before it.
pub(super) fn coqa(case: &mut Case) -> Result<()> {
    let dir = crate::scratch::folder()?;
    let shown = case.or_control(HISTORY, usize::MAX / 2);
    let alone = case.draw.chance(0.3);
    let path = |name: &str| dir.path().join(format!("coqa-{name}-v1.0.json"));
    let dev = write(
        &mut case.draw,
        &path("dev"),
        if alone { 12 } else { 3 },
        shown,
    )?;
    let mut expected: [Vec<Example>; 3] = Default::default();
    if alone {
        for (i, story) in dev.into_iter().enumerate() {
            let part = match i % 10 {
                0 => 2,
                5 => 1,
                _ => 0,
            };
            expected[part].extend(story);
        }
    } else {
        let train = write(&mut case.draw, &path("train"), 22, shown)?;
        for (i, story) in train.into_iter().enumerate() {
            expected[usize::from(i.is_multiple_of(20))].extend(story);
        }
        expected[2] = dev.concat();
    }
    let found = given(directory::load(Task::Coqa, dir.path(), Malformed::Refuse))?;
    parts_are(case, &found, expected);
    Ok(())
}
