//! Everything that goes to standard output: the answers of commands, as tables or as JSON.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use serde_json::{Value, json};

/// Prints one line. A reader that has gone away is not an error of ours.
pub fn line(text: &str) -> Result<()> {
    offer(text).map(drop)
}

/// Prints one line; false when the reader has gone away, and no other one needs to be printed.
pub fn offer(text: &str) -> Result<bool> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

/// Prints JSON, indented.
pub fn json(value: &Value) -> Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Tells on standard error what a person who waits may want to know.
pub fn note(text: &str) {
    // There is nowhere left to report that standard error is closed.
    drop(writeln!(io::stderr(), "{text}"));
}

/// Tells on standard error what went wrong.
pub fn complain(error: &anyhow::Error) {
    // There is nowhere left to report that standard error is closed.
    drop(writeln!(io::stderr(), "moorline: {error:#}"));
}

/// Tells on standard output what went wrong, for programs: it is the answer they get.
pub fn refuse(name: &str, message: &str) {
    // There is nowhere left to report that standard output is closed.
    drop(json(&json!({ "error": { "code": name, "message": message } })));
}

/// How wide a sentence below a row may be.
const NOTE_WIDTH: usize = 86;

/// A table whose columns are as wide as what is in them.
#[derive(Debug)]
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// What stands below a row, by the row's number.
    notes: BTreeMap<usize, String>,
}

impl Table {
    /// A table with these column heads.
    pub fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new(), notes: BTreeMap::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Adds a sentence below the last row: it is no column, and makes none of them wider.
    pub fn note(&mut self, text: &str) {
        self.notes.insert(self.rows.len().saturating_sub(1), text.to_owned());
    }

    /// Prints it.
    pub fn print(&self) -> Result<()> {
        line(&self.render(io::stdout().is_terminal()))
    }

    pub(crate) fn render(&self, colour: bool) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(self.head.get(column).map(|head| head.len())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let render = |cells: &mut dyn Iterator<Item = &str>| {
            let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let head = render(&mut self.head.iter().copied());
        let mut lines = vec![if colour { format!("\x1b[1m{head}\x1b[0m") } else { head }];
        for (number, row) in self.rows.iter().enumerate() {
            let text = render(&mut row.iter().map(String::as_str));
            lines.push(if colour { paint(&text) } else { text });
            let note = self.notes.get(&number).map_or("", String::as_str);
            lines.extend(wrapped(note, NOTE_WIDTH).iter().map(|line| format!("    {line}")));
        }
        lines.join("\n")
    }
}

/// The lines of a text, broken between words. A word that is too long has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Colours the words that say how things stand.
fn paint(row: &str) -> String {
    let colours = [
        ("ready", "32"),
        ("running", "32"),
        ("reconnecting", "33"),
        ("restarting", "33"),
        ("connecting", "33"),
        ("blocked", "31"),
        ("parked", "31"),
        ("stopped", "2"),
    ];
    row.split_inclusive(' ')
        .map(|word| match colours.iter().find(|(state, _)| *state == word.trim()) {
            Some((state, colour)) => word.replacen(state, &format!("\x1b[{colour}m{state}\x1b[0m"), 1),
            None => word.to_owned(),
        })
        .collect()
}

/// One line of a text that somebody else wrote, cut to `width` characters: line breaks are spaces, and what could move
/// a terminal's cursor or change its colours is a `·`.
pub fn cut(text: &str, width: usize) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain = harmless(&words);
    match plain.char_indices().nth(width) {
        None => plain,
        Some(_) => plain.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A text that somebody else wrote as it may be shown on a terminal, with its line breaks.
pub fn harmless(text: &str) -> String {
    let is_harmful = |char: char| {
        // Control characters, and those that turn the direction of writing around.
        char.is_control() && char != '\n'
            || matches!(char, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|char| if is_harmful(char) { '·' } else { char }).collect()
}

/// A span of time as people say it: `850 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, `9 d 4 h`.
pub fn span(millis: u64) -> String {
    let secs = millis / 1_000;
    match secs {
        _ if millis < 1_000 => format!("{millis} ms"),
        0..60 => format!("{}.{} s", secs, millis % 1_000 / 100),
        60..3_600 => format!("{} min {} s", secs / 60, secs % 60),
        3_600..86_400 => format!("{} h {} min", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{} d {} h", secs / 86_400, secs % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_as_people_say_them() {
        let rows = [
            (850, "850 ms"),
            (4_210, "4.2 s"),
            (59_999, "59.9 s"),
            (200_000, "3 min 20 s"),
            (7_500_000, "2 h 5 min"),
            (792_000_000, "9 d 4 h"),
        ];
        for (millis, text) in rows {
            assert_eq!(span(millis), text);
        }
    }

    #[test]
    fn what_others_wrote_is_shown_on_one_line_and_moves_no_cursor() {
        let rows = [
            ("hello", "hello"),
            ("  two\n\nlines\t", "two lines"),
            ("exactly ten", "exactly t…"),
            ("exactly10!", "exactly10!"),
            ("\x1b[2Jgone", "·[2Jgone"),
            ("a\u{202e}b\u{9b}c", "a·b·c"),
            ("日本語の長い文章です。", "日本語の長い文章で…"),
        ];
        for (text, shown) in rows {
            assert_eq!(cut(text, 10), shown, "{text:?}");
        }
        assert_eq!(harmless("two\nlines\r"), "two\nlines·");
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let mut table = Table::new(&["ACCOUNT", "STATE"]);
        table.row(vec!["feishu:main".to_owned(), "ready".to_owned()]);
        table.row(vec!["x".to_owned(), "blocked".to_owned()]);
        assert_eq!(table.render(false), "ACCOUNT      STATE\nfeishu:main  ready\nx            blocked");
        assert!(table.render(true).contains("\x1b[32mready\x1b[0m"));
    }
}
