//! The supervisor of one account: one_for_one over its four actors.

use std::rc::Rc;

use actix::prelude::*;
use moorline_core::{AccountState, Cause, FailureClass};
use moorline_supervision::{ActorRef, ChildExited, ChildSpec, Directive, Env};

use super::{Connection, Credentials, IdentityProbe, Outbox};
use crate::services::{Account, Services};

/// Starts, restarts and stops the actors of one account, and says on the board what their faults mean for it.
pub(crate) struct AccountSupervisor {
    services: Rc<Services>,
    account: Rc<Account>,
    env: Env,
}

impl AccountSupervisor {
    /// The account's place in the tree.
    pub(crate) fn spec(services: Rc<Services>, account: Rc<Account>) -> ChildSpec {
        let id = account.id.to_string();
        ChildSpec::new(id, &ActorRef::new(), move |env| Self {
            services: Rc::clone(&services),
            account: Rc::clone(&account),
            env,
        })
    }

    /// In order of dependence; the connection last, so that it is the first to go and nothing more comes in while
    /// the others end.
    fn children(&self) -> [ChildSpec; 4] {
        let actors = &self.account.actors;
        let with = || (Rc::clone(&self.services), Rc::clone(&self.account));
        let (s1, a1) = with();
        let (s2, a2) = with();
        let (s3, a3) = with();
        let (s4, a4) = with();
        [
            ChildSpec::new("credentials", &actors.credentials, move |env| {
                Credentials::new(Rc::clone(&s1), Rc::clone(&a1), env)
            }),
            ChildSpec::new("identity", &actors.identity, move |env| {
                IdentityProbe::new(Rc::clone(&s2), Rc::clone(&a2), env)
            }),
            ChildSpec::new("outbox", &actors.outbox, move |env| {
                Outbox::new(Rc::clone(&s3), Rc::clone(&a3), env)
            }),
            ChildSpec::new("connection", &actors.connection, move |env| {
                Connection::new(Rc::clone(&s4), Rc::clone(&a4), env)
            }),
        ]
    }
}

impl Actor for AccountSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.env.children.bind(ctx.address().recipient());
        for spec in self.children() {
            if let Err(error) = self.env.children.start(spec) {
                tracing::error!(account = %self.account.id, "actor not started: {error}");
            }
        }
    }
}

impl Handler<ChildExited> for AccountSupervisor {
    type Result = Directive;

    fn handle(&mut self, exited: ChildExited, _: &mut Context<Self>) -> Directive {
        let directive = self.env.children.decide(&exited);
        if exited.id == "connection" {
            report(&self.services, &self.account, &exited, directive);
        }
        directive
    }
}

/// Says on the board, and on the bus, what a fault of the connection means: the account is down until its next life.
pub(crate) fn report(services: &Services, account: &Account, exited: &ChildExited, directive: Directive) {
    let (state, wait) = match directive {
        Directive::RestartAfter(wait) => (AccountState::Reconnecting, wait),
        Directive::Park(wait) => (AccountState::Parked, wait),
        Directive::Stop => return,
    };
    let now = services.clock.wall();
    services.board.update(&account.id, |status| {
        status.enter(state, now);
        status.cause = Some(Cause {
            class: FailureClass::Transient,
            code: Some("fault".to_owned()),
            message: format!("the {} actor ended by a fault: {}", exited.id, exited.reason),
        });
        status.next_attempt_at = Some(now + wait);
    });
    services.publish(&account.id, exited.generation, state);
}
