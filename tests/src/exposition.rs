//! A strict reader of Prometheus' text format: what a lenient one would let pass is refused here.

use std::collections::{BTreeMap, BTreeSet};

/// A page: every sample by its series, as `name{label="value"}` with the labels in order.
#[derive(Debug, Default)]
pub struct Exposition {
    samples: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
}

impl Exposition {
    /// Reads a page.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        let (mut page, mut family, mut helped) = (Self::default(), String::new(), BTreeSet::new());
        for line in text.lines() {
            let wrong = |why: &str| Err(format!("{why}: {line}"));
            if let Some(help) = line.strip_prefix("# HELP ") {
                let Some((name, meaning)) = help.split_once(' ') else { return wrong("no meaning") };
                if meaning.trim().is_empty() || !helped.insert(name.to_owned()) {
                    return wrong("help is missing or there twice");
                }
                name.clone_into(&mut family);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let Some((name, kind)) = kind.split_once(' ') else { return wrong("no type") };
                if name != family || !["counter", "gauge", "histogram"].contains(&kind) {
                    return wrong("not the type of the metric that was begun");
                }
                if page.types.insert(name.to_owned(), kind.to_owned()).is_some() {
                    return wrong("type is there twice");
                }
                if (kind == "counter") != name.ends_with("_total") {
                    return wrong("a counter ends in _total, and nothing else does");
                }
            } else {
                let (name, labels, value) = sample(line).ok_or_else(|| format!("no sample: {line}"))?;
                let kind = page.types.get(&family).ok_or_else(|| format!("no type before: {line}"))?;
                let belongs = match name.strip_prefix(family.as_str()) {
                    Some("_bucket") => kind == "histogram" && labels.iter().any(|(name, _)| name == "le"),
                    Some("_sum" | "_count") => kind == "histogram",
                    Some("") => kind != "histogram",
                    _ => false,
                };
                let labelled: BTreeSet<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
                if !belongs || labelled.len() != labels.len() {
                    return wrong("belongs to another metric, or has a label twice");
                }
                if !value.is_finite() || (kind != "gauge" && value < 0.0) {
                    return wrong("no such value");
                }
                if page.samples.insert(series(&name, &labels), value).is_some() {
                    return wrong("the series is there twice");
                }
            }
        }
        page.histograms()?;
        Ok(page)
    }

    /// One sample.
    #[must_use]
    pub fn get(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }

    /// One sample that has to be there.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn value(&self, series: &str) -> f64 {
        self.get(series).unwrap_or_else(|| panic!("{series} is missing: {:#?}", self.samples))
    }

    /// Every series and its value.
    #[must_use]
    pub fn samples(&self) -> &BTreeMap<String, f64> {
        &self.samples
    }

    /// Every metric that the page tells of.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }

    /// Buckets only grow, and the last one holds everything.
    fn histograms(&self) -> Result<(), String> {
        let mut groups: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (series, count) in &self.samples {
            let Some((name, labels)) = series.split_once("_bucket{") else { continue };
            let Some((before, rest)) = labels.split_once("le=\"") else { continue };
            let Some((bound, after)) = rest.split_once('"') else { continue };
            let bound =
                if bound == "+Inf" { f64::INFINITY } else { bound.parse().map_err(|_| series.clone())? };
            let labels = [before.trim_end_matches(','), after.trim_matches([',', '}'])];
            let labels = labels.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",");
            let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            groups.entry(format!("{name}_count{labels}")).or_default().push((bound, *count));
        }
        for (total, mut buckets) in groups {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            let all = buckets.last().filter(|last| last.0.is_infinite()).map(|last| last.1);
            if !buckets.is_sorted_by(|a, b| a.1 <= b.1) || all != self.get(&total) || all.is_none() {
                return Err(format!("the buckets of {total} do not add up: {buckets:?}"));
            }
        }
        Ok(())
    }
}

type Labels = Vec<(String, String)>;

/// `name{label="value",…} 1.5`
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut labels = Labels::new();
    if let Some(after) = rest.strip_prefix('{') {
        rest = after;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if !is_name(label) {
                return None;
            }
            labels.push((label.to_owned(), value));
            rest = after;
            match rest.chars().next()? {
                ',' => rest = &rest[1..],
                '}' => break rest = &rest[1..],
                _ => return None,
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    if !is_name(name) || value.contains(' ') {
        return None;
    }
    Some((name.to_owned(), labels, value.parse().ok()?))
}

/// A value up to its closing quotation mark, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

fn series(name: &str, labels: &Labels) -> String {
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_a_page_and_refuses_what_is_wrong() {
        let head = "# HELP a_total Things.\n# TYPE a_total counter\n";
        let page = Exposition::parse(&format!("{head}a_total{{x=\"\\\"1\\n\"}} 7\n")).unwrap();
        assert_eq!(page.get("a_total{x=\"\"1\n\"}"), Some(7.0));
        let histogram = "# HELP h Times.\n# TYPE h histogram\n";
        let good = "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
        assert!(Exposition::parse(&format!("{histogram}{good}")).is_ok());
        let wrong = [
            format!("{head}a_total 1"),
            format!("{head}{head}a_total 1\n"),
            format!("{head}a_total 1\na_total 1\n"),
            format!("{head}a_total -1\n"),
            format!("{head}a_total NaN\n"),
            format!("{head}b_total 1\n"),
            format!("{head}a_total{{x=\"1\"y=\"2\"}} 1\n"),
            format!("{head}a_total{{x=\"1\",x=\"2\"}} 1\n"),
            format!("{head}a_total{{1x=\"1\"}} 1\n"),
            "a_total 1\n".to_owned(),
            "# HELP a Things.\n# TYPE a counter\na 1\n".to_owned(),
            "# HELP a_total Things.\n# TYPE a_total gauge\na_total 1\n".to_owned(),
            format!("{histogram}{}", good.replace("h_count 2", "h_count 3")),
            format!("{histogram}{}", good.replace("le=\"1\"} 1", "le=\"1\"} 5")),
            format!("{histogram}{}", good.replace("+Inf", "9")),
        ];
        for page in wrong {
            assert!(Exposition::parse(&page).is_err(), "{page}");
        }
    }
}
