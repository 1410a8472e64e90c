//! Applies a new configuration as its difference from the old one (design §3 rule 4). Accounts that are the same in
//! both are not touched at all: there is no signal they could hear.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use moorline_channel::Plan;
use moorline_config::{Change, Config, Difference};
use moorline_core::{AccountId, AccountState, Epoch};
use moorline_store::{Op, StoreError, Tx};

use super::login::{show, unreadable};
use super::{Accounts, Settle, stop_account};
use crate::events::{Sort, What};
use crate::handle::CommandError;
use crate::logins::Means;
use crate::runtime::epoch_of;
use crate::services::{Account, AccountActors, Services};

/// Makes `config` the configuration in use.
#[derive(Message)]
#[rtype(result = "Result<Applied, CommandError>")]
pub(crate) struct Apply {
    pub(crate) config: Config,
    /// The plan of each account of `config`.
    pub(crate) plans: BTreeMap<AccountId, Arc<dyn Plan>>,
}

/// What applying a configuration did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Applied {
    /// Accounts that are new, and connecting.
    pub added: Vec<AccountId>,
    /// Accounts that are gone; their rows are kept.
    pub removed: Vec<AccountId>,
    /// Accounts that connect anew, because what they connect with has changed.
    pub reconnected: Vec<AccountId>,
    /// Accounts whose messages are treated differently from now on; their connections were not touched.
    pub updated: Vec<AccountId>,
    /// Accounts of which nothing has changed.
    pub untouched: usize,
    /// Settings that take effect only when the process is restarted.
    pub needs_restart: Vec<String>,
    /// Accounts whose saved login cannot be read. Who works with an earlier one goes on with that.
    pub unreadable_logins: Vec<UnreadableLogin>,
}

/// A saved login that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct UnreadableLogin {
    /// Whose.
    pub account: AccountId,
    /// Why, and what to do about it.
    pub why: String,
}

impl Applied {
    /// Whether nothing has come of it.
    pub(crate) fn is_empty(&self) -> bool {
        let accounts = [&self.added, &self.removed, &self.reconnected, &self.updated];
        accounts.into_iter().all(Vec::is_empty) && self.needs_restart.is_empty()
    }
}

impl Handler<Apply> for Accounts {
    type Result = ResponseFuture<Result<Applied, CommandError>>;

    fn handle(&mut self, apply: Apply, _: &mut Context<Self>) -> Self::Result {
        let (services, children) = (Rc::clone(&self.services), self.env.children.clone());
        Box::pin(async move {
            // One after the other: a reload during a reload waits, and then sees what the first has left (F-077).
            let _turn = services.applying.lock().await;
            let Apply { config, plans } = apply;
            let difference = Difference::between(&services.settings().config, &config);
            let mut applied = report(&difference, &config);

            // What can fail comes first, before anything has changed.
            let epochs = take_over(&services, &difference.added).await?;
            let mut lives = if epochs.is_empty() { BTreeMap::new() } else { services.store.lives().await? };

            // Who was logged in elsewhere meanwhile connects anew, as if the configuration had changed.
            let (mut found, relogged, unreadable) =
                find_logins(&services, &config, plans, &applied.reconnected).await;
            applied.unreadable_logins = unreadable;
            for id in relogged {
                applied.untouched -= usize::from(!applied.updated.contains(&id));
                applied.reconnected.push(id);
            }
            let restarted = applied.reconnected.clone();

            // Then what goes: a new account may use the credentials of an old one, and there is one socket per app.
            let leaving = difference.removed.iter().chain(&restarted);
            let stopping = leaving.map(|id| stop_account(Rc::clone(&services), children.clone(), id.clone()));
            futures_util::future::join_all(stopping).await;
            for id in &difference.removed {
                services.accounts.remove(id);
                services.board.remove(id);
            }

            // Then what stays, and what comes.
            for configured in &config.accounts {
                services.board.set_access(&configured.id, &configured.access);
                let Some(means) = found.remove(&configured.id) else { continue };
                match services.accounts.get(&configured.id) {
                    Some(account) if restarted.contains(&account.id) => {
                        let replaced =
                            Account::new(configured, means, account.lease.epoch, Rc::clone(&account.actors));
                        if replaced.plan.fingerprint() != account.plan.fingerprint() {
                            // An answer for the old credentials says nothing about the new ones (F-015).
                            services.board.forget_identity(&account.id, services.clock.wall());
                        }
                        show(&services, &replaced.id, &replaced.means);
                        services.accounts.insert(Rc::new(replaced));
                    }
                    Some(account) => account.treat(configured),
                    None => {
                        let Some(epoch) = epochs.get(&configured.id) else { continue };
                        let life = lives.remove(&configured.id).unwrap_or_default();
                        services.board.add(&configured.id, services.clock.wall());
                        if services.stopped.borrow().contains(&configured.id) {
                            // An operator stopped it before it went, and nobody has started it since.
                            let now = services.clock.wall();
                            services
                                .board
                                .update(&configured.id, |status| status.enter(AccountState::Stopped, now));
                        }
                        let actors = Rc::new(AccountActors::after(&life));
                        let account = Account::new(configured, means, *epoch, actors);
                        show(&services, &account.id, &account.means);
                        services.board.update(&account.id, |status| status.symptoms.last_gap = life.last_gap);
                        services.accounts.insert(Rc::new(account));
                    }
                }
            }
            services.set(config);
            let begun = restarted.iter().chain(epochs.keys());
            for account in begun.filter_map(|id| services.wanted(id)) {
                Self::launch_anew(&services, &children, account);
            }
            for account in &difference.removed {
                services.keeper.tell(Settle { account: account.clone(), renew: false });
            }
            if difference.is_empty() && restarted.is_empty() {
                tracing::debug!(actor = "config", "nothing has changed in the configuration");
            } else {
                tracing::info!(
                    actor = "config",
                    added = applied.added.len(),
                    removed = applied.removed.len(),
                    reconnected = applied.reconnected.len(),
                    updated = applied.updated.len(),
                    untouched = applied.untouched,
                    "configuration applied"
                );
                let event = || What::ReloadApplied { applied: applied.clone() };
                services.board.events().tell(Sort::Lifecycle, event);
            }
            for key in &applied.needs_restart {
                tracing::warn!(
                    actor = "config",
                    key,
                    "a changed setting takes effect only when the process is restarted"
                );
            }
            Ok(applied)
        })
    }
}

/// What every account works with from now on, the accounts for which that is another login than before, and those whose
/// login cannot be read. That keeps nobody from working with what was read before.
async fn find_logins(
    services: &Services,
    config: &Config,
    mut plans: BTreeMap<AccountId, Arc<dyn Plan>>,
    reconnecting: &[AccountId],
) -> (BTreeMap<AccountId, Means>, Vec<AccountId>, Vec<UnreadableLogin>) {
    let (mut found, mut relogged, mut unread) = (BTreeMap::new(), Vec::new(), Vec::new());
    for id in config.accounts.iter().map(|account| &account.id) {
        let Some(plan) = plans.remove(id) else { continue };
        let before = services.accounts.get(id);
        let means = match Means::find(&*services.logins, id, Arc::clone(&plan)).await {
            Ok(means) => {
                match before {
                    Some(_) if reconnecting.contains(id) => {}
                    Some(before) if means.differ(&before.means) => relogged.push(before.id.clone()),
                    // What could not be read the last time can be now.
                    Some(before) => show(services, &before.id, &means),
                    None => {}
                }
                means
            }
            Err(problem) => {
                unreadable(services, id, &problem);
                unread.push(UnreadableLogin { account: id.clone(), why: problem.clone() });
                Means::unreadable(plan, problem, before.as_deref().map(|before| &before.means))
            }
        };
        found.insert(id.clone(), means);
    }
    (found, relogged, unread)
}

fn with_change(difference: &Difference, wanted: Change) -> Vec<AccountId> {
    difference.changed.iter().filter(|(_, change)| *change == wanted).map(|(id, _)| id.clone()).collect()
}

fn report(difference: &Difference, config: &Config) -> Applied {
    let touched = difference.added.len() + difference.changed.len();
    Applied {
        added: difference.added.clone(),
        removed: difference.removed.clone(),
        reconnected: with_change(difference, Change::Reconnect),
        updated: with_change(difference, Change::Live),
        untouched: config.accounts.len().saturating_sub(touched),
        needs_restart: difference.needs_restart.clone(),
        unreadable_logins: Vec::new(),
    }
}

/// Takes new accounts over in one commit.
async fn take_over(
    services: &Services,
    coming: &[AccountId],
) -> Result<BTreeMap<AccountId, Epoch>, StoreError> {
    if coming.is_empty() {
        return Ok(BTreeMap::new());
    }
    let take = coming.iter().map(|account| Op::TakeOver { account: account.clone() });
    let outcomes = services.store.commit(Tx::global(services.clock.wall(), take)).await?;
    coming.iter().cloned().zip(outcomes).map(|(account, outcome)| Ok((account, epoch_of(outcome)?))).collect()
}
