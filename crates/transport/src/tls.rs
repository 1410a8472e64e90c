//! Whom we trust, and with which cryptography.

use std::sync::Arc;

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// TLS could not be set up. The transport is not built: nothing is ever sent with fewer checks than asked for.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of [`Options::extra_roots`](crate::Options::extra_roots) is neither a DER certificate nor PEM text with
    /// at least one certificate.
    #[error("extra root certificate number {number} cannot be used ({reason}); no connection will be made")]
    Certificate {
        /// Counted from 1, as in the configuration.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS library refuses the setup.
    #[error("TLS cannot be set up ({0}); no connection will be made")]
    Setup(#[from] rustls::Error),
}

/// The one TLS setup for calls and WebSockets: ring, never the provider of the process; the Mozilla roots and ours.
///
/// Only HTTP/1.1 is offered. A WebSocket cannot be opened over h2 with awc. For calls it keeps a dead connection
/// private to the one call that found it: with h2, every call would share it until it is too old (F-023).
pub(crate) fn client_config(extra_roots: &[Bytes]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for (index, file) in extra_roots.iter().enumerate() {
        let refused = |reason: String| TlsError::Certificate { number: index + 1, reason };
        for certificate in certificates(file).map_err(refused)? {
            roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// All certificates of a PEM text, or the one DER certificate.
fn certificates(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    const PEM: &[u8] = b"-----BEGIN";
    if !file.windows(PEM.len()).any(|window| window == PEM) {
        return Ok(vec![CertificateDer::from(file.to_vec())]);
    }
    let found = CertificateDer::pem_slice_iter(file)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("not PEM: {error}"))?;
    if found.is_empty() { Err("no certificate in it".to_owned()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_cannot_be_used_is_named_and_refused() {
        let good = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert;
        let pem = Bytes::from(good.pem());
        let der = Bytes::from(good.der().to_vec());
        assert!(client_config(&[pem.clone(), der]).is_ok());
        for (bad, what) in [
            (Bytes::from_static(b"not a certificate"), "number 2"),
            (
                Bytes::from_static(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
                "no certificate",
            ),
        ] {
            let error = client_config(&[pem.clone(), bad]).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
