//! Models and data sets by name in the Hugging Face hub's cache, offline: `openai-community/gpt2`
//! instead of a path. Nothing is ever downloaded.
//!
//! ```text
//! <cache>/models--openai-community--gpt2/refs/main              the commit
//! <cache>/models--openai-community--gpt2/snapshots/<commit>/    the model's directory
//! <cache>/datasets--nyu-mll--glue/…                             the same of a data set
//! ```
//!
//! The layout is that of huggingface_hub
//! (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>).

use std::env::var_os;
use std::path::{Path, PathBuf};

const MODELS: &str = "models--";
const DATA_SETS: &str = "datasets--";

/// Where models lie: `HF_HUB_CACHE`, else `HF_HOME/hub`, else `XDG_CACHE_HOME/huggingface/hub`,
/// else `~/.cache/huggingface/hub`.
pub fn cache() -> PathBuf {
    let home = || cache_home().map(|home| home.join("hub"));
    variable("HF_HUB_CACHE").or_else(home).unwrap_or_default()
}

fn variable(name: &str) -> Option<PathBuf> {
    var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

fn cache_home() -> Option<PathBuf> {
    variable("HF_HOME")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("huggingface")))
        .or_else(|| Some(std::env::home_dir()?.join(".cache/huggingface")))
}

/// The directory of a model: the path itself where it exists; else the snapshot of the model `name`
/// or `name@revision` in a cache, the revision being `main` when none is given; else the path as it
/// was, which a reader will then report as missing.
pub fn directory(name: &str, cache: &Path) -> PathBuf {
    let path = PathBuf::from(name);
    let found = || snapshot(MODELS, name, cache).filter(|dir| dir.join("config.json").exists());
    match path.exists() {
        true => path,
        false => found().unwrap_or(path),
    }
}

/// Where a data set of that name may lie: its snapshot in the hub's cache, and what the library
/// `datasets` has made of it in its own.
pub fn data_sets(name: &str, cache: &Path, datasets: &Path) -> Vec<PathBuf> {
    let made = Some(datasets.join(name.replace('/', "___"))).filter(|dir| dir.is_dir());
    let plain = !name.is_empty() && !name.contains("..");
    let found = snapshot(DATA_SETS, name, cache).into_iter().chain(made);
    found.filter(|_| plain).collect()
}

/// Where the library `datasets` keeps what it has made: `HF_DATASETS_CACHE`, else
/// `HF_HOME/datasets`, else `XDG_CACHE_HOME/huggingface/datasets`, else
/// `~/.cache/huggingface/datasets`.
pub fn datasets_cache() -> PathBuf {
    let home = || cache_home().map(|home| home.join("datasets"));
    variable("HF_DATASETS_CACHE")
        .or_else(home)
        .unwrap_or_default()
}

fn snapshot(kind: &str, name: &str, cache: &Path) -> Option<PathBuf> {
    let (model, revision) = name.split_once('@').unwrap_or((name, "main"));
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains("--");
    if model.split('/').count() > 2 || !model.split('/').all(plain) || revision.contains("..") {
        return None;
    }
    let folder = cache.join(format!("{kind}{}", model.replace('/', "--")));
    let commit = std::fs::read_to_string(folder.join("refs").join(revision));
    let commit = commit.unwrap_or_else(|_| revision.to_string());
    let found = folder.join("snapshots").join(commit.trim());
    found.is_dir().then_some(found)
}

/// A directory as adapters call it: the model's name where it is a snapshot of a hub's cache, else
/// the path.
pub fn name(directory: &Path) -> String {
    let parts: Vec<_> = directory.iter().filter_map(|p| p.to_str()).collect();
    match parts.as_slice() {
        [.., folder, "snapshots", _] if folder.starts_with(MODELS) => {
            folder[MODELS.len()..].replace("--", "/")
        }
        _ => directory.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    fn model(cache: &Path, folder: &str, commit: &str, reference: Option<&str>) -> PathBuf {
        let dir = cache.join(folder).join("snapshots").join(commit);
        create_dir_all(&dir).unwrap();
        write(dir.join("config.json"), "{}").unwrap();
        if let Some(r) = reference {
            create_dir_all(cache.join(folder).join("refs")).unwrap();
            write(cache.join(folder).join("refs").join(r), commit).unwrap();
        }
        dir
    }

    #[test]
    fn a_name_is_its_references_snapshot_and_back() {
        let cache = tempfile::tempdir().unwrap();
        let main = model(cache.path(), "models--o--m", "abc", Some("main"));
        let other = model(cache.path(), "models--o--m", "def", Some("v2"));
        let bare = model(cache.path(), "models--gpt2", "123", Some("main"));
        for (given, found) in [
            ("o/m", &main),
            ("o/m@v2", &other),
            ("o/m@def", &other),
            ("gpt2", &bare),
        ] {
            assert_eq!(&directory(given, cache.path()), found, "{given}");
        }
        assert_eq!(name(&main), "o/m");
        assert_eq!(name(&bare), "gpt2");
        assert_eq!(name(Path::new("backbones/o/m")), "backbones/o/m");
    }

    #[test]
    fn data_sets_have_folders_of_their_own() {
        let cache = tempfile::tempdir().unwrap();
        let found = model(cache.path(), "datasets--o--d", "abc", Some("main"));
        model(cache.path(), "models--o--m", "abc", Some("main"));
        let made = tempfile::tempdir().unwrap();
        let of = |name: &str| data_sets(name, cache.path(), made.path());
        assert_eq!(of("o/d"), std::slice::from_ref(&found));
        assert!(of("o/m").is_empty() && of("").is_empty() && of("..").is_empty());
        create_dir_all(made.path().join("o___d")).unwrap();
        assert_eq!(of("o/d"), [found, made.path().join("o___d")]);
        assert_eq!(directory("o/d", cache.path()), PathBuf::from("o/d"));
    }

    #[test]
    fn what_is_not_there_stays_a_path_and_a_directory_comes_first() {
        let cache = tempfile::tempdir().unwrap();
        model(cache.path(), "models--o--m", "abc", None);
        for given in ["o/m", "o/n", "a/b/c", "../o", "o/m@../../x", ""] {
            assert_eq!(directory(given, cache.path()), PathBuf::from(given));
        }
        let real = cache.path().to_str().unwrap();
        assert_eq!(directory(real, cache.path()), cache.path());
    }
}
