//! `analyse` blocks.

use std::collections::BTreeMap;

use kiln_model::{Against, AnalysisSpec, Metric, MetricSource, SyntheticProbe};

use super::check::check_port;
use super::image::ImageDraft;
use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;

/// Limits of the time to the response's head, the laxest first.
const LATENCIES: [&str; 3] = ["max_p50", "max_p90", "max_p99"];

/// `image` is the service's when it is in order.
pub(super) fn build(world: &World<'_>, block: &Section<'_>, image: Option<&ImageDraft>) -> AnalysisSpec {
    let default = AnalysisSpec::default();
    let [max_p50, max_p90, max_p99] = LATENCIES.map(|name| block.span(name));
    let spec = AnalysisSpec {
        against: match block.text("against").as_deref() {
            Some("baseline") => Against::Baseline,
            Some("old") => Against::Old,
            _ => Against::Limits,
        },
        max_error_rate: block.part("max_error_rate"),
        max_p50,
        max_p90,
        max_p99,
        false_alarm: block.part("false_alarm").unwrap_or(default.false_alarm),
        min_requests: block.whole("min_requests").unwrap_or(default.min_requests),
        interval: block.span("interval").unwrap_or(default.interval),
        probes: block.all("probe").filter_map(|probe| synthetic(world, probe, image)).collect(),
        metrics: block.all("metric").filter_map(|metric| self::metric(world, metric)).collect(),
    };
    check_purpose(world, block, &spec);
    check_limits(world, block);
    check_numbers(world, block, &spec);
    spec
}

/// An analysis that nothing could ever fail is a mistake.
fn check_purpose(world: &World<'_>, block: &Section<'_>, spec: &AnalysisSpec) {
    let given = ["max_error_rate", "max_p50", "max_p90", "max_p99"].iter().any(|name| block.has(name));
    if given
        || spec.against != Against::Limits
        || block.one("metric").is_some()
        || !block.readable(&["against"])
    {
        return;
    }
    world.report.add(
        Problem::error(block.place, "this `analyse` block has nothing to hold the new release against")
            .help("add a limit such as max_error_rate = \"1%\", or against = \"old\", or a `metric`"),
    );
}

/// Latencies above each other, none of them nothing.
fn check_limits(world: &World<'_>, block: &Section<'_>) {
    let given: Vec<_> = LATENCIES.iter().filter_map(|name| Some((*name, block.span(name)?))).collect();
    for (name, limit) in &given {
        if limit.millis() == 0 {
            let problem = Problem::error(block.at(name), format!("`{name}` must be longer than nothing"));
            world.report.add(problem.help(format!("write it like {name} = \"300ms\"")));
        }
    }
    for pair in given.windows(2) {
        let [(low, shorter), (high, longer)] = pair else { continue };
        if shorter > longer {
            let message = format!("`{low}` ({shorter}) is above `{high}` ({longer})");
            world.report.add(
                Problem::error(block.at(low), message)
                    .also(block.at(high), "holds for more requests")
                    .help(format!("make `{low}` {longer} or less, or take it out")),
            );
        }
    }
}

fn check_numbers(world: &World<'_>, block: &Section<'_>, spec: &AnalysisSpec) {
    if !(spec.false_alarm > 0.0 && spec.false_alarm <= 0.5) {
        let message = "`false_alarm` must be above 0% and at most 50%";
        world.report.add(
            Problem::error(block.at("false_alarm"), message)
                .note("a test that never gives a false alarm never gives an alarm")
                .help("write it like false_alarm = \"1%\""),
        );
    }
    if spec.interval.millis() == 0 {
        let problem = Problem::error(block.at("interval"), "`interval` must be longer than nothing");
        world.report.add(problem.help("write it like interval = \"10s\""));
    }
}

fn synthetic(world: &World<'_>, block: &Section<'_>, image: Option<&ImageDraft>) -> Option<SyntheticProbe> {
    if let Some(image) = image {
        check_port(world, block, image, "a `probe`");
    }
    let mut headers = BTreeMap::new();
    for (name, value) in block.map("headers") {
        let lower = name.to_ascii_lowercase();
        if headers.insert(lower, value).is_some() {
            let message = format!("the header `{name}` is given twice");
            let problem = Problem::error(block.at("headers"), message);
            world
                .report
                .add(problem.help("names of headers are the same in capital and small letters: keep one"));
        }
    }
    Some(SyntheticProbe { get: block.text("get")?, port: block.named("port"), headers })
}

fn metric(world: &World<'_>, block: &Section<'_>) -> Option<Metric> {
    let kind = block.exactly_one(world, &["prometheus", "webhook", "command"], "a `metric` block")?;
    let (max, min) = (block.fraction("max"), block.fraction("min"));
    if kind == "prometheus" && !block.has("max") && !block.has("min") {
        let message = "a number alone neither passes nor fails: this metric has neither `max` nor `min`";
        let problem = Problem::error(block.place, message);
        world.report.add(problem.help("add what it may be at most, such as max = 0.01, or at least"));
    }
    if let (Some(most), Some(least)) = (max, min)
        && least > most
    {
        let problem = Problem::error(block.at("min"), format!("`min` ({least}) is above `max` ({most})"));
        world.report.add(problem.also(block.at("max"), "no number is both").help("exchange the two"));
    }
    Some(Metric {
        name: block.label_text().to_owned(),
        source: source(block, kind)?,
        max,
        min,
        failure_limit: block.whole("failure_limit").unwrap_or(0),
        error_limit: block.whole("error_limit").unwrap_or(4),
    })
}

fn source(block: &Section<'_>, kind: &str) -> Option<MetricSource> {
    if kind == "command" {
        return Some(MetricSource::Command { argv: block.texts("command")? });
    }
    let inner = block.one(kind)?;
    let url = inner.text("url")?;
    Some(match kind {
        "prometheus" => MetricSource::Prometheus { url, query: inner.text("query")? },
        _ => MetricSource::Webhook { url },
    })
}
