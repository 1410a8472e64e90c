//! An endpoint for agents that quotes the key it was given, whatever it answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What is answered, in turn: refused, not taken, no chat completion, refused by the model, not available.
pub(super) const STATUSES: [&str; 5] =
    ["401 Unauthorized", "400 Bad Request", "200 OK", "200 OK", "503 Service Unavailable"];

/// A running endpoint; its thread ends with the process.
pub(super) struct Quoting {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
}

impl Quoting {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                drop(answer(client, &counter));
            }
        });
        Self { address, calls }
    }

    /// By a name, so that it is reached without the proxy.
    pub(super) fn base_url(&self) -> String {
        format!("http://localhost:{}/v1", self.address.port())
    }

    /// How often it was asked with a key.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

fn answer(mut client: TcpStream, calls: &AtomicUsize) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    // The body ends with the array's object, and nothing follows it.
    while !request.ends_with(b"}") {
        match client.read(&mut buffer)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&buffer[..count]),
        }
    }
    let text = String::from_utf8_lossy(&request);
    let key = text.lines().find_map(|line| line.split_once("Bearer ")).unwrap_or_default().1;
    let n = calls.fetch_add(1, Ordering::Relaxed) % STATUSES.len();
    let body = match n {
        3 => format!("{{\"choices\":[{{\"message\":{{\"content\":null,\"refusal\":\"{key}\"}}}}]}}"),
        _ => format!("{{\"error\":{{\"message\":\"not {key}\"}}}}"),
    };
    write!(
        client,
        "HTTP/1.1 {}\r\nx-key: {key}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        STATUSES[n],
        body.len()
    )
}
