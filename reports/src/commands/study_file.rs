//! Options in a file (`--config study.toml`): the names of the command line, whose own values come
//! first. A report leaves what it was given as `study.toml` in its directory, and `--merge` reads
//! it there.

use super::Cli;
use crate::files;
use anyhow::{Result, anyhow, bail};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory as _};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The name of the file that a report leaves.
const FILE: &str = "study.toml";

/// Options that say where and how the work is done and not what is studied.
const NOT_OF_THE_STUDY: [&str; 16] = [
    "out",
    "config",
    "plan",
    "only",
    "shard",
    "merge",
    "compare",
    "overwrite",
    "tables",
    "svg",
    "png",
    "json",
    "jobs",
    "threads",
    "log-every",
    "help",
];

/// The command line with the options of its file.
///
/// # Errors
/// A file that cannot be read or is no TOML; an option that the command does not have.
pub fn expanded(arguments: Vec<OsString>) -> Result<Vec<OsString>> {
    let cli = Cli::command();
    let words: Vec<&str> = arguments.iter().filter_map(|a| a.to_str()).collect();
    let at = words
        .iter()
        .skip(1)
        .position(|w| !w.starts_with('-'))
        .map(|i| i + 1);
    let Some((at, command)) = at.and_then(|at| Some((at, cli.find_subcommand(words[at])?))) else {
        return Ok(arguments);
    };
    if words.len() != arguments.len() || option(command, "config").is_none() {
        return Ok(arguments);
    }
    let given = |name: &str| value(&words[at..], name);
    let file = match (given("config"), words.contains(&"--merge")) {
        (Some(file), _) => PathBuf::from(file),
        (None, true) => {
            let file = Path::new(given("out").unwrap_or("out")).join(FILE);
            if !file.exists() {
                return Ok(arguments);
            }
            file
        }
        (None, false) => return Ok(arguments),
    };
    let mut tokens = Vec::new();
    for (name, value) in read(&file)? {
        let long = name.replace('_', "-");
        let Some(found) = option(command, &long) else {
            bail!(
                "{}: field `{name}`: `inducer {}` has no option --{long}",
                file.display(),
                command.get_name()
            );
        };
        if !is_given(&words[at..], found) {
            let words = as_words(&value)
                .map_err(|message| anyhow!("{}: field `{name}`: {message}", file.display()))?;
            tokens.extend(option_words(&long, &value, words));
        }
    }
    let mut all = arguments;
    all.splice(at + 1..at + 1, tokens.into_iter().map(OsString::from));
    Ok(all)
}

fn read(file: &Path) -> Result<Table> {
    let text = files::read(file)?;
    text.parse()
        .map_err(|e: toml::de::Error| anyhow!("{}: {}", file.display(), e.to_string().trim()))
}

fn option<'c>(command: &'c Command, long: &str) -> Option<&'c Arg> {
    let names = |a: &&Arg| {
        a.get_long() == Some(long) || a.get_all_aliases().unwrap_or_default().contains(&long)
    };
    command.get_arguments().find(names)
}

/// The value of an option as the command line has it.
fn value<'w>(words: &[&'w str], long: &str) -> Option<&'w str> {
    let dashed = format!("--{long}");
    words.iter().enumerate().find_map(|(i, word)| {
        if *word == dashed {
            return words.get(i + 1).copied();
        }
        word.strip_prefix(&*dashed)?.strip_prefix('=')
    })
}

/// Whether the command line has the option by any of its names.
fn is_given(words: &[&str], option: &Arg) -> bool {
    let names = option.get_long().into_iter();
    let mut names = names.chain(option.get_all_aliases().unwrap_or_default());
    names.any(|name| {
        let dashed = format!("--{name}");
        words
            .iter()
            .any(|w| *w == dashed || w.starts_with(&format!("{dashed}=")))
    })
}

/// What stands behind the option; none for a switch.
fn as_words(value: &Value) -> Result<Option<String>, String> {
    let one = |value: &Value| match value {
        Value::String(s) => Ok(s.clone()),
        Value::Integer(n) => Ok(n.to_string()),
        Value::Float(x) => Ok(format!("{x:?}")),
        other => Err(format!("expected a value of the option, found {other}")),
    };
    match value {
        Value::Boolean(_) => Ok(None),
        Value::Array(all) => {
            let all: Result<Vec<String>, String> = all.iter().map(one).collect();
            Ok(Some(all?.join(",")))
        }
        // `learning-rate = { lora = 3e-3, full = 3e-4 }`
        Value::Table(all) => {
            let each = all.iter().map(|(k, v)| Ok(format!("{k}={}", one(v)?)));
            let all: Result<Vec<String>, String> = each.collect();
            Ok(Some(all?.join(",")))
        }
        value => one(value).map(Some),
    }
}

fn option_words(long: &str, value: &Value, words: Option<String>) -> Vec<String> {
    match (words, value) {
        (Some(words), _) => vec![format!("--{long}={words}")],
        (None, Value::Boolean(true)) => vec![format!("--{long}")],
        (None, _) => Vec::new(),
    }
}

/// What was given to a command, as its file would say it.
pub fn given(command: &Command, matches: &ArgMatches) -> Table {
    of(command, matches, |source| {
        source == ValueSource::CommandLine
    })
}

/// Every option of the study that has a value, given or not.
pub fn options(command: &Command, matches: &ArgMatches) -> Result<serde_json::Value> {
    Ok(serde_json::to_value(of(command, matches, |_| true))?)
}

fn of(command: &Command, matches: &ArgMatches, wanted: impl Fn(ValueSource) -> bool) -> Table {
    let mut table = Table::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let Some(long) = arg.get_long().filter(|l| !NOT_OF_THE_STUDY.contains(l)) else {
            continue;
        };
        let known = matches.try_contains_id(id).is_ok();
        if !known || !matches.value_source(id).is_some_and(&wanted) {
            continue;
        }
        if !arg.get_action().takes_values() {
            table.insert(long.into(), matches.get_flag(id).into());
            continue;
        }
        let values = matches.get_raw(id).into_iter().flatten();
        let mut values: Vec<Value> = values.map(|v| typed(&v.to_string_lossy())).collect();
        match values.len() {
            1 => _ = table.insert(long.into(), values.remove(0)),
            _ => _ = table.insert(long.into(), values.into()),
        }
    }
    table
}

/// A number where it is one.
fn typed(text: &str) -> Value {
    let integer = text.parse::<i64>().map(Value::Integer);
    integer
        .or_else(|_| text.parse::<f64>().map(Value::Float))
        .unwrap_or_else(|_| text.into())
}

/// Leaves the options of a study in its directory.
///
/// # Errors
/// The system's.
pub fn write(dir: &Path, given: &Table) -> Result<()> {
    let head = "# The options of this study; `inducer report --config FILE` reads them.\n";
    files::write(&dir.join(FILE), &format!("{head}{given}"))
}
