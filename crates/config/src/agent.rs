//! The agents of the file.

use std::collections::BTreeMap;

use crate::fault::Fault;
use crate::nearest::list;
use crate::reader::{Reader, Table};
use crate::resolved::{AGENT_KINDS, Agent, AgentKind};
use crate::setting::{self, Section};
use crate::source::Span;
use crate::value::Datum;

/// The agent of accounts that name none.
pub(crate) const DEFAULT: &str = "default";

/// The agents of the file.
#[derive(Default)]
pub(crate) struct Agents {
    /// Those that are right.
    pub(crate) resolved: BTreeMap<String, Agent>,
    /// All that are there: what is wrong with an agent is no problem of the accounts that use it.
    pub(crate) names: Vec<String>,
    /// Where `[agents]` is.
    pub(crate) span: Option<Span>,
}

/// Reads `[agents]`. Of the kinds that can be read, the binary knows `kinds`.
pub(crate) fn read(reader: &mut Reader<'_>, root: &Table<'_>, kinds: &[&str]) -> Agents {
    let Some(table) = reader.table(root, "agents") else { return Agents::default() };
    let mut agents = Agents { span: table.span.clone(), ..Agents::default() };
    for (name, span, table) in reader.tables(&table) {
        agents.names.push(name.to_owned());
        if !is_plain(name) {
            reader.report(Some(&span), &table.path, &Fault::AgentName);
        }
        if let Some(agent) = agent(reader, &table, kinds) {
            agents.resolved.insert(name.to_owned(), agent);
        }
    }
    agents
}

fn agent(reader: &mut Reader<'_>, table: &Table<'_>, kinds: &[&str]) -> Option<Agent> {
    let known: Vec<&str> = AGENT_KINDS.iter().copied().filter(|kind| kinds.contains(kind)).collect();
    if let Some((kind, span)) = table.text("kind")
        && !known.contains(&kind)
    {
        // Its other keys are those of a kind that we do not know: no use in calling each of them unknown too.
        let fault = Fault::AgentKind { kind: format!("{kind:?}"), known: list(&known) };
        reader.report(Some(&span), &table.join("kind"), &fault);
        return None;
    }
    let entries = reader.entries(table, setting::of(Section::Agent).collect(), &[]);
    reader.require(table, &entries);
    Some(Agent { kind: AgentKind::Echo { delay: entries.value("delay").and_then(Datum::duration)? } })
}

/// The alphabet of ids (design §8).
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}
