//! Headers between the two major versions of the `http` crate: awc speaks 0.2, everything of ours 1.x.

use awc::http::header as old;
use http::header as new;
use http::{HeaderMap, HeaderName, HeaderValue};

/// How we introduce ourselves, unless the caller does.
pub(crate) const USER_AGENT: &str = concat!("moorline/", env!("CARGO_PKG_VERSION"));

/// The headers to send for a caller's. Those that frame the message are ours to write: a wrong one would let two
/// parties disagree on where a message ends.
pub(crate) fn outgoing(headers: &HeaderMap) -> Vec<(old::HeaderName, old::HeaderValue)> {
    let ours =
        [new::HOST, new::CONTENT_LENGTH, new::TRANSFER_ENCODING, new::CONNECTION, new::UPGRADE, new::EXPECT];
    let mut converted: Vec<_> = headers
        .iter()
        .filter(|(name, _)| !ours.contains(name))
        .filter_map(|(name, value)| {
            let name = old::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
            Some((name, old::HeaderValue::from_bytes(value.as_bytes()).ok()?))
        })
        .collect();
    if !headers.contains_key(new::USER_AGENT) {
        converted.push((old::USER_AGENT, old::HeaderValue::from_static(USER_AGENT)));
    }
    converted
}

/// The headers of an answer. Both versions accept the same bytes, so none is lost.
pub(crate) fn incoming(headers: &old::HeaderMap) -> HeaderMap {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_bytes_and_framing_is_ours() {
        let mut headers = HeaderMap::new();
        let bytes = HeaderValue::from_bytes(&[0xff, 0x80, b'\t', b' ', b'~']).unwrap();
        headers.append("x-raw", bytes.clone());
        headers.append("x-raw", HeaderValue::from_static("second"));
        headers.append("content-length", HeaderValue::from_static("7"));
        headers.append("host", HeaderValue::from_static("elsewhere"));
        let mut old = old::HeaderMap::new();
        for (name, value) in outgoing(&headers) {
            old.append(name, value);
        }
        assert!(!old.contains_key("content-length") && !old.contains_key("host"));
        assert_eq!(old.get("user-agent").unwrap(), USER_AGENT);
        let back = incoming(&old);
        assert_eq!(
            back.get_all("x-raw").iter().collect::<Vec<_>>(),
            [&bytes, &HeaderValue::from_static("second")]
        );
    }
}
