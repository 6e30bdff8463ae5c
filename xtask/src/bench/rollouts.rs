//! What a rollout costs: deciding, simulating, and being wrong.

use serde_json::Value;

use super::stats::median;
use super::{Aim, Bench, Row, Unit};
use crate::{Error, cargo};

/// Decisions and simulated rollouts per second, by `crates/testkit/benches/engine.rs`.
pub(super) fn engine(bench: &Bench) -> Result<Vec<Row>, Error> {
    let seconds = if bench.quick { "0.2" } else { "5" };
    let text = cargo()
        .args(["bench", "--quiet", "--package", "kiln-testkit", "--bench", "engine", "--", seconds])
        .read()?;
    let told = last_line(&text, "engine")?;
    let of = |size: &str| number(&told["decisions"][size], "decisions per second");
    let (ten, hundred, thousand) = (of("10")?, of("100")?, of("1000")?);
    let how = "the pure engine on one core, over whole rollouts: rolling, and canary measured against the old fleet. At most \
               linear: ten times the instances may cost at most ten times the time";
    let row = |what: String, unit, value, aims| Row {
        what,
        unit,
        kiln: Ok(value),
        peers: Vec::new(),
        aims,
        how: how.into(),
    };
    let mut rows: Vec<Row> = [("10", ten), ("100", hundred), ("1,000", thousand)]
        .into_iter()
        .map(|(size, value)| {
            row(format!("engine: decisions with {size} instances"), Unit::PerSecond, value, Vec::new())
        })
        .collect();
    for (more, fewer, ratio) in [("100", "10", ten / hundred), ("1,000", "100", hundred / thousand)] {
        let what = format!("engine: time of a decision, {more} instances to {fewer}");
        rows.push(row(what, Unit::Times, ratio, vec![Aim::Limit(10.0)]));
    }
    rows.push(Row {
        what: "simulated rollouts".into(),
        unit: Unit::PerSecond,
        kiln: Ok(number(&told["simulated"], "simulated rollouts per second")?),
        peers: Vec::new(),
        aims: Vec::new(),
        how: "the simulator on one core: random strategies, 1 to 100 instances, faults, a control plane that is killed"
            .into(),
    });
    Ok(rows)
}

/// From the first bad answer of a bad release to full traffic on the old one, by `xtask/benches/bad_release.rs`.
pub(super) fn bad_release(bench: &Bench) -> Result<Vec<Row>, Error> {
    let text = cargo()
        .args(["bench", "--quiet", "--package", "xtask", "--bench", "bad_release", "--"])
        .arg(&bench.kiln)
        .arg(bench.times(7).to_string())
        .read()?;
    let told = last_line(&text, "bad-release")?;
    let rounds = told.as_array().cloned().unwrap_or_default();
    [(100, "every request"), (5, "5 % of the requests")]
        .into_iter()
        .map(|(percent, which)| {
            let own: Vec<&Value> = rounds.iter().filter(|it| it["percent"] == percent).collect();
            let middle = |field: &str| {
                let values: Result<Vec<f64>, Error> = own.iter().map(|it| number(&it[field], field)).collect();
                values.map(|values| median(&values))
            };
            Ok(Row {
                what: format!("bad release that fails {which}: first bad answer to full traffic on the old one"),
                unit: Unit::Millis,
                kiln: Ok(middle("millis")?),
                peers: Vec::new(),
                aims: Vec::new(),
                how: format!(
                    "canary with 10 % of {:.0} requests a second, `max_error_rate = \"1%\"`; {:.0} requests failed, {:.0} were \
                     served by the bad release",
                    middle("rate")?,
                    middle("failed")?,
                    middle("served")?
                ),
            })
        })
        .collect()
}

fn last_line(text: &str, what: &str) -> Result<Value, Error> {
    let line = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    line.ok_or_else(|| Error::Measure { what: what.into(), why: "it printed no JSON".into() })
}

fn number(value: &Value, what: &str) -> Result<f64, Error> {
    value.as_f64().ok_or_else(|| Error::Measure { what: what.into(), why: "it is missing".into() })
}
