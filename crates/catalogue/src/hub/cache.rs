//! The hub's cache on disk.

use std::path::{Path, PathBuf};

use hf_hub::{Cache, Repo, RepoType};

use super::id::{HubId, is_commit};
use crate::error::SourceError;
use crate::progress::FetchProgress;
use crate::store::{Lock, sync_directory};
use crate::sums::write_whole;

/// `~/.cache/huggingface/hub`, or what the environment says.
#[derive(Clone, Debug)]
pub(crate) struct HubCache {
    cache: Cache,
}

impl HubCache {
    pub(crate) fn new(directory: PathBuf) -> HubCache {
        HubCache {
            cache: Cache::new(directory),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.cache.path()
    }

    fn repo(id: &HubId) -> Repo {
        Repo::with_revision(
            id.id().to_owned(),
            RepoType::Model,
            id.revision().to_owned(),
        )
    }

    fn folder(&self, id: &HubId) -> PathBuf {
        self.cache.path().join(HubCache::repo(id).folder_name())
    }

    fn reference(&self, id: &HubId) -> PathBuf {
        self.folder(id).join("refs").join(id.revision())
    }

    /// The commit that the revision was when last fetched; a commit is itself.
    pub(crate) fn commit(&self, id: &HubId) -> Option<String> {
        if is_commit(id.revision()) {
            return Some(id.revision().to_owned());
        }
        let text = std::fs::read_to_string(self.reference(id)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// The directory of a commit's files, there or not.
    pub(crate) fn snapshot(&self, id: &HubId, commit: &str) -> PathBuf {
        self.cache.repo(HubCache::repo(id)).pointer_path(commit)
    }

    /// The content of that sum, there or not.
    pub(crate) fn blob(&self, id: &HubId, sum: &str) -> PathBuf {
        self.folder(id).join("blobs").join(sum)
    }

    /// The key of a commit's receipt.
    pub(crate) fn receipt(id: &HubId, commit: &str) -> String {
        format!("{}--{commit}", HubCache::repo(id).folder_name())
    }

    /// Waits until no other process fetches that model into this cache.
    pub(crate) fn lock(
        &self,
        id: &HubId,
        progress: &dyn FetchProgress,
    ) -> Result<Lock, SourceError> {
        let folder = HubCache::repo(id).folder_name();
        Lock::take(
            &self
                .cache
                .path()
                .join(".locks")
                .join(folder)
                .join("batchwright.lock"),
            progress,
        )
    }

    /// Writes down which commit the revision is. Comes last: until then the revision is absent.
    pub(crate) fn set_commit(&self, id: &HubId, commit: &str) -> Result<(), SourceError> {
        if is_commit(id.revision()) {
            return Ok(());
        }
        let path = self.reference(id);
        let write = || {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            write_whole(&path, commit.as_bytes())
        };
        write().map_err(SourceError::disk(&path))
    }

    /// Makes `file` of a commit's snapshot show the blob of that sum.
    pub(crate) fn link(
        &self,
        id: &HubId,
        commit: &str,
        file: &str,
        sum: &str,
    ) -> Result<(), SourceError> {
        let blob = self.blob(id, sum);
        let link = self.snapshot(id, commit).join(file);
        let directory = link.parent().unwrap_or(Path::new("."));
        let make = || -> std::io::Result<()> {
            std::fs::create_dir_all(directory)?;
            // Beside its place and then renamed: a reader finds the old link, the new, or none.
            let bench = tempfile::Builder::new()
                .prefix(".link-")
                .tempdir_in(directory)?;
            let fresh = bench.path().join("link");
            // Up from <file>'s directory to the model's folder: snapshots, commit, and its depth.
            let up = "../".repeat(2 + file.matches('/').count());
            symlink_or_copy(&Path::new(&up).join("blobs").join(sum), &blob, &fresh)?;
            std::fs::rename(&fresh, &link)?;
            sync_directory(directory);
            Ok(())
        };
        make().map_err(SourceError::disk(&link))
    }
}

#[cfg(unix)]
fn symlink_or_copy(relative: &Path, _blob: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(relative, link)
}

/// Windows lets only some users make links; a hard link or a copy then serves.
#[cfg(not(unix))]
fn symlink_or_copy(_relative: &Path, blob: &Path, link: &Path) -> std::io::Result<()> {
    std::fs::hard_link(blob, link).or_else(|_| std::fs::copy(blob, link).map(|_| ()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python would not find what we fetched, nor we what Python fetched.
    #[test]
    fn the_layout_is_huggingface_hub_s() {
        let home = tempfile::tempdir().unwrap();
        let cache = HubCache::new(home.path().to_path_buf());
        let id = HubId::parse("o/n@v1").unwrap();
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(cache.commit(&id), None);
        let blob = home.path().join("models--o--n/blobs/abc");
        std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
        std::fs::write(&blob, "content").unwrap();
        for file in ["config.json", "1_Pooling/config.json"] {
            cache.link(&id, commit, file, "abc").unwrap();
            let link = home
                .path()
                .join("models--o--n/snapshots")
                .join(commit)
                .join(file);
            assert_eq!(std::fs::read_to_string(link).unwrap(), "content");
        }
        cache.set_commit(&id, commit).unwrap();
        let reference = home.path().join("models--o--n/refs/v1");
        assert_eq!(std::fs::read_to_string(reference).unwrap(), commit);
        assert_eq!(cache.commit(&id).as_deref(), Some(commit));
        std::fs::write(home.path().join("models--o--n/refs/v1"), "../../x").unwrap();
        assert_eq!(cache.commit(&id), None);
        let exact = HubId::parse(&format!("o/n@{commit}")).unwrap();
        assert_eq!(cache.commit(&exact).as_deref(), Some(commit));
    }
}
