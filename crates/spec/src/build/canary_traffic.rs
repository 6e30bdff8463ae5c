//! How requests find the new release beside its weight.

use kiln_model::{CanaryTraffic, HeaderMatch, Span, Sticky};

use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;

pub(super) fn build(world: &World<'_>, section: &Section<'_>) -> CanaryTraffic {
    CanaryTraffic {
        sticky: section.one("sticky").and_then(|block| sticky(world, block)),
        testers: section.all("tester").filter_map(tester).collect(),
        mirror: section.share("mirror").unwrap_or(0),
    }
}

fn sticky(world: &World<'_>, block: &Section<'_>) -> Option<Sticky> {
    let kind = block.exactly_one(world, &["cookie", "header"], "a `sticky` block")?;
    let name = block.text(kind)?;
    if kind == "header" {
        if block.has("max_age") {
            let problem =
                Problem::error(block.at("max_age"), "`max_age` belongs to `cookie`, not to `header`");
            world
                .report
                .add(problem.help("take `max_age` out: the client decides how long it sends a header"));
        }
        return Some(Sticky::Header { name: name.to_ascii_lowercase() });
    }
    // Names of cookies, unlike those of headers, are not the same in other letters.
    let max_age = block.span("max_age").unwrap_or(Span::from_secs(24 * 60 * 60));
    if max_age.millis() < 1000 {
        let problem = Problem::error(block.at("max_age"), "a cookie lives for at least a second");
        world.report.add(problem.help("write it like max_age = \"24h\""));
    }
    Some(Sticky::Cookie { name, max_age })
}

fn tester(block: &Section<'_>) -> Option<HeaderMatch> {
    Some(HeaderMatch { header: block.text("header")?.to_ascii_lowercase(), value: block.text("value") })
}
