//! `owner/name@revision`.

use std::fmt;

use crate::error::FetchError;

/// A model on the hub: `owner/name`, or `owner/name@revision` with a branch, tag or commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HubId {
    id: String,
    revision: Option<String>,
}

impl HubId {
    /// Reads the form `owner/name` or `owner/name@revision`. Both parts become paths and
    /// addresses, so characters that mean something there are refused.
    ///
    /// # Errors
    /// [`FetchError::InvalidHubId`] says which.
    ///
    /// ```
    /// use batchwright_catalogue::HubId;
    /// let id = HubId::parse("sentence-transformers/all-MiniLM-L6-v2@main")?;
    /// assert_eq!(id.id(), "sentence-transformers/all-MiniLM-L6-v2");
    /// assert_eq!(id.revision(), "main");
    /// # Ok::<(), batchwright_catalogue::FetchError>(())
    /// ```
    pub fn parse(spec: &str) -> Result<HubId, FetchError> {
        let bad = |why| {
            Err(FetchError::InvalidHubId {
                spec: spec.to_owned(),
                why,
            })
        };
        let (id, revision) = match spec.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (spec, None),
        };
        let Some((owner, name)) = id.split_once('/') else {
            return bad("there is no slash");
        };
        for part in [owner, name] {
            if part.is_empty() {
                return bad("a part is empty");
            }
            if !part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            {
                return bad("only letters, digits, '.', '_' and '-' may stand in a part");
            }
            if part.starts_with(['.', '-']) || part.contains("..") || part.contains("--") {
                return bad("a part may not begin with '.' or '-', nor hold '..' or '--'");
            }
        }
        if let Some(revision) = revision {
            if revision.is_empty() {
                return bad("the revision after '@' is empty");
            }
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/+".contains(&b);
            if !revision.bytes().all(plain) {
                return bad("the revision holds a character that no branch, tag or commit has");
            }
            if revision
                .split('/')
                .any(|part| part.is_empty() || part.starts_with('.'))
            {
                return bad("a part of the revision is empty or begins with '.'");
            }
        }
        Ok(HubId {
            id: id.to_owned(),
            revision: revision.map(str::to_owned),
        })
    }

    /// `owner/name`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The branch, tag or commit; `main` unless another was named.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// For messages: a commit by its first eight digits.
    pub(crate) fn short(&self) -> String {
        match &self.revision {
            Some(commit) if is_commit(commit) => format!("{}@{}", self.id, &commit[..8]),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

/// Whether that is a whole git commit: 40 hexadecimal digits. It may then be part of a path.
pub(crate) fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

/// Whether that is a number of so many lower-case hexadecimal digits.
pub(crate) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hostile or mistyped id would become a path outside the cache or a strange address.
    #[test]
    fn ids_are_read_or_refused() {
        for (spec, id, revision) in [
            ("a/b", "a/b", "main"),
            (
                "BAAI/bge-small-en-v1.5@refs/pr/5",
                "BAAI/bge-small-en-v1.5",
                "refs/pr/5",
            ),
            ("a_1/b.c@v1.0", "a_1/b.c", "v1.0"),
        ] {
            let read = HubId::parse(spec).unwrap();
            assert_eq!((read.id(), read.revision()), (id, revision));
            assert_eq!(read.to_string(), spec);
        }
        for spec in [
            "a",
            "a/",
            "/b",
            "a/b/c",
            "../b",
            "a/..",
            "a/b@",
            "a/b@../x",
            "a/b@x/../y",
            "a/b@x y",
            "a b/c",
            "a/b?c",
            "a--b/c",
            "-a/b",
            "a/b@c@d",
            "a\\b/c",
            "a/ü",
        ] {
            let error = HubId::parse(spec).unwrap_err();
            assert!(
                matches!(error, FetchError::InvalidHubId { .. }),
                "{spec}: {error}"
            );
        }
    }
}
