//! A page's pictures as SVG files of their own: with the rules of the page's style that they use,
//! in the colours of the light scheme, so that any program shows them as the page does.

use super::{STYLE, palette};

/// The pictures in a piece of HTML, each as a file; those for phones are left out.
pub fn standalone(html: &str) -> Vec<String> {
    let pieces = html.split("<svg ").skip(1);
    let pictures = pieces.filter_map(|piece| piece.split_once("</svg>"));
    let wanted = pictures.filter(|(picture, _)| !picture.starts_with("class=\"narrow\""));
    wanted.filter_map(|(picture, _)| one(picture)).collect()
}

/// What a picture in the light scheme's colours stands on.
pub fn ground() -> String {
    format!("#{:06x}", palette::light("ground").unwrap_or_default())
}

/// A picture from what stands between `<svg ` and `</svg>`.
fn one(picture: &str) -> Option<String> {
    let (_, size) = picture.split_once("viewBox=\"0 0 ")?;
    let (width, height) = size.split_once('"')?.0.split_once(' ')?;
    let (opening, body) = picture.split_once('>')?;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" {opening}>\
         <style>{}</style>{body}</svg>\n",
        style(picture)
    ))
}

/// The classes that a picture uses.
fn classes(picture: &str) -> Vec<&str> {
    let lists = picture.split("class=\"").skip(1);
    let names = lists.filter_map(|rest| rest.split_once('"'));
    let mut all: Vec<&str> = names.flat_map(|(list, _)| list.split(' ')).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The rules that apply to a picture, with colours as numbers.
fn style(picture: &str) -> String {
    let used = classes(picture);
    let (rules, _) = STYLE.split_once("@media").unwrap_or((STYLE, ""));
    let mut out = String::from("svg{font-family:system-ui,sans-serif;font-size:13px}");
    for rule in rules.split_inclusive('}') {
        let Some((selectors, body)) = rule.trim().split_once('{') else {
            continue;
        };
        let applies = |s: &&str| match s.strip_prefix("svg ").unwrap_or(s).strip_prefix('.') {
            Some(class) => used.contains(&class),
            None => *s == "svg text",
        };
        let selectors: Vec<&str> = selectors
            .split(',')
            .map(str::trim)
            .filter(applies)
            .collect();
        if selectors.is_empty() {
            continue;
        }
        match body.contains("var(--c)") {
            false => out += &format!("{}{{{}", selectors.join(","), coloured(body, "")),
            true => {
                for series in used.iter().filter(|c| palette::light(c).is_some()) {
                    let own = selectors
                        .iter()
                        .map(|s| format!(".{series} {s},{s}.{series}"));
                    let own: Vec<String> = own.collect();
                    out += &format!("{}{{{}", own.join(","), coloured(body, series));
                }
            }
        }
    }
    out
}

/// A rule's body with every `var(--name)` as the colour of the light scheme; `--c` is the series'.
fn coloured(body: &str, series: &str) -> String {
    let mut parts = body.split("var(--");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (name, rest) = part.split_once(')').unwrap_or((part, ""));
        let name = if name == "c" { series } else { name };
        out += &format!("#{:06x}{rest}", palette::light(name).unwrap_or_default());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_stands_alone_in_the_colours_of_the_page() {
        let html = "<p>a</p><svg class=\"narrow\" viewBox=\"0 0 1 2\">n</svg><svg class=\"wide\" \
                    viewBox=\"0 0 30 20\"><g class=\"s2\"><path class=\"bar\"/></g><text \
                    class=\"tick\">1</text></svg>";
        let found = standalone(html);
        assert_eq!(found.len(), 1);
        let picture = &found[0];
        let colour = format!("#{:06x}", palette::light("s2").unwrap());
        for part in [
            "xmlns=\"http://www.w3.org/2000/svg\" width=\"30\" height=\"20\"",
            &format!(".s2 .bar,.bar.s2{{fill:{colour}"),
            "svg .tick{fill:#56606a",
        ] {
            assert!(picture.contains(part), "{part} in {picture}");
        }
        assert!(
            !picture.contains("var(") && !picture.contains(".band"),
            "{picture}"
        );
    }
}
