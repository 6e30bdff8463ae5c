//! Reports in the XML of JUnit, as CI systems read it: a suite for each image, a case for each expectation.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::report::{CheckReport, CheckResult};

impl CheckReport {
    /// Writes reports of images, with their names, as one document.
    ///
    /// # Errors
    /// When the writer of XML refuses a text, which it does for none that people write.
    pub fn junit(reports: &[(String, Self)]) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let mut document = Report::new("kiln check");
        for (name, report) in reports {
            let mut suite = TestSuite::new(name.as_str());
            suite.set_time(Duration::from_millis(
                u64::try_from(report.ended_ms - report.began_ms).unwrap_or_default(),
            ));
            suite.add_property(("image", report.image.to_string().as_str()));
            suite.add_test_cases(report.results.iter().map(|result| case(name, result)));
            document.add_test_suite(suite);
        }
        document.to_string().map_err(Into::into)
    }
}

fn case(image: &str, result: &CheckResult) -> TestCase {
    let mut status = TestCaseStatus::success();
    if !result.passed {
        status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_type(result.kind.as_str());
        status.set_message(format!("expected {}, found {}", result.expected, result.found));
        let mut text = format!("expected: {}\nfound: {}\n", result.expected, result.found);
        if !result.output.is_empty() {
            text.push_str(&format!("output: {}\n", result.output));
        }
        status.set_description(text);
    }
    let mut case = TestCase::new(format!("{}: {}", result.name, result.what), status);
    case.set_classname(format!("{image}.{}", result.kind));
    case.set_time(Duration::from_millis(result.millis));
    if !result.log.is_empty() {
        case.set_system_out(result.log.join("\n"));
    }
    case
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_written_as_ci_systems_read_them() {
        let failed = CheckResult {
            name: "home <page>".into(),
            what: "GET /".into(),
            kind: "http".into(),
            millis: 12,
            expected: "status 200".into(),
            found: "status 500".into(),
            output: "\u{1b}[31moops\u{0}".into(),
            log: vec!["cannot find \"x\" & y".into()],
            ..CheckResult::default()
        };
        let passed = CheckResult { passed: true, what: "GET /ok".into(), ..failed.clone() };
        let report = CheckReport {
            image: kiln_model::Digest::from_bytes([7; 32]),
            passed: false,
            results: vec![passed, failed],
            began_ms: 0,
            ended_ms: 1500,
        };
        let text = CheckReport::junit(&[("web".into(), report)]).unwrap();
        insta::assert_snapshot!(text);
    }
}
