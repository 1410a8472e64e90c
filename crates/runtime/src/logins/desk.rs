//! The desk where people log in: at most one login of an account at a time, and whoever asks for a second one is shown
//! the first.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use moorline_core::{AccountId, BlockReason, Secret};
use moorline_supervision::Env;
use tokio::sync::{mpsc, watch};

use super::session::{Kept, LoginSession, LoginState, LoginView};
use super::takes_login;
use crate::accounts::{Accounts, ProbeAccount, TakeUp};
use crate::handle::CommandError;
use crate::services::{Account, Services};

/// For an account to say goodbye and to be built anew, and for those before it.
const TAKES_EFFECT_WITHIN: Duration = Duration::from_secs(30);

/// Begin a login or join the one under way; with a code, hand that in.
#[derive(Debug, Message)]
#[rtype(result = "Result<watch::Receiver<LoginView>, CommandError>")]
pub(crate) struct Begin {
    pub(crate) account: AccountId,
    pub(crate) code: Option<Secret>,
}

/// Where does a login stand?
#[derive(Debug, Message)]
#[rtype(result = "Result<LoginView, CommandError>")]
pub(crate) struct Look(pub(crate) AccountId);

/// Give a login up; answers with where it stands then.
#[derive(Debug, Message)]
#[rtype(result = "Result<LoginView, CommandError>")]
pub(crate) struct GiveUp(pub(crate) AccountId);

/// Runs the logins. They end with it: nobody can go on with one whose QR code is shown nowhere.
pub(crate) struct Desk {
    services: Rc<Services>,
    env: Env,
    /// The last login of each account, over or not.
    sessions: BTreeMap<AccountId, Session>,
}

struct Session {
    view: Rc<watch::Sender<LoginView>>,
    typed: mpsc::Sender<Secret>,
    running: SpawnHandle,
}

impl Session {
    fn is_over(&self) -> bool {
        self.view.borrow().is_over()
    }
}

impl Desk {
    pub(crate) fn new(services: Rc<Services>, env: Env) -> Self {
        Self { services, env, sessions: BTreeMap::new() }
    }

    /// An account that somebody can log in.
    fn account(&self, id: &AccountId) -> Result<Rc<Account>, CommandError> {
        let account =
            self.services.accounts.get(id).ok_or_else(|| CommandError::UnknownAccount(id.clone()))?;
        if takes_login(&*account.means.configured) {
            Ok(account)
        } else {
            Err(CommandError::NoLogins(id.clone()))
        }
    }

    fn begin(&mut self, account: &Account, ctx: &mut Context<Self>) -> watch::Receiver<LoginView> {
        let id = account.id.clone();
        tracing::info!(account = %id, actor = "logins", "a login begins");
        let (view, shown) = watch::channel(LoginView::starting());
        let view = Rc::new(view);
        let (typed, typed_rx) = mpsc::channel(1);
        let services = Rc::clone(&self.services);
        let session = LoginSession {
            account: id.clone(),
            plan: Arc::clone(&account.means.configured),
            known: known(&services),
            logins: Rc::clone(&services.logins),
            http: services.network_of(&id).http,
            clock: Arc::clone(&services.clock),
            seed: services.random.number(),
        };
        let (guard, showing, of) = (self.env.in_flight.enter(), Rc::clone(&view), id.clone());
        let running = ctx.spawn(actix::fut::wrap_future(async move {
            let outcome = session.run(typed_rx, &showing).await;
            match &outcome {
                Ok(kept) => take_effect(&services, &of, kept).await,
                Err(why) => tracing::warn!(account = %of, actor = "logins", "nobody is logged in: {why}"),
            }
            showing.send_modify(|view| view.end(&outcome));
            drop(guard);
        }));
        self.sessions.insert(id, Session { view, typed, running });
        shown
    }
}

/// Accounts whose saved logins may be good. For those that wait for a login what is saved was refused, or there is nothing.
fn known(services: &Services) -> BTreeSet<AccountId> {
    let accounts = services.board.accounts().into_iter();
    accounts
        .filter(|status| status.blocked != Some(BlockReason::NeedsLogin))
        .map(|status| status.id)
        .collect()
}

/// Makes a login the one in use, and ends those that it has ended.
async fn take_effect(services: &Services, account: &AccountId, kept: &Kept) {
    let person = kept.person.as_ref().map(ToString::to_string);
    tracing::info!(%account, actor = "logins", person, already = kept.already, "logged in");
    for other in &kept.ended {
        ask(services, TakeUp(other.clone())).await;
    }
    if !ask(services, TakeUp(account.clone())).await {
        // It works with this login already, or may wait for its next attempt: that is now.
        ask(services, ProbeAccount(account.clone())).await;
    }
}

/// What an account is told now, it would find by itself before its next attempt: nothing is lost if nobody listens.
async fn ask<M>(services: &Services, message: M) -> bool
where
    M: Message<Result = bool> + Send + 'static,
    Accounts: Handler<M>,
{
    let asking = async {
        let (_, accounts) = services.keeper.ready().await;
        accounts.send(message).await
    };
    matches!(tokio::time::timeout(TAKES_EFFECT_WITHIN, asking).await, Ok(Ok(true)))
}

impl Actor for Desk {
    type Context = Context<Self>;
}

impl Handler<Begin> for Desk {
    type Result = Result<watch::Receiver<LoginView>, CommandError>;

    fn handle(&mut self, begin: Begin, ctx: &mut Context<Self>) -> Self::Result {
        let Begin { account: id, code } = begin;
        let account = self.account(&id)?;
        let under_way = self.sessions.get(&id).filter(|session| !session.is_over());
        match (under_way, code) {
            (Some(session), Some(code)) if session.view.borrow().state == LoginState::Code => {
                session.typed.try_send(code).map_err(|_| CommandError::NoCodeWanted(id))?;
                session.view.send_modify(LoginView::typed);
                Ok(session.view.subscribe())
            }
            (_, Some(_)) => Err(CommandError::NoCodeWanted(id)),
            (Some(session), None) => Ok(session.view.subscribe()),
            (None, None) => Ok(self.begin(&account, ctx)),
        }
    }
}

impl Handler<Look> for Desk {
    type Result = Result<LoginView, CommandError>;

    fn handle(&mut self, Look(id): Look, _: &mut Context<Self>) -> Self::Result {
        self.account(&id)?;
        Ok(self.sessions.get(&id).map_or_else(LoginView::none, |session| session.view.borrow().clone()))
    }
}

impl Handler<GiveUp> for Desk {
    type Result = Result<LoginView, CommandError>;

    fn handle(&mut self, GiveUp(id): GiveUp, ctx: &mut Context<Self>) -> Self::Result {
        self.account(&id)?;
        let Some(session) = self.sessions.get(&id) else { return Ok(LoginView::none()) };
        if !session.is_over() {
            tracing::info!(account = %id, actor = "logins", "the login was given up");
            ctx.cancel_future(session.running);
            session.view.send_modify(|view| view.end(&Err("it was given up".to_owned())));
        }
        Ok(session.view.borrow().clone())
    }
}
