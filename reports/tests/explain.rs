//! A look inside: what the engine shows of its heads against the reference, in double precision;
//! the command, and what it refuses.
#![allow(clippy::unwrap_used)]

use crate::common::{Fixture, INPUTS, refused, said, succeeds};
use approx::{assert_abs_diff_eq, assert_relative_eq};
use candle_core::{DType, Device, Tensor};
use inducer_datasets::{Batch, Task};
use inducer_gpu::model::Insight;
use inducer_gpu::parts::observe::Added;
use inducer_gpu::{Method, Model};
use inducer_reference as reference;
use inducer_reference::attention::attend;
use inducer_reference::inducer::{lambda, own_scores};
use inducer_reference::prefix::gated;
use inducer_reference::visible::Visible;
use ndarray::Array2;
use std::path::{Path, PathBuf};

/// An adapter far from its start, so that everything in it shows.
fn adapter(f: &Fixture, method: Method) -> PathBuf {
    f.far_adapter(method, &format!("{}-far", method.name()))
}

fn ids() -> Vec<u32> {
    vec![17, 80, 33, 251, 9, 300, 44, 44, 120]
}

/// One pass of the engine in double precision.
fn seen(f: &Fixture, adapter: &Path) -> Insight {
    let mut model = Model::load(&f.path("backbone"), DType::F64, &Device::Cpu).unwrap();
    model.attach_saved(adapter).unwrap();
    model.insight(&Batch::pack(&[ids()], None, None)).unwrap()
}

fn matrix(t: &Tensor) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = t.to_dtype(DType::F64).unwrap().to_vec2().unwrap();
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, a)| rows[i][a])
}

fn head(t: &Tensor, h: usize) -> Array2<f64> {
    matrix(&t.get(h).unwrap())
}

fn worst(a: impl IntoIterator<Item = f64>, b: impl IntoIterator<Item = f64>) -> f64 {
    let pairs = a.into_iter().zip(b);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Two computations of numbers of about 1 in double precision, through two layers of 24.
const CLOSE: f64 = 1e-11;

#[test]
fn what_the_engine_shows_of_its_heads_is_what_the_reference_computes() {
    let f = Fixture::new();
    for method in [
        Method::Prefix,
        Method::Inducer,
        Method::InducerLora,
        Method::Adaptive,
    ] {
        let dir = adapter(&f, method);
        let found = seen(&f, &dir);
        let model = reference::Gpt2::<f64>::load(&f.path("backbone")).unwrap();
        let own = reference::Adapter::<f64>::load(&dir, &model.config).unwrap();
        let expected = model.forward(&ids(), None, None, Some(&own)).unwrap();
        let logits = matrix(&found.logits);
        assert!(worst(logits, expected.logits.clone()) < CLOSE, "{method:?}");
        for (l, (layer, gate)) in found.layers.iter().zip(&found.gates).enumerate() {
            let gates = matrix(&gate.gate);
            assert!(worst(gates.clone(), expected.lambda[l].clone()) < CLOSE);
            let lse = matrix(&layer.lse);
            for h in 0..3 {
                let (q, k) = (head(&layer.queries, h), head(&layer.keys, h));
                // the reference on the engine's queries and keys gives the engine's numbers
                let attended = attend(&q, &k, &k, &Visible::causal(ids().len()));
                let sums: Vec<f64> = attended.lse.iter().map(|x| x.unwrap()).collect();
                assert!(
                    worst(sums, lse.column(h).to_vec()) < CLOSE,
                    "{method:?} {l} {h}"
                );
                let by_reference = match layer.added.as_ref().unwrap() {
                    Added::Prefix(keys) => {
                        let keys = head(keys, h);
                        gated(&q, &attended, &keys, &keys).1
                    }
                    Added::Inducer(keys) => lambda(&own_scores(&q, &head(keys, h)), &attended.lse),
                };
                let by_engine = gates.column(h).to_vec();
                assert!(worst(by_reference.clone(), by_engine.clone()) < CLOSE);
                // and would not with other queries
                let other = attend(&(q * 1.001), &k, &k, &Visible::causal(ids().len()));
                let sums: Vec<f64> = other.lse.iter().map(|x| x.unwrap()).collect();
                assert!(worst(sums, lse.column(h).to_vec()) > 1e3 * CLOSE);
            }
        }
    }
}

/// The JSON of a look inside.
fn numbers(f: &Fixture, line: &str) -> serde_json::Value {
    succeeds(
        f,
        &format!("explain --backbone backbone --threads 1 --json n.json {line}"),
    );
    serde_json::from_str(&std::fs::read_to_string(f.path("n.json")).unwrap()).unwrap()
}

fn list(value: &serde_json::Value) -> Vec<f64> {
    let all = value.as_array().unwrap().iter();
    all.map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn the_numbers_are_those_of_the_pass_to_16_bits_and_losses_those_of_the_engine() {
    let f = Fixture::new();
    let dir = adapter(&f, Method::Inducer);
    let line = format!(
        "--adapter {} --data data --entry 2 --layers 2 --heads 1,3",
        dir.display()
    );
    let found = numbers(&f, &line);
    let side = &found["sides"][0];
    assert_eq!(side["queries"]["shape"][0], 1);
    assert_eq!(side["queries"]["shape"][1], 2);
    assert_eq!(side["gate"]["shape"][1], 3, "gates are of all heads");
    let tokens = found["tokens"].as_array().unwrap().len();
    // queries of the second layer, third head, from a pass of our own
    let mut model = Model::load(&f.path("backbone"), DType::F32, &Device::Cpu).unwrap();
    model.attach_saved(&dir).unwrap();
    let source = inducer_reports::run::Source {
        task: Task::WebNlg,
        data: f.path("data"),
        backbone: f.path("backbone"),
        surface: inducer_datasets::Surface::Raw,
        reading: Default::default(),
    };
    let splits = inducer_datasets::directory::load(
        Task::WebNlg,
        &f.path("data"),
        inducer_datasets::Malformed::Refuse,
    )
    .unwrap();
    let prepared = inducer_reports::run::Prepared::new(source, splits, &[]).unwrap();
    let row = prepared
        .layout()
        .unwrap()
        .training_rows(&prepared.splits.test[1])
        .unwrap()
        .remove(0);
    let batch = inducer_datasets::batches::pack(&[&row]);
    assert_eq!(batch.ids.len(), tokens);
    let pass = model.insight(&batch).unwrap();
    let own = head(&pass.layers[1].queries, 2);
    let (scale, values) = (
        list(&side["queries"]["scale"]),
        list(&side["queries"]["values"]),
    );
    let kept = values[values.len() / 2..].iter().map(|x| x * scale[1]);
    let apart = worst(own.clone(), kept.clone());
    assert!(
        apart <= 0.501 * scale[1] && apart > 0.0,
        "{apart} {}",
        scale[1]
    );
    assert!(side["error"].as_f64().unwrap() >= 0.5 * scale[1]);
    let loss = model.loss(&batch, inducer_gpu::LossOptions::PLAIN).unwrap();
    let tuned = &side["tuned"];
    assert_abs_diff_eq!(tuned["loss"].as_f64().unwrap(), loss, epsilon = 1e-12);
    // the loss is the mean over the target of what each token costs
    let from = found["target"]["from"].as_u64().unwrap() as usize - 1;
    let each = list(&tuned["losses"])[from..].to_vec();
    let mean = each.iter().sum::<f64>() / each.len() as f64;
    assert_relative_eq!(mean, loss, epsilon = 0.0, max_relative = 1e-5);
    // probabilities at a position are at most 1, the true one among them
    for at in side["next"].as_array().unwrap() {
        let sum: f64 = at
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["tuned"].as_f64().unwrap())
            .sum();
        assert!(sum > 0.0 && sum < 1.0001);
    }
    // switches: all but one layer of two is the other one alone
    let (without, only) = (
        list(&side["switches"]["without"]),
        list(&side["switches"]["only"]),
    );
    assert_eq!([without[0], without[1]], [only[1], only[0]]);
    assert!(list(&side["kl"]).iter().any(|x| *x > 1e-6));
}

#[test]
fn a_method_without_a_gate_and_a_tuned_backbone_can_be_looked_into_too() {
    let f = Fixture::new();
    for method in [Method::Lora, Method::Bitfit] {
        let dir = adapter(&f, method);
        let text = numbers_of_text(&f, &dir);
        let side = &text["sides"][0];
        assert!(side["gate"].is_null() && side["added"].is_null());
        assert_eq!(side["switches"].is_null(), method == Method::Bitfit);
    }
}

fn numbers_of_text(f: &Fixture, dir: &Path) -> serde_json::Value {
    let out = f.inducer(&[
        "explain",
        "--backbone",
        "backbone",
        "--adapter",
        dir.to_str().unwrap(),
        "--text",
        "The tower stands in Paris. <b>שלום</b> 😀 </script><!-- <script>",
        "--json",
        "n.json",
    ]);
    assert!(out.status.success(), "{}", said(&out));
    serde_json::from_str(&std::fs::read_to_string(f.path("n.json")).unwrap()).unwrap()
}

#[test]
fn what_cannot_be_looked_into_is_refused_in_one_line() {
    let f = Fixture::new();
    let dir = adapter(&f, Method::Prefix);
    let at = format!("explain --backbone backbone --adapter {}", dir.display());
    let alone = |more: &[&str]| {
        let mut words: Vec<&str> = at.split(' ').collect();
        words.extend(more);
        let out = f.inducer(&words);
        (out.status.code(), said(&out))
    };
    let (status, message) = alone(&["--text", "  "]);
    assert_eq!((status, message.lines().count()), (Some(1), 1), "{message}");
    assert!(message.contains("--text: the text is empty"), "{message}");
    let long = "tower ".repeat(400);
    let (status, message) = alone(&["--text", &long]);
    assert_eq!((status, message.lines().count()), (Some(1), 1), "{message}");
    assert!(
        message.contains("320 positions and the prefix takes"),
        "{message}"
    );
    // one line, beside what says that the data are read
    let one = |line: &str, parts: &[&str]| {
        refused(&f, line, 1, parts);
        let message = said(&f.inducer(&line.split(' ').collect::<Vec<_>>()));
        let lines = message.lines().filter(|l| *l != "reading the data");
        let lines: Vec<&str> = lines.filter(|l| !l.starts_with("note: ")).collect();
        assert!(
            lines.len() == 1 && lines[0].starts_with("error: "),
            "{message}"
        );
    };
    let entry = |more: &str| format!("{at} --data data --entry {more}");
    one(&entry("9"), &["--entry 9", "from 1 to 8"]);
    one(&entry("1 --layers 3"), &["--layers 3", "1 to 2"]);
    one(&entry("1 --heads 0"), &["--heads 0", "1 to 3"]);
    refused(&f, &format!("{at} --data data"), 2, &["--entry"]);
    refused(&f, &at, 2, &["--text"]);
    let wrong = "explain --backbone backbone --adapter backbone --data data --entry 1";
    one(wrong, &["adapter_config.json"]);
    // an adapter of another backbone
    let other = f.path("other");
    std::fs::create_dir(&other).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(dir.join(name), other.join(name)).unwrap();
    }
    let config = std::fs::read_to_string(other.join("adapter_config.json")).unwrap();
    let config = config.replace("\"length\": ", "\"length\": 1");
    std::fs::write(other.join("adapter_config.json"), config).unwrap();
    let line = format!(
        "explain --backbone backbone --adapter {} --text tower",
        other.display()
    );
    one(&line, &["other/adapter_model.safetensors", "prefix.key"]);
    // a second adapter that does not fit is the one that is named
    let second = format!("{at} --text tower --compare {}", other.display());
    one(&second, &["other/adapter_model.safetensors", "prefix.key"]);
    assert!(!f.path("explain.html").exists());
}

#[test]
fn the_backbone_is_the_one_that_the_adapter_names() {
    let f = Fixture::new();
    let dir = adapter(&f, Method::Inducer);
    let file = dir.join("adapter_config.json");
    let given = numbers(&f, &format!("--adapter {} --text tower", dir.display()));
    let line = format!(
        "explain --threads 1 --json m.json --adapter {} --text tower",
        dir.display()
    );
    let mut config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let mut name = |name: &str| {
        config["base_model_name_or_path"] = name.into();
        std::fs::write(&file, config.to_string()).unwrap();
    };
    name("backbone");
    succeeds(&f, &line);
    let text = std::fs::read_to_string(f.path("m.json")).unwrap();
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["sides"], given["sides"]);
    name("nowhere");
    refused(
        &f,
        &line,
        1,
        &["base_model_name_or_path", "`nowhere`", "--backbone"],
    );
    name("");
    refused(
        &f,
        &line,
        1,
        &["base_model_name_or_path", "names no backbone", "--backbone"],
    );
}

#[test]
fn a_report_links_to_entries_that_are_chosen_by_rule_and_saves_its_pictures() {
    let f = Fixture::new();
    let line = format!(
        "report {INPUTS} --out out --methods none,prefix,inducer --seeds 1 --steps 2 \
         --ledger-cases 0 --no-long --explain 3 --svg pictures"
    );
    succeeds(&f, &line);
    let read = |name: &str| std::fs::read_to_string(f.path(name)).unwrap();
    let study: serde_json::Value = serde_json::from_str(&read("out/report.json")).unwrap();
    let looks = study["looks"].as_array().unwrap();
    let rules: Vec<&str> = looks.iter().map(|l| l["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["largest gain", "largest loss", "longest input"]);
    let gain = |l: &serde_json::Value| {
        assert_eq!(
            [&l["losses"][0][0], &l["losses"][1][0]],
            ["prefix", "inducer"]
        );
        l["losses"][0][1].as_f64().unwrap() - l["losses"][1][1].as_f64().unwrap()
    };
    assert!(gain(&looks[0]) >= gain(&looks[2]) && gain(&looks[2]) >= gain(&looks[1]));
    let (html, markdown) = (read("out/report.html"), read("out/report.md"));
    for look in looks {
        let file = look["file"].as_str().unwrap();
        assert!(
            html.contains(&format!("<a href=\"{file}\">Entry ")),
            "{file}"
        );
        assert!(markdown.contains(&format!("]({file}): ")), "{file}");
        let page = read(&format!("out/{file}"));
        let entry = format!("Entry {} of webnlg", look["entry"]);
        assert!(
            page.contains(&entry) && page.contains("prefix-seed1"),
            "{file}"
        );
    }
    let pictures = std::fs::read_dir(f.path("pictures")).unwrap().count();
    assert!(pictures > 3, "{pictures} pictures");
    // without the option nothing is looked into, and nothing is said of it
    succeeds(&f, &line.replace(" --explain 3 --svg pictures", ""));
    assert!(!read("out/report.json").contains("\"looks\""));
    assert!(!read("out/report.html").contains("Looked into"));
}

/// The first value of an attribute from here on.
fn attribute(svg: &str, name: &str) -> Option<f64> {
    let (_, rest) = svg.split_once(&format!(" {name}=\""))?;
    rest.split('"').next()?.parse().ok()
}

/// No text starts beyond the rim: what is drawn has the size that the picture says.
fn within_its_frame(name: &str, svg: &str) {
    let width = attribute(svg, "width").unwrap();
    let places = svg.split("<text").skip(1).filter_map(|t| attribute(t, "x"));
    let places: Vec<f64> = places.collect();
    assert!(places.len() > 2, "{name}");
    let farthest = places.iter().copied().fold(0.0, f64::max);
    assert!(
        (0.3 * width..=width).contains(&farthest),
        "{name}: {farthest} of {width}"
    );
}

/// A PNG has the size of its SVG, doubled, and is not all of one colour.
fn twice_as_large(file: &Path, svg: &str) {
    let png = std::fs::read(file).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "{}", file.display());
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    for (at, name) in [(16, "width"), (20, "height")] {
        let size = attribute(svg, name).unwrap();
        let apart = (f64::from(number(at)) - 2.0 * size).abs();
        assert!(apart <= 2.0, "{}: {name} {size}", file.display());
    }
    // one colour alone compresses to some hundred bytes for a picture of this size
    assert!(png.len() > 3000, "{}: {} bytes", file.display(), png.len());
}

#[test]
fn pictures_are_files_where_there_is_a_browser() {
    let f = Fixture::new();
    let dir = adapter(&f, Method::Inducer);
    let line = format!(
        "explain --backbone backbone --adapter {} --text {} --svg pictures \
         --png drawn",
        dir.display(),
        // long enough to fill a third of the picture of the tokens
        "the_old_tower_stands_beside_the_new_tower_and_the_town_hall_of_the_tower"
    );
    let none = |command: &str| {
        std::process::Command::new(env!("CARGO_BIN_EXE_inducer"))
            .args(command.split(' '))
            .current_dir(f.path(""))
            .env("PATH", "")
            .env("CHROMIUM", "no-such-browser")
            .output()
            .unwrap()
    };
    let out = none(&line);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(
        said(&out).contains("--png: no Chromium was found"),
        "{}",
        said(&out)
    );
    let out = f.inducer(&line.split(' ').collect::<Vec<_>>());
    if !out.status.success() && said(&out).contains("no Chromium was found") {
        eprintln!("not run: no Chromium (set CHROMIUM or install the package `chromium`)");
        return;
    }
    assert!(out.status.success(), "{}", said(&out));
    for name in [
        "tokens-tokens",
        "map-gates-1",
        "weights-bars-1",
        "plane-plane-1",
        "layers-layers",
    ] {
        let picture = std::fs::read_to_string(f.path(&format!("pictures/{name}.svg"))).unwrap();
        assert!(
            picture.starts_with("<svg") && !picture.contains("var("),
            "{name}"
        );
        within_its_frame(name, &picture);
        twice_as_large(&f.path(&format!("drawn/{name}.png")), &picture);
    }
    succeeds(&f, "teach --out teach.html --svg lecture --png lecture");
    let lecture = std::fs::read_dir(f.path("lecture")).unwrap().count();
    assert!(lecture >= 20, "{lecture} pictures");
}
