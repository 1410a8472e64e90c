//! A TCP connection that can be made to fail for real: reset, ended, or turned into a black hole.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// A TCP connection; clones are the same one. It is closed when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Wire(Arc<Line>);

struct Line {
    tcp: TcpStream,
    fate: AtomicU8,
    changed: Notify,
}

/// What has been decided about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fate {
    /// It works.
    Open = 0,
    /// Nothing is read or written; TCP stays open until the peer closes it.
    BlackHole = 1,
    /// It ends with a FIN.
    Fin = 2,
    /// It ends with a RST.
    Reset = 3,
}

impl Wire {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self(Arc::new(Line { tcp, fate: AtomicU8::new(Fate::Open as u8), changed: Notify::new() }))
    }

    /// Decides. Whoever serves the wire has to stop when [`Wire::over`] returns.
    pub(super) fn decide(&self, fate: Fate) {
        self.0.fate.store(fate as u8, Ordering::Release);
        self.0.changed.notify_one();
    }

    fn fate(&self) -> Fate {
        match self.0.fate.load(Ordering::Acquire) {
            1 => Fate::BlackHole,
            2 => Fate::Fin,
            3 => Fate::Reset,
            _ => Fate::Open,
        }
    }

    /// Returns when the wire has to be dropped: it was ended, or it is a black hole and the peer has closed it.
    pub(super) async fn over(&self) {
        loop {
            match self.fate() {
                Fate::Open => self.0.changed.notified().await,
                Fate::BlackHole => tokio::select! {
                    () = self.0.changed.notified() => {}
                    () = self.closed_by_peer() => return,
                },
                Fate::Fin => {
                    // The FIN goes out now, even if a close with unread bytes turns into a RST afterwards.
                    let _ = SockRef::from(&self.0.tcp).shutdown(std::net::Shutdown::Write);
                    return;
                }
                Fate::Reset => {
                    let _ = SockRef::from(&self.0.tcp).set_linger(Some(Duration::ZERO));
                    return;
                }
            }
        }
    }

    /// Whether the peer is seen to have closed its side, without reading anything it sent.
    pub(super) fn peer_is_gone(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        match SockRef::from(&self.0.tcp).peek(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Returns when the peer has closed its side, without reading anything it sent.
    pub(super) async fn closed_by_peer(&self) {
        // "Priority" is the one interest that wakes for the end of the stream and not for bytes in it.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let interest = Interest::PRIORITY;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let interest = Interest::ERROR;
        while let Ok(ready) = self.0.tcp.ready(interest).await {
            if ready.is_read_closed() || ready.is_error() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // No waker is kept for a decided wire: `over` ends whoever polls it.
        while self.fate() == Fate::Open {
            ready!(self.0.tcp.poll_read_ready(cx))?;
            match self.0.tcp.try_read(buf.initialize_unfilled()) {
                Ok(count) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while self.fate() == Fate::Open {
            ready!(self.0.tcp.poll_write_ready(cx))?;
            match self.0.tcp.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&self.0.tcp).shutdown(std::net::Shutdown::Write))
    }
}
