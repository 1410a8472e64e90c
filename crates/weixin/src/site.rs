//! Where the platform is, and how soon its silence counts.

use std::fmt;
use std::time::Duration;

use http::HeaderValue;
use sha2::{Digest, Sha256};
use url::Url;

/// What the configuration says of one account.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The API, until a login names another one (protocol §1).
    pub(crate) base: Base,
    /// Where media are kept.
    pub(crate) cdn: Base,
    /// `SKRouteTag`, for those who were given one.
    pub(crate) route_tag: Option<HeaderValue>,
    /// How soon a dead connection is to be noticed; `None` for as soon as two polls allow.
    pub(crate) liveness: Option<Duration>,
}

/// An address that calls hang off; it may have a path.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Base {
    url: Url,
    /// The host, and the port when it is not the scheme's own.
    host: String,
}

/// Why an address cannot be a base.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BaseError {
    /// Not an address at all.
    #[error("it is not an address such as https://ilinkai.weixin.qq.com")]
    Unparsable,
    /// Neither `http` nor `https`.
    #[error("its scheme must be http or https")]
    Scheme,
    /// Query, fragment, user or password: none of them would survive in a call, and the last are credentials.
    #[error("it must have no user, password, query or fragment")]
    Extra,
}

impl Base {
    /// Checks an address.
    ///
    /// # Errors
    /// When no call can be made from it.
    pub(crate) fn parse(text: &str) -> Result<Self, BaseError> {
        let url = Url::parse(text).map_err(|_| BaseError::Unparsable)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BaseError::Scheme);
        }
        let extra = url.query().is_some() || url.fragment().is_some();
        if extra || !url.username().is_empty() || url.password().is_some() {
            return Err(BaseError::Extra);
        }
        let host = host_of(&url);
        Ok(Self { url, host })
    }

    /// For pacing and for messages.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// As it is written.
    pub(crate) fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The address below the base, with one slash between the two.
    pub(crate) fn at(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// The base that the platform names instead of this one. What cannot be a base changes nothing, nor does one that
    /// would send over plain `http` what was meant to be encrypted (F-095).
    pub(crate) fn succeeded_by(&self, text: &str) -> Self {
        Self::parse(text).ok().filter(|other| self.trusts(&other.url)).unwrap_or_else(|| self.clone())
    }

    /// The base with another host in the place of this one, and without its path: what a redirection names (protocol
    /// §2.2). Anything but a bare host, with or without a port, is none.
    pub(crate) fn redirected_to(&self, host: &str) -> Option<Self> {
        let bare = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'));
        let base = Self::parse(&format!("{}://{host}", self.url.scheme())).ok()?;
        bare.then_some(base)
    }

    /// Whether an address is on this very host, and no less encrypted.
    pub(crate) fn covers(&self, url: &Url) -> bool {
        matches!(url.scheme(), "http" | "https") && host_of(url) == self.host && self.trusts(url)
    }

    fn trusts(&self, url: &Url) -> bool {
        url.scheme() == "https" || self.url.scheme() == "http"
    }
}

/// The host of an address, with its port when that is not the scheme's own.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

/// Bytes in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 in lower-case hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> Base {
        Base::parse(text).unwrap()
    }

    /// Protocol §1: exactly one slash, and a path prefix stays.
    #[test]
    fn addresses_hang_off_the_base_whatever_its_path() {
        for (text, host, wanted) in [
            ("https://a.test", "a.test", "https://a.test/ilink/bot/x"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080", "http://127.0.0.1:8080/ilink/bot/x"),
            ("https://a.test/weixin", "a.test", "https://a.test/weixin/ilink/bot/x"),
            ("https://a.test/weixin/", "a.test", "https://a.test/weixin/ilink/bot/x"),
        ] {
            let base = base(text);
            assert_eq!(base.host(), host);
            assert_eq!(base.at(&["ilink", "bot", "x"]).as_str(), wanted);
        }
    }

    #[test]
    fn what_cannot_be_a_base_is_refused() {
        for (text, error) in [
            ("", BaseError::Unparsable),
            ("a.test", BaseError::Unparsable),
            ("https://", BaseError::Unparsable),
            ("ws://a.test", BaseError::Scheme),
            ("https://a.test?a=1", BaseError::Extra),
            ("https://a.test#a", BaseError::Extra),
            ("https://user:pass@a.test", BaseError::Extra),
        ] {
            assert_eq!(Base::parse(text).unwrap_err(), error, "{text}");
        }
    }

    /// F-095.
    #[test]
    fn the_platform_may_name_another_base_and_no_weaker_one() {
        for (ours, theirs, wanted) in [
            ("https://a.test", "https://b.test/x", "https://b.test/x"),
            ("https://a.test", "http://b.test", "https://a.test/"),
            ("https://a.test", "", "https://a.test/"),
            ("https://a.test", "b.test", "https://a.test/"),
            ("https://a.test", "file:///etc/passwd", "https://a.test/"),
            ("http://127.0.0.1:9", "http://127.0.0.1:8", "http://127.0.0.1:8/"),
            ("http://127.0.0.1:9", "https://b.test", "https://b.test/"),
        ] {
            assert_eq!(base(ours).succeeded_by(theirs).as_str(), wanted, "{ours} {theirs}");
        }
    }

    #[test]
    fn a_redirection_is_to_a_bare_host() {
        let to = |base: &str, host: &str| {
            self::base(base).redirected_to(host).map(|base| base.as_str().to_owned())
        };
        assert_eq!(to("https://a.test/x", "b.test").as_deref(), Some("https://b.test/"));
        assert_eq!(to("http://127.0.0.1:9", "127.0.0.1:8").as_deref(), Some("http://127.0.0.1:8/"));
        for host in
            ["", "b.test/x", "u@b.test", "b.test?x", "b.test#x", "http://b.test", "b test", "b.test:x", ":8"]
        {
            assert_eq!(to("https://a.test", host), None, "{host}");
        }
    }

    #[test]
    fn only_the_same_host_is_covered() {
        let cdn = base("https://cdn.test/c2c");
        let covers = |text: &str| cdn.covers(&Url::parse(text).unwrap());
        assert!(covers("https://cdn.test/download?x=1") && covers("https://cdn.test:443/"));
        for other in
            ["http://cdn.test/", "https://cdn.test:8443/", "https://cdn.test.evil.test/", "file:///cdn.test"]
        {
            assert!(!covers(other), "{other}");
        }
        assert!(base("http://127.0.0.1:9").covers(&Url::parse("http://127.0.0.1:9/x").unwrap()));
    }
}
