//! One run of a study, before it is made.

use crate::run::RunConfig;
use std::path::PathBuf;

/// One run of a study.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its directory.
    pub dir: PathBuf,
    /// Its configuration.
    pub config: RunConfig,
}

impl Planned {
    /// Name of the method.
    pub fn method(&self) -> &str {
        &self.config.method
    }

    /// Seed.
    pub fn seed(&self) -> u64 {
        self.config.train.seed
    }

    /// The name of its directory without the seed: `long-prefix`.
    pub fn name(&self) -> String {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        let seed = format!("-seed{}", self.seed());
        name.trim_end_matches(&seed).into()
    }
}
