//! An HTTP proxy that every connection goes through.

use std::fmt;

use moorline_channel::core::Secret;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::bypass;

/// An HTTP proxy. Calls and WebSockets, encrypted or not, go through it alike, by `CONNECT` (RFC 9110 §9.3.6): there
/// is no kind of connection that it is forgotten for, and no address is rewritten for its sake (F-010).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Name or IP address, the latter without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `user:password`, sent to the proxy alone (RFC 7617).
    pub credentials: Option<Secret>,
    /// Hosts that are connected to directly, written as in `NO_PROXY`:
    ///
    /// - `example.com`: the host and every name below it; `.example.com` or `*.example.com`: those below it only;
    /// - `192.0.2.7`, `::1`: the address; `10.0.0.0/8`, `fe80::/10`: the network. Only hosts that are written as
    ///   addresses are compared, because names are looked up by the proxy;
    /// - any of these with `:port`: this port only;
    /// - `*`: every host.
    ///
    /// Loopback is no exception: it is bypassed if it is listed.
    pub bypass: Vec<String>,
}

/// Not a proxy we can use. Nothing of what was given is repeated: it may hold a password (F-090).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// It is no address.
    #[error("the proxy must be written as http://host:port or http://user:password@host:port")]
    Malformed,
    /// It is an address of something else than an HTTP proxy.
    #[error("the proxy must begin with http://: it is spoken to in plain HTTP, and SOCKS is not spoken")]
    Scheme,
    /// Something follows the port: mostly a part of a password with `/`, `?` or `#` in it.
    #[error("nothing may follow the port of the proxy; write / ? # @ in a password as %2F %3F %23 %40")]
    Path,
    /// The user or the password cannot be sent.
    #[error("user and password of the proxy must be UTF-8 once decoded, and the user without a colon")]
    Credentials,
}

impl Proxy {
    /// Reads `http://[user[:password]@]host[:port]`, with `http://` optional and port 80 unless there is one. What
    /// is special in an address is percent-encoded in user and password. Nothing is bypassed yet.
    ///
    /// # Errors
    /// When it is anything else; the error shows nothing of it.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let text = text.trim();
        let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) }
            .map_err(|_| ProxyError::Malformed)?;
        if url.scheme() != "http" {
            return Err(ProxyError::Scheme);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(ProxyError::Path);
        }
        let host = match url.host().ok_or(ProxyError::Malformed)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let port = url.port_or_known_default().ok_or(ProxyError::Malformed)?;
        Ok(Self { host, port, credentials: credentials(&url)?, bypass: Vec::new() })
    }

    /// Whether connections to this host and port go through the proxy.
    pub(crate) fn carries(&self, host: &str, port: u16) -> bool {
        !self.bypass.iter().any(|entry| bypass::matches(entry, host, port))
    }
}

fn credentials(url: &Url) -> Result<Option<Secret>, ProxyError> {
    let decode = |text| percent_decode_str(text).decode_utf8().map_err(|_| ProxyError::Credentials);
    let (user, password) = (decode(url.username())?, decode(url.password().unwrap_or_default())?);
    if user.contains(':') {
        return Err(ProxyError::Credentials);
    }
    let any = !user.is_empty() || !password.is_empty();
    Ok(any.then(|| Secret::new(format!("{user}:{password}"))))
}

/// Host and port, as messages for people show it. Never the credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_with_and_without_credentials() {
        for (text, shown, credentials) in [
            ("http://proxy.example:3128", "proxy.example:3128", None),
            ("http://proxy.example:3128/", "proxy.example:3128", None),
            ("proxy.example:3128", "proxy.example:3128", None),
            ("HTTP://proxy.example", "proxy.example:80", None),
            ("http://192.0.2.1:8080", "192.0.2.1:8080", None),
            ("http://[2001:db8::1]:8080", "[2001:db8::1]:8080", None),
            ("http://user:hunter2@proxy.example:3128", "proxy.example:3128", Some("user:hunter2")),
            ("user:hunter2@proxy.example:3128", "proxy.example:3128", Some("user:hunter2")),
            ("http://us%40er:p%2F%3A%C3%BC%25@proxy.example:1", "proxy.example:1", Some("us@er:p/:ü%")),
            ("http://user@proxy.example:1", "proxy.example:1", Some("user:")),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!(
                (proxy.to_string().as_str(), proxy.credentials.as_ref().map(Secret::expose)),
                (shown, credentials),
                "{text}"
            );
            assert!(!format!("{proxy} {proxy:?}").contains("hunter2"), "{proxy:?}");
        }
    }

    /// F-090: whatever is wrong, and whichever part of the text the password was taken for.
    #[test]
    fn what_is_no_proxy_is_refused_without_being_repeated() {
        use ProxyError::{Credentials, Malformed, Path, Scheme};
        for (text, expected) in [
            ("", Malformed),
            ("http://", Malformed),
            ("http://user:s3cret@", Malformed),
            ("http://user:s3cret@host:port", Malformed),
            ("http://user:s3cret@host:99999", Malformed),
            ("http://user:s3cret@ho st:1", Malformed),
            ("https://user:s3cret@host:1", Scheme),
            ("socks5://user:s3cret@host:1", Scheme),
            ("s3cret://host:1", Scheme),
            ("http://host:1/s3cret", Path),
            ("http://user:1/s3cret@host:1", Path),
            ("http://user:1?s3cret@host:1", Path),
            ("http://user:1#s3cret@host:1", Path),
            ("http://us%3Aer:s3cret@host:1", Credentials),
            ("http://user:s3cret%FF@host:1", Credentials),
        ] {
            let error = Proxy::parse(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }
}
