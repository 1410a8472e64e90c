//! The body of an answer: whole, or broken off on purpose.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::Sleep;

use super::wire::{Fate, Wire};
use crate::link::{Break, BreakHow, Input};
use crate::mount::Outlet;

/// How long what was written before a break may take to get out.
const PAUSE: Duration = Duration::from_millis(20);

/// A body whose length is announced, whatever becomes of it.
pub(super) struct Body {
    /// What is still to be written.
    bytes: Option<Bytes>,
    /// What is announced and not handed over yet.
    announced: u64,
    end: End,
}

/// What follows the last byte.
enum End {
    /// The answer is complete; the platform is told so, where it is one of its.
    Complete(Option<(Outlet, Wire)>),
    /// It breaks off.
    Broken { how: BreakHow, _outlet: Outlet, wire: Wire, pause: Pin<Box<Sleep>> },
}

impl From<Bytes> for Body {
    /// The answer to a call that the platform does not follow up.
    fn from(bytes: Bytes) -> Self {
        Self { announced: length(&bytes), bytes: Some(bytes), end: End::Complete(None) }
    }
}

impl Body {
    /// The whole answer to a call of this link.
    pub(super) fn whole(bytes: Bytes, outlet: Outlet, wire: Wire) -> Self {
        if bytes.is_empty() && !wire.peer_is_gone() {
            // Hyper never asks for a body of no bytes.
            outlet.input(Input::Delivered);
        }
        Self { announced: length(&bytes), bytes: Some(bytes), end: End::Complete(Some((outlet, wire))) }
    }

    /// The answer to a call of this link, up to the break.
    pub(super) fn broken(bytes: Bytes, at: Break, outlet: Outlet, wire: Wire) -> Self {
        let pause = Box::pin(tokio::time::sleep(PAUSE));
        // At least one byte stays announced and unwritten, so that the answer is never complete.
        let announced = length(&bytes).max(1);
        let after = at.after.min(bytes.len().saturating_sub(1));
        let end = End::Broken { how: at.how, _outlet: outlet, wire, pause };
        Self { bytes: Some(bytes.slice(..after)).filter(|bytes| !bytes.is_empty()), announced, end }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(bytes) = self.bytes.take() {
            // From here on the bytes are in the system's hands, unless the client has closed the connection.
            if let End::Complete(Some((outlet, wire))) = &self.end
                && !wire.peer_is_gone()
            {
                outlet.input(Input::Delivered);
            }
            self.announced = self.announced.saturating_sub(length(&bytes));
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match &mut self.end {
            End::Complete(_) => Poll::Ready(None),
            End::Broken { how, wire, pause, .. } => {
                std::task::ready!(pause.as_mut().poll(cx));
                match how {
                    BreakHow::Stall => {}
                    BreakHow::Fin => wire.decide(Fate::Fin),
                    BreakHow::Reset => wire.decide(Fate::Reset),
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none() && matches!(self.end, End::Complete(_))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
