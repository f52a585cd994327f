//! The 2017 challenge's way from raw texts to scores, held against the official scorer's own files.

use crate::common;
use inducer_datasets::metrics::meteor::Files;
use inducer_datasets::metrics::webnlg::{REFERENCES, references, scores};
use inducer_datasets::{Malformed, webnlg};
use std::collections::BTreeMap;

fn lines(path: std::path::PathBuf) -> Vec<String> {
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.strip_suffix('\n')
        .unwrap_or(&text)
        .split('\n')
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_official_reference_files_come_out_of_the_test_part() {
    let (Some(data), Some(official)) = (common::shared("webnlg"), common::shared("webnlg_scores"))
    else {
        return;
    };
    let examples = webnlg::load(&data, Malformed::Refuse).unwrap().test;
    let ours: Vec<Vec<String>> = examples.iter().map(references).collect();
    let mut differ = 0;
    for k in 0..REFERENCES {
        let name = format!("references/gold-all-cat-reference{k}.lex");
        let theirs = lines(official.join(name));
        assert_eq!(theirs.len(), ours.len());
        for (mine, official) in ours.iter().zip(&theirs) {
            let mine = mine.get(k).map_or("", String::as_str);
            if mine != official {
                differ += 1;
                println!("{mine}\n{official}\n");
            }
        }
    }
    assert_eq!(differ, 0);
}

#[test]
fn published_figures_come_out_of_the_test_part_split_by_category() {
    let (Some(data), Some(official)) = (common::shared("webnlg"), common::shared("webnlg_scores"))
    else {
        return;
    };
    let examples = webnlg::load(&data, Malformed::Refuse).unwrap().test;
    let published: BTreeMap<(String, String), [String; 2]> = lines(official.join("published.csv"))
        [1..]
        .iter()
        .map(|row| {
            let f: Vec<String> = row.split(',').map(str::to_owned).collect();
            ((f[0].clone(), f[1].clone()), [f[2].clone(), f[4].clone()])
        })
        .collect();
    for (name, file) in [
        ("melbourne", "GKB_Unimelb"),
        ("baseline", "Baseline"),
        ("adapt", "ADAPT_Centre"),
    ] {
        let outputs = lines(official.join(format!("systems/{file}_all-cat.txt")));
        let s = scores(&outputs, &examples, &Files::default()).unwrap();
        let parts = [
            ("all-cat", &Some(s.bleu.all), &Some(s.ter.all)),
            ("old-cat", &s.bleu.seen, &s.ter.seen),
            ("new-cat", &s.bleu.unseen, &s.ter.unseen),
        ];
        for (part, bleu, ter) in parts {
            let Some([expected_bleu, expected_ter]) =
                published.get(&(name.to_owned(), part.to_owned()))
            else {
                panic!(
                    "{name} {part} is not in published.csv: {:?}",
                    published.keys()
                );
            };
            let (bleu, ter) = (bleu.as_ref().unwrap().score, ter.as_ref().unwrap().score);
            println!(
                "{name} {part}: BLEU {bleu:.4} ({expected_bleu}), TER {ter:.6} ({expected_ter})"
            );
            assert_eq!(&format!("{bleu:.2}"), expected_bleu, "{name} {part}");
            // a sum of up to 1,862 means, each rounded
            let expected: f64 = expected_ter.parse().unwrap();
            let bound = expected * 1862.0 * f64::EPSILON;
            assert!((ter - expected).abs() <= bound, "{name} {part}");
        }
        assert_eq!(s.bleu.categories.len(), 15);
        assert_eq!(s.meteor.all.matchers, ["exact", "stem"]);
    }
}
