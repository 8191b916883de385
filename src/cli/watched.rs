//! Tells when a file says something else than before.
//!
//! It is looked at every second, through links: a ConfigMap swaps a link above its files, editors put another file in the place of the
//! first, and of what happens in a bind mount or over NFS nobody hears. Invariant: what is told once is not told again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use xxhash_rust::xxh3::xxh3_64;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A file that is watched.
#[derive(Debug)]
pub(crate) struct Watched {
    /// `None`: there is none, and nothing is ever told.
    file: Option<PathBuf>,
    seen: Option<Seen>,
    said: Option<u64>,
}

/// What tells a file that was written again without being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    written: Option<SystemTime>,
}

impl Watched {
    /// From what it says now on.
    pub(crate) fn from_now(file: Option<&Path>) -> Self {
        let mut watched = Self { file: file.map(Path::to_owned), seen: None, said: None };
        watched.look();
        watched
    }

    /// Waits until it says something else; a file that is away says nothing. Dropped while it waits, it has lost nothing.
    pub(crate) async fn changed(&mut self) {
        loop {
            sleep(LOOK).await;
            if self.look() {
                return;
            }
        }
    }

    /// Whether it says something else than at the last look.
    pub(crate) fn look(&mut self) -> bool {
        let Some(file) = &self.file else { return false };
        let Ok(metadata) = std::fs::metadata(file) else { return false };
        let seen = Seen {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            written: metadata.modified().ok(),
        };
        if self.seen == Some(seen) {
            return false;
        }
        let Ok(text) = std::fs::read(file) else { return false };
        self.seen = Some(seen);
        let said = Some(xxh3_64(&text));
        std::mem::replace(&mut self.said, said) != said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_a_file_says_is_told_once_however_it_came_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("larder.yaml");
        fs::write(&file, "a").unwrap();
        let mut watched = Watched::from_now(Some(&file));
        assert!(!watched.look());
        fs::write(&file, "bb").unwrap();
        assert!(watched.look() && !watched.look());
        let other = dir.path().join("other");
        fs::write(&other, "ccc").unwrap();
        fs::rename(&other, &file).unwrap();
        assert!(watched.look() && !watched.look());
        fs::remove_file(&file).unwrap();
        assert!(!watched.look(), "away");
        fs::write(&file, "ccc").unwrap();
        assert!(!watched.look(), "and back as it was");
    }

    #[test]
    fn a_config_map_swaps_the_link_above_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let of = |name: &str, text: &str| {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("larder.yaml"), text).unwrap();
        };
        of("..1", "a");
        of("..2", "b");
        symlink("..1", dir.path().join("..data")).unwrap();
        let file = dir.path().join("larder.yaml");
        symlink("..data/larder.yaml", &file).unwrap();
        let mut watched = Watched::from_now(Some(&file));
        symlink("..2", dir.path().join("..tmp")).unwrap();
        fs::rename(dir.path().join("..tmp"), dir.path().join("..data")).unwrap();
        assert!(watched.look() && !watched.look());
    }

    #[test]
    fn where_there_is_no_file_nothing_is_told() {
        assert!(!Watched::from_now(None).look());
        assert!(!Watched::from_now(Some(Path::new("/nowhere/larder.yaml"))).look());
    }
}
