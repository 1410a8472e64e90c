//! Requests as nobody's client writes them: every byte is the test's own.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One request, in the order in which it is sent.
#[derive(Debug, Clone)]
pub(super) struct Request {
    method: String,
    target: String,
    version: &'static str,
    headers: Vec<(String, String)>,
    body: String,
    is_finished: bool,
    patience: Duration,
}

/// An answer, and whatever came after it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
    pub(super) followed_by: String,
}

impl Request {
    pub(super) fn new(method: &str, target: &str) -> Self {
        let (method, target, version) = (method.to_owned(), target.to_owned(), "HTTP/1.1");
        Self {
            method,
            target,
            version,
            headers: Vec::new(),
            body: String::new(),
            is_finished: true,
            patience: Duration::from_millis(20),
        }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(given, _)| given != name);
        self
    }

    pub(super) fn target(mut self, target: String) -> Self {
        self.target = target;
        self
    }

    pub(super) fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    pub(super) fn body(mut self, body: String) -> Self {
        self.body = body;
        self
    }

    /// A body with what belongs to it.
    pub(super) fn json(self, body: &str) -> Self {
        let request = self.without("content-type").without("content-length").body(body.to_owned());
        request.header("content-type", "application/json").header("content-length", body.len().to_string())
    }

    /// How long to wait for more when there is an answer.
    pub(super) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Without the line that ends the head.
    pub(super) fn unfinished(mut self) -> Self {
        self.is_finished = false;
        self
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}\r\n", self.method, self.target, self.version)?;
        for (name, value) in &self.headers {
            write!(f, "{name}: {value}\r\n")?;
        }
        if self.is_finished { write!(f, "\r\n{}", self.body) } else { Ok(()) }
    }
}

impl Answer {
    /// The value of a header that is there once.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        values.next().filter(|_| values.next().is_none())
    }
}

/// Sends on a connection of its own and reads until the other side closes, or has answered and says nothing more.
/// `None` when it closed without an answer.
pub(super) fn exchange(address: SocketAddr, request: &Request) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // It may be refused before all of it was written.
    drop(stream.write_all(request.to_string().as_bytes()));
    let mut received = Vec::new();
    let mut part = [0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut part) {
        received.extend_from_slice(&part[..read]);
        if answer(request, &received).is_some() {
            stream.set_read_timeout(Some(request.patience)).unwrap();
        }
    }
    answer(request, &received)
}

/// The first answer in what was received, once it is whole.
fn answer(request: &Request, received: &[u8]) -> Option<Answer> {
    let received = String::from_utf8_lossy(received);
    let (head, rest) = received.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let length = if request.method == "HEAD" { 0 } else { length };
    let (body, followed_by) = rest.split_at_checked(length)?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned(), followed_by: followed_by.to_owned() })
}
