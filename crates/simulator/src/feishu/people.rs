//! Who somebody is, as each app sees them (§3.3, §4.2): an open_id per app, a union_id and a user_id for all (F-018).

use std::collections::BTreeMap;

use fastrand::Rng;
use moorline_core::UserId;
use serde::{Deserialize, Serialize};

use super::app::AppId;
use super::platform::Platform;
use super::push::union_id;

/// Somebody every app on the platform can meet. Users need not be registered: an unregistered one has the same
/// open_id for every app. Wherever the simulator takes a user, any id of a person stands for them, and the id of an
/// app for its bot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// How they are called.
    pub name: String,
    /// The id that is the same for all apps of a developer: `on_…`.
    pub union_id: String,
    /// The id within the tenant, where they have one.
    #[serde(default)]
    pub user_id: Option<String>,
    /// Their address, where they have one.
    #[serde(default)]
    pub email: Option<String>,
    /// The open_id they have for an app; where none is given it is derived from union_id and app, and differs from
    /// app to app.
    #[serde(default)]
    pub open_ids: BTreeMap<AppId, UserId>,
}

/// Somebody as one app sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) open_id: UserId,
    pub(crate) union_id: String,
    pub(crate) user_id: Option<String>,
    pub(crate) name: String,
    pub(crate) bot: bool,
}

impl Person {
    /// A person whose union_id is made from this name.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { union_id: format!("on_{name}"), name, ..Self::default() }
    }

    /// Their open_id for this app.
    pub fn open_id(&self, app: &AppId) -> UserId {
        self.open_ids.get(app).cloned().unwrap_or_else(|| open_id_for(&self.union_id, app))
    }

    fn is(&self, id: &str, app: &AppId) -> bool {
        self.union_id == id
            || self.user_id.as_deref() == Some(id)
            || self.email.as_deref() == Some(id)
            || self.open_id(app).as_str() == id
            || self.open_ids.values().any(|open_id| open_id.as_str() == id)
    }
}

impl Identity {
    /// The ids as events carry them.
    pub(crate) fn ids(&self) -> serde_json::Value {
        serde_json::json!({ "open_id": self.open_id, "union_id": self.union_id, "user_id": self.user_id })
    }
}

impl Platform {
    /// Makes a person known; one with the same union_id is replaced.
    pub fn add_person(&mut self, person: Person) {
        self.people.insert(person.union_id.clone(), person);
    }

    /// Who this id means to this app.
    pub(crate) fn identity(&self, viewer: &AppId, id: &UserId) -> Identity {
        let bot = self.apps.values().map(|state| &state.app).find(|app| {
            app.app_id.as_str() == id.as_str() || (app.app_id == *viewer && app.bot_open_id == *id)
        });
        if let Some(bot) = bot {
            let union_id = union_id(&bot.bot_open_id);
            let own = bot.app_id == *viewer;
            let open_id = if own { bot.bot_open_id.clone() } else { open_id_for(&union_id, viewer) };
            return Identity { open_id, union_id, user_id: None, name: bot.bot_name.clone(), bot: true };
        }
        match self.person(viewer, id.as_str()) {
            Some(person) => Identity {
                open_id: person.open_id(viewer),
                union_id: person.union_id.clone(),
                user_id: person.user_id.clone(),
                name: person.name.clone(),
                bot: false,
            },
            None => Identity {
                open_id: id.clone(),
                union_id: union_id(id),
                user_id: None,
                name: id.to_string(),
                bot: false,
            },
        }
    }

    pub(crate) fn person(&self, viewer: &AppId, id: &str) -> Option<&Person> {
        self.people.get(id).or_else(|| self.people.values().find(|person| person.is(id, viewer)))
    }
}

/// An open_id that depends on who and for which app, and on nothing else.
pub(crate) fn open_id_for(union_id: &str, app: &AppId) -> UserId {
    // FNV-1a, which is the same on every machine and for every version of anything.
    let bytes = union_id.bytes().chain([0]).chain(app.as_str().bytes());
    let seed = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut rng = Rng::with_seed(seed);
    UserId::new(format!("ou_{:016x}{:016x}", rng.u64(..), rng.u64(..)))
}
