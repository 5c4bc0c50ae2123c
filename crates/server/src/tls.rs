//! Certificates.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::server::ServerError;
use crate::settings::TlsFiles;

/// Speaks TLS 1.2 and 1.3, and HTTP/2 or 1.1 in it.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServerError> {
    let unusable = |path: &std::path::Path, problem: String| ServerError::Certificate {
        path: path.to_owned(),
        problem,
    };
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(&files.certificate, pem_words(&error, "certificate")))?;
    if certificates.is_empty() {
        let words = pem_words(&pem::Error::NoItemsFound, "certificate");
        return Err(unusable(&files.certificate, words));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unusable(&files.key, pem_words(&error, "private key")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            config
                .with_no_client_auth()
                .with_single_cert(certificates, key)
        })
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let certificate = files.certificate.display();
                unusable(
                    &files.key,
                    format!("the key does not belong to the certificate {certificate}"),
                )
            }
            error => unusable(&files.certificate, error.to_string()),
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What is wrong with a file that should hold a `what`.
fn pem_words(error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => format!(
            "there is no {what} in it; write it as PEM, a part that begins with -----BEGIN {}-----",
            match what {
                "certificate" => "CERTIFICATE",
                _ => "PRIVATE KEY",
            }
        ),
        error => format!("it is no PEM with a {what}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever has mixed two files up would look for the fault elsewhere.
    #[test]
    fn a_file_without_what_it_should_hold_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let pem = |kind: &str| format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
        let certificate = write("cert.pem", &pem("CERTIFICATE"));
        let key = write("key.pem", &pem("PRIVATE KEY"));
        let empty = write("empty.pem", "nothing\n");
        for (certificate, key, words) in [
            (&key, &key, "no certificate in it"),
            (&empty, &key, "no certificate in it"),
            (&certificate, &certificate, "no private key in it"),
            (&certificate, &empty, "no private key in it"),
        ] {
            let files = TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            };
            let error = acceptor(&files).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
