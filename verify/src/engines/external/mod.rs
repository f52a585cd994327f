//! Any program as an engine: it speaks the protocol of `verify/engines/README.md`, one JSON object
//! a line, tensors as safetensors.
//!
//! A program that crashes, hangs, answers something else than a message, or tensors of a wrong
//! shape or with a number that is not finite, fails the check that asked; it is started again for
//! the next one. What it does not say that it can do it is not asked for.

mod about;
mod files;
mod process;

pub use about::{ANSWERS, About, FEATURES, PROTOCOL, Scalar};
pub use files::Surrounded;

use super::{Computed, Engine, Target};
use crate::cases::ModelCase;
use crate::error::{Error, Result};

use inducer_reference::files::tensors::read_tensors;
use inducer_reference::{AttentionConfig, TensorMap};
use ndarray::{Array2, ArrayD, ArrayViewD, Axis, Ix2, Slice};
use process::Process;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// A program that speaks the protocol.
#[derive(Clone)]
pub struct External(Arc<Inner>);

impl std::fmt::Debug for External {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("External").field(&self.0.words).finish()
    }
}

struct Inner {
    words: Vec<String>,
    limit: Duration,
    about: About,
    /// Where cases and answers are written.
    files: TempDir,
    state: Mutex<State>,
}

/// The running program, and how many requests there were.
struct State {
    process: Option<Process>,
    requests: u64,
}

impl State {
    /// Sends a request, to a new process where the last one is of no more use.
    fn ask(&mut self, words: &[String], mut request: Value, limit: Duration) -> Result<Value> {
        let mut process = match self.process.take() {
            Some(process) => process,
            None => Process::start(words)?,
        };
        self.requests += 1;
        request["id"] = self.requests.into();
        let answer = process.ask(&request, limit)?;
        // only a process that keeps to the protocol is asked again
        self.process = Some(process);
        let said = |field: &str| {
            let said = answer.get(field)?;
            Some(
                said.as_str()
                    .map_or_else(|| said.to_string(), str::to_owned),
            )
        };
        match (said("unsupported"), said("error")) {
            (None, None) => Ok(answer),
            (Some(what), _) => Err(Error::Unsupported(what)),
            (None, Some(error)) => {
                let error = error.replace('\n', " ");
                Err(Error::External(format!("the program refuses: {error}")))
            }
        }
    }
}

impl External {
    /// Starts a program from a command line and asks what it can do.
    ///
    /// # Errors
    /// The command line's quotes are open, the program cannot be started, or its answer is not one
    /// of the protocol.
    pub fn start(command: &str, limit: Duration) -> Result<Self> {
        let words = shlex::split(command)
            .ok_or_else(|| Error::External(format!("`{command}`: a quote is not closed")))?;
        let mut state = State {
            process: None,
            requests: 0,
        };
        let hello = json!({ "request": "hello", "protocol": PROTOCOL });
        let answer = state.ask(&words, hello, limit)?;
        let about = About::read(&answer)?;
        Ok(Self(Arc::new(Inner {
            words,
            limit,
            about,
            files: tempfile::tempdir()?,
            state: Mutex::new(state),
        })))
    }

    /// What it says that it is.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.0.about
    }

    /// Its name in reports: with its scalar type.
    #[must_use]
    pub fn name(&self) -> String {
        let About { name, dtype, .. } = self.about();
        format!("{name} {}", dtype.name())
    }

    /// A request about a model and texts: the answer, and the tensors of its file.
    fn ask(
        &self,
        what: &str,
        case: &ModelCase,
        rows: &[Surrounded],
        masked: bool,
        more: Value,
    ) -> Result<(Value, TensorMap<f64>)> {
        let root = self.0.files.path();
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let [backbone, adapter] = files::directories(root, case)?;
        let (batch, out) = (root.join("batch.json"), root.join("answer.safetensors"));
        std::fs::write(&batch, files::batch(case, rows, masked).to_string())?;
        if out.exists() {
            std::fs::remove_file(&out)?;
        }
        let mut request = json!({
            "request": what, "backbone": backbone, "adapter": adapter, "batch": batch,
            "label_smoothing": case.smoothing, "out": out,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            request[name] = value.clone();
        }
        let answer = state.ask(&self.0.words, request, self.0.limit)?;
        let tensors = match out.exists() {
            true => read_tensors(&out, |_| false).map_err(|error| {
                let text = error
                    .to_string()
                    .replace(&out.display().to_string(), "answer");
                Error::External(text)
            })?,
            false => TensorMap::new(),
        };
        Ok((answer, tensors))
    }

    /// Logits, gates and loss of these rows.
    fn results(
        &self,
        case: &ModelCase,
        rows: &[Surrounded],
        masked: bool,
    ) -> Result<Computed<f64>> {
        let about = self.about();
        about.able(case, masked, "logits")?;
        let gated = matches!(
            case.method.attention,
            Some(AttentionConfig::Inducer { .. } | AttentionConfig::Prefix { .. })
        );
        let wants_gates = gated && about.answers.contains("gates");
        let labels = rows.iter().flat_map(|row| case.targets(&row.row));
        let labelled = labels.into_iter().any(|label| label >= 0);
        let wants_loss = labelled && about.answers.contains("loss");
        let mut want = vec!["logits"];
        want.extend(wants_gates.then_some("gates"));
        want.extend(wants_loss.then_some("loss"));
        let more = json!({ "want": want });
        let (_, mut tensors) = self.ask("compute", case, rows, masked, more)?;
        let (texts, width) = (rows.len(), files::width(rows));
        let outputs = case.outputs();
        let logits = match case.backbone.classifies() {
            true => {
                let all = take(&mut tensors, "logits", &[texts, outputs])?;
                let all = all.into_dimensionality::<Ix2>()?;
                let rows = all.axis_iter(Axis(0));
                rows.map(|x| x.to_owned().insert_axis(Axis(0))).collect()
            }
            false => by_text(
                &take(&mut tensors, "logits", &[texts, width, outputs])?,
                rows,
            )?,
        };
        let mut gates = Vec::new();
        if wants_gates {
            gates.resize(texts, Vec::new());
            for layer in 0..case.backbone.layers() {
                let name = format!("gates.{layer}");
                let all = take(&mut tensors, &name, &[texts, width, case.backbone.heads()])?;
                for (gates, own) in gates.iter_mut().zip(by_text(&all, rows)?) {
                    gates.push(own);
                }
            }
        }
        let loss = match wants_loss {
            true => take(&mut tensors, "loss", &[1])?.first().copied(),
            false => None,
        };
        Ok(Computed {
            logits,
            gates,
            loss,
        })
    }

    /// Logits and gates of the texts of rows with hidden tokens around them.
    ///
    /// # Errors
    /// As [`Engine::compute`].
    pub fn surrounded(
        &self,
        case: &ModelCase,
        rows: &[Surrounded],
        masked: bool,
    ) -> Result<Computed<f64>> {
        self.results(case, rows, masked)
    }

    /// So many tokens after each text, each the likeliest one.
    ///
    /// # Errors
    /// As [`Engine::compute`].
    pub fn generate(&self, case: &ModelCase, tokens: usize) -> Result<Vec<Vec<u32>>> {
        let (rows, masked) = plain(case);
        self.about().able(case, masked, "tokens")?;
        let more = json!({ "new_tokens": tokens });
        let (answer, _) = self.ask("generate", case, &rows, masked, more)?;
        let found: Option<Vec<Vec<u32>>> = serde_json::from_value(answer["tokens"].clone()).ok();
        let ids = case.ids();
        let right = |rows: &Vec<Vec<u32>>| {
            let row = |row: &Vec<u32>| row.len() == tokens && row.iter().all(|id| *id < ids);
            rows.len() == case.rows.len() && rows.iter().all(row)
        };
        found.filter(right).ok_or_else(|| {
            let texts = case.rows.len();
            Error::External(format!(
                "answer to `generate`: field `tokens`: expected {texts} rows of {tokens} ids \
                 below {ids}"
            ))
        })
    }

    /// Every tensor of backbone and adapter after one step x ← x − η ∂L/∂x.
    ///
    /// # Errors
    /// As [`Engine::compute`].
    pub fn step(&self, case: &ModelCase, rate: f64) -> Result<TensorMap<f64>> {
        let (rows, masked) = plain(case);
        self.about().able(case, masked, "step")?;
        let more = json!({ "learning_rate": rate });
        let (_, mut tensors) = self.ask("step", case, &rows, masked, more)?;
        let mut all: BTreeMap<&String, &ArrayD<f64>> = case.weights.iter().collect();
        all.extend(&case.adapter);
        let found = all.into_iter().map(|(name, x)| {
            let found = take(&mut tensors, name, x.shape())?;
            Ok((name.clone(), found))
        });
        found.collect()
    }
}

/// The texts of a case, one a row, and whether the shorter ones need a mask.
fn plain(case: &ModelCase) -> (Vec<Surrounded>, bool) {
    let rows: Vec<Surrounded> = case.rows.iter().map(Surrounded::plain).collect();
    let masked = rows.iter().any(|row| row.length != rows[0].length);
    (rows, masked)
}

fn absent(name: &str, shape: &[usize]) -> Error {
    Error::External(format!(
        "answer: tensor `{name}` is missing, expected {shape:?}"
    ))
}

/// A tensor of the answer with this shape.
fn take(tensors: &mut TensorMap<f64>, name: &str, shape: &[usize]) -> Result<ArrayD<f64>> {
    let tensor = tensors.remove(name).ok_or_else(|| absent(name, shape))?;
    if tensor.shape() != shape {
        let found = tensor.shape();
        return Err(Error::External(format!(
            "answer: tensor `{name}`: expected shape {shape:?}, found {found:?}"
        )));
    }
    Ok(tensor)
}

/// What belongs to each text of [texts, width, …].
fn by_text(all: &ArrayD<f64>, rows: &[Surrounded]) -> Result<Vec<Array2<f64>>> {
    let part = |(row, text): (&Surrounded, ArrayViewD<'_, f64>)| -> Result<Array2<f64>> {
        let range = Slice::from(row.from..row.from + row.length);
        Ok(text
            .slice_axis(Axis(0), range)
            .to_owned()
            .into_dimensionality::<Ix2>()?)
    };
    rows.iter().zip(all.axis_iter(Axis(0))).map(part).collect()
}

impl Engine for External {
    fn target(&self) -> Target {
        Target::External
    }

    fn roundoff(&self) -> f64 {
        self.about().dtype.roundoff()
    }

    /// The nearest number of `f32`, which is what files hold.
    fn representable(&self, x: f64) -> f64 {
        f64::from(x as f32)
    }

    fn compute(&self, case: &ModelCase) -> Result<Computed<f64>> {
        let (rows, masked) = plain(case);
        self.results(case, &rows, masked)
    }

    fn gradients(&self, case: &ModelCase) -> Result<TensorMap<f64>> {
        let (rows, masked) = plain(case);
        self.about().able(case, masked, "gradients")?;
        let more = json!({ "want": ["gradients"] });
        let (_, mut tensors) = self.ask("compute", case, &rows, masked, more)?;
        let each = case.adapter.iter();
        each.map(|(name, x)| {
            let found = take(&mut tensors, &format!("grad.{name}"), x.shape())?;
            Ok((name.clone(), found))
        })
        .collect()
    }
}
