//! WebNLG's original XML: the same examples as the JSON files, what is wrong is named, arbitrary
//! bytes.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use crate::common;
use inducer_datasets::webnlg::{self, xml};
use inducer_datasets::{Error, Malformed, Part};
use proptest::prelude::*;
use serde_json::Value;

/// An official JSON file in the challenge's XML.
fn to_xml(json: &Value) -> String {
    let escape = |t: &Value| {
        let text = t.as_str().unwrap_or_default();
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
    };
    let mut out = String::from("<?xml version=\"1.0\" ?>\n<benchmark>\n<entries>\n");
    for entry in json["entries"].as_array().into_iter().flatten() {
        let body = entry
            .as_object()
            .and_then(|o| o.values().next())
            .unwrap_or(&Value::Null);
        out += &format!(
            "<entry category=\"{}\" eid=\"Id1\" size=\"1\">\n",
            escape(&body["category"])
        );
        out += "<originaltripleset><otriple>a | b | \
         c</otriple></originaltripleset><modifiedtripleset>\n";
        for t in body["modifiedtripleset"].as_array().into_iter().flatten() {
            let fields = ["subject", "property", "object"].map(|f| escape(&t[f]));
            out += &format!("<mtriple>{}</mtriple>\n", fields.join(" | "));
        }
        out += "</modifiedtripleset>\n";
        for l in body["lexicalisations"].as_array().into_iter().flatten() {
            let (comment, text) = (escape(&l["comment"]), escape(&l["lex"]));
            out += &format!("<lex comment=\"{comment}\" lid=\"Id1\">{text}</lex>\n");
        }
        out += "</entry>\n";
    }
    out + "</entries>\n</benchmark>\n"
}

#[test]
fn the_official_entries_are_the_same_examples_in_xml_and_in_json() {
    let Some(dir) = common::shared("webnlg") else {
        return;
    };
    let there = tempfile::tempdir().unwrap();
    for part in ["train", "dev", "test"] {
        let text = std::fs::read(dir.join(format!("{part}.json"))).unwrap();
        let xml = to_xml(&serde_json::from_slice(&text).unwrap());
        std::fs::create_dir_all(there.path().join(part)).unwrap();
        let path = match part {
            "train" => "train/2triples/Airport.xml",
            "dev" => "dev.xml",
            _ => "test/with_lex.xml",
        };
        let path = there.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, xml).unwrap();
    }
    let json = webnlg::load(&dir, Malformed::Refuse).unwrap();
    let xml = webnlg::load(there.path(), Malformed::Refuse).unwrap();
    assert_eq!(json.train.len() + json.dev.len() + json.test.len(), 9_668);
    assert_eq!(json, xml);
}

fn entry(category: &str, triple: &str, lex: &str) -> String {
    format!(
        "<entry category=\"{category}\" eid=\"Id1\" \
         size=\"1\">\n<modifiedtripleset><mtriple>{triple}</mtriple>\
         </modifiedtripleset>\n<lex comment=\"good\" lid=\"Id1\">{lex}</lex></entry>\n"
    )
}

fn file(entries: &[String]) -> String {
    format!(
        "<benchmark><entries>\n{}</entries></benchmark>",
        entries.concat()
    )
}

fn parse(text: &str, malformed: Malformed) -> Result<Part, Error> {
    xml::parse("x.xml".as_ref(), text.as_bytes(), malformed)
}

#[test]
fn what_is_wrong_is_named_and_can_be_skipped() {
    let good = entry("Food", "a | b | c", "text");
    for (bad, said) in [
        (
            entry("", "a | b | c", "t"),
            "field `category`: expected a text that is not empty, found an empty text",
        ),
        (
            entry("Food", "a | b", "t"),
            "field `mtriple[0]`: expected subject | property | object, found \"a | b\"",
        ),
        (
            entry("Food", "a | b | c | d", "t"),
            "field `mtriple[0]`: expected subject | property | object, found \"a | b | c | d\"",
        ),
        (
            entry("Food", "a | b | c", " "),
            "field `lex[0]`: expected a text that is not empty, found an empty text",
        ),
        (
            "<entry category=\"A\"/>".into(),
            "field `modifiedtripleset`: expected at least one triple, found nothing",
        ),
    ] {
        let text = file(&[good.clone(), bad, good.clone()]);
        let e = parse(&text, Malformed::Refuse).unwrap_err().to_string();
        assert_eq!(e, format!("x.xml:5: entry 2: {said}"));
        let part = parse(&text, Malformed::Skip).unwrap();
        assert_eq!((part.examples.len(), &part.malformed), (2, &vec![e]));
        assert_eq!(part.examples[1].position, 3);
    }
    for broken in [
        "<benchmark>\n<entry category='A'>",
        "<a>\n</b>",
        "<a>\n&",
        "<a>\n<entry category='x'><lex>&nope;</lex></entry></a>",
    ] {
        for malformed in [Malformed::Refuse, Malformed::Skip] {
            let e = parse(broken, malformed).unwrap_err();
            assert!(matches!(e, Error::Xml { line: 2, .. }), "{broken}: {e}");
        }
    }
}

#[test]
fn character_references_sections_and_marks_are_read() {
    let e = entry(
        "Food",
        "a &amp; b | c | &#x22;d&#34;",
        "<![CDATA[x < y]]> &lt;z&gt;&apos;",
    );
    let example = &parse(&format!("\u{feff}{}", file(&[e])), Malformed::Refuse)
        .unwrap()
        .examples[0];
    assert_eq!(example.references, ["x < y <z>'"]);
    let triple = format!("{:?}", example.input);
    assert!(
        triple.contains("\"a & b\"") && triple.contains("\"\\\"d\\\"\""),
        "{triple}"
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_give_an_error_or_a_result(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = xml::parse("x".as_ref(), &bytes, Malformed::Skip);
    }

    #[test]
    fn arbitrary_markup_gives_an_error_or_a_result(
        parts in prop::collection::vec(prop::sample::select(vec![
            "<entry category='A'>", "<entry>", "</entry>", "<mtriple>", "</mtriple>", "a | b | c",
            "<lex comment='good'>", "</lex>", "&", "&#0;", "&lt;", "<![CDATA[", "]]>", "<!--",
            "-->", "<?", "\n", "é",
        ]), 0..24)
    ) {
        let _ = parse(&parts.concat(), Malformed::Skip);
    }

    #[test]
    fn a_damaged_file_gives_an_error_or_a_result(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let entries = ["t", "u"].map(|text| entry("Food", "a | b | c", text));
        let mut text = file(&entries).into_bytes();
        for (at, byte) in changes {
            let i = at.index(text.len());
            text[i] = byte;
        }
        let _ = xml::parse("x".as_ref(), &text, Malformed::Refuse);
        text.truncate(cut.index(text.len()));
        let _ = xml::parse("x".as_ref(), &text, Malformed::Refuse);
    }
}
