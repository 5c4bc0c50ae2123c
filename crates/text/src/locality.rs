//! Whether tokens far from a cut are the same as if the text had not been cut.

use serde_json::Value;

/// What a tokenizer promises about the beginning of a text when its end changes (and the other way).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locality {
    /// Words are tokenised one by one and every rewriting looks at near characters alone, so that a
    /// part of the text which ends at a space has the same tokens as within the whole.
    Words,
    /// No such promise: only the whole text gives the right tokens.
    Whole,
}

impl Locality {
    /// Reads it off the normaliser and the pre-tokeniser, as they stand in `tokenizer.json`.
    pub(crate) fn of(normalizer: Option<&Value>, pre_tokenizer: Option<&Value>) -> Locality {
        let near = normalizer.is_none_or(rewrites_nearby);
        let words = pre_tokenizer.is_some_and(|pre| splits_nearby(pre) && splits_at_spaces(pre));
        if near && words {
            Locality::Words
        } else {
            Locality::Whole
        }
    }
}

fn kind(part: &Value) -> &str {
    part.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn members<'a>(part: &'a Value, name: &str) -> &'a [Value] {
    part.get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn rewrites_nearby(part: &Value) -> bool {
    match kind(part) {
        "Sequence" => members(part, "normalizers").iter().all(rewrites_nearby),
        "BertNormalizer" | "NFC" | "NFD" | "NFKC" | "NFKD" | "Nmt" | "Lowercase" | "Strip"
        | "StripAccents" | "Precompiled" | "Prepend" | "ByteLevel" => true,
        "Replace" => match part
            .get("pattern")
            .and_then(|p| p.get("Regex"))
            .and_then(Value::as_str)
        {
            // Anchors, look-around and wildcards can see the whole text.
            Some(regex) => !["^", "$", ".", "(?", "\\A", "\\z", "\\Z"]
                .iter()
                .any(|s| regex.contains(s)),
            None => true,
        },
        _ => false,
    }
}

fn splits_nearby(part: &Value) -> bool {
    match kind(part) {
        "Sequence" => members(part, "pretokenizers").iter().all(splits_nearby),
        "BertPreTokenizer" | "Whitespace" | "WhitespaceSplit" | "ByteLevel" | "Metaspace"
        | "Punctuation" | "Digits" => true,
        _ => false,
    }
}

fn splits_at_spaces(part: &Value) -> bool {
    let flag = |name| part.get(name).and_then(Value::as_bool).unwrap_or(true);
    match kind(part) {
        "Sequence" => members(part, "pretokenizers").iter().any(splits_at_spaces),
        "BertPreTokenizer" | "Whitespace" | "WhitespaceSplit" => true,
        "ByteLevel" => flag("use_regex"),
        "Metaspace" => flag("split"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Without it a tokenizer that needs the whole text would be given a part, and tokens be wrong.
    #[test]
    fn only_tokenizers_that_work_word_by_word_are_trusted() {
        let metaspace = json!({"type": "Metaspace", "split": true});
        let cases = [
            (
                Some(json!({"type": "BertNormalizer"})),
                Some(json!({"type": "BertPreTokenizer"})),
                true,
            ),
            (
                None,
                Some(json!({"type": "ByteLevel", "use_regex": true})),
                true,
            ),
            (
                None,
                Some(json!({"type": "ByteLevel", "use_regex": false})),
                false,
            ),
            (
                None,
                Some(json!({"type": "Metaspace", "split": false})),
                false,
            ),
            (
                Some(json!({"type": "Sequence", "normalizers": [
                    {"type": "Precompiled"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}}]})),
                Some(json!({"type": "Sequence", "pretokenizers": [
                    {"type": "WhitespaceSplit"}, {"type": "Metaspace"}]})),
                true,
            ),
            (
                Some(json!({"type": "Replace", "pattern": {"Regex": "^a"}})),
                Some(metaspace),
                false,
            ),
            (
                Some(json!({"type": "Unheard"})),
                Some(json!({"type": "BertPreTokenizer"})),
                false,
            ),
            (
                None,
                Some(json!({"type": "Split", "pattern": {"Regex": "x"}})),
                false,
            ),
            (None, None, false),
        ];
        let mut table = testing::CaseTable::new("windows are used only where tokens stay the same");
        for (normalizer, pre, words) in cases {
            let got = Locality::of(normalizer.as_ref(), pre.as_ref());
            let want = if words {
                Locality::Words
            } else {
                Locality::Whole
            };
            table.equal(format!("{normalizer:?} {pre:?}"), &got, &want);
        }
        table.finish();
    }
}
