//! The pictures of an interactive page as SVG files: a headless Chromium opens the page, and the
//! page itself writes them, as its buttons do.
//!
//! A page that is opened with `#pictures` in its address puts them into an element of that name
//! once it has drawn all of them; the browser prints the page as it then stands.

use crate::files::{self, At};
use crate::progress::say;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the pictures stand in the page.
const OPEN: &str = "<script type=\"application/json\" id=\"pictures\">";

/// So much time, in milliseconds of the page's own clock, has a page to draw.
const BUDGET: &str = "--virtual-time-budget=20000";

/// A picture.
#[derive(Debug, Deserialize)]
struct Picture {
    name: String,
    svg: String,
}

/// Writes every picture of a page into a directory, where one is asked for.
///
/// # Errors
/// As [`save`].
pub fn asked(page: &str, dir: Option<&Path>) -> Result<()> {
    if let Some(dir) = dir {
        let count = save(page, dir)?;
        say(format_args!("{}: {count} pictures", dir.display()));
    }
    Ok(())
}

/// Writes every picture of a page into a directory, and says how many they are.
///
/// # Errors
/// There is no Chromium; the page draws none; a file cannot be written.
pub fn save(page: &str, dir: &Path) -> Result<usize> {
    let browser = browser().context(
        "--svg: no Chromium was found, and it draws the pictures (install `chromium`, or name a \
         program in the variable CHROMIUM); the page's own buttons save them without",
    )?;
    files::create_dir(dir)?;
    let file = dir.join(".page.html");
    files::write(&file, page)?;
    let printed = printed(&browser, &file);
    std::fs::remove_file(&file).at(&file)?;
    let pictures = pictures(&printed?)?;
    for Picture { name, svg } in &pictures {
        files::write(&dir.join(format!("{name}.svg")), svg)?;
    }
    Ok(pictures.len())
}

/// The first browser that starts: the variable `CHROMIUM`, then the usual names.
fn browser() -> Option<String> {
    let given = std::env::var("CHROMIUM").ok().into_iter();
    let names = ["chromium", "chromium-browser", "google-chrome"].map(String::from);
    given.chain(names).find(|program| {
        let version = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    })
}

/// The page as it stands after it has drawn.
fn printed(browser: &str, file: &Path) -> Result<String> {
    let address = format!(
        "file://{}#pictures",
        file.canonicalize().at(file)?.display()
    );
    // the page is our own, and as root (in a container) there is no sandbox
    let out = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .args([BUDGET, "--window-size=1280,900", &address])
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("{browser}: cannot be started"))?;
    ensure!(out.status.success(), "{browser}: ended with {}", out.status);
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The pictures in a page.
fn pictures(printed: &str) -> Result<Vec<Picture>> {
    let Some((_, rest)) = printed.split_once(OPEN) else {
        bail!("--svg: the page drew no pictures within its time");
    };
    let json = rest.split("</script>").next().unwrap_or_default();
    let pictures: Vec<Picture> = serde_json::from_str(json).context("--svg: the pictures")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    ensure!(
        pictures
            .iter()
            .all(|p| !p.name.is_empty() && p.name.chars().all(plain)),
        "--svg: a picture has no plain name"
    );
    Ok(pictures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_taken_from_the_page_and_a_page_without_is_an_error() {
        let page = format!("<p>{OPEN}[{{\"name\":\"a-b\",\"svg\":\"\\u003csvg/>\"}}]</script></p>");
        let found = pictures(&page).unwrap();
        assert_eq!(
            (found[0].name.as_str(), found[0].svg.as_str()),
            ("a-b", "<svg/>")
        );
        assert!(pictures("<p></p>").is_err());
        let outside = page.replace("a-b", "../a");
        assert!(pictures(&outside).is_err());
    }
}
