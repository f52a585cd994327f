//! What a page says first while its study is still going.

use crate::document::{Block, Role};
use crate::progress::duration;
use crate::study::{Going, Study};

/// The paragraph; none where the study is over.
pub fn block(study: &Study) -> Option<Block> {
    let Going { runs, seconds } = study.going?;
    let time = seconds.map_or(String::new(), |s| format!(", about {}", duration(s)));
    let choosing = match study.rows.iter().all(|row| row.learning_rate.is_none()) {
        true => " Learning rates are being chosen.",
        false => "",
    };
    let left = match runs {
        0 => "Its last part is to come, the check of the paper’s claims.".into(),
        1 => format!("One run is to come{time}."),
        n => format!("{n} runs are to come{time}."),
    };
    let text = format!(
        "This study is still going. {left}{choosing} The page is written again as runs finish: \
         load it again to see more. Until then rows and intervals are of the runs that there are."
    );
    Some(Block::Paragraph(Role::Lead, text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{html, markdown, testing};

    #[test]
    fn a_page_says_first_what_is_to_come_and_nothing_when_the_study_is_over() {
        let mut study = testing::study();
        for text in [html(&study), markdown(&study)] {
            assert!(!text.contains("still going"));
        }
        study.going = Some(Going {
            runs: 12,
            seconds: Some(200.0),
        });
        for text in [html(&study), markdown(&study)] {
            assert!(text.contains("12 runs are to come, about 3 min."), "{text}");
            assert!(!text.contains("being chosen"));
        }
        for row in &mut study.rows {
            row.learning_rate = None;
        }
        assert!(html(&study).contains("Learning rates are being chosen."));
    }
}
