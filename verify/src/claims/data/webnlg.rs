//! WebNLG as the official XML and JSON have it, and as the Hub's two tables do.

use super::{given, parts_are, prose};
use crate::cases::Draw;
use crate::{Case, Result};
use inducer_datasets::{Example, Input, Malformed, Task, Triple, directory};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const CATEGORIES: [&str; 5] = ["Food", "City", "Airport", "Comet", "Politician"];
const PARTS: [&str; 3] = ["train", "dev", "test"];

/// A text with its comment and language, where they are said.
type Text = (Option<&'static str>, Option<&'static str>, String);

struct Entry {
    category: &'static str,
    triples: Vec<[String; 3]>,
    texts: Vec<Text>,
}

impl Entry {
    /// The first entry of a part has a text that is used.
    fn draw(draw: &mut Draw, first: bool) -> Self {
        let triples = draw.size(1, 3);
        let triple = |draw: &mut Draw| {
            let property = draw
                .pick(&["cityServed", "leader name", "1st_runway"])
                .to_owned();
            [prose(draw, 1, 2), property, prose(draw, 1, 3)]
        };
        let texts = draw.size(usize::from(first), 3);
        Self {
            category: draw.pick(&CATEGORIES),
            triples: (0..triples).map(|_| triple(draw)).collect(),
            texts: (0..texts)
                .map(|i| {
                    let used = first && i == 0;
                    let comment = draw.pick(&[Some("good"), None, Some(""), Some("toFix")]);
                    let language = draw.pick(&[None, Some("en"), Some("ru")]);
                    let text = prose(draw, 1, 4);
                    match used {
                        true => (Some("good"), None, text),
                        false => (comment, language, text),
                    }
                })
                .collect(),
        }
    }

    /// The texts that are good, or of which nothing is said, and English.
    fn references(&self) -> Vec<String> {
        let used =
            |(comment, language, _): &&Text| *comment != Some("toFix") && *language != Some("ru");
        self.texts
            .iter()
            .filter(used)
            .map(|(.., text)| text.clone())
            .collect()
    }

    fn xml(&self) -> String {
        let escaped = |text: &str| {
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            text.replace('>', "&gt;").replace('"', "&quot;")
        };
        let triples = self.triples.iter().map(|triple| {
            let [s, p, o] = triple.each_ref().map(|field| escaped(field));
            format!("<mtriple>{s} | {p} | {o}</mtriple>\n")
        });
        let texts = self.texts.iter().map(|(comment, language, text)| {
            let comment = comment
                .map(|c| format!(" comment=\"{c}\""))
                .unwrap_or_default();
            let language = language
                .map(|l| format!(" lang=\"{l}\""))
                .unwrap_or_default();
            format!(
                "<lex{comment}{language} lid=\"Id1\">{}</lex>\n",
                escaped(text)
            )
        });
        // the triples as they were before they were mended are not read
        let original = "<originaltripleset><otriple>x | y | z</otriple></originaltripleset>";
        format!(
            "<entry category=\"{}\" eid=\"Id1\">\n{original}\n<modifiedtripleset>\n{}\
             </modifiedtripleset>\n{}</entry>\n",
            self.category,
            triples.collect::<String>(),
            texts.collect::<String>()
        )
    }

    fn json(&self, position: usize) -> Value {
        let triples = self.triples.iter().map(|triple| {
            let [subject, property, object] = triple;
            json!({"subject": subject, "property": property, "object": object})
        });
        let texts = self.texts.iter().map(
            |(comment, language, text)| json!({"comment": comment, "lang": language, "lex": text}),
        );
        let (triples, texts): (Vec<Value>, Vec<Value>) = (triples.collect(), texts.collect());
        json!({position.to_string(): {
            "category": self.category,
            "originaltriplesets": [{"originaltripleset": [{"subject": "x"}]}],
            "modifiedtripleset": triples,
            "lexicalisations": texts,
        }})
    }

    fn triples(&self) -> Vec<String> {
        self.triples
            .iter()
            .map(|triple| triple.join(" | "))
            .collect()
    }

    /// A row of `web_nlg`.
    fn hub(&self) -> Value {
        let of = |field: fn(&Text) -> Value| self.texts.iter().map(field).collect::<Value>();
        json!({
            "category": self.category,
            "modified_triple_sets": { "mtriple_set": [self.triples()] },
            "lex": {
                "comment": of(|text| json!(text.0)),
                "lang": of(|text| json!(text.1)),
                "text": of(|text| json!(text.2)),
            },
        })
    }

    /// Rows of `GEM/web_nlg`: in training one for each text, elsewhere one with all of them.
    fn gem(&self, part: &str, number: usize) -> Vec<Value> {
        let row = |target: &String, references: &[String]| {
            json!({
                "webnlg_id": format!("{part}/Id{number}"),
                "category": self.category,
                "input": self.triples(),
                "target": target,
                "references": references,
            })
        };
        let texts = self.references();
        match part {
            "train" => texts.iter().map(|text| row(text, &[])).collect(),
            _ => texts
                .first()
                .map(|first| row(first, &texts))
                .into_iter()
                .collect(),
        }
    }

    fn example(&self, position: usize, seen: &BTreeSet<&str>) -> Example {
        let triple = |[subject, property, object]: &[String; 3]| Triple {
            subject: subject.clone(),
            property: property.clone(),
            object: object.clone(),
        };
        Example {
            position,
            category: self.category.into(),
            seen: seen.contains(self.category),
            input: Input::Triples(self.triples.iter().map(triple).collect()),
            references: self.references(),
            class: None,
            id: None,
        }
    }
}

/// Writes a part as one file of JSON, as one of XML, as a directory of two, or as lines of JSON.
fn write(dir: &Path, part: &str, entries: &[Entry], format: &str) -> Result<()> {
    let xml = |entries: &[Entry]| {
        let entries = entries.iter().map(Entry::xml).collect::<String>();
        format!("<?xml version=\"1.0\"?>\n<benchmark><entries>\n{entries}</entries></benchmark>\n")
    };
    match format {
        "json" => {
            let numbered = entries.iter().zip(1..).map(|(entry, i)| entry.json(i));
            let all = json!({"entries": numbered.collect::<Vec<_>>()});
            fs::write(dir.join(format!("{part}.json")), all.to_string())?;
        }
        "xml" => fs::write(dir.join(format!("{part}.xml")), xml(entries))?,
        "web_nlg" | "GEM" => {
            let rows = entries
                .iter()
                .enumerate()
                .flat_map(|(i, entry)| match format {
                    "GEM" => entry.gem(part, i),
                    _ => vec![entry.hub()],
                });
            let lines = rows.map(|row| format!("{row}\n")).collect::<String>();
            fs::write(dir.join(format!("{part}.jsonl")), lines)?;
        }
        _ => {
            let (first, second) = entries.split_at(entries.len() / 2);
            for (folder, entries) in [("1triples", first), ("2triples", second)] {
                let folder = dir.join(part).join(folder);
                fs::create_dir_all(&folder)?;
                fs::write(folder.join("Airport.xml"), xml(entries))?;
            }
        }
    }
    Ok(())
}

/// Entries that were written are the examples that are read: category, modified triples, the good
/// English texts in their order, seen where training has the category, set aside without a text.
/// In the control the last of several texts is missing.
pub(super) fn webnlg(case: &mut Case) -> Result<()> {
    let dir = crate::scratch::folder()?;
    let formats = ["xml", "directory", "json", "web_nlg", "GEM"];
    let format = *case.draw.in_turn(&formats);
    let mut parts = PARTS.map(|_| {
        let entries = case.draw.size(1, 4);
        (0..entries)
            .map(|i| Entry::draw(&mut case.draw, i == 0))
            .collect::<Vec<_>>()
    });
    if format == "GEM" {
        // it has no row of an entry without a text
        let used = |entry: &Entry| !entry.references().is_empty();
        parts.iter_mut().for_each(|entries| entries.retain(used));
    }
    for (name, entries) in PARTS.into_iter().zip(&parts) {
        write(dir.path(), name, entries, format)?;
    }
    let used = |entry: &&Entry| !entry.references().is_empty();
    let seen: BTreeSet<&str> = parts[0].iter().filter(used).map(|e| e.category).collect();
    let found = given(directory::load(Task::WebNlg, dir.path(), Malformed::Refuse))?;
    let (mut expected, mut aside) = ([vec![], vec![], vec![]], [vec![], vec![], vec![]]);
    for (part, entries) in parts.iter().enumerate() {
        for (entry, position) in entries.iter().zip(1..) {
            let mut example = entry.example(position, &seen);
            if case.control && example.references.len() > 1 {
                example.references.pop();
            }
            match example.references.is_empty() {
                true => aside[part].push(position),
                false => expected[part].push(example),
            }
        }
    }
    let skipped = &found.skipped;
    let skipped = [&skipped.train, &skipped.dev, &skipped.test].map(Clone::clone);
    case.same(skipped, aside, || format!("entries set aside, {format}"));
    parts_are(case, &found, expected);
    Ok(())
}
