//! The lists of an operator, counted from the rows themselves.

use futures_util::future::BoxFuture;
use moorline_core::{AccountId, ConversationId, InboxId, JobId, RunId};

use super::{ModelStore, State};
use crate::StoreError;
use crate::cron::{JobRow, RunRow};
use crate::gap::Gap;
use crate::listing::{
    ActiveTurn, InboxEntry, InboxFilter, InboxKind, Listed, Listing, OutboxFilter, Page, ParkedTurn, Scope,
    SessionFilter, SessionRow, cut,
};
use crate::rows::{InboxRow, InboxState, OutboxRow, TurnState};
use crate::trace::{Trace, Traced};

impl State {
    fn session(&self, account: &AccountId, conversation: &ConversationId) -> Option<SessionRow> {
        let of_account = self.accounts.get(account)?;
        let messages: Vec<&InboxRow> =
            self.messages(account).filter(|row| row.conversation == *conversation).collect();
        let active_at = *of_account.active.get(conversation)?;
        let gone = of_account.shortened.get(conversation).cloned().unwrap_or_default();
        let count =
            |wanted: fn(InboxState) -> bool| messages.iter().filter(|row| wanted(row.state)).count() as u64;
        Some(SessionRow {
            account: account.clone(),
            conversation: conversation.clone(),
            latest: messages.last().map_or(gone.latest, |row| row.id.max(gone.latest)),
            active_at,
            received: count(|_| true) + gone.all(),
            answered: count(|state| state == InboxState::Answered) + gone.answered,
            dropped: count(|state| matches!(state, InboxState::Dropped(_)))
                + gone.dropped.values().sum::<u64>(),
            held: count(|state| matches!(state, InboxState::Held(_))),
            pending: count(|state| state == InboxState::Pending),
            entries: of_account.transcripts.get(conversation).map_or(0, Vec::len) as u64,
            turn: self.active_turn(account, conversation).map(|turn| ActiveTurn {
                id: turn.row.id,
                state: turn.row.state,
                attempt: turn.row.attempt,
                since: turn.row.started_at,
            }),
        })
    }

    fn sessions(&self, filter: &SessionFilter, page: Page) -> Listed<SessionRow> {
        let conversations = self
            .accounts
            .iter()
            .flat_map(|(id, account)| account.active.keys().map(move |conversation| (id, conversation)));
        let mut found: Vec<SessionRow> =
            conversations.filter_map(|(id, conversation)| self.session(id, conversation)).collect();
        found.sort_by_key(|session| std::cmp::Reverse(session.latest));
        found.retain(|session| {
            filter.account.as_ref().is_none_or(|account| *account == session.account)
                && filter.state.is_none_or(|state| state == session.state())
                && session.latest.get() < page.below()
        });
        page.of(found, None, |session| session.latest.get())
    }

    pub(super) fn entry(&self, row: &InboxRow) -> InboxEntry {
        let beside = self.beside.get(&row.id).cloned().unwrap_or_default();
        InboxEntry {
            row: row.clone(),
            written_at: beside.written_at,
            settled_at: beside.settled_at,
            raw_bytes: beside.raw_bytes,
        }
    }
}

fn is_in(scope: &Scope, account: &AccountId, conversation: &ConversationId) -> bool {
    match scope {
        Scope::All => true,
        Scope::Account(of) => of == account,
        Scope::Conversation(of, one) => of == account && one == conversation,
    }
}

fn kind(state: InboxState) -> InboxKind {
    match state {
        InboxState::Pending => InboxKind::Pending,
        InboxState::Held(_) => InboxKind::Held,
        InboxState::Answered => InboxKind::Answered,
        InboxState::Dropped(_) => InboxKind::Dropped,
    }
}

impl Listing for ModelStore {
    fn sessions(
        &self,
        filter: &SessionFilter,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<SessionRow>, StoreError>> {
        self.read(|state| state.sessions(filter, page))
    }

    fn session(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
    ) -> BoxFuture<'static, Result<Option<SessionRow>, StoreError>> {
        self.read(|state| state.session(account, conversation))
    }

    fn inbox(
        &self,
        filter: &InboxFilter,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<InboxEntry>, StoreError>> {
        self.read(|state| {
            let rows = state.inbox.values().rev().filter(|row| {
                is_in(&filter.scope, &row.account, &row.conversation)
                    && filter.state.is_none_or(|wanted| wanted == kind(row.state))
                    && row.id.get() < page.below()
            });
            let entries = rows.map(|row| {
                let mut entry = state.entry(row);
                cut(&mut entry.row.text);
                entry
            });
            page.of(entries.collect(), None, |entry| entry.row.id.get())
        })
    }

    fn inbox_row(&self, id: InboxId) -> BoxFuture<'static, Result<Option<InboxEntry>, StoreError>> {
        self.read(|state| state.inbox.get(&id).map(|row| state.entry(row)))
    }

    fn outbox(
        &self,
        filter: &OutboxFilter,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<OutboxRow>, StoreError>> {
        self.read(|state| {
            let rows = state.outbox.values().rev().map(|message| &message.row).filter(|row| {
                is_in(&filter.scope, &row.account, &row.conversation)
                    && filter.state.is_none_or(|wanted| wanted == row.state)
                    && row.id.get() < page.below()
            });
            let rows = rows.cloned().map(|mut row| {
                cut(&mut row.outbound.text);
                row
            });
            page.of(rows.collect(), None, |row| row.id.get())
        })
    }

    fn parked(&self, limit: u32) -> BoxFuture<'static, Result<Vec<ParkedTurn>, StoreError>> {
        self.read(|state| {
            let is_last = |turn: &&super::Turn| {
                let of = |other: &&super::Turn| {
                    other.row.account == turn.row.account && other.row.conversation == turn.row.conversation
                };
                let mut later = state.turns.values().filter(of).filter(|other| other.row.id > turn.row.id);
                later.all(|other| other.row.state == TurnState::Parked)
            };
            let parked = state.turns.values().filter(|turn| turn.row.state == TurnState::Parked);
            let rows = parked.filter(is_last).map(|turn| ParkedTurn {
                account: turn.row.account.clone(),
                conversation: turn.row.conversation.clone(),
                turn: turn.row.id,
                at: turn.ended_at.unwrap_or(turn.row.started_at),
            });
            rows.take(limit as usize).collect()
        })
    }

    fn trace(&self, traced: &Traced) -> BoxFuture<'static, Result<Trace, StoreError>> {
        self.read(|state| state.trace(traced))
    }

    fn jobs(&self) -> BoxFuture<'static, Result<Vec<JobRow>, StoreError>> {
        self.read(|state| state.jobs.values().cloned().collect())
    }

    fn job(&self, id: JobId) -> BoxFuture<'static, Result<Option<JobRow>, StoreError>> {
        self.read(|state| state.jobs.get(&id).cloned())
    }

    fn runs(&self, job: Option<JobId>, page: Page) -> BoxFuture<'static, Result<Listed<RunRow>, StoreError>> {
        self.read(|state| {
            let rows = state.runs.values().rev().map(|run| state.run(run));
            let rows = rows.filter(|row| job.is_none_or(|job| job == row.job) && row.id.get() < page.below());
            page.of(rows.collect(), None, |row| row.id.get())
        })
    }

    fn gaps(
        &self,
        account: Option<&AccountId>,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<Gap>, StoreError>> {
        self.read(|state| {
            let rows = state.gaps.values().rev().filter(|gap| {
                account.is_none_or(|account| *account == gap.account) && gap.id.get() < page.below()
            });
            page.of(rows.cloned().collect(), None, |gap| gap.id.get())
        })
    }

    fn run(&self, id: RunId) -> BoxFuture<'static, Result<Option<RunRow>, StoreError>> {
        self.read(|state| state.runs.get(&id).map(|run| state.run(run)))
    }
}
