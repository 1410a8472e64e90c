//! The other platform's ledgers against the store.

use std::time::Duration;

use moorline_core::{ChatId, MessageId, Timestamp};
use moorline_simulator::weixin::{Cursor, MessageRecord, Visible};
use moorline_store::{Gap, LONGEST_PAGE, Listing as _, Page};

use super::super::drive::Stage;
use super::ledgers::{Ledgers, Shown};
use super::now;
use crate::world::EPOCH_MS;

/// What a poll may take.
const ONE_POLL: Duration = Duration::from_secs(45);
/// What a poll may take that is cut off, with the next one, which tells of it.
const ONE_POLL_IN_VAIN: Duration = Duration::from_secs(60);

/// What our keys look like on the wire.
const PREFIX: &str = "moorline-";

impl Ledgers {
    /// Once a virtual second.
    pub(super) fn look_at_wechat(&mut self, stage: &Stage) -> Result<(), String> {
        let wechat = &stage.world.wechat;
        for bot in &stage.world.bots {
            let counters = wechat.counters(&bot.bot_id).map_err(|error| error.to_string())?;
            if counters.max_open_polls > 1 {
                return Err(format!("one poll (F-026): {} had {}", bot.bot_id, counters.max_open_polls));
            }
        }
        let (broken, acks, fresh) = wechat.read_ledger(|ledger| {
            let broken = ledger.violations().next().map(|violation| format!("{violation:?}"));
            let fresh: Vec<Visible> = ledger.visible().skip(self.wechat_seen).cloned().collect();
            (broken, ledger.messages().filter(|record| record.confirmed_at.is_some()).count(), fresh)
        });
        if let Some(broken) = broken {
            return Err(format!("calls as the platform wants them: {broken}"));
        }
        if acks != self.wechat_acks || !fresh.is_empty() {
            self.wechat_acks = acks;
            self.read_store(stage)?;
            self.confirmed_is_stored(stage)?;
        }
        for visible in fresh {
            self.seen_on_wechat(stage, &visible)?;
            self.wechat_seen += 1;
        }
        Ok(())
    }

    /// G1: whoever asks with a cursor says that everything before it is stored. Where the platform forgets what it has
    /// handed out, a cursor passes what a crash has lost, too; the end will tell.
    fn confirmed_is_stored(&self, stage: &Stage) -> Result<(), String> {
        if stage.schedule().cursor == Cursor::Consumed {
            return Ok(());
        }
        stage.world.wechat.read_ledger(|ledger| {
            let mut passed = ledger.messages().filter(|record| record.confirmed_at.is_some());
            let missing = passed.find(|record| !self.has(stage, record) && !unreached(record));
            missing.map_or(Ok(()), |record| {
                Err(format!("no loss (G1): the cursor has passed {record:?}, which is not stored"))
            })
        })
    }

    /// Whether a message is stored; one that nobody wrote down is no message of a user.
    fn has(&self, stage: &Stage, record: &MessageRecord) -> bool {
        let account = account(stage, record);
        let message = MessageId::new(record.message_id.to_string());
        stage.book.number(account, &message).is_none() || self.stored.contains_key(&(account, message))
    }

    fn seen_on_wechat(&mut self, stage: &Stage, visible: &Visible) -> Result<(), String> {
        let n = stage.world.bots.iter().position(|bot| bot.bot_id == visible.bot);
        let account = n.map_or(usize::MAX, |n| stage.schedule().accounts + n);
        let Some(key) = visible.client_id.strip_prefix(PREFIX) else {
            return Err(format!("keys (G4): a message without one is visible: {visible:?}"));
        };
        let chat = ChatId::new(visible.user.as_str());
        let shown = Shown { account, chat: &chat, thread: None, reply_to: None, text: &visible.text };
        self.shown(stage, self.wechat_seen, key.to_owned(), &shown)
    }
}

/// At the end: every message of a user was stored, or the platform gave it away while nobody could store it, and then a
/// gap says so (F-040).
pub(super) fn nothing_is_missing(stage: &Stage, ledgers: &Ledgers) -> Result<(), String> {
    let missing: Vec<MessageRecord> = stage.world.wechat.read_ledger(|ledger| {
        ledger.messages().filter(|record| !ledgers.has(stage, record)).cloned().collect()
    });
    for record in missing {
        if stage.schedule().cursor == Cursor::Replay {
            return Err(format!(
                "no loss (G1): {record:?} is not stored, and the platform would have repeated it"
            ));
        }
        if record.handed_out.is_empty() {
            return Err(format!("liveness: {record:?} was never asked for"));
        }
        if !stage.has_gap(account(stage, &record), &record.handed_out) {
            let gaps = stage.gaps(account(stage, &record));
            return Err(format!(
                "a gap is never silent (F-040): {record:?} is not stored, and no gap tells of it: {gaps:?}"
            ));
        }
    }
    Ok(())
}

/// Given away, and never arrived: the cursor has passed it all the same.
fn unreached(record: &MessageRecord) -> bool {
    record.delivered.is_empty()
}

fn account(stage: &Stage, record: &MessageRecord) -> usize {
    let n = stage.world.bots.iter().position(|bot| bot.bot_id == record.bot);
    n.map_or(usize::MAX, |n| stage.schedule().accounts + n)
}

/// What no poll has brought yet, and what one has to bring again; what is on its way is not lost yet.
pub(super) fn yet_to_come(stage: &Stage, ledgers: &Ledgers) -> usize {
    let comes_again = stage.schedule().cursor == Cursor::Replay;
    let began = Timestamp::from_millis(EPOCH_MS);
    let on_its_way = |record: &MessageRecord| {
        record.handed_out.last().is_none_or(|at| stage.now() < at.since(began) + ONE_POLL_IN_VAIN)
    };
    let waits = |record: &&MessageRecord| !ledgers.has(stage, record) && (comes_again || on_its_way(record));
    stage.world.wechat.read_ledger(|ledger| ledger.messages().filter(waits).count())
}

impl Stage {
    /// All gaps of an account.
    fn gaps(&self, account: usize) -> Vec<Gap> {
        let (id, page) = (self.world.id(account), Page { before: None, limit: LONGEST_PAGE });
        now(self.world.store.gaps(Some(&id), page)).map(|listed| listed.rows).unwrap_or_default()
    }

    /// Whether a gap of the account tells of one of these moments. What a wall clock says that was set, or a machine that
    /// slept, is another time than the platform's: then there has to be a gap at all. An orderly end is none, although an
    /// answer may have been on its way just then (docs/gaps.md).
    fn has_gap(&self, account: usize, moments: &[Timestamp]) -> bool {
        let began = Timestamp::from_millis(EPOCH_MS);
        let goodbye = |at: &Timestamp| {
            let handed_out = at.since(began);
            self.goodbyes.iter().any(|bye| *bye >= handed_out && *bye - handed_out < ONE_POLL)
        };
        if moments.iter().any(goodbye) {
            return true;
        }
        let clocks_differ = self.clock_was_set || !self.slept.is_zero();
        self.gaps(account)
            .iter()
            .any(|gap| clocks_differ || moments.iter().any(|at| gap.gap.from <= *at && *at <= gap.gap.to))
    }
}
