//! Requests, made ready to be sent before anything is measured.

use crate::{Endpoint, LoadError, Protocol, Target};

/// One request, head and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) bytes: Box<[u8]>,
    /// Longest text in characters.
    pub(crate) longest: usize,
}

/// All the requests of a test, which are sent in turn, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payloads {
    pub(crate) list: Vec<Payload>,
    pub(crate) rows: usize,
    pub(crate) path: String,
    pub(crate) protocol: Option<Protocol>,
}

impl Payloads {
    /// Prepares `rows` texts a request, in their order; the last request is filled up with the first
    /// texts. `headers` go with every request.
    ///
    /// # Errors
    /// [`LoadError::Option`] without a text, for a header that is none, and for what the protocol
    /// cannot ask.
    pub fn new(
        target: &Target,
        endpoint: &Endpoint,
        headers: &[(String, String)],
        texts: &[String],
        rows: usize,
    ) -> Result<Self, LoadError> {
        let path = match target.path() {
            Some(path) => path.to_owned(),
            None => endpoint.path()?,
        };
        let option = |option, reason: String| LoadError::Option { option, reason };
        if texts.is_empty() || rows == 0 {
            return Err(option("rows", "there is no text to send".into()));
        }
        if path.contains(|c: char| !c.is_ascii_graphic()) {
            let reason = format!("{path:?} cannot be part of a path");
            return Err(option("model", reason));
        }
        let mut extra = String::new();
        for (name, value) in headers {
            let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            let ours = [
                "host",
                "content-length",
                "content-type",
                "transfer-encoding",
                "connection",
            ];
            let named = !name.is_empty() && name.chars().all(is_token);
            if !named || value.contains(|c: char| c.is_control() || !c.is_ascii()) {
                let reason = format!("{name}: {value} is no header; write NAME: VALUE");
                return Err(option("header", reason));
            }
            if ours.contains(&name.to_ascii_lowercase().as_str()) {
                let reason = format!("{name} is set by the load test itself");
                return Err(option("header", reason));
            }
            extra.push_str(&format!("{name}: {value}\r\n"));
        }
        let request = |start: usize| {
            let group: Vec<&str> = texts
                .iter()
                .cycle()
                .skip(start)
                .take(rows)
                .map(|t| &**t)
                .collect();
            let body = endpoint.body(&group).to_string();
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: batchwright-load/{}\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n{extra}\r\n",
                target.host(),
                env!("CARGO_PKG_VERSION"),
                body.len(),
            );
            Payload {
                bytes: [head.as_bytes(), body.as_bytes()].concat().into(),
                longest: group
                    .iter()
                    .map(|text| text.chars().count())
                    .max()
                    .unwrap_or(0),
            }
        };
        let list = (0..texts.len()).step_by(rows).map(request).collect();
        Ok(Self {
            list,
            rows,
            path,
            protocol: Some(endpoint.protocol),
        })
    }

    /// Texts in each request.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many different requests there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Never so: a test without requests cannot be made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Where they are sent.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(texts: &[&str], rows: usize) -> Payloads {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        let target = "http://h:1".parse().unwrap();
        let headers = [("X-Deadline".to_owned(), "20".to_owned())];
        Payloads::new(&target, &Endpoint::default(), &headers, &texts, rows).unwrap()
    }

    /// Texts would be left out, or requests be of different sizes, which changes what is measured.
    #[test]
    fn every_text_is_sent_and_every_request_is_full() {
        let made = payloads(&["a", "bü", "c"], 2);
        let bodies: Vec<String> = made
            .list
            .iter()
            .map(|payload| {
                let text = std::str::from_utf8(&payload.bytes).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                assert!(
                    head.starts_with("POST /embed HTTP/1.1\r\nhost: h:1\r\n"),
                    "{head}"
                );
                assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
                assert!(head.ends_with("X-Deadline: 20"));
                body.to_owned()
            })
            .collect();
        assert_eq!(
            bodies,
            [r#"{"texts":["a","bü"]}"#, r#"{"texts":["c","a"]}"#]
        );
        assert_eq!(made.list[0].longest, 2);
        assert_eq!(payloads(&["a"], 3).len(), 1);
    }

    /// One header could smuggle in another, or a second request.
    #[test]
    fn headers_are_checked() {
        let target = "http://h:1".parse().unwrap();
        for (name, value) in [("a b", "c"), ("", "c"), ("a", "b\r\nc: d"), ("Host", "x")] {
            let headers = [(name.to_owned(), value.to_owned())];
            let texts = ["t".to_owned()];
            let made = Payloads::new(&target, &Endpoint::default(), &headers, &texts, 1);
            assert!(made.is_err(), "{name}: {value}");
        }
    }
}
