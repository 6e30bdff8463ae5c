//! Where the numbers of an analysis come from that the data plane does not know: Prometheus, webhooks, commands.
//!
//! A source that answers "nothing yet" is no data; one that cannot be asked, or answers what nobody understands, is
//! an error. The engine draws the conclusions.

use std::process::Stdio;
use std::time::Duration;

use kiln_model::{FleetId, Metric, MetricSource, ReleaseNumber};
use kiln_rollout::analysis::Measured;
use serde::Deserialize;

use crate::error::chain;

/// A source may take so long to answer: Prometheus' own limit for a query is two minutes, but whoever waits that long
/// decides nothing within a step.
const LIMIT: Duration = Duration::from_secs(20);
/// More of an answer is not read.
const LONGEST: usize = 1 << 20;

/// What is asked about.
#[derive(Clone, Debug)]
pub(super) struct About {
    /// The new fleet.
    pub(super) fleet: FleetId,
    /// The release that it replaces.
    pub(super) old: Option<ReleaseNumber>,
}

impl About {
    /// Puts the values in for `{environment}`, `{service}`, `{release}` and `{old}`. Other braces, of which PromQL is
    /// full, stay.
    fn fill(&self, text: &str) -> String {
        let old = self.old.map(|it| it.to_string()).unwrap_or_default();
        text.replace("{environment}", self.fleet.environment.as_str())
            .replace("{service}", self.fleet.service.as_str())
            .replace("{release}", &self.fleet.release.to_string())
            .replace("{old}", &old)
    }
}

/// Asks a source once.
pub(super) async fn read(metric: &Metric, about: &About, http: &reqwest::Client) -> Result<Measured, String> {
    let asked = async {
        match &metric.source {
            MetricSource::Prometheus { url, query } => prometheus(http, url, &about.fill(query)).await,
            MetricSource::Webhook { url } => webhook(http, &about.fill(url), metric, about).await,
            MetricSource::Command { argv } => {
                let argv: Vec<String> = argv.iter().map(|arg| about.fill(arg)).collect();
                command(&argv).await
            }
        }
    };
    match tokio::time::timeout(LIMIT, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

/// Prometheus' HTTP API, `GET /api/v1/query`: <https://prometheus.io/docs/prometheus/latest/querying/api/>.
#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum PrometheusAnswer {
    Success { data: PrometheusData },
    Error { error: String },
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum PrometheusData {
    Scalar((f64, String)),
    Vector(Vec<PrometheusSeries>),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct PrometheusSeries {
    value: (f64, String),
}

async fn prometheus(http: &reqwest::Client, url: &str, query: &str) -> Result<Measured, String> {
    let address = format!("{}/api/v1/query", url.trim_end_matches('/'));
    let form = [("query", query)];
    let address = reqwest::Url::parse_with_params(&address, form)
        .map_err(|error| format!("{address} is no address: {error}"))?;
    let (status, body) = answer(http.get(address)).await?;
    let answer: PrometheusAnswer = serde_json::from_slice(&body)
        .map_err(|error| format!("answered {status} with something else than Prometheus does: {error}"))?;
    match answer {
        PrometheusAnswer::Error { error } => Err(format!("Prometheus says: {error}")),
        PrometheusAnswer::Success { data } => single(data),
    }
}

fn single(data: PrometheusData) -> Result<Measured, String> {
    let number = |text: &str| text.parse().map(Measured::Value).map_err(|_| format!("{text:?} is no number"));
    match data {
        PrometheusData::Scalar((_, text)) => number(&text),
        PrometheusData::Vector(series) => match series.as_slice() {
            [] => Ok(Measured::NoData),
            [one] => number(&one.value.1),
            many => Err(format!("the query gives {} series, and one is needed: aggregate it", many.len())),
        },
        PrometheusData::Matrix(_) | PrometheusData::String(_) => {
            Err("the query gives a range or a text, and a number is needed".into())
        }
    }
}

/// What a webhook answers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookAnswer {
    value: Option<f64>,
    verdict: Option<Verdict>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Pass,
    Fail,
    Inconclusive,
    NoData,
}

async fn webhook(
    http: &reqwest::Client,
    url: &str,
    metric: &Metric,
    about: &About,
) -> Result<Measured, String> {
    let told = serde_json::json!({
        "metric": metric.name,
        "environment": about.fleet.environment,
        "service": about.fleet.service,
        "release": about.fleet.release,
        "old": about.old,
    });
    let (status, body) = answer(http.post(url).json(&told)).await?;
    if status != 200 {
        return Err(format!("answered {status}, and 200 is needed"));
    }
    let answer: WebhookAnswer =
        serde_json::from_slice(&body).map_err(|error| format!("answered what is not understood: {error}"))?;
    let reason = answer.reason.unwrap_or_else(|| "the webhook gave no reason".into());
    match (answer.value, answer.verdict) {
        (Some(value), None) => Ok(Measured::Value(value)),
        (None, Some(Verdict::Pass)) => Ok(Measured::Pass),
        (None, Some(Verdict::Fail)) => Ok(Measured::Fail(reason)),
        (None, Some(Verdict::Inconclusive)) => Ok(Measured::Inconclusive(reason)),
        (None, Some(Verdict::NoData)) => Ok(Measured::NoData),
        (None, None) | (Some(_), Some(_)) => Err("answered neither a value nor a verdict, or both".into()),
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), String> {
    let mut response = request.send().await.map_err(|error| chain(&error))?;
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| chain(&error))? {
        body.extend_from_slice(&piece);
        if body.len() > LONGEST {
            return Err(format!("the answer is longer than {LONGEST} bytes"));
        }
    }
    Ok((response.status().as_u16(), body))
}

async fn command(argv: &[String]) -> Result<Measured, String> {
    let [program, arguments @ ..] = argv else { return Err("the command is empty".into()) };
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let done = command.output().await.map_err(|error| format!("cannot execute {program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().chars().take(200).collect::<String>();
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    let said = || if err.is_empty() { out.clone() } else { err.clone() };
    match done.status.code() {
        Some(0) => Ok(out.parse().map_or(Measured::Pass, Measured::Value)),
        Some(1) => Ok(Measured::Fail(format!("{program} says: {}", said()))),
        Some(2) => Ok(Measured::Inconclusive(format!("{program} says: {}", said()))),
        Some(3) => Ok(Measured::NoData),
        _ => Err(format!("{program} ended with {}: {}", done.status, said())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About { fleet: "prod/web/7".parse().unwrap(), old: Some(ReleaseNumber(6)) }
    }

    #[test]
    fn values_are_put_into_a_query_and_its_own_braces_stay() {
        let query = r#"rate(errors{job="{service}",release="{release}"}[1m])"#;
        assert_eq!(about().fill(query), r#"rate(errors{job="web",release="7"}[1m])"#);
        assert_eq!(about().fill("{environment} {old}"), "prod 6");
    }

    fn judged(text: &str) -> Result<Measured, String> {
        match serde_json::from_str(text).unwrap() {
            PrometheusAnswer::Success { data } => single(data),
            PrometheusAnswer::Error { error } => Err(error),
        }
    }

    #[test]
    fn answers_of_prometheus_are_understood() {
        let vector = |result: &str| {
            judged(&format!(r#"{{"status":"success","data":{{"resultType":"vector","result":{result}}}}}"#))
        };
        assert_eq!(vector(r#"[{"metric":{},"value":[1,"0.25"]}]"#), Ok(Measured::Value(0.25)));
        assert_eq!(vector("[]"), Ok(Measured::NoData));
        assert!(matches!(vector(r#"[{"value":[1,"NaN"]}]"#), Ok(Measured::Value(value)) if value.is_nan()));
        let two = vector(r#"[{"value":[1,"1"]},{"value":[1,"2"]}]"#).unwrap_err();
        assert_eq!(two, "the query gives 2 series, and one is needed: aggregate it");
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}"#;
        assert_eq!(judged(scalar), Ok(Measured::Value(3.0)));
        let error = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        assert_eq!(judged(error), Err("parse error".into()));
    }

    #[tokio::test]
    async fn a_command_says_it_with_its_exit_status() {
        let run = async |script: &str| command(&["sh".into(), "-c".into(), script.into()]).await;
        assert_eq!(run("echo 0.5").await, Ok(Measured::Value(0.5)));
        assert_eq!(run("echo fine").await, Ok(Measured::Pass));
        assert_eq!(run("echo slow >&2; exit 1").await, Ok(Measured::Fail("sh says: slow".into())));
        assert_eq!(run("echo perhaps; exit 2").await, Ok(Measured::Inconclusive("sh says: perhaps".into())));
        assert_eq!(run("exit 3").await, Ok(Measured::NoData));
        assert_eq!(run("echo lost; exit 9").await, Err("sh ended with exit status: 9: lost".into()));
        let missing = command(&["/nonexistent/program".into()]).await.unwrap_err();
        assert!(missing.starts_with("cannot execute /nonexistent/program: "), "{missing}");
    }
}
