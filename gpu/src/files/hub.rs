//! Models by name in the Hugging Face hub's cache, offline: `openai-community/gpt2` instead of a
//! path. Nothing is ever downloaded.
//!
//! ```text
//! <cache>/models--openai-community--gpt2/refs/main              the commit
//! <cache>/models--openai-community--gpt2/snapshots/<commit>/    the model's directory
//! ```
//!
//! The layout is that of huggingface_hub
//! (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>).

use std::env::var_os;
use std::path::{Path, PathBuf};

const MODELS: &str = "models--";

/// Where models lie: `HF_HUB_CACHE`, else `HF_HOME/hub`, else `XDG_CACHE_HOME/huggingface/hub`,
/// else `~/.cache/huggingface/hub`.
pub fn cache() -> PathBuf {
    let variable = |name: &str| var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    variable("HF_HUB_CACHE")
        .or_else(|| Some(variable("HF_HOME")?.join("hub")))
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("huggingface/hub")))
        .or_else(|| Some(std::env::home_dir()?.join(".cache/huggingface/hub")))
        .unwrap_or_default()
}

/// The directory of a model: the path itself where it exists; else the snapshot of the model `name`
/// or `name@revision` in a cache, the revision being `main` when none is given; else the path as it
/// was, which a reader will then report as missing.
pub fn directory(name: &str, cache: &Path) -> PathBuf {
    let path = PathBuf::from(name);
    match path.exists() {
        true => path,
        false => snapshot(name, cache).unwrap_or(path),
    }
}

fn snapshot(name: &str, cache: &Path) -> Option<PathBuf> {
    let (model, revision) = name.split_once('@').unwrap_or((name, "main"));
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains("--");
    if model.split('/').count() > 2 || !model.split('/').all(plain) || revision.contains("..") {
        return None;
    }
    let folder = cache.join(format!("{MODELS}{}", model.replace('/', "--")));
    let commit = std::fs::read_to_string(folder.join("refs").join(revision));
    let commit = commit.unwrap_or_else(|_| revision.to_string());
    let found = folder.join("snapshots").join(commit.trim());
    found.join("config.json").exists().then_some(found)
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
