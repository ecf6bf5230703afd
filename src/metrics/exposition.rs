//! Figures as text for Prometheus: OpenMetrics, or the older format 0.0.4, written by the official client library.
//!
//! What a scrape takes is bounded here, whatever the figures say: a family has at most [`MAX_SAMPLES`] series, and a label's
//! value so many characters. A text that has a series twice would be refused as a whole, so only the first of each is written.

use std::collections::HashSet;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

/// How many series a family has at most.
pub const MAX_SAMPLES: usize = 1000;

/// How many characters a label's value has at most.
const MAX_LABEL: usize = 200;

/// A format of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

/// Several series that have a name and a meaning in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The name, without unit and without `_total`.
    pub name: String,
    /// What it means.
    pub help: String,
    /// What its numbers are.
    pub kind: FamilyKind,
    /// What its numbers count, in the plural: "seconds".
    pub unit: Option<String>,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// Its series.
    pub samples: Vec<Sample>,
}

/// What a family's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    /// Numbers that only grow.
    Counter,
    /// Other numbers.
    Gauge,
    /// Distributions.
    Histogram,
}

/// A series.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The values of the family's labels, in their order.
    pub labels: Vec<String>,
    /// Its value.
    pub value: SampleValue,
}

/// The value of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleValue {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a histogram.
    Histogram {
        /// How many were at most so large, for each limit, the last one infinite.
        buckets: Vec<(f64, u64)>,
        /// Their sum.
        sum: f64,
    },
}

impl Format {
    /// The one that a request's `Accept` prefers.
    pub fn accepted(accept: &[u8]) -> Format {
        let accept = String::from_utf8_lossy(accept);
        let (mut open, mut text) = (0.0_f64, 0.0_f64);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            let quality: f64 = quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
            match kind {
                "application/openmetrics-text" => open = quality.max(open),
                "text/plain" | "text/*" => text = quality.max(text),
                _ => {}
            }
        }
        match open > 0.0 && open >= text {
            true => Format::OpenMetrics,
            false => Format::Text,
        }
    }

    /// What an answer says that it is.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// Writes families. Those that no reader would take are left out.
pub fn encode(families: Vec<Family>, format: Format) -> String {
    let mut names = HashSet::new();
    let families = families.into_iter().filter_map(|family| {
        let family = family.cleaned()?;
        let key = (family.name.clone(), family.unit.clone());
        names.insert(key).then_some(family)
    });
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families.collect())));
    let mut written = String::new();
    let result = match format {
        Format::OpenMetrics => text::encode(&mut written, &registry),
        Format::Text => prometheus_text::encode(&mut written, &registry),
    };
    if result.is_err() {
        // (Writing to a string does not fail.)
        log::error!("the figures cannot be written");
    }
    written
}

impl Family {
    /// It with what can be written; `None` if its name cannot.
    fn cleaned(mut self) -> Option<Family> {
        let known = ["le", "quantile"];
        let is_label = |name: &String| {
            is_name(name) && !name.starts_with("__") && !known.contains(&name.as_str())
        };
        if !is_name(&self.name) || !self.labels.iter().all(is_label) {
            return None;
        }
        // Not every writer and reader agrees on what is escaped here.
        self.help = self.help.replace(['\n', '\r', '\\', '"'], " ");
        let count = self.labels.len();
        let mut seen = HashSet::new();
        for sample in &mut self.samples {
            for value in &mut sample.labels {
                if let Some((end, _)) = value.char_indices().nth(MAX_LABEL) {
                    value.truncate(end);
                }
            }
        }
        self.samples.retain(|sample| {
            sample.labels.len() == count
                && sample.value.is_of(self.kind)
                && seen.len() < MAX_SAMPLES
                && seen.insert(sample.labels.clone())
        });
        Some(self)
    }
}

impl SampleValue {
    fn is_of(&self, kind: FamilyKind) -> bool {
        match self {
            SampleValue::Number(number) => match kind {
                FamilyKind::Counter => *number >= 0.0 && number.is_finite(),
                FamilyKind::Gauge => true,
                FamilyKind::Histogram => false,
            },
            SampleValue::Histogram { buckets, .. } => {
                let limits = buckets.iter().map(|(limit, _)| *limit);
                kind == FamilyKind::Histogram
                    && limits.is_sorted_by(|one, next| one < next)
                    && buckets.is_sorted_by_key(|(_, count)| *count)
                    && buckets.last().is_some_and(|(limit, _)| limit.is_infinite())
            }
        }
    }
}

/// A name as Prometheus has them.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in &self.0 {
            let kind = match family.kind {
                FamilyKind::Counter => MetricType::Counter,
                FamilyKind::Gauge => MetricType::Gauge,
                FamilyKind::Histogram => MetricType::Histogram,
            };
            let unit = family.unit.clone().map(Unit::Other);
            let (name, help) = (&family.name, &family.help);
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
            for sample in &family.samples {
                let labels = Labels(&family.labels, &sample.labels);
                write(metric.encode_family(&labels)?, family.kind, &sample.value)?;
            }
        }
        Ok(())
    }
}

fn write(
    mut encoder: MetricEncoder<'_>,
    kind: FamilyKind,
    value: &SampleValue,
) -> Result<(), fmt::Error> {
    match value {
        SampleValue::Number(number) if kind == FamilyKind::Counter => {
            encoder.encode_counter::<NoLabelSet, f64, f64>(number, None)
        }
        SampleValue::Number(number) => encoder.encode_gauge(number),
        SampleValue::Histogram { buckets, sum } => {
            let count = buckets.last().map_or(0, |(_, count)| *count);
            // The library adds up what is in each.
            let mut before = 0;
            let each: Vec<(f64, u64)> = buckets
                .iter()
                .map(|(limit, count)| (*limit, count - std::mem::replace(&mut before, *count)))
                .collect();
            encoder.encode_histogram::<NoLabelSet>(*sum, count, &each, None)
        }
    }
}

/// Names and values.
struct Labels<'a>(&'a [String], &'a [String]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> Result<(), fmt::Error> {
        for pair in self.0.iter().zip(self.1) {
            prometheus_client::encoding::EncodeLabel::encode(
                &(pair.0.as_str(), pair.1.as_str()),
                encoder.encode_label(),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(name: &str, kind: FamilyKind, unit: Option<&str>, samples: Vec<Sample>) -> Family {
        Family {
            name: name.into(),
            help: "What it\n\"means\".".into(),
            kind,
            unit: unit.map(str::to_owned),
            labels: vec!["user".into()],
            samples,
        }
    }

    fn number(user: &str, number: f64) -> Sample {
        Sample {
            labels: vec![user.into()],
            value: SampleValue::Number(number),
        }
    }

    #[test]
    fn both_formats_are_written() {
        let histogram = Sample {
            labels: vec!["ann".into()],
            value: SampleValue::Histogram {
                buckets: vec![(0.5, 1), (1.0, 1), (f64::INFINITY, 3)],
                sum: 7.5,
            },
        };
        let families = || {
            vec![
                family(
                    "dpm_commands",
                    FamilyKind::Counter,
                    None,
                    vec![number("a\"b\\c\nd", 3.0)],
                ),
                family(
                    "dpm_lua",
                    FamilyKind::Counter,
                    Some("seconds"),
                    vec![number("ann", 0.25)],
                ),
                family(
                    "dpm_memory",
                    FamilyKind::Gauge,
                    Some("bytes"),
                    vec![number("", 1e12)],
                ),
                family(
                    "dpm_time",
                    FamilyKind::Histogram,
                    Some("seconds"),
                    vec![histogram.clone()],
                ),
            ]
        };
        let text = encode(families(), Format::Text);
        let lines = [
            "# HELP dpm_commands_total What it  means .",
            "# TYPE dpm_commands_total counter",
            "dpm_commands_total{user=\"a\\\"b\\\\c\\nd\"} 3",
            "# TYPE dpm_lua_seconds_total counter",
            "dpm_lua_seconds_total{user=\"ann\"} 0.25",
            "# TYPE dpm_memory_bytes gauge",
            "# TYPE dpm_time_seconds histogram",
            "dpm_time_seconds_bucket{user=\"ann\",le=\"0.5\"} 1",
            "dpm_time_seconds_bucket{user=\"ann\",le=\"+Inf\"} 3",
            "dpm_time_seconds_count{user=\"ann\"} 3",
            "dpm_time_seconds_sum{user=\"ann\"} 7.5",
        ];
        for line in lines {
            let found = text
                .lines()
                .any(|its| its == line || its == format!("{line}.0"));
            assert!(found, "{line}\n{text}");
        }
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));

        let open = encode(families(), Format::OpenMetrics);
        assert!(open.contains("# TYPE dpm_commands counter\n"), "{open}");
        assert!(open.contains("# UNIT dpm_lua_seconds seconds\n"), "{open}");
        assert!(
            open.contains("\ndpm_lua_seconds_total{user=\"ann\"} 0.25\n"),
            "{open}"
        );
        assert!(open.ends_with("# EOF\n"));
    }

    #[test]
    fn what_would_spoil_the_whole_text_is_left_out() {
        let long = "x".repeat(1000);
        let samples = vec![
            number(&format!("{long}1"), 1.0),
            number(&format!("{long}2"), 2.0),
            number("ann", -1.0),
            number("bob", f64::NAN),
            number("cid", 5.0),
            number("cid", 6.0),
            Sample {
                labels: Vec::new(),
                value: SampleValue::Number(1.0),
            },
        ];
        let mut bad_label = family("dpm_c", FamilyKind::Gauge, None, Vec::new());
        bad_label.labels = vec!["a-b".into()];
        let families = vec![
            family("dpm_a", FamilyKind::Counter, None, samples),
            family(
                "dpm_a",
                FamilyKind::Counter,
                None,
                vec![number("again", 1.0)],
            ),
            family("dpm b", FamilyKind::Gauge, None, vec![number("ann", 1.0)]),
            bad_label,
        ];
        let text = encode(families, Format::Text);
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples.len(), 2, "{text}");
        assert!(
            samples[1].starts_with("dpm_a_total{user=\"cid\"} 5"),
            "{text}"
        );

        let many = (0..2000).map(|n| number(&n.to_string(), 1.0)).collect();
        let text = encode(
            vec![family("dpm_a", FamilyKind::Gauge, None, many)],
            Format::Text,
        );
        assert_eq!(text.lines().count(), MAX_SAMPLES + 2);
    }

    #[test]
    fn the_format_is_the_one_that_is_preferred() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Text),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                "text/plain, application/openmetrics-text; q=0.5",
                Format::Text,
            ),
        ] {
            assert_eq!(Format::accepted(accept.as_bytes()), format, "{accept}");
        }
    }
}
