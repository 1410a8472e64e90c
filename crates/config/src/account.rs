//! The channels and accounts of the file.

use std::collections::BTreeMap;

use moorline_core::{AccountId, AccountSettings, Backoff, ChannelName, ChatId, Schema, UserId, Value};

use crate::agent::{self, Agents};
use crate::fault::Fault;
use crate::nearest::hint;
use crate::reader::{Entries, Reader, Table};
use crate::resolved::{Access, Account, DirectPolicy, GroupPolicy};
use crate::setting::{self, Section, Setting};
use crate::source::Span;
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
            let hint = hint(name, schemas.iter().map(|schema| schema.channel));
            reader.report(Some(&span), &channel.path, &Fault::UnknownChannel { hint });
            continue;
        };
        // Read once, so that what is wrong with a default is reported once and not for every account.
        let defaults = Said::read(reader, &channel, schema, &["accounts", "access", "retry"]);
        let Some(table) = reader.table(&channel, "accounts") else { continue };
        let tables = reader.tables(&table);
        let names: Vec<(&str, Span)> = tables.iter().map(|(name, span, _)| (*name, span.clone())).collect();
        let mut lists = Lists::default();
        for (name, span, table) in tables {
            let id = AccountId::new(&ChannelName::new(schema.channel), name);
            if id.is_err()
                && let Some((name, first)) = same_name(name, &names)
            {
                // One mistake, one message: what else it says is judged when it has a name of its own.
                let place = reader.position(first.start).to_string();
                let fault = Fault::AccountAgain { name: (*name).to_owned(), place };
                reader.report(Some(&span), &table.path, &fault);
                continue;
            }
            let mut said = Said::read(reader, &table, schema, &["access", "retry"]);
            said.inherit(&defaults);
            reader.require(&table, &said.own);
            let id = match id {
                Ok(id) => id,
                Err(error) => {
                    reader.report(Some(&span), &table.path, &Fault::AccountId { error: error.to_string() });
                    continue;
                }
            };
            if let Some(account) = account(reader, id, &table, &said, schema, agents) {
                lists.judge(reader, &table, &said, &account.access);
                accounts.push(account);
            }
        }
        lists.report_ignored(reader);
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
        Datum::Many(_) | Datum::Files(_) => None,
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
        position: reader.position(table.span.as_ref()?.start),
    })
}

fn agent_name(reader: &mut Reader<'_>, said: &Said, agents: &Agents) -> Option<String> {
    let name = said.own.value("agent").and_then(Datum::text)?;
    if agents.names.contains(&name) {
        return Some(name);
    }
    // Reported, and no reason not to look at the rest of the account.
    match said.own.get("agent") {
        Some(entry) => {
            let hint = hint(&name, agents.names.iter().map(String::as_str));
            let fault = Fault::NoSuchAgent { name: format!("{name:?}"), hint };
            reader.report(Some(&entry.span), &entry.path, &fault);
        }
        None => {
            reader.report(agents.span.as_ref(), &format!("agents.{}", agent::DEFAULT), &Fault::NoDefaultAgent)
        }
    }
    Some(name)
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
        let [initial, max] = [retry.initial, retry.max].map(|span| format!("{span:?}"));
        reader.report(Some(&entry.span), &entry.path, &Fault::Delays { initial, max });
    }
    Some(retry)
}

/// Another name of the same table that is this one but for its case and the spaces around it. Of two that are both no
/// ids, the first in the order of names is what the second one repeats.
fn same_name<'n>(name: &str, names: &'n [(&'n str, Span)]) -> Option<&'n (&'n str, Span)> {
    let fold = |name: &str| name.trim().to_lowercase();
    let folded = fold(name);
    names.iter().find(|(other, _)| *other == folded).or_else(|| {
        names.iter().take_while(|(other, _)| *other != name).find(|(other, _)| fold(other) == folded)
    })
}

/// Lists of whom to admit that are not what their policy asks for (F-092).
#[derive(Default)]
struct Lists {
    /// By the full names of lists that are filled: where they are, why an account ignores them, and whether another one
    /// does not, because lists are inherited and policies replaced.
    filled: BTreeMap<String, (Span, Fault, bool)>,
}

impl Lists {
    fn judge(&mut self, reader: &mut Reader<'_>, table: &Table<'_>, said: &Said, access: &Access) {
        let rows = [
            ("direct", access.direct == DirectPolicy::Allowlist, "users", access.users.is_empty()),
            ("group", access.group == GroupPolicy::Allowlist, "groups", access.groups.is_empty()),
        ];
        for (policy, asked, list, empty) in rows {
            let said = &said.access;
            if asked && empty {
                // The account's own words about it, else the account: what it inherits is right for others.
                let own =
                    |key| said.get(key).filter(|entry| entry.path.starts_with(&format!("{}.", table.path)));
                let span = own(list).or_else(|| own(policy)).map(|entry| &entry.span);
                let fault = Fault::Nobody { policy: policy.to_owned(), list: list.to_owned() };
                let key = format!("{}.access.{list}", table.path);
                reader.report(span.or(table.span.as_ref()), &key, &fault);
            }
            let Some(entry) = said.get(list).filter(|_| !empty) else { continue };
            let word = said.value(policy).and_then(Datum::text).unwrap_or_default();
            let fault = Fault::ListIgnored { policy: policy.to_owned(), word };
            let row = self.filled.entry(entry.path.clone()).or_insert((entry.span.clone(), fault, false));
            row.2 |= asked;
        }
    }

    fn report_ignored(self, reader: &mut Reader<'_>) {
        for (key, (span, fault, asked)) in self.filled {
            if !asked {
                reader.report(Some(&span), &key, &fault);
            }
        }
    }
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
