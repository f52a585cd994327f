//! Pictures as files: as SVG, and as PNG at twice the size.
//!
//! A headless Chromium draws those of an interactive page: opened with `#pictures` in its address,
//! the page puts them into an element of that name once it has drawn all of them, and the browser
//! prints the page as it then stands. PNG is made in the same way, by a page of the pictures.

use crate::document::RASTER;
use crate::document::html::percent;
use crate::document::picture::ground;
use crate::files::{self, At};
use crate::progress::note;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use inducer_datasets::files::write_atomic;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the pictures stand in the page.
const OPEN: &str = "<script type=\"application/json\" id=\"pictures\">";

/// What puts them there in a page of pictures.
const LIST: &str = include_str!("document/js/pictures.js");

/// What a picture in PNG begins with in a page.
const PNG: &str = "data:image/png;base64,";

/// So much time, in milliseconds of the page's own clock, has a page to draw.
const BUDGET: &str = "--virtual-time-budget=20000";

/// A picture.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Picture {
    /// The name of its file, without its kind.
    pub name: String,
    /// The picture as a file of its own.
    pub svg: String,
}

/// The same drawn.
#[derive(Debug, Deserialize)]
struct Raster {
    name: String,
    png: String,
}

/// Directories that pictures are asked for in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Places<'a> {
    /// As SVG.
    pub svg: Option<&'a Path>,
    /// As PNG.
    pub png: Option<&'a Path>,
}

/// Writes every picture of an interactive page where it is asked for.
///
/// # Errors
/// There is no Chromium; the page draws none; a file cannot be written.
pub fn of_page(page: &str, places: Places<'_>) -> Result<()> {
    let Some(dir) = places.svg.or(places.png) else {
        return Ok(());
    };
    let printed = printed(page, dir)?;
    write(&drawn::<Picture>(&printed)?, places)
}

/// Writes pictures where they are asked for, and says how many they are.
///
/// # Errors
/// A name that is none for a file; for PNG there is no Chromium; a file cannot be written.
pub fn write(pictures: &[Picture], places: Places<'_>) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let named = |p: &Picture| !p.name.is_empty() && p.name.chars().all(plain);
    ensure!(pictures.iter().all(named), "a picture has no plain name");
    if let Some(dir) = places.svg {
        files::create_dir(dir)?;
        for Picture { name, svg } in pictures {
            files::write(&dir.join(format!("{name}.svg")), svg)?;
        }
        note(format_args!(
            "{}: {} pictures",
            dir.display(),
            pictures.len()
        ));
    }
    if let Some(dir) = places.png {
        let rasters: Vec<Raster> = drawn(&printed(&page_of(pictures), dir)?)?;
        ensure!(
            rasters.len() == pictures.len(),
            "--png: the browser drew {} of {} pictures",
            rasters.len(),
            pictures.len()
        );
        for Raster { name, png } in &rasters {
            let text = png.strip_prefix(PNG).context("--png: no PNG was drawn")?;
            let path = dir.join(format!("{name}.png"));
            write_atomic(&path, &STANDARD.decode(text).at(&path)?).at(&path)?;
        }
        note(format_args!(
            "{}: {} pictures",
            dir.display(),
            rasters.len()
        ));
    }
    Ok(())
}

/// A page that draws each picture when all of them are loaded.
fn page_of(pictures: &[Picture]) -> String {
    let image = |Picture { name, svg }: &Picture| {
        let svg = percent(svg);
        format!("<img alt=\"{name}\" src=\"data:image/svg+xml;charset=utf-8,{svg}\">\n")
    };
    format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<body data-ground=\"{}\">\n{}\
         <script>\n{RASTER}{LIST}</script>\n",
        ground(),
        pictures.iter().map(image).collect::<String>()
    )
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

/// A page as it stands after it has drawn; while it is open it is a file of the directory.
fn printed(page: &str, dir: &Path) -> Result<String> {
    let browser = browser().context(
        "--svg, --png: no Chromium was found, and it draws the pictures (install `chromium`, or \
         name a program in the variable CHROMIUM); the page's own buttons save them without",
    )?;
    files::create_dir(dir)?;
    let file = dir.join(".page.html");
    files::write(&file, page)?;
    let out = opened(&browser, &file);
    std::fs::remove_file(&file).at(&file)?;
    out
}

fn opened(browser: &str, file: &Path) -> Result<String> {
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
fn drawn<T: DeserializeOwned>(printed: &str) -> Result<Vec<T>> {
    let Some((_, rest)) = printed.split_once(OPEN) else {
        bail!("--svg, --png: the page drew no pictures within its time");
    };
    let json = rest.split("</script>").next().unwrap_or_default();
    serde_json::from_str(json).context("--svg, --png: the pictures")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_taken_from_the_page_and_a_page_without_is_an_error() {
        let page = format!("<p>{OPEN}[{{\"name\":\"a-b\",\"svg\":\"\\u003csvg/>\"}}]</script></p>");
        let found: Vec<Picture> = drawn(&page).unwrap();
        assert_eq!(
            (found[0].name.as_str(), found[0].svg.as_str()),
            ("a-b", "<svg/>")
        );
        assert!(drawn::<Picture>("<p></p>").is_err());
    }

    #[test]
    fn a_picture_goes_into_the_directory_that_is_asked_for_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let svg = dir.path().join("svg");
        let places = Places {
            svg: Some(&svg),
            png: None,
        };
        let named = |name: &str| Picture {
            name: name.into(),
            svg: "<svg/>".into(),
        };
        write(&[named("a-b")], places).unwrap();
        let written = std::fs::read_to_string(svg.join("a-b.svg")).unwrap();
        assert_eq!(written, "<svg/>");
        assert!(write(&[named("../a")], places).is_err());
        assert!(write(&[named("")], places).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
