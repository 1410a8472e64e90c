//! A login is taken up whatever ends meanwhile: the supervisor of the accounts falls over in the middle of it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use moorline_core::{AccountId, AccountState, ChannelName, Timestamp};
use moorline_runtime::{Ended, LoginState, Logins, LoginsError, MemoryLogins, Saved};
use moorline_supervision::Fault;
use moorline_tests::phones::Phones;
use moorline_tests::{Logs, in_virtual_time};
use tokio::time::sleep;

use super::runtime::{MINUTE, Rig, SECOND, id};

/// Logins that take their time to be read.
#[derive(Clone, Default)]
struct Slow {
    inner: MemoryLogins,
    takes: Rc<Cell<Duration>>,
}

impl Logins for Slow {
    fn load(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<Option<Saved>, LoginsError>> {
        let (slow, account) = (self.clone(), account.clone());
        Box::pin(async move {
            sleep(slow.takes.get()).await;
            slow.inner.load(&account).await
        })
    }

    fn save(&self, account: &AccountId, saved: Saved) -> LocalBoxFuture<'static, Result<(), LoginsError>> {
        self.inner.save(account, saved)
    }

    fn remove(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<bool, LoginsError>> {
        self.inner.remove(account)
    }

    fn end(&self, account: &AccountId, ended: Ended) -> LocalBoxFuture<'static, Result<(), LoginsError>> {
        self.inner.end(account, ended)
    }

    fn ended(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<Option<Ended>, LoginsError>> {
        self.inner.ended(account)
    }

    fn all(
        &self,
        channel: &ChannelName,
    ) -> LocalBoxFuture<'static, Result<Vec<(AccountId, Saved)>, LoginsError>> {
        self.inner.all(channel)
    }
}

/// `chat:a` works with the login `ta`; somebody logs in again, and the supervisor of the accounts ends while it takes
/// four seconds to look at what was saved.
async fn fallen_over_meanwhile() -> (Rig, Slow) {
    let (phones, slow) = (Phones::default(), Slow::default());
    phones.issue("ta");
    let saved = Saved { login: Phones::login("ta"), person: None, saved_at: Timestamp::default() };
    slow.inner.save(&id("a"), saved).await.unwrap();
    let rig = Rig::behind(Rc::new(slow.clone()), phones, slow.inner.clone(), &["a"]).await;
    rig.ready("a").await;
    rig.begin("a").await;
    slow.takes.set(4 * SECOND);
    rig.phones.then("in t2 alice");
    while slow.inner.load(&id("a")).await.unwrap().unwrap().login != Phones::login("t2") {
        sleep(SECOND / 100).await;
    }
    sleep(SECOND).await;
    assert!(rig.handle.drills().inject("runtime/accounts", Fault::Panic));
    (rig, slow)
}

fn is(rig: &Rig, token: &str) -> bool {
    let status = rig.status("a");
    status.state == AccountState::Ready && status.identity.id.is_some_and(|id| id.as_str() == token)
}

/// The next supervisor had started what there was then, and what the one before it had begun started the new account
/// beneath itself, where nothing runs any more: the account went on with the credentials of before.
#[test]
fn a_login_whose_supervisor_ended_while_it_was_taken_up_is_taken_up_f077() {
    in_virtual_time(async {
        let (rig, _slow) = fallen_over_meanwhile().await;
        rig.until("the new login is in use", MINUTE, |rig| is(rig, "t2")).await;
        rig.state("a", LoginState::Done).await;
        sleep(MINUTE).await;
        assert!(is(&rig, "t2"));
    });
}

/// The connection of the next supervisor finds the login too, and need not wait for who is slow.
#[test]
fn two_supervisors_take_a_login_up_once_f077() {
    in_virtual_time(async {
        let logs = Logs::collect();
        let (rig, slow) = fallen_over_meanwhile().await;
        slow.takes.set(Duration::ZERO);
        rig.until("the new login is in use", MINUTE, |rig| is(rig, "t2")).await;
        sleep(MINUTE).await;
        assert!(is(&rig, "t2"));
        let told = logs.take("another login is saved");
        assert_eq!(told.len(), 1, "{told:?}");
    });
}
