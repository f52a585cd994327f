//! Which modules of a model a configuration of PEFT means: its rules for `target_modules`,
//! `exclude_modules`, `modules_to_save`, layers and patterns
//! (`tuners_utils.check_target_module_exists`, `other.get_pattern_key`), on the names that
//! transformers gives to the modules of a backbone.

use crate::config::{BackboneConfig, Spec};
use crate::error::{Error, Result};
use crate::parts::Target;
use fancy_regex::Regex;
use serde_json::{Map, Value};
use std::path::Path;

/// A linear map as PEFT sees it.
pub struct Module {
    /// Its layer.
    pub layer: usize,
    /// Its name below the layer's.
    pub name: &'static str,
    /// The maps that it holds, one below the other.
    pub holds: &'static [Target],
}

impl Module {
    /// Its whole name.
    pub fn key(&self, spec: &Spec) -> String {
        format!("{}.{}", spec.layer_name(self.layer), self.name)
    }
}

type Held = (&'static str, &'static [Target]);

const GPT2: [Held; 4] = [
    ("attn.c_attn", &Target::PROJECTIONS),
    ("attn.c_proj", &[Target::O]),
    ("mlp.c_fc", &[Target::Up]),
    ("mlp.c_proj", &[Target::Down]),
];
const ROBERTA: [Held; 6] = [
    ("attention.self.query", &[Target::Q]),
    ("attention.self.key", &[Target::K]),
    ("attention.self.value", &[Target::V]),
    ("attention.output.dense", &[Target::O]),
    ("intermediate.dense", &[Target::Up]),
    ("output.dense", &[Target::Down]),
];
/// Modules below a layer's name that are no linear maps.
const GPT2_OTHERS: [&str; 10] = [
    "",
    ".ln_1",
    ".attn",
    ".attn.attn_dropout",
    ".attn.resid_dropout",
    ".ln_2",
    ".mlp",
    ".mlp.act",
    ".mlp.dropout",
    ".attn.bias",
];
const ROBERTA_OTHERS: [&str; 11] = [
    "",
    ".attention",
    ".attention.self",
    ".attention.self.dropout",
    ".attention.output",
    ".attention.output.LayerNorm",
    ".attention.output.dropout",
    ".intermediate",
    ".intermediate.intermediate_act_fn",
    ".output",
    ".output.LayerNorm",
];
/// Modules outside of the layers.
const GPT2_OUTSIDE: [&str; 7] = [
    "transformer",
    "transformer.wte",
    "transformer.wpe",
    "transformer.drop",
    "transformer.h",
    "transformer.ln_f",
    "lm_head",
];
const ROBERTA_OUTSIDE: [&str; 13] = [
    "roberta",
    "roberta.embeddings",
    "roberta.embeddings.word_embeddings",
    "roberta.embeddings.position_embeddings",
    "roberta.embeddings.token_type_embeddings",
    "roberta.embeddings.LayerNorm",
    "roberta.embeddings.dropout",
    "roberta.encoder",
    "roberta.encoder.layer",
    "classifier",
    "classifier.dense",
    "classifier.dropout",
    "classifier.out_proj",
];
/// Linear maps outside of the layers that `all-linear` means too.
const HEAD_MAPS: [&str; 2] = ["classifier.dense", "classifier.out_proj"];

/// The linear maps of a backbone's layers.
pub fn modules(backbone: &BackboneConfig) -> Vec<Module> {
    let of_layer: &[Held] = match backbone {
        BackboneConfig::Gpt2(_) => &GPT2,
        BackboneConfig::Roberta(_) => &ROBERTA,
    };
    let module = |layer| {
        let one = move |(name, holds): &Held| Module { layer, name, holds };
        of_layer.iter().map(one)
    };
    (0..backbone.spec().layers).flat_map(module).collect()
}

/// The names of the modules that are none of [`modules`].
pub fn others(backbone: &BackboneConfig) -> Vec<String> {
    let (outside, below): (&[&str], &[&str]) = match backbone {
        BackboneConfig::Gpt2(_) => (&GPT2_OUTSIDE, &GPT2_OTHERS),
        BackboneConfig::Roberta(_) => (&ROBERTA_OUTSIDE, &ROBERTA_OTHERS),
    };
    let spec = backbone.spec();
    let inside = (0..spec.layers).flat_map(|i| {
        let layer = spec.layer_name(i);
        below.iter().map(move |name| format!("{layer}{name}"))
    });
    outside
        .iter()
        .map(ToString::to_string)
        .chain(inside)
        .collect()
}

/// A field that is a list of names or a pattern.
enum Names {
    List(Vec<String>),
    Pattern(Regex),
}

impl Names {
    /// None where the field is null or absent.
    fn read(path: &Path, config: &Value, field: &str) -> Result<Option<Self>> {
        let found = &config[field];
        let wrong = |message: String| Error::config(path, field, message);
        match found {
            Value::Null => Ok(None),
            Value::String(pattern) => Ok(Some(Self::Pattern(
                regex(&format!("^(?:{pattern})\\z")).map_err(&wrong)?,
            ))),
            Value::Array(items) => {
                let names = items.iter().map(|v| v.as_str().map(String::from));
                let names = names.collect::<Option<Vec<_>>>();
                let message = || format!("expected names of modules, found {found}");
                Ok(Some(Self::List(names.ok_or_else(|| wrong(message()))?)))
            }
            other => Err(wrong(format!(
                "expected a list or a pattern, found {other}"
            ))),
        }
    }

    /// Whether a module is named, and, in a list, whether by its whole name.
    fn names(&self, key: &str) -> Option<Named> {
        match self {
            Self::Pattern(pattern) => matches(pattern, key).then_some(Named::Whole),
            Self::List(all) if all.iter().any(|n| n == key) => Some(Named::Whole),
            Self::List(all) => {
                let ends = |n: &String| {
                    key.strip_suffix(n.as_str())
                        .is_some_and(|k| k.ends_with('.'))
                };
                all.iter().any(ends).then_some(Named::End)
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Named {
    Whole,
    End,
}

fn regex(pattern: &str) -> std::result::Result<Regex, String> {
    let engine = fancy_regex::RegexBuilder::new(pattern)
        .backtrack_limit(100_000)
        .build();
    engine.map_err(|_| format!("expected a pattern that can be read here, found {pattern:?}"))
}

fn matches(pattern: &Regex, key: &str) -> bool {
    pattern.is_match(key).unwrap_or(false)
}

/// What a configuration says of modules.
pub struct Matching {
    targets: Option<Names>,
    all_linear: bool,
    excluded: Option<Names>,
    to_save: Vec<String>,
    layers: Option<Vec<u64>>,
    layer_patterns: Vec<Regex>,
}

impl Matching {
    /// Reads the fields; `usual` is what PEFT takes where there are no targets.
    ///
    /// # Errors
    /// A field of another form, or fields that PEFT does not take together.
    pub fn read(path: &Path, config: &Value, usual: &[&str]) -> Result<Self> {
        let bad = |field: &str, message: String| Err(Error::config(path, field, message));
        let all_linear = config["target_modules"].as_str();
        let all_linear = all_linear.is_some_and(|t| t.eq_ignore_ascii_case("all-linear"));
        let mut targets = Names::read(path, config, "target_modules")?;
        if targets.is_none() && !usual.is_empty() {
            targets = Some(Names::List(usual.iter().map(ToString::to_string).collect()));
        }
        let layers = match &config["layers_to_transform"] {
            Value::Null => None,
            Value::Number(n) if n.as_u64().is_some() => Some(n.as_u64().into_iter().collect()),
            Value::Array(list) if list.is_empty() => None,
            Value::Array(list) if list.iter().all(Value::is_u64) => {
                Some(list.iter().filter_map(Value::as_u64).collect::<Vec<_>>())
            }
            found => {
                let message = format!("expected a layer or a list of layers, found {found}");
                return bad("layers_to_transform", message);
            }
        };
        let is_pattern = config["target_modules"].is_string();
        let patterns: Vec<&str> = match &config["layers_pattern"] {
            Value::Null => Vec::new(),
            Value::String(one) if one.is_empty() => Vec::new(),
            Value::String(one) => vec![one],
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            found => return bad("layers_pattern", format!("expected names, found {found}")),
        };
        let with_pattern = [
            (
                "layers_to_transform",
                !config["layers_to_transform"].is_null(),
            ),
            ("layers_pattern", !config["layers_pattern"].is_null()),
        ];
        if let Some((field, _)) = with_pattern.iter().find(|(_, given)| is_pattern && *given) {
            let message = "expected none beside a pattern in `target_modules`";
            return bad(field, message.into());
        }
        if !patterns.is_empty() && config["layers_to_transform"].is_null() {
            return bad(
                "layers_pattern",
                "expected `layers_to_transform` beside it".into(),
            );
        }
        let compile = |p: &&str| {
            let pattern = format!(r"^(?:(?:^|.*?\.){p}\.(?P<layer>\d+)\.)");
            regex(&pattern).map_err(|message| Error::config(path, "layers_pattern", message))
        };
        Ok(Self {
            targets,
            all_linear,
            excluded: Names::read(path, config, "exclude_modules")?,
            to_save: to_save(path, config)?,
            layers,
            layer_patterns: patterns.iter().map(compile).collect::<Result<_>>()?,
        })
    }

    /// Whether a module is a target; `linear` says that `all-linear` means it.
    pub fn targets(&self, key: &str, linear: bool) -> bool {
        let excluded = self.excluded.as_ref().and_then(|names| names.names(key));
        if excluded.is_some() || self.keeps_out(key) {
            return false;
        }
        if self.all_linear {
            return linear || HEAD_MAPS.contains(&key);
        }
        match self.targets.as_ref().and_then(|names| names.names(key)) {
            None => false,
            Some(Named::Whole) => true,
            Some(Named::End) => self.in_layers(key),
        }
    }

    /// A module that is saved whole is no target, nor is what it holds.
    fn keeps_out(&self, key: &str) -> bool {
        self.to_save.iter().any(|name| {
            let parts: Vec<&str> = key.split('.').collect();
            let name: Vec<&str> = name.split('.').collect();
            parts.windows(name.len()).any(|w| w == name)
        })
    }

    fn in_layers(&self, key: &str) -> bool {
        let Some(layers) = &self.layers else {
            return true;
        };
        let index = match self.layer_patterns.is_empty() {
            // the first number after a module that has another one around it
            true => key.split('.').skip(2).find_map(|part| part.parse().ok()),
            false => self.layer_patterns.iter().find_map(|pattern| {
                let found = pattern.captures(key).ok()??;
                found.name("layer")?.as_str().parse().ok()
            }),
        };
        index.is_some_and(|index| layers.contains(&index))
    }
}

/// The modules that are saved whole; those of a classifier's head among them.
pub fn to_save(path: &Path, config: &Value) -> Result<Vec<String>> {
    let mut names = match &config["modules_to_save"] {
        Value::Null => Vec::new(),
        Value::Array(list) if list.iter().all(Value::is_string) => list
            .iter()
            .filter_map(|v| v.as_str().map(String::from))
            .collect(),
        found => {
            let message = format!("expected names of modules, found {found}");
            return Err(Error::config(path, "modules_to_save", message));
        }
    };
    if config["task_type"] == "SEQ_CLS" {
        names.extend(["classifier", "score"].map(String::from));
    }
    Ok(names)
}

/// Whether a module is saved whole: it or one around it has a name that ends so.
pub fn is_saved(names: &[String], module: &str) -> bool {
    let ends: Vec<usize> = module
        .match_indices('.')
        .map(|(i, _)| i)
        .chain([module.len()])
        .collect();
    let around = |end: &usize| names.iter().any(|n| module[..*end].ends_with(n.as_str()));
    ends.iter().any(around)
}

/// A number for each module: of the first pattern that its name ends with, else the usual one.
pub struct Pattern(Vec<(Regex, f64)>);

impl Pattern {
    /// Reads a field.
    ///
    /// # Errors
    /// It is no object of numbers.
    pub fn read(path: &Path, config: &Value, field: &str) -> Result<Self> {
        let empty = Map::new();
        let given = match &config[field] {
            Value::Null => &empty,
            Value::Object(map) => map,
            found => {
                let message = format!("expected an object of numbers, found {found}");
                return Err(Error::config(path, field, message));
            }
        };
        let entry = |(name, value): (&String, &Value)| {
            let wrong = |message| Error::config(path, format!("{field}.{name}"), message);
            let number = value.as_f64().filter(|x| x.is_finite());
            let number =
                number.ok_or_else(|| wrong(format!("expected a number, found {value}")))?;
            Ok((
                regex(&format!(r"^(?:.*\.)?(?:{name})$")).map_err(wrong)?,
                number,
            ))
        };
        Ok(Self(given.iter().map(entry).collect::<Result<_>>()?))
    }

    /// The number for a module.
    pub fn of(&self, key: &str, usual: f64) -> f64 {
        let found = self.0.iter().find(|(pattern, _)| matches(pattern, key));
        found.map_or(usual, |(_, number)| *number)
    }
}
