//! The channels and accounts of the file.

use moorline_core::{AccountId, AccountSettings, Backoff, ChannelName, ChatId, Schema, UserId, Value};

use crate::agent::{self, Agents};
use crate::nearest::hint;
use crate::reader::{Entries, Reader, Table};
use crate::resolved::{Access, Account, DirectPolicy, GroupPolicy};
use crate::setting::{self, Section, Setting};
use crate::value::Datum;

/// What a channel or an account says, before and after the account has inherited from its channel.
struct Said {
    own: Entries,
    access: Entries,
    retry: Entries,
}

/// Reads `[channels]`. Accounts come out in the order of their ids.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    root: &Table<'_>,
    schemas: &[&'static Schema],
    agents: &Agents,
) -> Vec<Account> {
    let Some(channels) = reader.table(root, "channels") else { return Vec::new() };
    let mut accounts = Vec::new();
    for (name, span, channel) in reader.tables(&channels) {
        let Some(schema) = schemas.iter().find(|schema| schema.channel == name) else {
            let known = hint(name, schemas.iter().map(|schema| schema.channel));
            reader.report(Some(&span), &channel.path, format!("unknown channel{known}"));
            continue;
        };
        // Read once, so that what is wrong with a default is reported once and not for every account.
        let defaults = Said::read(reader, &channel, schema, &["accounts", "access", "retry"]);
        let Some(table) = reader.table(&channel, "accounts") else { continue };
        for (name, span, table) in reader.tables(&table) {
            let mut said = Said::read(reader, &table, schema, &["access", "retry"]);
            said.inherit(&defaults);
            reader.require(&table, &said.own);
            match AccountId::new(&ChannelName::new(schema.channel), name) {
                Ok(id) => accounts.extend(account(reader, id, &table, &said, schema, agents)),
                Err(error) => reader.report(Some(&span), &table.path, error.to_string()),
            }
        }
    }
    accounts
}

/// `None` when something is wrong with it, which has been reported.
fn account(
    reader: &mut Reader<'_>,
    id: AccountId,
    table: &Table<'_>,
    said: &Said,
    schema: &Schema,
    agents: &Agents,
) -> Option<Account> {
    let agent = agent_name(reader, said, agents);
    let retry = retry(reader, said);
    let values = schema.fields.iter().filter_map(|field| match said.own.value(field.key)? {
        Datum::One(value) => Some((field.key.to_owned(), value)),
        Datum::Many(_) => None,
    });
    let liveness = said.own.value("liveness").and_then(Datum::duration);
    // A channel keeps its own rhythm of signs of life, so it has to know.
    let liveness_too = liveness.map(|span| ("liveness".to_owned(), Value::Duration(span)));
    Some(Account {
        settings: AccountSettings { id: id.clone(), values: values.chain(liveness_too).collect() },
        id,
        agent: agent?,
        access: access(&said.access)?,
        retry: retry?,
        liveness,
        position: reader.source().position(table.span.as_ref()?.start),
    })
}

fn agent_name(reader: &mut Reader<'_>, said: &Said, agents: &Agents) -> Option<String> {
    let name = said.own.value("agent").and_then(Datum::text)?;
    if agents.names.contains(&name) {
        return Some(name);
    }
    match said.own.get("agent") {
        Some(entry) => {
            let known = hint(&name, agents.names.iter().map(String::as_str));
            reader.report(Some(&entry.span), &entry.path, format!("there is no agent {name:?}{known}"));
        }
        None => reader.report(
            agents.span.as_ref(),
            &format!("agents.{}", agent::DEFAULT),
            "missing; accounts that name no agent use it".to_owned(),
        ),
    }
    None
}

fn access(said: &Entries) -> Option<Access> {
    let word = |key| said.value(key).and_then(Datum::text);
    let list = |key| said.value(key).and_then(Datum::list).unwrap_or_default().into_iter();
    Some(Access {
        direct: DirectPolicy::from_word(&word("direct")?)?,
        group: GroupPolicy::from_word(&word("group")?)?,
        users: list("users").map(UserId::new).collect(),
        groups: list("groups").map(ChatId::new).collect(),
    })
}

fn retry(reader: &mut Reader<'_>, said: &Said) -> Option<Backoff> {
    let span = |key| said.retry.value(key).and_then(Datum::duration);
    let retry = Backoff { initial: span("initial")?, max: span("max")?, reset_after: span("reset_after")? };
    if retry.initial > retry.max
        && let Some(entry) = said.retry.get("initial").or_else(|| said.retry.get("max"))
    {
        let message =
            format!("the first delay, {:?}, is longer than the longest, {:?}", retry.initial, retry.max);
        reader.report(Some(&entry.span), &entry.path, message);
    }
    Some(retry)
}

impl Said {
    fn read(reader: &mut Reader<'_>, table: &Table<'_>, schema: &Schema, inner: &[&str]) -> Self {
        let fields = schema.fields.iter().map(Setting::from);
        let own = reader.entries(table, fields.chain(setting::of(Section::Account)).collect(), inner);
        let mut of = |key, section| {
            // Without the table, the settings are those of an empty one.
            reader.table(table, key).map(|table| reader.entries(&table, setting::of(section).collect(), &[]))
        };
        let (access, retry) = (of("access", Section::Access), of("retry", Section::Retry));
        Self {
            own,
            access: access.unwrap_or_else(|| Entries::empty(Section::Access)),
            retry: retry.unwrap_or_else(|| Entries::empty(Section::Retry)),
        }
    }

    fn inherit(&mut self, channel: &Self) {
        self.own.inherit(&channel.own);
        self.access.inherit(&channel.access);
        self.retry.inherit(&channel.retry);
    }
}
