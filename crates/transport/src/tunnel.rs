//! Asking a proxy for a connection to somebody else (`CONNECT`, RFC 9110 §9.3.6).

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BufMut;
use moorline_channel::core::Secret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::headers::USER_AGENT;

/// The longest answer taken, in bytes.
const HEAD_LIMIT: usize = 8 << 10;

/// Why the proxy does not connect us. Its own words are not repeated: nobody knows what is in them (F-090).
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("status 407: it asks for credentials")]
    Credentials,
    #[error("status 407: it does not accept our credentials")]
    WrongCredentials,
    #[error("status {0} instead of a connection")]
    Status(u16),
    #[error("its answer is not that of an HTTP proxy")]
    NotHttp,
    #[error("its answer is longer than {HEAD_LIMIT} bytes")]
    TooLong,
    #[error("it ended the connection without an answer")]
    Ended,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Makes of a connection to a proxy one to `authority` (host and port). The time is limited by the caller.
pub(crate) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    authority: &str,
    credentials: Option<&Secret>,
) -> Result<(), Refused> {
    let authorization = credentials
        .map(|secret| format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(secret.expose())))
        .unwrap_or_default();
    let request = format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {USER_AGENT}\r\n{authorization}\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    match status(&head(stream).await?).ok_or(Refused::NotHttp)? {
        200..=299 => Ok(()),
        407 if credentials.is_some() => Err(Refused::WrongCredentials),
        407 => Err(Refused::Credentials),
        status => Err(Refused::Status(status)),
    }
}

/// The head of the answer, which nothing may follow: neither protocol that we speak through a tunnel lets the peer
/// begin.
async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, Refused> {
    const END: &[u8] = b"\r\n\r\n";
    let mut head = Vec::new();
    loop {
        let searched = head.len().saturating_sub(END.len() - 1);
        let room = HEAD_LIMIT - head.len();
        if room == 0 {
            return Err(Refused::TooLong);
        }
        if stream.read_buf(&mut (&mut head).limit(room)).await? == 0 {
            return Err(Refused::Ended);
        }
        let Some(end) = head[searched..].windows(END.len()).position(|window| window == END) else {
            continue;
        };
        // A refusal comes with a page for people; a success with nothing.
        let rest = head.split_off(searched + end + END.len());
        let connected = status(&head).is_some_and(|status| (200..300).contains(&status));
        return if connected && !rest.is_empty() { Err(Refused::NotHttp) } else { Ok(head) };
    }
}

/// The status of an HTTP/1 answer.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    let (digits, rest) = rest.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(rest.first(), Some(b' ' | b'\r')) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a proxy that says this, in pieces of `step`, and then ends the connection.
    async fn answered(said: &[u8], step: usize, credentials: Option<&Secret>) -> (String, String) {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
        let proxy = async {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(theirs.read_u8().await.unwrap());
            }
            for piece in said.chunks(step) {
                let _ = theirs.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            drop(theirs);
            String::from_utf8(asked).unwrap()
        };
        let opening = async {
            let opened = open(&mut ours, "platform.test:443", credentials).await;
            drop(ours);
            opened.map_or_else(|refused| refused.to_string(), |()| "open".to_owned())
        };
        futures_util::future::join(proxy, opening).await
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_answer_is_judged_by_its_status_and_bounded() {
        let endless = [b"HTTP/1.1 200 OK\r\n", &b"x".repeat(HEAD_LIMIT)[..]].concat();
        let longest = [b"HTTP/1.1 200 OK\r\nx: ", &b"x".repeat(HEAD_LIMIT - 24)[..], b"\r\n\r\n"].concat();
        assert_eq!(longest.len(), HEAD_LIMIT);
        let too_long = format!("its answer is longer than {HEAD_LIMIT} bytes");
        let not_http = "its answer is not that of an HTTP proxy";
        let ended = "it ended the connection without an answer";
        for (said, outcome) in [
            (&b"HTTP/1.1 200 Connection established\r\n\r\n"[..], "open"),
            (b"HTTP/1.0 200 \r\nvia: 1\r\n\r\n", "open"),
            (b"HTTP/1.1 204\r\n\r\n", "open"),
            (&longest, "open"),
            (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", not_http),
            (b"HTTP/1.1 407 No\r\n\r\n<html>", "status 407: it asks for credentials"),
            (b"HTTP/1.1 502 secret words\r\n\r\n", "status 502 instead of a connection"),
            (b"HTTP/1.1 100 Continue\r\n\r\n", "status 100 instead of a connection"),
            (b"HTTP/1.1 2000 OK\r\n\r\n", not_http),
            (b"HTTP/2 200\r\n\r\n", not_http),
            (b"SSH-2.0-x\r\n\r\n", not_http),
            (b"\x05\x00\r\n\r\n", not_http),
            (b"HTTP/1.1 200 OK\r\n\r", ended),
            (b"", ended),
            (&endless, &too_long),
        ] {
            for step in [1, 7, 1 << 20] {
                if step == 1 << 20 || !said.ends_with(b"OK\r\n\r\n") {
                    assert_eq!(answered(said, step, None).await.1, outcome, "{:?}", said.escape_ascii());
                }
            }
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_proxy_is_asked_for_host_and_port_and_gets_its_credentials() {
        let (asked, _) = answered(b"", 1, None).await;
        assert!(asked.starts_with("CONNECT platform.test:443 HTTP/1.1\r\nHost: platform.test:443\r\n"));
        assert!(!asked.contains("Authorization"), "{asked}");
        let secret = Secret::new("user:pässword");
        let (asked, outcome) = answered(b"HTTP/1.1 407 No\r\n\r\n", 1, Some(&secret)).await;
        assert!(asked.contains("Proxy-Authorization: Basic dXNlcjpww6Rzc3dvcmQ=\r\n"), "{asked}");
        assert_eq!(outcome, "status 407: it does not accept our credentials");
    }
}
