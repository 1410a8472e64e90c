//! The reference page, from the table that checking uses.

use moorline_core::Schema;

use crate::agent;
use crate::setting::{self, Kind, Section, Setting};

const HEAD: &str = "\
# Every setting of Moorline. Generated from the code that checks them: do not edit.
#
# What has a default is shown with it; what has none and may be left out is commented out. Spans of time are written
# \"250ms\", \"30s\", \"5m\", \"1h30m\" or \"2d\". Secrets are a string, { env = \"NAME\" } or { file = \"path\" }, with
# the path relative to this file. Names of accounts and agents are of a-z, 0-9, _ and -.
#
# Whatever is set outside [agents] and [channels] can be overridden by an environment variable, lists excepted:
# admin.listen by MOORLINE__ADMIN__LISTEN.
#
# Behind each setting stands what a reload does with another value of it: (live) it counts from now on and no
# connection notices, (reconnect) the accounts it concerns connect again and no others, (restart) it waits for the
# next start.
";

/// Of comments, in characters.
const WIDTH: usize = 100;

/// The agent of each kind, by name, with what is said of it. All but the first are commented out.
const AGENTS: [(&str, &str); 3] = [
    (
        agent::DEFAULT,
        "An agent, by its name. Accounts that name none use `default`. Echo answers with what it is told.",
    ),
    ("model", "An agent behind an OpenAI-compatible endpoint."),
    ("script", "An agent that is a program, run for each turn."),
];

/// A complete commented configuration for these channels, as TOML that [`load`](crate::load) takes as it is, given
/// the variables that it names for secrets.
pub fn reference(schemas: &[&'static Schema]) -> String {
    let mut page = Page(HEAD.to_owned());
    for (section, name) in Section::GLOBAL {
        page.table(name, "", setting::of(section), "");
    }
    for ((kind, section), (name, doc)) in agent::KINDS.into_iter().zip(AGENTS) {
        // The kind is what makes the table what it is.
        let head = setting::of(Section::Agent).map(|head| Setting { default: Some(kind), ..head });
        let optional = name != agent::DEFAULT;
        page.section(&format!("agents.{name}"), doc, head.chain(setting::of(section)), kind, optional);
    }
    for schema in schemas {
        let channel = format!("channels.{}", schema.channel);
        let inherited = "What is set here, or in the next two tables, is the default of all accounts of this channel; \
                         an account can set the same keys for itself.";
        page.table(&channel, inherited, setting::of(Section::Account), schema.channel);
        page.table(&format!("{channel}.access"), "", setting::of(Section::Access), schema.channel);
        page.table(&format!("{channel}.retry"), "", setting::of(Section::Retry), schema.channel);
        let account = format!("One account. Its id is {}:main.", schema.channel);
        let fields = schema.fields.iter().map(Setting::from);
        page.table(&format!("{channel}.accounts.main"), &account, fields, schema.channel);
    }
    page.0
}

struct Page(String);

impl Page {
    fn table(&mut self, name: &str, doc: &str, settings: impl Iterator<Item = Setting>, channel: &str) {
        self.section(name, doc, settings, channel, false);
    }

    /// A table that is commented out if it is `optional`. Secrets have `owner` in the names of their variables.
    fn section(
        &mut self,
        name: &str,
        doc: &str,
        settings: impl Iterator<Item = Setting>,
        owner: &str,
        optional: bool,
    ) {
        self.0.push('\n');
        self.comment(doc);
        let out = if optional { "#" } else { "" };
        if !name.is_empty() {
            self.0 += &format!("{out}[{name}]\n");
        }
        for setting in settings {
            let value = match setting.default {
                Some(text) => written(setting.kind, text),
                None => example(&setting, owner),
            };
            let mark = if setting.default.is_none() && !setting.required { "#" } else { out };
            self.comment(&format!("{}{} ({})", setting.doc, choices(setting.kind), setting.class.as_str()));
            self.0 += &format!("{mark}{} = {value}\n", setting.key);
        }
    }

    /// Text as comment lines of at most `WIDTH`.
    fn comment(&mut self, text: &str) {
        let mut width = 0;
        for word in text.split_whitespace() {
            let start = match width {
                0 => "# ",
                _ if width + 1 + word.chars().count() > WIDTH => "\n# ",
                _ => " ",
            };
            self.0 += start;
            self.0 += word;
            width = word.chars().count() + if start == " " { width + 1 } else { 2 };
        }
        if width > 0 {
            self.0.push('\n');
        }
    }
}

fn choices(kind: Kind) -> String {
    match kind {
        Kind::Word(words) => format!(" {}.", words.join(" | ")),
        _ => String::new(),
    }
}

/// A default as TOML.
fn written(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Bool | Kind::Integer => text.to_owned(),
        _ => format!("\"{text}\""),
    }
}

/// What a value without a default looks like.
fn example(setting: &Setting, owner: &str) -> String {
    match setting.kind {
        Kind::Text => "\"…\"".to_owned(),
        Kind::Secret => {
            format!("{{ env = \"{}\" }}", format!("{owner}_{}", setting.key).to_ascii_uppercase())
        }
        Kind::Url => "\"https://example.com\"".to_owned(),
        Kind::Delay | Kind::Duration | Kind::Retention => "\"90s\"".to_owned(),
        Kind::Bool => "false".to_owned(),
        Kind::Integer => "1".to_owned(),
        Kind::Address => "\"127.0.0.1:7117\"".to_owned(),
        Kind::Word(words) => words.first().map(|word| format!("\"{word}\"")).unwrap_or_default(),
        Kind::Webhook => "{ env = \"MOORLINE_WEBHOOK\" }".to_owned(),
        Kind::Proxy => "{ env = \"MOORLINE_PROXY\" }".to_owned(),
        Kind::List | Kind::Certificates => "[]".to_owned(),
        Kind::Command => "[\"/bin/cat\"]".to_owned(),
    }
}
