//! The access token of one account: fetched once however many ask, renewed early, never a condition for receiving.

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use moorline_channel::{AccessToken, Credentials as Source};
use moorline_core::{AccountState, Failure, Monotonic, Secret, millis};
use moorline_supervision::Env;
use tokio::sync::oneshot;

use crate::board::{TokenState, TokenStatus};
use crate::bus::{self, AccountChanged};
use crate::services::{Account, Services};

/// Asks for a token that is good now; waits for the fetch under way, if there is one.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Secret>, Failure>")]
pub(crate) struct GetToken;

/// The platform refused this token: the next [`GetToken`] gets another.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct TokenRefused(pub(crate) Secret);

type Waiter = oneshot::Sender<Result<Option<Secret>, Failure>>;

/// Keeps one account's token. For channels without tokens it answers that there is none.
pub(crate) struct Credentials {
    services: Rc<Services>,
    account: Rc<Account>,
    env: Env,
    source: Option<Rc<dyn Source>>,
    held: Option<Held>,
    fetching: bool,
    failures: u32,
    /// Until then, and with what, askers are answered without a new fetch.
    resting: Option<(Monotonic, Failure)>,
    timer: Option<SpawnHandle>,
    waiters: Vec<Waiter>,
}

/// A token and what is left of its life, on the monotonic clock (F-008: a step of the wall clock changes nothing).
struct Held {
    secret: Secret,
    expires_at: Monotonic,
}

impl Credentials {
    pub(crate) fn new(services: Rc<Services>, account: Rc<Account>, env: Env) -> Self {
        let source = account.plan.credentials();
        Self {
            services,
            account,
            env,
            source,
            held: None,
            fetching: false,
            failures: 0,
            resting: None,
            timer: None,
            waiters: Vec::new(),
        }
    }

    fn good(&self) -> Option<&Secret> {
        let now = self.services.clock.now();
        self.held.as_ref().filter(|held| held.expires_at > now).map(|held| &held.secret)
    }

    fn fetch(&mut self, ctx: &mut Context<Self>) {
        let Some(source) = self.source.clone().filter(|_| !self.fetching) else { return };
        self.fetching = true;
        self.resting = None;
        self.cancel_timer(ctx);
        let guard = self.env.in_flight.enter();
        let call = source.fetch(self.services.network_of(&self.account.id).http);
        let fetching = actix::fut::wrap_future(async move {
            let result = call.await;
            drop(guard);
            result
        });
        ctx.spawn(fetching.map(|result, this: &mut Self, ctx| this.fetched(result, ctx)));
    }

    fn fetched(&mut self, result: Result<AccessToken, Failure>, ctx: &mut Context<Self>) {
        self.fetching = false;
        match result {
            Ok(token) => {
                let renew_in = token.lifetime.saturating_sub(token.renew_before).max(token.lifetime / 2);
                let answer = Ok(Some(token.secret.clone()));
                self.held = Some(Held {
                    secret: token.secret,
                    expires_at: self.services.clock.now() + token.lifetime,
                });
                self.failures = 0;
                self.note(token.lifetime);
                self.show(None);
                tracing::debug!(account = %self.account.id, actor = "credentials", lifetime_s = token.lifetime.as_secs(), "token fetched");
                self.answer(&answer);
                self.fetch_later(renew_in, ctx);
            }
            Err(failure) => {
                self.failures = self.failures.saturating_add(1);
                let unit = self.services.random.unit();
                let wait = self.account.retry().delay(&failure, self.failures, unit);
                tracing::warn!(account = %self.account.id, actor = "credentials", class = %failure.class, attempt = self.failures, next_in_ms = millis(wait), held = self.good().is_some(), "token not fetched: {failure}");
                self.show(Some((&failure, wait)));
                self.resting = Some((self.services.clock.now() + wait, failure.clone()));
                match self.good().cloned() {
                    Some(secret) => self.answer(&Ok(Some(secret))),
                    None => self.answer(&Err(failure)),
                }
                self.fetch_later(wait, ctx);
            }
        }
    }

    /// Shows how old the token is, and how long it is good for.
    fn note(&self, lifetime: Duration) {
        let now = self.services.clock.wall();
        self.services.board.update(&self.account.id, |status| {
            let token = status.token.get_or_insert_with(|| TokenStatus::unused(now));
            (token.fetched_at, token.expires_at) = (Some(now), Some(now + lifetime));
        });
    }

    /// Shows what came of a fetch; a token that is still good is good, whatever the attempt to renew it came to.
    fn show(&self, failed: Option<(&Failure, Duration)>) {
        let (now, good) = (self.services.clock.wall(), self.good().is_some());
        self.services.board.update(&self.account.id, |status| {
            let token = status.token.get_or_insert_with(|| TokenStatus::unused(now));
            token.enter(if good { TokenState::Valid } else { TokenState::Failing }, now);
            token.attempt = self.failures;
            token.next_attempt_at = failed.map(|(_, wait)| now + wait);
            token.last_error = failed.map(|(failure, _)| failure.to_string());
        });
    }

    fn answer(&mut self, answer: &Result<Option<Secret>, Failure>) {
        for waiter in self.waiters.drain(..) {
            // A waiter that is gone needs no answer.
            drop(waiter.send(answer.clone()));
        }
    }

    fn fetch_later(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        self.cancel_timer(ctx);
        self.timer = Some(ctx.run_later(wait, |this, ctx| {
            this.timer = None;
            this.fetch(ctx);
        }));
    }

    fn cancel_timer(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
    }
}

impl Actor for Credentials {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if self.source.is_some() {
            // The first to ask starts the first fetch; from then on there is always a good one, or one on its way.
            bus::follow(&self.services.bus, Some(self.account.id.clone()), ctx);
            let now = self.services.clock.wall();
            self.services
                .board
                .update(&self.account.id, |status| status.token = Some(TokenStatus::unused(now)));
        }
    }
}

impl Handler<GetToken> for Credentials {
    type Result = ResponseFuture<Result<Option<Secret>, Failure>>;

    fn handle(&mut self, _: GetToken, ctx: &mut Context<Self>) -> Self::Result {
        if self.source.is_none() {
            return Box::pin(async { Ok(None) });
        }
        if let Some(secret) = self.good() {
            let secret = secret.clone();
            return Box::pin(async { Ok(Some(secret)) });
        }
        if let Some((until, failure)) = &self.resting
            && *until > self.services.clock.now()
        {
            let failure = failure.clone();
            return Box::pin(async { Err(failure) });
        }
        let (waiter, answer) = oneshot::channel();
        self.waiters.push(waiter);
        self.fetch(ctx);
        Box::pin(async {
            answer.await.unwrap_or_else(|_| Err(Failure::transient("the token fetch was abandoned")))
        })
    }
}

impl Handler<TokenRefused> for Credentials {
    type Result = ();

    fn handle(&mut self, TokenRefused(refused): TokenRefused, ctx: &mut Context<Self>) {
        if self.held.as_ref().is_some_and(|held| held.secret == refused) {
            self.held = None;
            self.fetch(ctx);
        }
    }
}

/// The host answers again: a fetch that rests after a failure need not wait any longer.
impl Handler<AccountChanged> for Credentials {
    type Result = ();

    fn handle(&mut self, event: AccountChanged, ctx: &mut Context<Self>) {
        // A wait that the platform asked for is waited.
        let may_hurry = self.resting.as_ref().is_some_and(|(_, failure)| failure.retry_after.is_none());
        if event.state == AccountState::Ready && self.good().is_none() && may_hurry {
            self.fetch(ctx);
        }
    }
}
