//! The app: its id, its secret, and where its platform is.

use std::fmt;
use std::time::Duration;

use moorline_core::{Fingerprint, Secret};
use sha2::{Digest, Sha256};
use url::Url;

/// A self-built app (protocol §0).
pub(crate) struct App {
    /// `cli_` and 16 hex digits.
    pub(crate) id: String,
    /// The app secret.
    pub(crate) secret: Secret,
    /// Where its platform is.
    pub(crate) base: Base,
    /// How soon a dead connection is to be noticed.
    pub(crate) rhythm: Rhythm,
}

/// How often a sign of life is asked for, and how long it may take (protocol §2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rhythm {
    /// The longest time between two pings.
    pub(crate) ping: Duration,
    /// How long a ping may stay unanswered, and a connection that has just opened silent (F-019).
    pub(crate) answer: Duration,
}

impl Default for Rhythm {
    /// The platform asks for a ping every 90 or 120 s and is known to bear more of them.
    fn default() -> Self {
        Self { ping: Duration::from_secs(30), answer: Duration::from_secs(10) }
    }
}

impl Rhythm {
    /// Notices a dead connection within `liveness`, or within the 40 s of the default if that is sooner.
    pub(crate) fn within(liveness: Duration) -> Self {
        let usual = Self::default();
        let answer = usual.answer.min(liveness / 2);
        Self { ping: usual.ping.min(liveness.saturating_sub(answer)), answer }
    }
}

impl App {
    /// Stands for id, secret and base: the same app on another base has other open_ids.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        // A NUL occurs in none of the three, so no two triples join to the same bytes.
        let joined = format!("{}\0{}\0{}", self.id, self.secret.expose(), self.base.url);
        Fingerprint::new(sha256_hex(joined.as_bytes()))
    }
}

/// The address that both the endpoint call and the REST calls hang off.
#[derive(Clone)]
pub(crate) struct Base {
    url: Url,
    /// The host, and the port when it is not the scheme's own.
    host: String,
}

/// Why an address cannot be a base.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BaseError {
    /// Not an address at all.
    #[error("it is not an address such as https://open.feishu.cn")]
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

    /// Whether the base is plain `http`, which is what permits `ws` addresses (F-095).
    pub(crate) fn is_plain(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// The address below the base. Segments are escaped one by one: some of them are ids that came from outside.
    pub(crate) fn at(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

/// The host of an address, with its port when that is not the scheme's own.
pub(crate) fn host_of(url: &Url) -> String {
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

/// SHA-256 in lower-case hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hang_off_the_base_whatever_its_path() {
        for (base, host, wanted) in [
            ("https://open.feishu.cn", "open.feishu.cn", "https://open.feishu.cn/a/b%2Fc"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080", "http://127.0.0.1:8080/a/b%2Fc"),
            ("https://proxy.test/feishu/", "proxy.test", "https://proxy.test/feishu/a/b%2Fc"),
        ] {
            let base = Base::parse(base).unwrap();
            assert_eq!(base.host(), host);
            assert_eq!(base.at(&["a", "b/c"]).as_str(), wanted);
        }
    }

    #[test]
    fn what_cannot_be_a_base_is_refused() {
        for (text, error) in [
            ("", BaseError::Unparsable),
            ("open.feishu.cn", BaseError::Unparsable),
            ("https://", BaseError::Unparsable),
            ("ws://open.feishu.cn", BaseError::Scheme),
            ("https://open.feishu.cn?a=1", BaseError::Extra),
            ("https://open.feishu.cn#a", BaseError::Extra),
            ("https://user:pass@open.feishu.cn", BaseError::Extra),
        ] {
            assert_eq!(Base::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn the_fingerprint_changes_with_each_part_and_shows_none() {
        let print = |id: &str, secret: &str, base: &str| {
            let app = App {
                id: id.to_owned(),
                secret: Secret::new(secret),
                base: Base::parse(base).unwrap(),
                rhythm: Rhythm::default(),
            };
            app.fingerprint()
        };
        let first = print("cli_a", "s1", "https://a.test");
        assert_eq!(first, print("cli_a", "s1", "https://a.test"));
        assert_eq!(first.as_str().len(), 64);
        for other in [
            print("cli_b", "s1", "https://a.test"),
            print("cli_a", "s2", "https://a.test"),
            print("cli_a", "s1", "https://b.test"),
        ] {
            assert_ne!(first, other);
        }
    }

    /// The two parts never add up to more than what was asked for (`[channels.<c>] liveness`).
    #[test]
    fn a_dead_connection_is_noticed_within_the_liveness_that_was_asked_for() {
        for (asked, ping, answer) in [
            (2_000, 1_000, 1_000),
            (15_000, 7_500, 7_500),
            (25_000, 15_000, 10_000),
            (600_000, 30_000, 10_000),
        ] {
            let rhythm = Rhythm::within(Duration::from_millis(asked));
            assert_eq!(
                rhythm,
                Rhythm { ping: Duration::from_millis(ping), answer: Duration::from_millis(answer) }
            );
            assert!(rhythm.ping + rhythm.answer <= Duration::from_millis(asked));
        }
    }
}
