//! When training leaves the finite numbers: nothing that is not finite is ever saved, and the error
//! says where, at which learning rate, and what is still good.

use super::checkpoint;
use super::optimiser::{AdamW, Measured};
use crate::error::{Error, Result};
use crate::tape::Parameter;
use candle_core::{DType, Tensor};
use std::path::Path;

/// A validation loss is far from its start when it is above twice that and a nat beyond it.
pub(super) fn strayed(loss: f64, start: f64) -> bool {
    loss > 2.0 * start && loss > start + 1.0
}

/// The step that is looked at.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// From 1; 0 is before training.
    pub(super) step: usize,
    pub(super) learning_rate: f64,
    pub(super) dir: Option<&'a Path>,
}

impl Place<'_> {
    /// A number that has to be finite.
    pub(super) fn number(&self, what: &'static str, value: f64) -> Result<()> {
        match value.is_finite() {
            true => Ok(()),
            false => Err(self.error(what.into(), value)),
        }
    }

    /// What a step measured.
    pub(super) fn step(&self, measured: Measured) -> Result<()> {
        self.number("the training loss", measured.loss)?;
        self.number("the norm of the gradients", measured.norm)
    }

    /// Everything that a checkpoint holds.
    pub(super) fn state(&self, trained: &[&Parameter], optimiser: &AdamW) -> Result<()> {
        for p in trained {
            self.tensor(&p.name, &p.tensor)?;
            for moment in optimiser.moments.get(&p.name).into_iter().flatten() {
                self.tensor(&format!("{}'s moment", p.name), moment)?;
            }
        }
        Ok(())
    }

    fn tensor(&self, name: &str, tensor: &Tensor) -> Result<()> {
        // zero times a number is zero if the number is finite, and else NaN
        let sum = (tensor * 0.0)?.sum_all()?.to_dtype(DType::F64)?;
        match sum.to_scalar::<f64>()? == 0.0 {
            true => Ok(()),
            false => Err(self.error(format!("a number in {name}"), f64::NAN)),
        }
    }

    fn error(&self, what: String, value: f64) -> Error {
        let kept = |name: &str| self.dir.map(|d| d.join(name)).filter(|p| p.exists());
        let kept: Vec<String> = [checkpoint::FILE, "best"]
            .into_iter()
            .filter_map(kept)
            .map(|p| p.display().to_string())
            .collect();
        Error::Diverged {
            step: self.step,
            what,
            value,
            learning_rate: self.learning_rate,
            kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::Gpt2;
    use crate::kernels::{cuda, without_cpu_kernels};
    use crate::train::{Data, Event, TrainConfig, train};
    use crate::{Gpt2Config, Method, Model, Tensors as _};
    use candle_core::Device;
    use inducer_datasets::batch::Batch;
    use std::cell::Cell;

    /// A position whose row of the table is NaN: rows of
    /// up to so many tokens are good, longer ones are not.
    const POISONED: usize = 6;

    fn tiny(poisoned: bool, method: Method) -> Model {
        let config = Gpt2Config {
            vocab_size: 20,
            n_positions: 16,
            n_embd: 8,
            n_layer: 1,
            n_head: 2,
            ..Gpt2Config::small()
        };
        let backbone = Gpt2::random(config, 1, DType::F32, &Device::Cpu).unwrap();
        let mut model = Model::new(backbone, DType::F32, &Device::Cpu);
        if poisoned {
            let table = model.backbone.parameters_mut();
            let table = table.into_iter().find(|p| p.name.contains("wpe")).unwrap();
            let mut rows: Vec<Vec<f32>> = table.tensor.to_vec2().unwrap();
            rows[POISONED].fill(f32::NAN);
            table.tensor = Tensor::new(rows, &Device::Cpu).unwrap();
        }
        let method = method.on(&model.backbone.config());
        model.attach(&method, 0, 1).unwrap();
        model
    }

    type Form = fn(&dyn Fn() -> Result<usize>) -> Result<usize>;

    /// The CPU's kernels, candle's operations and, where they are built, a card's kernels.
    fn forms() -> Vec<Form> {
        let mut all: Vec<Form> = vec![|f| f(), |f| without_cpu_kernels(f)];
        if cuda::EMULATED {
            all.push(|f| cuda::emulated(f));
        }
        all
    }

    fn model() -> Model {
        tiny(true, Method::Lora)
    }

    fn batch(length: usize) -> Batch {
        let ids: Vec<u32> = (0..length as u32).map(|i| 3 + i).collect();
        let labels = ids.iter().map(|id| i64::from(*id)).collect();
        Batch::pack(&[ids], None, Some(&[labels]))
    }

    /// One batch an epoch; the epoch and the validation that are too long are chosen.
    struct Poisoned {
        epoch: usize,
        validation: usize,
        seen: Cell<usize>,
        /// Epochs that were asked for.
        epochs: Cell<usize>,
        score: Option<f64>,
        good: Vec<Batch>,
        bad: Vec<Batch>,
    }

    impl Poisoned {
        fn at(epoch: usize, validation: usize) -> Self {
            Self {
                epoch,
                validation,
                seen: Cell::new(0),
                epochs: Cell::new(0),
                score: None,
                good: vec![batch(POISONED)],
                bad: vec![batch(POISONED + 1)],
            }
        }
    }

    const NEVER: usize = usize::MAX;

    impl Data for Poisoned {
        fn epoch(&self, epoch: usize) -> Vec<Batch> {
            self.epochs.set(self.epochs.get().max(epoch + 1));
            if epoch == self.epoch {
                &self.bad
            } else {
                &self.good
            }
            .clone()
        }

        fn validation(&self) -> &[Batch] {
            let now = self.seen.replace(self.seen.get() + 1);
            if now == self.validation {
                &self.bad
            } else {
                &self.good
            }
        }

        fn score(&self, _: &Model) -> Result<Option<f64>> {
            Ok(self.score)
        }
    }

    fn config() -> TrainConfig {
        TrainConfig {
            checkpoint_every: 1,
            validate_every: 1,
            warmup: 0,
            ..TrainConfig::generation(1e-3, 6)
        }
    }

    fn run(data: &Poisoned, config: &TrainConfig, dir: &Path) -> Result<usize> {
        Ok(train(&mut model(), data, config, Some(dir), &mut |_| {})?.steps)
    }

    /// Every tensor that a run has left on disk is finite, and the files are `expected` in number.
    fn all_is_finite(dir: &Path, expected: usize) {
        let files = [checkpoint::FILE, "best/adapter_model.safetensors"];
        let files: Vec<_> = files
            .iter()
            .map(|f| dir.join(f))
            .filter(|f| f.exists())
            .collect();
        assert_eq!(files.len(), expected);
        for file in files {
            for (name, t) in candle_core::safetensors::load(&file, &Device::Cpu).unwrap() {
                let all: Vec<f32> = t.flatten_all().unwrap().to_vec1().unwrap();
                assert!(
                    all.iter().all(|x| x.is_finite()),
                    "{}: {name}",
                    file.display()
                );
            }
        }
    }

    #[test]
    fn a_step_or_a_validation_that_is_not_finite_ends_the_run_and_what_was_good_stays() {
        for form in forms() {
            let each = |data: Poisoned, step: usize, what: &str, files: usize| {
                let dir = tempfile::tempdir().unwrap();
                let found = form(&|| run(&data, &config(), dir.path()));
                let message = found.unwrap_err().to_string();
                for word in [
                    &format!("step {step}: {what}"),
                    "learning rate of",
                    "a tenth",
                ] {
                    assert!(message.contains(word), "no `{word}` in: {message}");
                }
                assert_eq!(
                    message.contains("nothing was saved"),
                    files == 0,
                    "{message}"
                );
                assert_eq!(message.contains("best"), files > 0, "{message}");
                all_is_finite(dir.path(), files);
            };
            each(Poisoned::at(0, NEVER), 1, "the training loss is", 0);
            each(Poisoned::at(3, NEVER), 4, "the training loss is", 2);
            each(Poisoned::at(NEVER, 0), 0, "the validation loss is", 0);
            each(Poisoned::at(NEVER, 1), 1, "the validation loss is", 0);
            each(Poisoned::at(NEVER, 4), 4, "the validation loss is", 2);
            let score = Some(f64::NAN);
            let data = Poisoned {
                score,
                ..Poisoned::at(NEVER, NEVER)
            };
            each(data, 0, "the validation score is", 0);
        }
        // the control: without a batch that is too long the same run ends well
        let dir = tempfile::tempdir().unwrap();
        let data = Poisoned::at(NEVER, NEVER);
        assert_eq!(run(&data, &config(), dir.path()).unwrap(), 6);
        all_is_finite(dir.path(), 2);
    }

    /// On a card losses are read every ten steps and before a checkpoint, so that the step that was
    /// bad is known when others have followed it.
    #[test]
    fn on_a_card_the_bad_step_is_named_and_the_last_good_checkpoint_stays() {
        let mut steps_begun = Vec::new();
        for form in forms() {
            let dir = tempfile::tempdir().unwrap();
            let config = TrainConfig {
                checkpoint_every: 10,
                validate_every: 25,
                warmup: 0,
                ..TrainConfig::generation(1e-3, 25)
            };
            let bad = Poisoned::at(12, NEVER);
            let message = form(&|| run(&bad, &config, dir.path()))
                .unwrap_err()
                .to_string();
            assert!(
                message.contains("step 13: the training loss is"),
                "{message}"
            );
            assert!(message.contains(checkpoint::FILE), "{message}");
            let saved =
                checkpoint::load(dir.path(), &mut model(), &mut AdamW::new(config.optimiser));
            assert_eq!(saved.unwrap().unwrap().step, 10);
            all_is_finite(dir.path(), 1);
            steps_begun.push(bad.epochs.get());
            // the control: without the bad batch the same run ends well
            let (good, dir) = (Poisoned::at(NEVER, NEVER), tempfile::tempdir().unwrap());
            assert_eq!(form(&|| run(&good, &config, dir.path())).unwrap(), 25);
        }
        assert_eq!(steps_begun, [13, 13, 20][..steps_begun.len()]);
    }

    #[test]
    fn a_tensor_that_is_not_finite_is_found_wherever_it_stands() {
        let place = Place {
            step: 3,
            learning_rate: 0.5,
            dir: None,
        };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 7, 63] {
                let mut values = [f32::MAX; 64];
                let of = |v: &[f32]| Tensor::new(v, &Device::Cpu).unwrap();
                assert!(place.tensor("w", &of(&values)).is_ok());
                values[at] = bad;
                let message = place.tensor("w", &of(&values)).unwrap_err().to_string();
                assert!(message.contains("step 3: a number in w"), "{message}");
            }
        }
    }

    #[test]
    fn a_loss_far_above_its_start_is_said_and_one_near_it_is_not() {
        for (loss, start, far) in [
            (8_988_909.0, 4.79, true),
            (4.9, 4.79, false),
            (1.3, 0.6, false),
            (2.0, 0.7, true),
        ] {
            assert_eq!(strayed(loss, start), far, "{loss} {start}");
        }
        let said = |learning_rate| {
            let mut model = tiny(false, Method::Full);
            let config = TrainConfig {
                learning_rate,
                ..config()
            };
            let mut said = 0;
            train(&mut model, &Apart::new(), &config, None, &mut |e| {
                said += usize::from(matches!(e, Event::Strayed { .. }));
            })
            .unwrap();
            said
        };
        assert!(said(10.0) > 0);
        assert_eq!(said(1e-3), 0);
    }

    /// Validation on what training never sees.
    struct Apart([Vec<Batch>; 2]);

    impl Apart {
        fn new() -> Self {
            let row = |ids: [u32; 4]| {
                let labels = ids.iter().map(|id| i64::from(*id)).collect();
                Batch::pack(&[ids.to_vec()], None, Some(&[labels]))
            };
            Self([vec![row([3, 4, 5, 6])], vec![row([17, 9, 12, 8])]])
        }
    }

    impl Data for Apart {
        fn epoch(&self, _: usize) -> Vec<Batch> {
            self.0[0].clone()
        }

        fn validation(&self) -> &[Batch] {
            &self.0[1]
        }
    }

    #[test]
    fn settings_out_of_their_ranges_are_refused_by_name() {
        type Change = fn(&mut TrainConfig);
        let changes: [(&str, Change); 9] = [
            ("learning_rate", |c| c.learning_rate = f64::NAN),
            ("learning_rate", |c| c.learning_rate = -1.0),
            ("dropout", |c| c.dropout = 1.0),
            ("label_smoothing", |c| c.label_smoothing = 2.0),
            ("accumulation", |c| c.accumulation = 0),
            ("optimiser.weight_decay", |c| {
                c.optimiser.weight_decay = -1.0
            }),
            ("checkpoint_every", |c| c.checkpoint_every = 0),
            ("patience", |c| c.patience = Some(0)),
            ("warmup", |c| c.warmup = 7),
        ];
        let path = Path::new("run.json");
        assert!(config().check(path).is_ok());
        for (field, change) in changes {
            let mut wrong = config();
            change(&mut wrong);
            let message = wrong.check(path).unwrap_err().to_string();
            assert!(
                message.contains(&format!("run.json: field `{field}`")),
                "{message}"
            );
        }
    }
}
