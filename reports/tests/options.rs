//! Every option of every command: a number out of its range is refused, `--help` says the range,
//! and nothing is taken for a number that is none.
#![allow(clippy::unwrap_used)]

use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory as _};
use inducer_reports::commands::Cli;

/// Options whose value is a word or a path.
const WORDS: [&str; 46] = [
    "language",
    "smoothing",
    "adapter",
    "backbone",
    "batch",
    "budget",
    "case",
    "claim",
    "columns",
    "compare",
    "config",
    "data",
    "device",
    "domains",
    "dtype",
    "engine",
    "html",
    "hypotheses",
    "json",
    "junit",
    "kind",
    "layout",
    "long-data",
    "meteor-jar",
    "method",
    "methods",
    "metric",
    "optimiser",
    "out",
    "paraphrases",
    "preset",
    "prompts-out",
    "references",
    "save-dtype",
    "schedule",
    "shard",
    "study",
    "split",
    "surface",
    "svg",
    "png",
    "tables",
    "targets",
    "task",
    "text",
    "export-runs",
];

/// Options whose value is any natural number, or several; so is one whose value is called NUMBERS.
const SEEDS: [&str; 6] = [
    "seed",
    "seeds",
    "loss-seeds",
    "only",
    "rates-seed",
    "split-seed",
];

/// What is no number of any range.
const NEVER: [&str; 9] = [
    "-1",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "1e300",
    "99999999999999999999",
    "",
    "ten",
];

/// The command line of a subcommand with all that it requires and one option more.
fn line(command: &Command, option: &Arg, value: &str) -> Vec<String> {
    let name = command.get_name();
    let mut words = vec!["inducer".to_string(), name.to_string()];
    for required in command.get_arguments().filter(|a| a.is_required_set()) {
        if required.get_id() != option.get_id() {
            let value = match required.get_possible_values().first() {
                Some(first) => first.get_name().to_string(),
                None => ".".into(),
            };
            words.push(format!("--{}={value}", required.get_long().unwrap()));
        }
    }
    let long = option.get_long().unwrap();
    match (name, long) {
        ("bench", _) => words.push("--decode".into()),
        ("explain", "text") => {}
        ("explain", "data") => words.push("--entry=1".into()),
        ("explain", "entry") => words.push("--data=.".into()),
        ("explain", _) => words.push("--text=word".into()),
        _ => {}
    }
    if name == "pretrain" && !["text", "prose", "conversations"].contains(&long) {
        words.push("--prose=1000".into());
    }
    if long.starts_with("rates-") {
        words.push("--rates=0.001".into());
    }
    words.push(format!("--{long}={value}"));
    words
}

fn parse(command: &Command, option: &Arg, value: &str) -> Result<(), ErrorKind> {
    let words = line(command, option, value);
    let found = Cli::command().try_get_matches_from(words).map(|_| ());
    found.map_err(|e| e.kind())
}

/// All options that take a value, with their commands.
fn options() -> Vec<(Command, Arg)> {
    let mut cli = Cli::command();
    cli.build();
    let mut all = Vec::new();
    for command in cli.get_subcommands().filter(|c| c.get_name() != "help") {
        for option in command.get_arguments() {
            if option.get_action().takes_values() && option.get_long().is_some() {
                all.push((command.clone(), option.clone()));
            }
        }
    }
    all
}

#[test]
fn numbers_out_of_their_range_are_refused_and_help_says_the_range() {
    let mut numbers = 0;
    for (command, option) in options() {
        let long = option.get_long().unwrap();
        if WORDS.contains(&long) {
            continue;
        }
        numbers += 1;
        let at = format!("{} --{long}", command.get_name());
        for value in NEVER {
            let kind = parse(&command, &option, value).expect_err(&format!("{at}={value}"));
            let expected = [ErrorKind::ValueValidation, ErrorKind::InvalidValue];
            assert!(expected.contains(&kind), "{at}={value}: {kind}");
        }
        assert!(
            ["1", "0.5", "4", "300"]
                .iter()
                .any(|v| parse(&command, &option, v).is_ok()),
            "{at}: nothing is accepted"
        );
        if SEEDS.contains(&long) {
            continue;
        }
        let names = option.get_value_names().unwrap();
        let range = names[0].as_str();
        if range == "NUMBERS" {
            continue;
        }
        let least = range
            .trim_start_matches("above ")
            .split(' ')
            .next()
            .unwrap();
        let help = command.clone().render_long_help().to_string();
        assert!(
            range.contains(" to ") && help.contains(range),
            "{at}: {range}"
        );
        let zero = parse(&command, &option, "0").is_ok();
        assert_eq!(
            zero,
            range.starts_with("0 "),
            "{at}=0 and the range {range}"
        );
        if least != "0" {
            assert!(parse(&command, &option, least).is_ok(), "{at}={least}");
        }
    }
    assert!(numbers > 40, "only {numbers} numbers were found");
}

/// Values that new users gave, that were taken and run to the end, with words of the refusal.
const TAKEN_ONCE: [(&str, &str, &str, &str); 19] = [
    ("train", "batch-size", "0", "1 to 65,536"),
    ("train", "learning-rate", "0", "above 0 to 10"),
    ("train", "learning-rate", "-1", "above 0 to 10"),
    ("train", "learning-rate", "nan", "above 0 to 10"),
    ("train", "learning-rate", "1e9", "above 0 to 10"),
    ("train", "learning-rate", "1e30", "above 0 to 10"),
    ("train", "dropout", "1.5", "0 to below 1"),
    ("train", "label-smoothing", "2", "0 to below 1"),
    ("train", "weight-decay", "-1", "0 to 10"),
    ("train", "accumulation", "0", "1 to 65,536"),
    ("train", "checkpoint-every", "0", "1 to 100,000,000"),
    ("train", "threads", "0", "1 to 1,024"),
    ("train", "epochs", "0", "1 to 100,000"),
    ("train", "patience", "0", "1 to 1,000,000"),
    (
        "train",
        "max-new-tokens",
        "0",
        "1 to what the positions leave",
    ),
    ("train", "test-limit", "0", "1 to 100,000,000"),
    ("train", "warmup-ratio", "2", "0 to 1"),
    ("bench", "steps", "0", "1 to 100,000,000"),
    ("verify", "cases", "0", "1 to 100,000,000"),
];

#[test]
fn values_that_cannot_be_meant_are_refused_one_by_one() {
    for (command, option, value, range) in TAKEN_ONCE {
        for command in [
            command,
            if command == "train" {
                "report"
            } else {
                command
            },
        ] {
            let mut all = options().into_iter();
            let named =
                |(c, o): &(Command, Arg)| c.get_name() == command && o.get_long() == Some(option);
            let (command, option) = all.find(named).unwrap();
            let words = line(&command, &option, value);
            let error = Cli::command().try_get_matches_from(words).unwrap_err();
            let expected = format!("{range}, found `{value}`");
            let message = error.to_string();
            assert_eq!(error.exit_code(), 2);
            assert!(message.contains(&expected), "no `{expected}` in {message}");
        }
    }
}

#[test]
fn an_empty_word_or_path_is_refused() {
    for (command, option) in options() {
        let long = option.get_long().unwrap();
        if WORDS.contains(&long) {
            let at = format!("{} --{long}", command.get_name());
            assert!(parse(&command, &option, "").is_err(), "{at}=");
        }
    }
}

/// Names of all fields of a JSON value, and of its words.
fn names(value: &serde_json::Value, all: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            all.insert(name.clone());
            names(value, all);
        }),
        serde_json::Value::Array(values) => values.iter().for_each(|v| names(v, all)),
        serde_json::Value::String(word) if !word.is_empty() => _ = all.insert(word.clone()),
        _ => {}
    }
}

#[test]
fn every_field_of_an_adapter_configuration_is_documented() {
    let page = include_str!("../../gpu/ADAPTER_CONFIG.md");
    let mut all = std::collections::BTreeSet::new();
    for method in inducer_gpu::Method::ALL {
        names(&serde_json::to_value(method.paper()).unwrap(), &mut all);
    }
    for name in &all {
        let written = [format!("`{name}`"), format!("`\"{name}\"`")];
        assert!(
            written.iter().any(|w| page.contains(w)),
            "`{name}` is not in ADAPTER_CONFIG.md"
        );
    }
    assert!(all.len() > 20);
    // the example is one
    let json = page
        .split("```json")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let config: inducer_gpu::AdapterConfig = serde_json::from_str(json).unwrap();
    config.check("the example").unwrap();
}
