//! The calls of the control interface that are about WeChat: JSON, for people and for tests in other processes.
//!
//! | | |
//! | --- | --- |
//! | `GET /_simulator/state` | reach, rules, people, bots with counters and faults, login codes, ledgers |
//! | `POST /_simulator/people` | makes a WeChat user known: `{"user_id", "name"?}` |
//! | `POST /_simulator/bots` | adds a bot that is logged in: `{"user_id"?, "bot_id"?, "token"?}` |
//! | `POST /_simulator/bots/{id}/push` | a user writes: `{"from", "text"}`, or `{"from", "items": […], …}` |
//! | `POST /_simulator/bots/{id}/faults` | `{"clear"?: true, "fault"?: …, "times"?: {"count": 1} or "until_cleared"}` |
//! | `POST /_simulator/bots/{id}/expire`, `…/heal` | ends its login: `{"heals"?, "code"?, "silent"?, "sends_refused"?}`; makes it good again |
//! | `GET /_simulator/logins` | the login codes, newest last |
//! | `POST /_simulator/logins/{qrcode}/scan` | `{"user_id"}` |
//! | `POST /_simulator/logins/{qrcode}/confirm` | `{"without_bot_id"?: true}`, gives the bot |
//! | `POST /_simulator/logins/{qrcode}/verify_code` | the phone shows this number: `{"number"}` |
//! | `POST /_simulator/logins/{qrcode}/redirect` | `{"host"?}` |
//! | `POST /_simulator/logins/{qrcode}/block`, `…/expire` | the code is over |
//! | `POST /_simulator/login_faults` | faults of the calls that no bot makes, as above |
//! | `POST /_simulator/rules` | changes the rules that it names: `{"cursor": "replay"}` |
//! | `POST /_simulator/retain` | how much the ledgers keep: `{"retain": 1000}` |
//! | `POST /_simulator/platform` | `{"refuse": bool}` or `{"reach": "open"\|"refused"\|"hangs"}`, both with `"for_ms"?` |

use http::Method;
use moorline_core::UserId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bot::{BotId, NewBot, UnknownBot};
use super::fault::Fault;
use super::item::NewMessage;
use super::login::LoginError;
use super::platform::Person;
use super::push::merge;
use super::rules::Rules;
use super::simulator::Simulator;
use crate::faults::Times;
use crate::mount::{Control, Refusal, read};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultsBody {
    #[serde(default)]
    clear: bool,
    fault: Option<Fault>,
    times: Option<Times>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PushBody {
    Text(TextBody),
    Message(NewMessage),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextBody {
    from: UserId,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScanBody {
    user_id: UserId,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfirmBody {
    without_bot_id: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeBody {
    number: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedirectBody {
    host: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetainBody {
    retain: usize,
}

impl From<UnknownBot> for Refusal {
    fn from(error: UnknownBot) -> Self {
        Self::Unknown(error.to_string())
    }
}

impl From<LoginError> for Refusal {
    fn from(error: LoginError) -> Self {
        Self::Unknown(error.to_string())
    }
}

impl Control for Simulator {
    fn control(&self, method: &Method, path: &[&str], body: &[u8]) -> Result<Value, Refusal> {
        match (method, path) {
            (&Method::GET, ["state"]) => Ok(serde_json::to_value(self.state())?),
            (&Method::GET, ["logins"]) => Ok(serde_json::to_value(self.login_codes())?),
            (&Method::POST, ["people"]) => {
                let person: Person = read(body)?;
                self.add_person(person);
                Ok(json!({}))
            }
            (&Method::POST, ["bots"]) => {
                let bot: NewBot = read(body)?;
                Ok(serde_json::to_value(self.add_bot(bot))?)
            }
            (&Method::POST, ["bots", bot, deed]) => act_on_bot(self, &BotId::new(*bot), deed, body),
            (&Method::POST, ["logins", qrcode, deed]) => act_on_login(self, qrcode, deed, body),
            (&Method::POST, ["login_faults"]) => {
                let faults: FaultsBody = read(body)?;
                if faults.clear {
                    self.clear_login_faults();
                }
                if let Some(fault) = faults.fault {
                    self.set_login_fault(fault, faults.times.unwrap_or(Times::Count(1)));
                }
                Ok(json!({}))
            }
            (&Method::POST, ["rules"]) => {
                let mut rules = serde_json::to_value(self.rules())?;
                merge(&mut rules, &read(body)?);
                let rules: Rules = serde_json::from_value(rules)?;
                self.set_rules(|current| *current = rules.clone());
                Ok(serde_json::to_value(rules)?)
            }
            (&Method::POST, ["retain"]) => {
                let body: RetainBody = read(body)?;
                self.set_retain(body.retain);
                Ok(json!({}))
            }
            _ => Err(Refusal::NotFound),
        }
    }
}

fn act_on_bot(simulator: &Simulator, bot: &BotId, deed: &str, body: &[u8]) -> Result<Value, Refusal> {
    match deed {
        "push" => {
            let message = match read(body)? {
                PushBody::Text(TextBody { from, text }) => NewMessage::text(from.as_str(), text),
                PushBody::Message(message) => message,
            };
            Ok(serde_json::to_value(simulator.push(bot, message)?)?)
        }
        "faults" => {
            let faults: FaultsBody = read(body)?;
            if faults.clear {
                simulator.clear_faults(bot)?;
            }
            if let Some(fault) = faults.fault {
                simulator.set_fault(bot, fault, faults.times.unwrap_or(Times::Count(1)))?;
            }
            Ok(json!({}))
        }
        "expire" => {
            simulator.expire(bot, read(body)?)?;
            Ok(json!({}))
        }
        "heal" => {
            simulator.heal(bot)?;
            Ok(json!({}))
        }
        _ => Err(Refusal::NotFound),
    }
}

fn act_on_login(simulator: &Simulator, qrcode: &str, deed: &str, body: &[u8]) -> Result<Value, Refusal> {
    match deed {
        "scan" => {
            let body: ScanBody = read(body)?;
            simulator.scan(qrcode, &body.user_id)?;
        }
        "confirm" => {
            let body: ConfirmBody = read(body)?;
            let bot = if body.without_bot_id {
                simulator.confirm_without_bot(qrcode)?
            } else {
                simulator.confirm(qrcode)?
            };
            return Ok(json!({ "bot": bot }));
        }
        "verify_code" => {
            let body: CodeBody = read(body)?;
            simulator.require_code(qrcode, &body.number)?;
        }
        "redirect" => {
            let body: RedirectBody = read(body)?;
            simulator.redirect(qrcode, body.host.as_deref())?;
        }
        "block" => simulator.block_code(qrcode)?,
        "expire" => simulator.expire_code(qrcode)?,
        _ => return Err(Refusal::NotFound),
    }
    Ok(json!({}))
}
