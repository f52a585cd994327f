//! WebNLG in the challenge's original XML.
//!
//! ```text
//! <benchmark><entries>
//!   <entry category="Airport" eid="Id1" size="1">
//!     <originaltripleset><otriple>…</otriple></originaltripleset>
//!     <modifiedtripleset>
//!       <mtriple>Aarhus | leaderName | Jacob_Bundsgaard</mtriple>
//!     </modifiedtripleset>
//!     <lex comment="good" lid="Id1">The leader of Aarhus is Jacob Bundsgaard.</lex>
//!   </entry> …
//! </entries></benchmark>
//! ```
//!
//! A part is one file or a directory of files (one for each category and size in the official
//! release), read in the order of their paths.

use std::path::{Path, PathBuf};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use serde_json::Value;

use super::{SEEN_CATEGORIES, is_used, set_aside};
use crate::entries::Entry;
use crate::error::read;
use crate::{Error, Example, Input, Malformed, Part, Result};

/// Loads the files of a part, one after the other; positions count over all of them.
///
/// # Errors
/// A file is missing or no XML; an entry lacks something and such are not skipped: the error names
/// file, line, entry and field.
pub fn load(files: &[PathBuf], malformed: Malformed, language: &str) -> Result<Part> {
    let (mut part, mut position) = (Part::default(), 0);
    for path in files {
        position = add(&mut part, position, path, &read(path)?, malformed, language)?;
    }
    Ok(set_aside(part))
}

/// Parses one file's bytes; `path` is for messages only.
///
/// # Errors
/// As [`load`]; arbitrary bytes give an error or a result, never a panic.
///
/// ```
/// use inducer_datasets::{Malformed, webnlg::xml};
/// let text = br#"<benchmark><entries><entry category="Food" eid="Id1" size="1">
///     <modifiedtripleset><mtriple>Ajoblanco | country | Spain</mtriple></modifiedtripleset>
///     <lex comment="good" lid="Id1">Ajoblanco is from Spain &amp; tasty.</lex>
/// </entry></entries></benchmark>"#;
/// let part = xml::parse("x.xml".as_ref(), text, Malformed::Refuse).unwrap();
/// assert_eq!(part.examples[0].references, ["Ajoblanco is from Spain & tasty."]);
/// let bad = b"<benchmark>\n<entry eid='1'></entry></benchmark>";
/// let e = xml::parse("x.xml".as_ref(), bad, Malformed::Refuse).unwrap_err();
/// let message = "expected a text that is not empty, found nothing";
/// assert_eq!(e.to_string(), format!("x.xml:2: entry 1: field `category`: {message}"));
/// ```
pub fn parse(path: &Path, bytes: &[u8], malformed: Malformed) -> Result<Part> {
    let mut part = Part::default();
    add(&mut part, 0, path, bytes, malformed, super::ENGLISH)?;
    Ok(set_aside(part))
}

/// Adds a file's entries to a part whose positions have come to `position`, and returns where they
/// come to then.
fn add(
    part: &mut Part,
    mut position: usize,
    path: &Path,
    bytes: &[u8],
    malformed: Malformed,
    language: &str,
) -> Result<usize> {
    let mut file = File::new(path, bytes)?;
    while let Some(entry) = file.entry()? {
        position += 1;
        let example = entry.example(path, position, language);
        part.take(example.map(|e| vec![e]), malformed)?;
    }
    Ok(position)
}

/// A file being read, and the line it has come to.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
    reader: Reader<&'a [u8]>,
    depth: usize,
    counted: usize,
    line: usize,
}

/// What an entry says, before anything is asked of it.
#[derive(Default)]
struct Raw {
    line: usize,
    category: Option<String>,
    triples: Vec<String>,
    /// Comment, language and text.
    texts: Vec<(Option<String>, Option<String>, String)>,
}

impl<'a> File<'a> {
    fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let before = &bytes[..e.valid_up_to()];
            let line = 1 + before.iter().filter(|b| **b == b'\n').count();
            xml(path, line, "expected UTF-8, found another byte")
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Ok(Self {
            path,
            text,
            reader: Reader::from_str(text),
            depth: 0,
            counted: 0,
            line: 1,
        })
    }

    fn next(&mut self) -> Result<Event<'a>> {
        let event = self.reader.read_event();
        let at = match &event {
            Ok(_) => self.reader.buffer_position(),
            Err(_) => self.reader.error_position(),
        };
        let at = (at as usize).clamp(self.counted, self.text.len());
        let passed = &self.text.as_bytes()[self.counted..at];
        self.line += passed.iter().filter(|b| **b == b'\n').count();
        self.counted = at;
        let event = event.map_err(|e| xml(self.path, self.line, e))?;
        match &event {
            Event::Start(_) => self.depth += 1,
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            Event::Eof if self.depth > 0 => {
                return Err(xml(self.path, self.line, "the file ends inside an element"));
            }
            _ => {}
        }
        Ok(event)
    }

    /// The next `<entry>`, none at the end of the file.
    fn entry(&mut self) -> Result<Option<Raw>> {
        loop {
            match self.next()? {
                Event::Eof => return Ok(None),
                Event::Start(tag) if tag.name().as_ref() == "entry" => {
                    return self.inside(&tag).map(Some);
                }
                Event::Empty(tag) if tag.name().as_ref() == "entry" => {
                    return Ok(Some(self.begin(&tag)?));
                }
                _ => {}
            }
        }
    }

    fn begin(&self, tag: &BytesStart) -> Result<Raw> {
        Ok(Raw {
            line: self.line,
            category: self.attribute(tag, "category")?,
            ..Raw::default()
        })
    }

    /// An entry up to its end.
    fn inside(&mut self, tag: &BytesStart) -> Result<Raw> {
        let (mut raw, depth) = (self.begin(tag)?, self.depth);
        // release 2.1 calls the modified triples `otriple` in places
        let mut modified = false;
        while self.depth >= depth {
            match self.next()? {
                Event::Start(tag) if tag.name().as_ref() == "modifiedtripleset" => modified = true,
                Event::End(tag) if tag.name().as_ref() == "modifiedtripleset" => modified = false,
                Event::Start(tag)
                    if tag.name().as_ref() == "mtriple"
                        || modified && tag.name().as_ref() == "otriple" =>
                {
                    raw.triples.push(self.text()?);
                }
                Event::Start(tag) if tag.name().as_ref() == "lex" => {
                    let comment = self.attribute(&tag, "comment")?;
                    let language = self.attribute(&tag, "lang")?;
                    raw.texts.push((comment, language, self.lexicalisation()?));
                }
                _ => {}
            }
        }
        Ok(raw)
    }

    fn attribute(&self, tag: &BytesStart, name: &str) -> Result<Option<String>> {
        let wrong = |e: &dyn std::fmt::Display| xml(self.path, self.line, e);
        let found = tag.try_get_attribute(name).map_err(|e| wrong(&e))?;
        let value = found.map(|a| a.normalized_value(XmlVersion::Implicit1_0));
        let value = value.transpose().map_err(|e| wrong(&e))?;
        Ok(value.map(|v| v.into_owned()))
    }

    /// The text of a `<lex>`: that of the `<text>` inside it (the enriched release has templates
    /// and more beside that), else its own.
    fn lexicalisation(&mut self) -> Result<String> {
        let (mut own, mut inner, depth) = (String::new(), None, self.depth);
        while self.depth >= depth {
            match self.next()? {
                Event::Start(tag) if tag.name().as_ref() == "text" => inner = Some(self.text()?),
                Event::Start(_) => {
                    self.text()?;
                }
                event => self.append(&mut own, event)?,
            }
        }
        Ok(inner.unwrap_or(own))
    }

    /// The text up to the end of the element that has just begun, that of elements inside it too.
    fn text(&mut self) -> Result<String> {
        let (mut out, depth) = (String::new(), self.depth);
        while self.depth >= depth {
            let event = self.next()?;
            self.append(&mut out, event)?;
        }
        Ok(out)
    }

    fn append(&self, out: &mut String, event: Event<'_>) -> Result<()> {
        match event {
            Event::Text(text) => out.push_str(&text.xml10_content()),
            Event::CData(text) => out.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let wrong = |e: &dyn std::fmt::Display| xml(self.path, self.line, e);
                match reference.resolve_char_ref().map_err(|e| wrong(&e))? {
                    Some(c) => out.push(c),
                    None => out.push_str(
                        quick_xml::escape::resolve_xml_entity(&reference)
                            .ok_or_else(|| wrong(&format!("unknown entity &{};", &*reference)))?,
                    ),
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Raw {
    fn example(self, path: &Path, position: usize, wanted: &str) -> Result<Example> {
        let (line, text) = (self.line, "");
        let entry = Entry {
            path,
            line,
            position,
            text,
        };
        let full_text = |field: &str, text: Option<String>| match text {
            Some(text) if !text.trim().is_empty() => Ok(text),
            other => Err(entry.wrong(field, "a text that is not empty", &other.into())),
        };
        let category = full_text("category", self.category)?;
        if self.triples.is_empty() {
            return Err(entry.wrong("modifiedtripleset", "at least one triple", &Value::Null));
        }
        let triple = |(i, text): (usize, &String)| {
            let (field, expected) = (format!("mtriple[{i}]"), "subject | property | object");
            super::triple(text).ok_or_else(|| entry.differs(&field, expected, format!("{text:?}")))
        };
        let triples = self.triples.iter().enumerate().map(triple);
        let triples = triples.collect::<Result<_>>()?;
        let mut references = Vec::new();
        for (i, (comment, language, text)) in self.texts.into_iter().enumerate() {
            if !is_used(comment.as_deref(), language.as_deref(), wanted) {
                continue;
            }
            let text = full_text(&format!("lex[{i}]"), Some(text))?;
            references.push(text);
        }
        Ok(Example {
            position,
            seen: SEEN_CATEGORIES.contains(&category.as_str()),
            category,
            input: Input::Triples(triples),
            references,
            class: None,
            id: None,
        })
    }
}

fn xml(path: &Path, line: usize, message: impl std::fmt::Display) -> Error {
    Error::Xml {
        path: path.to_owned(),
        line,
        message: message.to_string(),
    }
}
