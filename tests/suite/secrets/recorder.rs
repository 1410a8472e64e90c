//! Stands between the binary and the simulator, as a platform's address and as an HTTP proxy, and keeps what goes by:
//! that is how the test knows which tokens and tickets were handed out.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use parking_lot::Mutex;

/// A running recorder; its threads end with the process.
pub(super) struct Recorder {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    platform: SocketAddr,
    /// Answers of the platform, a connection each.
    answers: Mutex<Vec<Vec<u8>>>,
    tunnels: AtomicU32,
    refusals: AtomicU32,
}

impl Recorder {
    pub(super) fn start(platform: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            platform,
            answers: Mutex::default(),
            tunnels: AtomicU32::new(0),
            refusals: AtomicU32::new(0),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Self { address, shared }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections went through it as a proxy.
    pub(super) fn tunnels(&self) -> u32 {
        self.shared.tunnels.load(Ordering::Relaxed)
    }

    /// The next so many are refused, as with a wrong password.
    pub(super) fn refuse_tunnels(&self, count: u32) {
        self.shared.refusals.store(count, Ordering::Relaxed);
    }

    /// What the platform handed out so far: of which kind, and the text.
    pub(super) fn handed_out(&self) -> BTreeSet<(&'static str, String)> {
        let mut found = BTreeSet::new();
        for answer in self.shared.answers.lock().iter() {
            let text = String::from_utf8_lossy(answer);
            for (kind, mark, end) in [
                ("token", "\"tenant_access_token\":\"", '"'),
                ("ticket", "ticket=", '"'),
                ("access_key", "access_key=", '&'),
            ] {
                for after in text.split(mark).skip(1) {
                    let value = after.split([end, '&']).next().unwrap_or_default();
                    found.insert((kind, value.to_owned()));
                }
            }
        }
        // Baits are among the secrets already.
        found.retain(|(_, value)| value.len() >= 32);
        found
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if client.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let Some(target) = text.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
            let mut platform = TcpStream::connect(self.platform)?;
            platform.write_all(&head)?;
            return self.relay(client, platform);
        };
        let is_allowed = text.to_ascii_lowercase().contains("proxy-authorization: basic ");
        let refused =
            self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if refused.is_ok() || !is_allowed {
            return client.write_all(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"x\"\r\ncontent-length: 0\r\n\r\n",
            );
        }
        let platform = match TcpStream::connect(target) {
            Ok(platform) => platform,
            Err(_) => return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"),
        };
        self.tunnels.fetch_add(1, Ordering::Relaxed);
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        self.relay(client, platform)
    }

    /// Both ways until one of them ends.
    fn relay(&self, client: TcpStream, platform: TcpStream) -> std::io::Result<()> {
        let (from_client, to_client) = (client.try_clone()?, client);
        let (from_platform, to_platform) = (platform.try_clone()?, platform);
        let up = thread::spawn(move || drop(copy(from_client, to_platform, |_| {})));
        let mut kept = Vec::new();
        let outcome = copy(from_platform, to_client, |bytes| kept.extend_from_slice(bytes));
        self.answers.lock().push(kept);
        drop(up.join());
        outcome
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut seen: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let outcome = loop {
        match from.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Err(error) => break Err(error),
            Ok(count) => {
                seen(&buffer[..count]);
                if let Err(error) = to.write_all(&buffer[..count]) {
                    break Err(error);
                }
            }
        }
    };
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
    outcome
}
