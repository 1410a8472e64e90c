//! An address as awc takes it.

use awc::http::Uri;
use awc::http::header::HeaderValue;
use moorline_channel::{NetworkError, NetworkErrorKind};
use url::{Position, Url};

/// Where an exchange goes.
#[derive(Debug)]
pub(crate) struct Target {
    /// Always of scheme `http` and with a port: the client chosen by `secure` does the TLS. Without user info:
    /// credentials do not belong into addresses.
    pub(crate) uri: Uri,
    /// Over TLS?
    pub(crate) secure: bool,
    /// The `Host` header.
    pub(crate) host: HeaderValue,
    /// Host and port: all of the address that a message for people may contain (F-090).
    pub(crate) peer: String,
}

impl Target {
    /// Fails with an error that says that nothing was sent, because nothing can be.
    pub(crate) fn new(url: &Url, plain: &str, secure: &str) -> Result<Self, NetworkError> {
        let host = url.host_str().unwrap_or_default();
        let unusable = |what: &str| NetworkError::new(NetworkErrorKind::Connect, format!("{host}: {what}"));
        let secured = url.scheme() == secure;
        if !secured && url.scheme() != plain {
            return Err(unusable(&format!("the address is neither {plain} nor {secure}")));
        }
        let port = url.port_or_known_default().ok_or_else(|| unusable("the address has no port"))?;
        let peer = format!("{host}:{port}");
        let uri = Uri::builder()
            .scheme("http")
            .authority(peer.as_str())
            .path_and_query(&url[Position::BeforePath..Position::AfterQuery])
            .build()
            .map_err(|_| unusable("the address cannot be put into a request"))?;
        let shown = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let host = HeaderValue::from_str(&shown).map_err(|_| unusable("the host is not a header value"))?;
        Ok(Self { uri, secure: secured, host, peer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F-010: whatever a platform puts into an address arrives there as it is.
    #[test]
    fn path_and_query_are_taken_byte_for_byte() {
        let printable: String = (0x21..=0x7e_u8).map(char::from).filter(|c| *c != '#').collect();
        let url = Url::parse(&format!("wss://example.com/a%2Fb?x={printable}&y=%25%2B+&z=ü")).unwrap();
        let target = Target::new(&url, "ws", "wss").unwrap();
        assert_eq!(target.uri.path_and_query().unwrap().as_str(), &url.as_str()["wss://example.com".len()..]);
    }

    #[test]
    fn host_port_and_security_follow_the_address() {
        for (url, secure, host, peer) in [
            ("https://example.com/x", true, "example.com", "example.com:443"),
            ("https://example.com:8443/x", true, "example.com:8443", "example.com:8443"),
            ("http://[::1]:80/", false, "[::1]", "[::1]:80"),
            ("http://user:secret@example.com/", false, "example.com", "example.com:80"),
        ] {
            let target = Target::new(&Url::parse(url).unwrap(), "http", "https").unwrap();
            assert_eq!(
                (target.secure, target.host.to_str().unwrap(), target.peer.as_str()),
                (secure, host, peer)
            );
            assert!(!target.uri.to_string().contains("secret"));
        }
        let error =
            Target::new(&Url::parse("ftp://example.com/?secret").unwrap(), "http", "https").unwrap_err();
        assert_eq!(error.to_string(), "no connection: example.com: the address is neither http nor https");
    }
}
