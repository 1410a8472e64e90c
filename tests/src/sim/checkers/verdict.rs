//! At the end: every message has an outcome that can be explained, and every message of ours is visible as often as
//! the store says.

use std::collections::BTreeMap;
use std::time::Duration;

use moorline_core::{ChatId, InboxId, TurnId};
use moorline_store::{
    InboxFilter, InboxRow, InboxState, Listing as _, OutboxFilter, OutboxRow, OutboxState, Page, Scope,
};

use super::super::agent::Excuse;
use super::super::book::{self, About, Audience};
use super::super::drive::Stage;
use super::ledgers::{Ledgers, account_of};
use super::now;

/// A row may be repeated with another outcome than its key's when this much has passed.
const KEY_WINDOW: Duration = Duration::from_secs(55 * 60);

pub(super) fn pronounce(stage: &mut Stage, ledgers: &Ledgers) -> Result<(), String> {
    let visible = Visible::on_both(stage);
    let rows = outbox(stage)?;
    let marked = messages_of_ours(stage, ledgers, &visible, &rows)?;
    messages_of_users(stage, &rows)?;
    operators(stage, &rows)?;
    for _ in 0..marked {
        stage.strike("send: answers lost for an hour");
    }
    Ok(())
}

/// Every row of the outbox is visible as often as its state says, and nothing else is visible. How many rows are
/// marked as possibly repeated.
fn messages_of_ours(
    stage: &Stage,
    ledgers: &Ledgers,
    visible: &Visible,
    rows: &[OutboxRow],
) -> Result<u64, String> {
    let mut unknown = ledgers.keys.clone();
    let mut marked = 0;
    let mut turns: BTreeMap<TurnId, Vec<(&OutboxRow, Option<&Shown>)>> = BTreeMap::new();
    for row in rows {
        let account = account_of(stage, &row.account.to_string()).unwrap_or(usize::MAX);
        let copies = unknown.remove(&(account, row.key.to_string())).unwrap_or_default();
        let shown = copies.first().map(|&n| visible.get(stage, account, n));
        marked += u64::from(row.possibly_repeated);
        match row.state {
            OutboxState::Sent if copies.is_empty() => {
                return Err(format!("no loss (G4): {row:?} is sent, and nobody sees it"));
            }
            OutboxState::Sent | OutboxState::Dead => {}
            _ => return Err(format!("liveness: {row:?} is not settled")),
        }
        if copies.len() > 1 && !row.possibly_repeated && !stage.misled {
            return Err(format!(
                "once (G4): {} copies of {row:?} are visible, and it is not marked",
                copies.len()
            ));
        }
        let has_window = account < stage.schedule().accounts;
        if has_window && row.possibly_repeated && !stage.misled && stage.now() + stage.slept < KEY_WINDOW {
            return Err(format!(
                "marks (G4): {row:?} is marked as possibly repeated within its key's window"
            ));
        }
        if let Some(shown) = shown
            && shown.chat != row.outbound.route.chat
        {
            return Err(format!("right place (F-049): {row:?} is visible as {shown:?}"));
        }
        if let Some(turn) = row.turn {
            turns.entry(turn).or_default().push((row, shown));
        }
    }
    if let Some((key, copies)) = unknown.first_key_value() {
        let shown = visible.get(stage, key.0, copies[0]);
        return Err(format!("nobody asked for what is visible under {key:?}: {shown:?}"));
    }
    turns.values().try_for_each(|parts| whole(stage, parts))?;
    Ok(marked)
}

/// A message of ours as a user sees it.
#[derive(Debug)]
struct Shown {
    chat: ChatId,
    text: String,
}

/// All of them, in the order of either ledger.
struct Visible {
    feishu: Vec<Shown>,
    wechat: Vec<Shown>,
}

impl Visible {
    fn on_both(stage: &Stage) -> Self {
        let feishu = stage.world.simulator.read_ledger(|ledger| {
            let shown = |seen: &moorline_simulator::feishu::Visible| Shown {
                chat: seen.chat.clone(),
                text: seen.text.clone(),
            };
            ledger.visible().iter().map(shown).collect()
        });
        let wechat = stage.world.wechat.read_ledger(|ledger| {
            let shown = |seen: &moorline_simulator::weixin::Visible| Shown {
                chat: ChatId::new(seen.user.as_str()),
                text: seen.text.clone(),
            };
            ledger.visible().map(shown).collect()
        });
        Self { feishu, wechat }
    }

    fn get(&self, stage: &Stage, account: usize, n: usize) -> &Shown {
        if account < stage.schedule().accounts { &self.feishu[n] } else { &self.wechat[n] }
    }
}

/// The parts of one turn's reply are one right answer, or a notice.
fn whole(stage: &Stage, parts: &[(&OutboxRow, Option<&Shown>)]) -> Result<(), String> {
    if parts.iter().any(|(row, shown)| row.state == OutboxState::Dead || shown.is_none()) {
        return Ok(());
    }
    let text: String = parts.iter().filter_map(|(_, shown)| shown.map(|shown| shown.text.as_str())).collect();
    let Some(About::Answer(number)) = book::about(&text) else {
        let notice = text.contains("could not be answered");
        return if notice { Ok(()) } else { Err(format!("nobody asked for {text:?}")) };
    };
    let Some(long) = stage.book.said.get(number).map(|said| said.long) else {
        return Err(format!("nobody asked for {text:?}"));
    };
    let right = book::answer(&book::question(number, long)).unwrap_or_default();
    if book::dense(&text) == book::dense(&right) {
        Ok(())
    } else {
        Err(format!(
            "whole answers: message {number} is answered in {} parts with {} bytes, not {}",
            parts.len(),
            text.len(),
            right.len()
        ))
    }
}

/// Every message of a user that was acknowledged has an outcome that can be explained.
fn messages_of_users(stage: &Stage, rows: &[OutboxRow]) -> Result<(), String> {
    let mut answers: BTreeMap<usize, u32> = BTreeMap::new();
    for row in rows {
        // A part that continues an answer does not begin one.
        if let Some(About::Answer(number)) = book::about(&row.outbound.text) {
            *answers.entry(number).or_default() += 1;
        }
    }
    for row in inbox(stage)? {
        let account = account_of(stage, &row.account.to_string()).unwrap_or(usize::MAX);
        let number = row.message_id.as_ref().and_then(|message| stage.book.number(account, message));
        let Some(number) = number else {
            // An echo of ours, or what cannot be read.
            if matches!(row.state, InboxState::Dropped(_)) {
                continue;
            }
            return Err(format!("only users are answered (F-041): {row:?}"));
        };
        let said = &stage.book.said[number];
        let answered = answers.get(&number).copied().unwrap_or_default();
        if answered > 1 {
            return Err(format!("once (G2): message {number} has {answered} answers in the outbox"));
        }
        let wrong = |why: &str| Err(format!("{why}: message {number}, {said:?}, is {:?}", row.state));
        match (row.state, said.audience) {
            (InboxState::Pending | InboxState::Held(_), _) => return wrong("liveness"),
            (InboxState::Answered, Audience::Bystander) => return wrong("G8"),
            (InboxState::Answered, _) if answered == 0 && stage.agent.excuses(number).is_empty() => {
                return wrong("no loss: there is no answer and no reason for it");
            }
            (InboxState::Answered, _) => {}
            (InboxState::Dropped(reason), audience) => {
                let reason = reason.as_str();
                let right = match audience {
                    // Held for a day, as far as the life that judged it could know.
                    Audience::Bystander | Audience::Mention if reason == "identity_unknown" => stage.misled,
                    Audience::Bystander => reason == "not_mentioned",
                    Audience::Mention => reason == "turn_parked",
                    Audience::Direct => matches!(reason, "turn_parked" | "direct_denied"),
                };
                if !right {
                    return wrong("recorded reasons (G8, F-102)");
                }
            }
        }
        if row.state == InboxState::Answered && answered == 0 {
            let silent = stage.agent.excuses(number).contains(&Excuse::Silent);
            let told = notices(rows, &row) > 0;
            if !silent && !told {
                return wrong("no answer, and the user was told nothing");
            }
        }
    }
    Ok(())
}

/// Notices in the conversation of a message.
fn notices(rows: &[OutboxRow], row: &InboxRow) -> usize {
    let here = |out: &&OutboxRow| out.account == row.account && out.conversation == row.conversation;
    rows.iter().filter(here).filter(|out| out.outbound.text.contains("could not be answered")).count()
}

/// What an operator was told is taken is in the outbox, once.
fn operators(stage: &Stage, rows: &[OutboxRow]) -> Result<(), String> {
    let mut found: BTreeMap<usize, u32> = BTreeMap::new();
    for row in rows {
        if let Some(About::Send(number)) = book::about(&row.outbound.text) {
            *found.entry(number).or_default() += 1;
        }
    }
    for (number, sent) in stage.book.sent.iter().enumerate() {
        let times = found.get(&number).copied().unwrap_or_default();
        if times > 1 || (times == 0 && sent.accepted > 0) {
            return Err(format!("keys of operators (F-057): {sent:?} is {times} times in the outbox"));
        }
    }
    Ok(())
}

fn outbox(stage: &Stage) -> Result<Vec<OutboxRow>, String> {
    let mut rows = Vec::new();
    let mut page = Page { before: None, limit: 500 };
    loop {
        let listed = now(stage.world.store.outbox(&OutboxFilter { scope: Scope::All, state: None }, page))?;
        rows.extend(listed.rows);
        match listed.next {
            Some(before) => page.before = Some(before),
            None => break,
        }
    }
    rows.reverse();
    Ok(rows)
}

fn inbox(stage: &Stage) -> Result<Vec<InboxRow>, String> {
    let mut rows: Vec<InboxRow> = Vec::new();
    let mut page = Page { before: None, limit: 500 };
    loop {
        let listed = now(stage.world.store.inbox(&InboxFilter::default(), page))?;
        rows.extend(listed.rows.into_iter().map(|entry| entry.row));
        match listed.next {
            Some(before) => page.before = Some(before),
            None => break,
        }
    }
    rows.sort_by_key(|row: &InboxRow| -> InboxId { row.id });
    Ok(rows)
}
