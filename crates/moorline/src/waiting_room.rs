//! Between two attempts to start: callers are told to come again, instead of being left hanging.

use std::net::TcpListener;
use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::exit::Code;
use crate::signals::Signals;

/// Callers at a time; more wait in the socket's backlog.
const CALLERS: usize = 64;

/// How long one may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// The longest head of a request that is read.
const LONGEST_HEAD: usize = 8 << 10;

/// Waits for `span`. A signal ends it: then the process is to end with this code.
///
/// # Errors
/// When signals cannot be listened to.
pub fn wait(socket: Option<TcpListener>, span: Duration) -> Result<Option<Code>> {
    crate::talk(async {
        let mut signals = Signals::listen()?;
        let listener = socket.map(listen).transpose()?;
        let receiving = async {
            match listener {
                Some(listener) => receive(&listener).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(span) => Ok(None),
            asked = signals.end() => {
                tracing::info!("{asked} while waiting to start");
                Ok(Some(Code::Ok))
            }
            () = receiving => Ok(None),
        }
    })
}

fn listen(socket: TcpListener) -> std::io::Result<tokio::net::TcpListener> {
    socket.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(socket)
}

async fn receive(listener: &tokio::net::TcpListener) {
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            caller = listener.accept(), if callers.len() < CALLERS => match caller {
                Ok((caller, _)) => drop(callers.spawn(tokio::time::timeout(DEADLINE, answer(caller)))),
                // Too many open files, mostly: they are fewer in a moment.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = callers.join_next() => {}
        }
    }
}

/// The process is alive, and that is all there is to say. No token is asked for, nothing is told that needs one.
async fn answer(mut caller: TcpStream) {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < LONGEST_HEAD {
        match caller.read(&mut buffer).await {
            Ok(count @ 1..) => head.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            _ => return,
        }
    }
    // Whoever has gone does not want to know.
    drop(caller.write_all(words(&head).as_bytes()).await);
    let mut closing = pin!(caller.shutdown());
    drop(closing.as_mut().await);
}

fn words(head: &[u8]) -> String {
    let (status, body) = if head.starts_with(b"GET /healthz ") {
        ("200 OK", r#"{"status":"ok"}"#)
    } else if head.starts_with(b"GET /readyz ") {
        (
            "503 Service Unavailable",
            r#"{"ready":false,"reasons":["the process could not start yet and tries again"]}"#,
        )
    } else {
        (
            "503 Service Unavailable",
            r#"{"error":{"code":"restarting","message":"Moorline could not start yet and tries again; its log and run.json say why"}}"#,
        )
    };
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\nretry-after: 1\r\n\
         content-type: application/json\r\ncache-control: no-store\r\n\r\n{body}",
        body.len()
    )
}
