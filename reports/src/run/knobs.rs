//! What is asked for of methods in place of their own: sizes and learning rates.

use anyhow::{Context as _, Result, ensure};
use inducer_gpu::AdapterConfig;
use serde_json::Value;
use std::collections::BTreeMap;

/// Learning rates that are asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// Of every method that has none of its own.
    pub all: Option<f64>,
    /// By the method's name.
    pub of: BTreeMap<String, f64>,
}

impl Rates {
    /// The rate that is asked for of a method.
    pub fn of(&self, method: &str) -> Option<f64> {
        self.of.get(method).copied().or(self.all)
    }

    /// Every name is that of one of these methods.
    ///
    /// # Errors
    /// A name that is none.
    pub fn check<'a>(&self, mut methods: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
        for name in self.of.keys() {
            ensure!(
                methods.clone().any(|m| m == name),
                "--learning-rate {name}=…: no such method here; there {} {}",
                if methods.clone().count() == 1 {
                    "is"
                } else {
                    "are"
                },
                methods.by_ref().collect::<Vec<_>>().join(", ")
            );
        }
        Ok(())
    }
}

/// Sizes of a method that are asked for in place of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Knobs {
    /// LoRA's rank.
    pub rank: Option<usize>,
    /// LoRA's α.
    pub alpha: Option<f64>,
    /// LoRA's or (IA)³'s targets.
    pub targets: Vec<String>,
    /// Length of a prefix.
    pub prefix_length: Option<usize>,
    /// Bottleneck of an adapter and of an inducer's networks; the size of a variant of one's own.
    pub bottleneck: Option<usize>,
}

/// Where an option's value goes in an `adapter_config.json`: part and field.
const PLACES: [(&str, &[(&str, &str)]); 5] = [
    ("rank", &[("lora", "rank")]),
    ("alpha", &[("lora", "alpha")]),
    ("targets", &[("lora", "targets"), ("ia3", "targets")]),
    ("prefix-length", &[("attention", "length")]),
    (
        "bottleneck",
        &[
            ("attention", "bottleneck"),
            ("attention", "key_bottleneck"),
            ("attention", "value_bottleneck"),
            ("custom", "size"),
            ("ffn", "bottleneck"),
        ],
    ),
];

impl Knobs {
    fn values(&self) -> [Option<Value>; 5] {
        let targets = (!self.targets.is_empty()).then(|| Value::from(self.targets.clone()));
        [
            self.rank.map(Value::from),
            self.alpha.map(Value::from),
            targets,
            self.prefix_length.map(Value::from),
            self.bottleneck.map(Value::from),
        ]
    }

    /// The parts with these sizes, and the options that found no place in them.
    pub(super) fn turn(
        &self,
        adapter: &AdapterConfig,
        name: &str,
    ) -> Result<(AdapterConfig, Vec<String>)> {
        let mut value = serde_json::to_value(adapter)?;
        let mut unused = Vec::new();
        for ((option, places), given) in PLACES.iter().zip(self.values()) {
            let Some(given) = given else { continue };
            let mut found = false;
            for (part, field) in *places {
                if let Some(place) = value.get_mut(part).and_then(|p| p.get_mut(field)) {
                    *place = given.clone();
                    found = true;
                }
            }
            if !found {
                unused.push(format!("--{option}"));
            }
        }
        let turned: AdapterConfig = serde_json::from_value(value)
            .with_context(|| format!("--targets {}", self.targets.join(",")))?;
        turned.check(name)?;
        Ok((turned, unused))
    }

    /// Every option finds its place in one of the methods, given with what found none in it.
    ///
    /// # Errors
    /// The options that do not.
    pub(super) fn check<'a>(methods: impl Iterator<Item = (&'a str, &'a [String])>) -> Result<()> {
        let mut names = Vec::new();
        let mut unused: Option<Vec<String>> = None;
        for (name, left_over) in methods {
            names.push(name);
            unused = Some(match unused {
                None => left_over.to_vec(),
                Some(mut left) => {
                    left.retain(|option| left_over.contains(option));
                    left
                }
            });
        }
        let unused = unused.unwrap_or_default();
        ensure!(
            unused.is_empty(),
            "{}: {} no such size",
            unused.join(", "),
            match names.as_slice() {
                [one] => format!("the method {one} has"),
                all => format!("the methods {} have", all.join(", ")),
            }
        );
        Ok(())
    }
}
