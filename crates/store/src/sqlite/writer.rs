//! The writer: one thread, one connection, everything that waits in one commit (G1, G11).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::oneshot;

use super::checkpoint::Bell;
use super::group::{Answer, Committer};
use super::queue::{Queue, Taken};
use super::status::Status;
use crate::tx::{NewReply, Op, Tx};

/// One group commit takes no more transactions than this,
const MOST: usize = 512;
/// and stops taking them once they hold this many bytes.
const HEAVIEST: usize = 1 << 20;
/// How often an idle writer shows that it is alive.
const BEAT: Duration = Duration::from_millis(500);

/// A transaction and who waits for it.
pub(super) struct Request {
    pub(super) tx: Tx,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// The writer's thread, until the queue is closed and empty, or the store has failed.
pub(super) fn run(
    mut committer: Committer,
    queue: &Queue<Request>,
    status: &Arc<Status>,
    bell: &Bell,
    checkpoint_every: u64,
) {
    let _last_will = LastWill { queue, status };
    let ended = catch_unwind(AssertUnwindSafe(|| {
        while status.failed().is_none() {
            status.beat();
            status.drill_panic();
            let requests = match queue.take(MOST, HEAVIEST, |request| weight(&request.tx), BEAT) {
                Taken::Items(requests) => requests,
                Taken::Nothing => continue,
                Taken::Closed => return,
            };
            let answers = committer.commit(requests.iter().map(|request| &request.tx));
            let log = written(&requests);
            for (request, answer) in requests.into_iter().zip(answers) {
                // Whoever gave up waiting finds it stored all the same.
                let _ = request.answer.send(answer);
            }
            if status.unchecked.fetch_add(log, Relaxed).saturating_add(log) >= checkpoint_every {
                bell.ring();
            }
        }
    }));
    if ended.is_err() {
        status.fail("the writer panicked");
    }
}

/// However the writer ends, nobody waits for it afterwards.
struct LastWill<'a> {
    queue: &'a Queue<Request>,
    status: &'a Status,
}

impl Drop for LastWill<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.status.fail("the writer died");
        }
        self.queue.abandon();
    }
}

/// About how many bytes a group adds to the log: its payload, and the pages around it (measured: 25 KB for one
/// short message alone).
fn written(requests: &[Request]) -> u64 {
    let payload: usize = requests.iter().map(|request| weight(&request.tx) + 4096).sum();
    u64::try_from(payload).unwrap_or(u64::MAX).saturating_add(20 << 10)
}

/// About how many bytes a transaction holds.
fn weight(tx: &Tx) -> usize {
    tx.ops.iter().map(|op| 64 + payload(op)).sum()
}

fn payload(op: &Op) -> usize {
    let reply = |reply: &NewReply| reply.outbound.text.len();
    match op {
        Op::Receive { message } => message.raw.len() + message.text.len() + message.context.len(),
        Op::FinishTurn { entries, replies, .. } => {
            entries.iter().map(|(_, text)| text.len()).sum::<usize>()
                + replies.iter().map(reply).sum::<usize>()
        }
        Op::ParkTurn { notice, .. } => notice.as_ref().map_or(0, reply),
        Op::Enqueue { parts } => parts.iter().map(reply).sum(),
        Op::SetCursor { value, .. } => value.len(),
        Op::RememberAnswer { answer, .. } => answer.body.len(),
        // What it deletes goes through the log as well.
        Op::Prune { limit, .. } => *limit as usize * 1024,
        _ => 0,
    }
}
