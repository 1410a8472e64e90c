//! Takes a login up without a restart: only its own account is built anew, and only if the login is another one.

use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use moorline_core::{AccountId, BlockReason, Failure, FailureClass};

use super::{Accounts, stop_account};
use crate::logins::Means;
use crate::services::{Account, Services};

/// Look at what is saved for an account, and work with that; `true` when it is another login than before.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub(crate) struct TakeUp(pub(crate) AccountId);

impl Handler<TakeUp> for Accounts {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, TakeUp(id): TakeUp, _: &mut Context<Self>) -> Self::Result {
        let (services, children) = (Rc::clone(&self.services), self.env.children.clone());
        Box::pin(async move {
            // Not while a configuration is applied: each of the two sees what the other has left.
            let _turn = services.applying.lock().await;
            let Some(account) = services.accounts.get(&id) else { return false };
            let configured = Arc::clone(&account.means.configured);
            let found = match Means::find(&*services.logins, &id, configured).await {
                Ok(found) => found,
                Err(problem) => {
                    unreadable(&services, &id, &problem);
                    return false;
                }
            };
            if !found.differ(&account.means) {
                show(&services, &id, &found);
                return false;
            }
            match found.missing() {
                Some(why) => tracing::warn!(account = %id, actor = "logins", "the login has ended: {why}"),
                None => {
                    tracing::info!(account = %id, actor = "logins", "another login is saved: the account connects anew with it");
                }
            }
            stop_account(Rc::clone(&services), children.clone(), id).await;
            let account = take_up(&services, &account, found);
            if !services.stopped.borrow().contains(&account.id) {
                Self::launch_anew(&services, &children, account);
            }
            true
        })
    }
}

/// The account with other means; its actors must not be running.
fn take_up(services: &Services, account: &Account, found: Means) -> Rc<Account> {
    // An answer for the old credentials says nothing about the new ones (F-015).
    services.board.forget_identity(&account.id, services.clock.wall());
    show(services, &account.id, &found);
    let account = Rc::new(account.with(found));
    services.accounts.insert(Rc::clone(&account));
    account
}

/// Shows who is logged in.
pub(super) fn show(services: &Services, account: &AccountId, means: &Means) {
    services.board.update(account, |status| status.login.clone_from(&means.login));
}

/// What cannot be read changes nothing, and is shown. It is logged once, and not for an account that waits for a login:
/// its connection says why it waits.
pub(super) fn unreadable(services: &Services, account: &AccountId, problem: &str) {
    let mut is_news = false;
    services.board.update(account, |status| {
        if let Some(login) = &mut status.login {
            is_news = login.saved_at.is_some() && login.problem.as_deref() != Some(problem);
            login.problem = Some(problem.to_owned());
        }
    });
    if is_news {
        tracing::error!(%account, actor = "logins", "the login in use stays in use: {problem}");
    }
}

/// Whether an account may try to connect. One that waits for a login looks whether there is one by now; if so it is built
/// anew, and this does not return.
///
/// # Errors
/// When nobody is logged in.
pub(super) async fn admit(services: &Services, account: &Account, is_first: bool) -> Result<(), Failure> {
    if account.means.login.is_none() {
        return Ok(());
    }
    let waits = services
        .board
        .account(&account.id)
        .is_some_and(|status| status.blocked == Some(BlockReason::NeedsLogin));
    if is_first || waits {
        let configured = Arc::clone(&account.means.configured);
        match Means::find(&*services.logins, &account.id, configured).await {
            Ok(found) if found.differ(&account.means) => {
                // Where it was not taken up, this attempt goes on without it, and the next one looks again.
                services.keeper.send(TakeUp(account.id.clone())).await.ok();
            }
            Ok(_) => {}
            Err(problem) => {
                unreadable(services, &account.id, &problem);
                if account.means.missing().is_some() {
                    return Err(Failure::new(FailureClass::NeedsLogin, problem));
                }
            }
        }
    }
    match account.means.missing() {
        Some(why) => Err(Failure::new(FailureClass::NeedsLogin, why)),
        None => Ok(()),
    }
}
