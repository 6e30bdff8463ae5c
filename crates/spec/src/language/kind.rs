//! What an attribute holds: its form in words, an example, and its JSON schema.

use kiln_model::{Bytes, Name, Span};
use schemars::JsonSchema;
use serde_json::{Value as Json, json};

/// The form of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Any,
    Type,
    Text,
    Bool,
    /// A whole number from … to ….
    Count(i64, i64),
    /// A number above 0, up to the machine's size.
    Cpu,
    Duration,
    Size,
    Texts,
    /// One string or several.
    OneOrMore,
    /// One regular expression or several.
    Patterns,
    /// One HTTP status or several.
    Statuses,
    /// SHA-256 in hex.
    Sha256,
    /// JSON pointers and what is there.
    JsonMap,
    /// Names and values of environment variables.
    EnvMap,
    TextMap,
    /// Program and arguments.
    Argv,
    /// One line, or program and arguments.
    Command,
    /// One command line or several.
    Lines,
    Choice(&'static [&'static str]),
    /// `2` or `"25%"`.
    Amount,
    /// `"1%"`.
    Percent,
    /// Ascending weights.
    Percents,
    /// `"20%"`, whole.
    Share,
    /// A share that is reached: `50` or `"50%"`, from 1.
    Reached,
    /// Any number.
    Number,
    Mode,
    Signal,
    Name,
    /// The name of a port, or true for the first one.
    PortOrTrue,
    Image,
    Services,
    /// A path relative to the spec that cannot leave its folder.
    PathInside,
    /// A file on the machine, absolute or relative to the spec.
    LocalFile,
    /// An absolute path.
    AbsolutePath,
    HttpPath,
    HostName,
    Address,
    Url,
    HeaderName,
    HeaderValue,
    /// Names and values of HTTP headers.
    HeaderMap,
    CookieName,
    /// `"PT2S"`.
    IsoDuration,
    /// Five fields.
    Cron,
    TimeZone,
    User,
    Timestamp,
    /// `"2026-12-31"`.
    Date,
    Packages,
    Evidence,
    Base,
}

/// Why a value does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Begins with "must be".
    pub(crate) message: String,
    /// The item or field at fault.
    pub(crate) part: Option<Part>,
    /// Help that fits better than the example.
    pub(crate) help: Option<String>,
}

/// A part of a list or object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Item(usize),
    Field(String),
}

impl Kind {
    /// The form in words: "a …".
    pub(crate) fn described(self) -> String {
        match self {
            Self::Count(1, 65535) => "a port number from 1 to 65535".into(),
            Self::Count(least, most) => format!("a whole number from {least} to {most}"),
            Self::Choice(choices) => {
                let quoted: Vec<_> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
                match quoted.split_last() {
                    Some((last, [])) => last.clone(),
                    Some((last, others)) => format!("{} or {last}", others.join(", ")),
                    None => String::new(),
                }
            }
            other => other.fixed_description().into(),
        }
    }

    fn fixed_description(self) -> &'static str {
        match self {
            Self::Any | Self::Count(..) | Self::Choice(_) => "a value",
            Self::Type => "a type",
            Self::Text => "a string",
            Self::Bool => "true or false",
            Self::Cpu => "a number of processors above 0",
            Self::Duration => "a duration",
            Self::Size => "a size",
            Self::Texts => "a list of strings",
            Self::OneOrMore => "a string or a list of strings",
            Self::Patterns => "a regular expression or a list of them",
            Self::Statuses => "a status from 100 to 599 or a list of them",
            Self::Sha256 => "a SHA-256 of 64 hex digits",
            Self::JsonMap => "an object of JSON pointers with string values",
            Self::EnvMap => "an object of environment variables with string values",
            Self::TextMap => "an object with string values",
            Self::Argv => "a list of strings: the program and its arguments",
            Self::Command => "a command line, or a list of program and arguments",
            Self::Lines => "a command line or a list of command lines",
            Self::Amount => "a whole number or a percentage",
            Self::Percent => "a percentage",
            Self::Percents => "a list of ascending whole numbers from 1 to 100",
            Self::Share => "a whole percentage from 0% to 100%",
            Self::Reached => "a whole percentage from 1 to 100",
            Self::Number => "a number",
            Self::HeaderName => "the name of an HTTP header",
            Self::HeaderValue => "the value of an HTTP header",
            Self::HeaderMap => "an object of HTTP headers with string values",
            Self::CookieName => "the name of a cookie",
            Self::IsoDuration => "an ISO 8601 duration",
            Self::Cron => "a cron expression of five fields",
            Self::TimeZone => "an IANA time zone",
            Self::Mode => "an octal mode",
            Self::Signal => "the name of a signal",
            Self::Name => "a name: lower-case letters, digits and inner hyphens",
            Self::PortOrTrue => "true or the name of a port",
            Self::Image => "an image of this spec",
            Self::Services => "a list of services of this spec",
            Self::PathInside => "a path inside of the spec's folder",
            Self::LocalFile => "the path of a file",
            Self::AbsolutePath => "an absolute path",
            Self::HttpPath => "a path that begins with /",
            Self::HostName => "a host name",
            Self::Address => "an IP address",
            Self::Url => "an http:// or https:// address",
            Self::User => "a user, user:group or uid:gid",
            Self::Timestamp => "a date and time",
            Self::Date => "a date",
            Self::Packages => "a list of Debian package names",
            Self::Evidence => "a list of evidence",
            Self::Base => "a base",
        }
    }

    /// A value that fits, as it is written.
    pub(crate) fn example(self) -> String {
        match self {
            Self::Count(least, most) => count_example(least, most).to_string(),
            Self::Choice(choices) => format!("\"{}\"", choices.first().copied().unwrap_or_default()),
            other => other.fixed_example().into(),
        }
    }

    fn fixed_example(self) -> &'static str {
        match self {
            Self::Any | Self::Text | Self::Count(..) | Self::Choice(_) => "\"text\"",
            Self::Type => "string",
            Self::Bool => "true",
            Self::Cpu => "0.5",
            Self::Duration => "\"10s\"",
            Self::Size => "\"64MiB\"",
            Self::Texts => "[\"a\", \"b\"]",
            Self::OneOrMore => "\"text\"",
            Self::Patterns => "\"^v[0-9]+\"",
            Self::Statuses => "[200, 204]",
            Self::Sha256 => "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"",
            Self::JsonMap => "{ \"/status\" = \"ok\" }",
            Self::EnvMap => "{ LOG_LEVEL = \"info\" }",
            Self::TextMap => "{ key = \"value\" }",
            Self::Argv | Self::Command => "[\"python3\", \"/srv/app/main.py\"]",
            Self::Lines => "[\"python3 -m compileall /srv/app\"]",
            Self::Amount => "\"25%\"",
            Self::Percent => "\"1%\"",
            Self::Percents => "[5, 25, 75, 100]",
            Self::Share => "\"20%\"",
            Self::Reached => "\"50%\"",
            Self::Number => "0.01",
            Self::HeaderName => "\"x-user\"",
            Self::HeaderValue => "\"yes\"",
            Self::HeaderMap => "{ x-probe = \"kiln\" }",
            Self::CookieName => "\"kiln-fleet\"",
            Self::IsoDuration => "\"PT2S\"",
            Self::Cron => "\"0 18 * * FRI\"",
            Self::TimeZone => "\"Europe/Berlin\"",
            Self::Mode => "\"0644\"",
            Self::Signal => "\"SIGTERM\"",
            Self::Name => "\"http\"",
            Self::PortOrTrue => "true",
            Self::Image => "image.web",
            Self::Services => "[service.api]",
            Self::PathInside => "\"keys/archive.gpg\"",
            Self::LocalFile => "\"web.pem\"",
            Self::AbsolutePath => "\"/srv/app\"",
            Self::HttpPath => "\"/healthz\"",
            Self::HostName => "\"web.example.com\"",
            Self::Address => "\"127.0.0.1\"",
            Self::Url => "\"https://deb.example.com/debian\"",
            Self::User => "\"www-data\"",
            Self::Timestamp => "\"2026-01-31T12:00:00Z\"",
            Self::Date => "\"2026-12-31\"",
            Self::Packages => "[\"ca-certificates\"]",
            Self::Evidence => "[\"tested\", \"soaked(staging, 30m)\"]",
            Self::Base => "debian(\"bookworm\")",
        }
    }

    /// The JSON schema of the value, as it stands in the JSON form of a spec.
    pub(crate) fn schema(self) -> Json {
        let text = || json!({"type": "string"});
        let texts = || json!({"type": "array", "items": {"type": "string"}});
        match self {
            Self::Any | Self::Type => json!(true),
            Self::Bool => json!({"type": "boolean"}),
            Self::Count(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
            Self::Cpu => json!({"type": "number", "exclusiveMinimum": 0}),
            Self::Duration => model_schema::<Span>(),
            Self::Size => json!({"anyOf": [model_schema::<Bytes>(), {"type": "integer", "minimum": 0}]}),
            Self::Name | Self::Image => model_schema::<Name>(),
            Self::Services => json!({"type": "array", "items": model_schema::<Name>()}),
            Self::Texts | Self::Packages | Self::Evidence => texts(),
            Self::Argv => json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
            Self::EnvMap => json!({
                "type": "object",
                "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
                "additionalProperties": {"type": "string"},
            }),
            Self::TextMap => json!({"type": "object", "additionalProperties": {"type": "string"}}),
            Self::Command | Self::Lines | Self::OneOrMore | Self::Patterns => {
                json!({"anyOf": [text(), texts()]})
            }
            Self::Statuses => {
                let status = json!({"type": "integer", "minimum": 100, "maximum": 599});
                json!({"anyOf": [status, {"type": "array", "items": status, "minItems": 1}]})
            }
            Self::Sha256 => json!({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
            Self::JsonMap => json!({
                "type": "object",
                "propertyNames": {"pattern": "^(/.*)?$"},
                "additionalProperties": {"type": "string"},
            }),
            Self::Choice(choices) => json!({"enum": choices}),
            Self::Amount => json!({"anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": "^[0-9]+%$"},
            ]}),
            Self::Percent => json!({"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?%$"}),
            Self::Percents => json!({
                "type": "array",
                "items": {"type": "integer", "minimum": 1, "maximum": 100},
                "minItems": 1,
            }),
            Self::Share => json!({"type": "string", "pattern": SHARE}),
            Self::Reached => json!({"anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 100},
                {"type": "string", "pattern": SHARE},
            ]}),
            Self::Number => json!({"type": "number"}),
            Self::HeaderName | Self::CookieName => json!({"type": "string", "pattern": TOKEN}),
            Self::HeaderMap => json!({
                "type": "object",
                "propertyNames": {"pattern": TOKEN},
                "additionalProperties": {"type": "string"},
            }),
            Self::IsoDuration => json!({"type": "string", "format": "duration"}),
            Self::Cron => json!({"type": "string", "pattern": "^\\S+( +\\S+){4}$"}),
            Self::Mode => json!({"type": "string", "pattern": "^0?[0-7]{3,4}$"}),
            Self::PortOrTrue => json!({"anyOf": [{"const": true}, model_schema::<Name>()]}),
            Self::AbsolutePath | Self::HttpPath => json!({"type": "string", "pattern": "^/"}),
            Self::Url => json!({"type": "string", "pattern": "^https?://"}),
            Self::Timestamp => json!({"type": "string", "format": "date-time"}),
            Self::Date => json!({"type": "string", "format": "date"}),
            Self::Text
            | Self::Signal
            | Self::PathInside
            | Self::LocalFile
            | Self::HostName
            | Self::Address
            | Self::HeaderValue
            | Self::TimeZone
            | Self::User
            | Self::Base => text(),
        }
    }
}

/// A whole percentage.
const SHARE: &str = "^([0-9]{1,2}|100)%$";

/// `token` of RFC 9110.
const TOKEN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// A usual number of a range.
fn count_example(least: i64, most: i64) -> i64 {
    match (least, most) {
        (1, 65535) => 8080,
        (100, 599) => 200,
        (_, 100) => 20,
        (_, 1000) => 3,
        (_, 255) => 0,
        (1, _) => 256,
        _ => 1_767_225_600,
    }
}

/// The schema that a type of the model gives itself.
fn model_schema<T: JsonSchema>() -> Json {
    T::json_schema(&mut schemars::SchemaGenerator::default()).to_value()
}
