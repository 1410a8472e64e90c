//! `moorline login`: a person logs an account in with a phone. A process that runs does it and takes the login up; where
//! none runs it is done here, and the next start finds it.

mod person;

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use http::Method;
use moorline_core::{AccountId, Secret};
use moorline_runtime::{LoginSession, LoginState, LoginView};
use moorline_store::DataDir;
use moorline_transport::Transport;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::text;
use crate::cli::Place;
use crate::client::{Client, data_dir, running};
use crate::clock::SystemClock;
use crate::exit::{Code, Failed, code_of, name_of};
use crate::logins::LoginFiles;
use crate::run::{network_options, refused};
use crate::settings::Settings;
use crate::signals::Signals;
use person::{Person, Typed};

/// How often a process is asked how far a login is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a process may take to hear that a login was given up. Another signal does not make it shorter.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(3);

/// `moorline login`.
///
/// # Errors
/// When nobody can be logged in; whoever could be and is not, is told so and gets code 1.
pub fn login(place: &Place, account: &str, as_json: bool) -> Result<Code> {
    // The network of an offline login runs on it.
    actix_rt::System::new().block_on(async {
        let signals = Signals::listen()?;
        if running(&data_dir(place)?).is_ok() {
            through_process(place, account, as_json, signals).await
        } else {
            here(place, account, as_json, signals).await
        }
    })
}

/// Lets the running process do it. However this ends before the login does, the process is told to give it up: it would
/// go on showing a QR code to nobody.
async fn through_process(place: &Place, account: &str, as_json: bool, mut signals: Signals) -> Result<Code> {
    let client = Client::of_running(place)?;
    let id = asked_for(&client, account).await?;
    let path = format!("/v1/accounts/{id}/login");
    let mut person = Person::new(&id, as_json);
    let ended = tokio::select! {
        biased;
        asked = signals.next() => Err(asked),
        outcome = attend(&client, &path, &mut person) => Ok(outcome),
    };
    match ended {
        Ok(Ok(Some(code))) => Ok(code),
        Ok(Ok(None)) => {
            give_up(&client, &path).await;
            person.says_nothing()
        }
        Ok(Err(error)) => {
            give_up(&client, &path).await;
            Err(error)
        }
        Err(asked) => {
            give_up(&client, &path).await;
            person.interrupted(asked.code())
        }
    }
}

/// Shows where the login stands until it is over; nothing, when it asks for something and nobody is there to type it.
async fn attend(client: &Client, path: &str, person: &mut Person) -> Result<Option<Code>> {
    let mut view = client.expect(Method::POST, path, None).await?;
    loop {
        person.show(&view)?;
        if let Some(code) = person.ended(&view)? {
            return Ok(Some(code));
        }
        view = tokio::select! {
            typed = person.typed() => match typed {
                Typed::Text(text) => hand_in(client, path, text).await?,
                Typed::Nothing => return Ok(None),
            },
            () = tokio::time::sleep(LOOK_EVERY) => client.expect(Method::GET, path, None).await?,
        };
    }
}

async fn hand_in(client: &Client, path: &str, text: String) -> Result<Value> {
    let body = json!({ "verify_code": text });
    match client.expect(Method::POST, path, Some(&body)).await {
        // It is not asked for any more: the login has gone on by itself.
        Err(error) if name_of(&error) == "wrong_state" => client.expect(Method::GET, path, None).await,
        // Nothing a platform would take, so the person is asked again.
        Err(error) if code_of(&error) == Code::Usage => client.expect(Method::GET, path, None).await,
        answer => answer,
    }
}

/// A process that does not hear of it ends the login by its own deadline.
async fn give_up(client: &Client, path: &str) {
    drop(tokio::time::timeout(GIVES_UP_WITHIN, client.call(Method::DELETE, path, None)).await);
}

/// Does it without a process. The data directory is ours meanwhile, so that none can start and miss it.
async fn here(place: &Place, typed: &str, as_json: bool, mut signals: Signals) -> Result<Code> {
    let settings = Settings::read(place)?;
    let id = configured(&settings, typed)?;
    let plan = settings.plans.get(&id).filter(|plan| plan.login(&[], 0).is_some());
    let plan = Arc::clone(plan.ok_or_else(|| not_needed(&id))?);
    let directory = DataDir::open(&settings.config.data_dir).map_err(refused)?;
    let transport = Transport::new(network_options(&settings.config.network)?)?;
    let session = LoginSession {
        account: id.clone(),
        plan,
        known: settings.config.accounts.iter().map(|account| account.id.clone()).collect(),
        logins: Rc::new(LoginFiles::new(directory.path())),
        http: transport.network().http,
        clock: Arc::new(SystemClock::new()),
        seed: fastrand::u64(..),
    };
    let mut person = Person::new(&id.to_string(), as_json);
    let (typed_tx, typed_rx) = mpsc::channel(1);
    let (view, mut shown) = watch::channel(LoginView::starting());
    let mut logging_in = pin!(session.run(typed_rx, &view));
    loop {
        let now = shown.borrow_and_update().clone();
        person.show(&serde_json::to_value(&now)?)?;
        tokio::select! {
            biased;
            outcome = &mut logging_in => {
                view.send_modify(|view| view.end(&outcome));
                let end = serde_json::to_value(&*view.borrow())?;
                person.show(&end)?;
                return Ok(person.ended(&end)?.unwrap_or(Code::NotHealthy));
            }
            typed = person.typed(), if now.state == LoginState::Code => match typed {
                Typed::Text(text) => {
                    view.send_modify(LoginView::typed);
                    // One is asked for at a time, so there is room for it.
                    drop(typed_tx.try_send(Secret::new(text)));
                }
                Typed::Nothing => return person.says_nothing(),
            },
            // It cannot be closed: its other end is in here.
            _ = shown.changed() => {}
            asked = signals.next() => return person.interrupted(asked.code()),
        }
    }
}

/// The account of the running process that was typed.
async fn asked_for(client: &Client, typed: &str) -> Result<String> {
    let answer = client.expect(Method::GET, "/v1/status", None).await?;
    let accounts = answer["accounts"].as_array().into_iter().flatten();
    let accounts: Vec<_> =
        accounts.map(|account| (text(&account["id"]), !account["login"].is_null())).collect();
    meant(&accounts, typed)
}

/// The configured account that was typed.
fn configured(settings: &Settings, typed: &str) -> Result<AccountId> {
    let accounts = settings.config.accounts.iter().map(|account| {
        let plan = settings.plans.get(&account.id);
        (account.id.to_string(), plan.is_some_and(|plan| plan.login(&[], 0).is_some()))
    });
    Ok(meant(&accounts.collect::<Vec<_>>(), typed)?.parse()?)
}

/// The account that was typed: its id, or a name that one account has. Of each it is known whether a person logs it in.
fn meant(accounts: &[(String, bool)], typed: &str) -> Result<String> {
    let is_meant = |id: &str| id == typed || id.split_once(':').is_some_and(|(_, name)| name == typed);
    let named: Vec<&str> = accounts.iter().map(|(id, _)| id.as_str()).filter(|id| is_meant(id)).collect();
    let message = match named.as_slice() {
        [id] => return Ok((*id).to_owned()),
        [] => {
            let logged_in: Vec<&str> =
                accounts.iter().filter(|(_, is)| *is).map(|(id, _)| id.as_str()).collect();
            let those = match logged_in.as_slice() {
                [] => "no account that is configured has to be logged in".to_owned(),
                ids => format!("those that can be logged in are {}", ids.join(", ")),
            };
            format!("there is no account `{typed}`; {those}")
        }
        several => format!("`{typed}` may be {}: name the channel too", several.join(" or ")),
    };
    Err(Failed::new(Code::Usage, message).into())
}

fn not_needed(id: &AccountId) -> Failed {
    let message = format!("nobody has to log {id} in: what it connects with is in the configuration");
    Failed::new(Code::Usage, message).named(Some("login_not_needed"))
}
