//! Tokenising for transformer models: encoding, truncation, prompts, character offsets.
