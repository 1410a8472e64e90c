//! The agents of the file.

use std::collections::{BTreeMap, BTreeSet};

use crate::fault::Fault;
use crate::file;
use crate::nearest::list;
use crate::reader::{Entries, Reader, Table};
use crate::resolved::{AGENT_KINDS, Agent, AgentKind};
use crate::setting::{self, Kind, Section, Setting};
use crate::source::Span;
use crate::value::Datum;

/// The agent of accounts that name none.
pub(crate) const DEFAULT: &str = "default";

/// The kinds, as they are written, and what each has to say beside its kind.
pub(crate) const KINDS: [(&str, Section); 3] =
    [("echo", Section::Echo), ("openai", Section::OpenAi), ("command", Section::Command)];

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
    let said = table.text("kind").and_then(|(said, _)| KINDS.iter().find(|(kind, _)| *kind == said));
    let Some((kind, section)) = said else {
        // Which keys belong to it nobody can tell.
        let all = KINDS.iter().flat_map(|(_, section)| setting::of(*section));
        let (mut settings, mut keys): (Vec<Setting>, _) =
            (setting::of(Section::Agent).chain(all).collect(), BTreeSet::new());
        settings.retain(|setting| keys.insert(setting.key));
        if reader.entries(table, settings, &[]).get("kind").is_none() {
            let fault = Fault::Missing { expected: Kind::Word(AGENT_KINDS).expected() };
            reader.report(table.span.as_ref(), &table.join("kind"), &fault);
        }
        return None;
    };
    let settings = setting::of(Section::Agent).chain(setting::of(*section));
    let entries = reader.entries(table, settings.collect(), &[]);
    reader.require(table, &entries);
    let kind = match *kind {
        "openai" => openai(reader, &entries),
        "command" => command(reader, &entries),
        _ => entries.value("delay").and_then(Datum::duration).map(|delay| AgentKind::Echo { delay }),
    };
    Some(Agent { kind: kind? })
}

fn openai(reader: &mut Reader<'_>, entries: &Entries) -> Option<AgentKind> {
    let text = |key| entries.value(key).and_then(Datum::text);
    if entries.value("stream").and_then(Datum::flag) == Some(true)
        && let Some(entry) = entries.get("stream")
    {
        reader.report(Some(&entry.span), &entry.path, &Fault::Stream);
    }
    Some(AgentKind::OpenAi {
        base_url: text("base_url")?,
        model: text("model")?,
        api_key: entries.value("api_key").and_then(Datum::secret),
        system_prompt: text("system_prompt"),
        timeout: entries.value("timeout").and_then(Datum::duration)?,
    })
}

fn command(reader: &mut Reader<'_>, entries: &Entries) -> Option<AgentKind> {
    let list = |key| entries.value(key).and_then(Datum::list);
    let command = list("command")?;
    if let (Some(program), Some(entry)) = (command.first(), entries.get("command"))
        && !file::is_program(program, reader.environment().get("PATH").map(String::as_str))
    {
        let fault = Fault::NoProgram { program: format!("{program:?}") };
        reader.report(Some(&entry.span), &entry.path, &fault);
    }
    Some(AgentKind::Command {
        command,
        timeout: entries.value("timeout").and_then(Datum::duration)?,
        pass_env: list("pass_env").unwrap_or_default(),
    })
}

/// The alphabet of ids (design §8).
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}
