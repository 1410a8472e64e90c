//! The text format: help and type of a metric once, then its samples.

use std::fmt::Write;

use moorline_core::Distribution;

use super::catalogue::{Kind, Metric};

/// Microseconds in a second: what is measured in the first is shown in the second.
const MICROS: f64 = 1e6;

/// A page being written.
#[derive(Debug, Default)]
pub(super) struct Page(String);

/// One metric of it.
#[derive(Debug)]
pub(super) struct Family<'a> {
    page: &'a mut String,
    metric: &'static Metric,
}

impl Page {
    /// Begins a metric; each is begun once.
    pub(super) fn family(&mut self, metric: &'static Metric) -> Family<'_> {
        let page = &mut self.0;
        line(page, format_args!("# HELP {} {}", metric.name, metric.help));
        line(page, format_args!("# TYPE {} {}", metric.name, metric.kind.name()));
        Family { page, metric }
    }

    /// A metric with one sample and no labels.
    pub(super) fn single(&mut self, metric: &'static Metric, value: f64) {
        self.family(metric).sample(&[], value);
    }

    /// The whole page.
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Adds a sample; `values` are those of the metric's labels, in their order.
    pub(super) fn sample(&mut self, values: &[&str], value: f64) {
        self.write("", values, None, value);
    }

    /// Adds one sample for each of `all`: 1 for the one that is so, 0 for the others.
    pub(super) fn one_of(&mut self, values: &[&str], all: &[&str], which: &str) {
        for state in all {
            let values: Vec<&str> = values.iter().chain([state]).copied().collect();
            self.sample(&values, f64::from(u8::from(*state == which)));
        }
    }

    /// Adds the samples of a histogram.
    pub(super) fn distribution(&mut self, values: &[&str], distribution: &Distribution) {
        let scale = if self.metric.kind == Kind::Times { MICROS } else { 1.0 };
        let mut below = 0;
        for (class, count) in distribution.counts.iter().enumerate() {
            below += count;
            let bound = distribution.bounds.get(class).map(|bound| *bound as f64 / scale);
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            self.write("_bucket", values, Some(&bound), below as f64);
        }
        self.write("_sum", values, None, distribution.sum as f64 / scale);
        self.write("_count", values, None, below as f64);
    }

    fn write(&mut self, suffix: &str, values: &[&str], bound: Option<&str>, value: f64) {
        debug_assert_eq!(self.metric.labels.len(), values.len(), "{}", self.metric.name);
        self.page.push_str(self.metric.name);
        self.page.push_str(suffix);
        let labels = self.metric.labels.iter().copied().zip(values.iter().copied());
        let mut before = '{';
        for (name, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            self.page.push(before);
            self.page.push_str(name);
            self.page.push_str("=\"");
            escape(self.page, value);
            self.page.push('"');
            before = ',';
        }
        if before == ',' {
            self.page.push('}');
        }
        line(self.page, format_args!(" {value}"));
    }
}

/// What a value may not hold as it is.
fn escape(page: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => page.push_str("\\\\"),
            '"' => page.push_str("\\\""),
            '\n' => page.push_str("\\n"),
            other => page.push(other),
        }
    }
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = page.write_fmt(text);
    page.push('\n');
}
