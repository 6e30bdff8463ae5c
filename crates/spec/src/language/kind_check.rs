//! Whether a value has the form that an attribute asks for.

use std::net::IpAddr;

use kiln_model::{Bytes, Name, Span, is_env_name};

use super::kind::{Kind, Mismatch, Part};
use super::kind_text::{self, header_value, iso_duration, share, token};
use crate::eval::{Referent, Value};
use crate::files::stays_inside;

type Check = Result<(), Vec<Mismatch>>;

/// Signals that a program can be stopped with.
const SIGNALS: [&str; 12] = [
    "SIGTERM",
    "SIGINT",
    "SIGQUIT",
    "SIGHUP",
    "SIGUSR1",
    "SIGUSR2",
    "SIGWINCH",
    "SIGKILL",
    "SIGABRT",
    "SIGALRM",
    "SIGCONT",
    "SIGRTMIN+3",
];

impl Kind {
    /// Judges a value.
    pub(crate) fn check(self, value: &Value) -> Check {
        match self {
            Self::Any | Self::Type => Ok(()),
            Self::Bool => self.require(value, value.as_bool().is_some()),
            Self::Count(least, most) => {
                self.require(value, value.as_whole().is_some_and(|n| (least..=most).contains(&n)))
            }
            Self::Cpu => self
                .require(value, value.as_number().is_some_and(|n| n.as_f64() > 0.0 && n.as_f64() <= 4096.0)),
            Self::Size => match value.as_whole() {
                Some(bytes) => self.require(value, bytes >= 0),
                None => self.text_fits(value, |text| text.parse::<Bytes>().is_ok()),
            },
            Self::Texts | Self::Argv | Self::Packages | Self::Evidence | Self::Percents | Self::Services => {
                self.items(value)
            }
            Self::OneOrMore | Self::Patterns | Self::Statuses => {
                let one = std::slice::from_ref(value);
                match value.as_list() {
                    Some([]) => self.items(value),
                    None if !self.item_fits(value) => Err(vec![self.part_of_one(value)]),
                    _ if value.as_list().unwrap_or(one).iter().all(|item| self.item_fits(item)) => Ok(()),
                    _ => self.items(value),
                }
            }
            Self::Command | Self::Lines => match value {
                Value::Text(text) => self.require(value, !text.trim().is_empty()),
                _ => self.items(value),
            },
            Self::EnvMap | Self::TextMap | Self::HeaderMap | Self::JsonMap => self.fields(value),
            Self::Number => self.require(value, value.as_number().is_some()),
            Self::Reached => match value.as_whole() {
                Some(whole) => self.require(value, (1..=100).contains(&whole)),
                None => self.text_fits(value, |text| share(text).is_some_and(|share| share > 0)),
            },
            Self::Amount => match value.as_whole() {
                Some(count) => self.require(value, (0..=1_000_000).contains(&count)),
                None => self.text_fits(value, |text| percent(text).is_some_and(|p| p.fract() == 0.0)),
            },
            Self::PortOrTrue => {
                let name = value.as_text().is_some_and(|text| Name::new(text).is_ok());
                self.require(value, name || value.as_bool() == Some(true))
            }
            Self::Image => match value {
                Value::Reference(reference) => self.require(value, reference.kind == Referent::Image),
                _ => self.require(value, value.as_text().is_some()),
            },
            Self::Base => match value {
                Value::Base(_) => Ok(()),
                _ => Err(vec![self.base_mismatch(value)]),
            },
            _ => self.text_fits(value, |text| self.admits_text(text)),
        }
    }

    /// Whether a text has the form of one of the kinds that are texts.
    fn admits_text(self, text: &str) -> bool {
        let plain = !text.is_empty() && !text.contains(char::is_control);
        match self {
            Self::Duration => text.parse::<Span>().is_ok(),
            Self::Sha256 => text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            Self::Choice(choices) => choices.contains(&text),
            Self::Percent => percent(text).is_some(),
            Self::Share => share(text).is_some(),
            Self::HeaderName | Self::CookieName => token(text),
            Self::HeaderValue => header_value(text),
            Self::IsoDuration => iso_duration(text).is_some(),
            Self::Cron => kiln_calendar::check_cron(text).is_ok(),
            Self::TimeZone => kiln_calendar::check_time_zone(text).is_ok(),
            Self::Mode => mode(text),
            Self::Signal => SIGNALS.contains(&text),
            Self::Name => Name::new(text).is_ok(),
            Self::PathInside => plain && stays_inside(text),
            Self::LocalFile => plain,
            Self::AbsolutePath => plain && absolute(text),
            Self::HttpPath => plain && text.starts_with('/') && !text.contains(' '),
            Self::HostName => host_name(text),
            Self::Address => text.parse::<IpAddr>().is_ok(),
            Self::Url => {
                let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
                plain && rest.is_some_and(|rest| !rest.is_empty()) && !text.contains(' ')
            }
            Self::User => user(text),
            Self::Timestamp => text.parse::<jiff::Timestamp>().is_ok(),
            Self::Date => kind_text::date(text),
            _ => !text.contains('\0'),
        }
    }

    fn item_fits(self, item: &Value) -> bool {
        match self {
            Self::Percents => item.as_whole().is_some_and(|n| (1..=100).contains(&n)),
            Self::Services => match item {
                Value::Reference(reference) => reference.kind == Referent::Service,
                _ => item.as_text().is_some(),
            },
            Self::Packages => item.as_text().is_some_and(package),
            Self::Evidence => item.as_text().is_some(),
            Self::Patterns => item.as_text().is_some_and(|text| regex::Regex::new(text).is_ok()),
            Self::Statuses => item.as_whole().is_some_and(|n| (100..=599).contains(&n)),
            Self::Lines => item.as_text().is_some_and(|text| !text.trim().is_empty()),
            _ => item.as_text().is_some_and(|text| !text.contains('\0')),
        }
    }

    fn items(self, value: &Value) -> Check {
        let Some(items) = value.as_list() else { return Err(vec![self.list_mismatch(value)]) };
        let wants_one = matches!(
            self,
            Self::Argv | Self::Command | Self::Percents | Self::OneOrMore | Self::Patterns | Self::Statuses
        );
        if items.is_empty() && wants_one {
            let message = format!("must be {}, not empty", self.described());
            return Err(vec![Mismatch { message, part: None, help: None }]);
        }
        if matches!(self, Self::Argv | Self::Command) && items[0].as_text() == Some("") {
            return Err(vec![self.part_mismatch(Part::Item(0), "the program's name is empty")]);
        }
        let wrong = items.iter().enumerate().filter(|(_, item)| !self.item_fits(item));
        let told = wrong.map(|(index, item)| self.part_mismatch(Part::Item(index), &self.item_fault(item)));
        all(told.collect())
    }

    /// What is wrong with a single value where a list may stand.
    fn part_of_one(self, value: &Value) -> Mismatch {
        match (self, value) {
            (Self::Patterns, Value::Text(text)) => {
                let message = format!("must be {}, but {}", self.described(), pattern_fault(text));
                Mismatch { message, part: None, help: None }
            }
            _ => self.mismatch(value),
        }
    }

    fn item_fault(self, item: &Value) -> String {
        match (self, item) {
            (Self::Packages, Value::Text(text)) => format!("{text:?} is not the name of a Debian package"),
            (Self::Patterns, Value::Text(text)) => pattern_fault(text),
            (Self::Statuses, Value::Number(n)) => format!("{n} is not a status"),
            (Self::Percents, Value::Number(n)) => format!("{n} is not a whole number from 1 to 100"),
            _ => format!("one item is {}", item.described()),
        }
    }

    fn fields(self, value: &Value) -> Check {
        let Some(fields) = value.as_object() else { return Err(vec![self.mismatch(value)]) };
        all(fields.iter().filter_map(|(key, field)| self.field_mismatch(key, field)).collect())
    }

    fn field_mismatch(self, key: &str, field: &Value) -> Option<Mismatch> {
        let part = Part::Field(key.to_owned());
        if self == Self::EnvMap && !is_env_name(key) {
            let help = "names have letters, digits and underscores, and do not begin with a digit";
            let fault = format!("{key:?} is not a name for one");
            return Some(Mismatch { help: Some(help.into()), ..self.part_mismatch(part, &fault) });
        }
        if self == Self::HeaderMap && !token(key) {
            let fault = format!("{key:?} is not a name for one");
            return Some(Mismatch {
                help: kind_text::help(Self::HeaderName, key),
                ..self.part_mismatch(part, &fault)
            });
        }
        if self == Self::JsonMap && !(key.is_empty() || key.starts_with('/')) {
            let help = format!("a JSON pointer begins with /: \"/{}\" = …", key.replace('.', "/"));
            let fault = format!("{key:?} is not one");
            return Some(Mismatch { help: Some(help), ..self.part_mismatch(part, &fault) });
        }
        let broken = |text: &str| self == Self::HeaderMap && !header_value(text);
        if let Some(text) = field.as_text().filter(|text| broken(text)) {
            return Some(self.part_mismatch(part, &format!("{text:?} is not a value for one")));
        }
        if field.as_text().is_none_or(|text| text.contains('\0')) {
            let help = field.to_template().map(|text| format!("quote it: {key} = \"{text}\""));
            let fault = format!("`{key}` is {}", field.described());
            return Some(Mismatch { help, ..self.part_mismatch(part, &fault) });
        }
        None
    }

    fn text_fits(self, value: &Value, fits: impl FnOnce(&str) -> bool) -> Check {
        match value.as_text() {
            None => Err(vec![self.mismatch(value)]),
            Some(text) if fits(text) => Ok(()),
            Some(text) => Err(vec![self.text_mismatch(text)]),
        }
    }

    fn text_mismatch(self, text: &str) -> Mismatch {
        let near = match self {
            Self::Choice(choices) => crate::suggest::nearest(text, choices.iter().copied()),
            Self::Signal => crate::suggest::nearest(&with_sig(text), SIGNALS),
            _ => None,
        };
        let help = match (self, near) {
            (_, Some(near)) => Some(format!("did you mean \"{near}\"?")),
            (Self::PathInside, _) => {
                Some("only files inside of the spec's folder can be used: move or link them there".into())
            }
            (Self::Signal, _) => Some(format!("known signals: {}", SIGNALS.join(", "))),
            _ => kind_text::help(self, text),
        };
        let message = format!("must be {}, not {text:?}", self.described());
        Mismatch { message, part: None, help }
    }

    fn list_mismatch(self, value: &Value) -> Mismatch {
        let help = match (self, value) {
            (Self::Argv, Value::Text(line)) => {
                let words: Vec<_> = line.split_whitespace().map(|word| format!("\"{word}\"")).collect();
                Some(format!("split it into words: [{}]", words.join(", ")))
            }
            (_, Value::Text(text)) => Some(format!("put it into a list: [\"{text}\"]")),
            (Self::Services, Value::Reference(one)) => {
                Some(format!("put it into a list: [service.{}]", one.name))
            }
            _ => None,
        };
        Mismatch { help, ..self.mismatch(value) }
    }

    fn base_mismatch(self, value: &Value) -> Mismatch {
        let help = match value.as_text() {
            Some("scratch") => "write it without quotes: scratch".into(),
            Some(text) if text.contains(['/', ':', '@']) => {
                format!("for another image write oci(\"{text}\")")
            }
            Some(text) => format!("for a Debian suite write debian(\"{text}\")"),
            None => "a base is scratch, debian(\"bookworm\") or oci(\"registry/name@sha256:…\")".to_owned(),
        };
        Mismatch { help: Some(help), ..self.mismatch(value) }
    }

    fn mismatch(self, value: &Value) -> Mismatch {
        let help = match value {
            Value::Number(_) | Value::Bool(_) if self.is_plain_text() => {
                value.to_template().map(|text| format!("quote it: \"{text}\""))
            }
            Value::Number(number) if self == Self::Share => Some(format!("write \"{number}%\"")),
            _ => None,
        };
        let shown = match value {
            Value::Number(number) => number.to_string(),
            other => other.described().to_owned(),
        };
        Mismatch { message: format!("must be {}, not {shown}", self.described()), part: None, help }
    }

    fn part_mismatch(self, part: Part, fault: &str) -> Mismatch {
        Mismatch {
            message: format!("must be {}, but {fault}", self.described()),
            part: Some(part),
            help: None,
        }
    }

    fn is_plain_text(self) -> bool {
        matches!(self, Self::Text | Self::Mode)
    }

    fn require(self, value: &Value, fits: bool) -> Check {
        if fits { Ok(()) } else { Err(vec![self.mismatch(value)]) }
    }
}

/// The last line of what the parser says, which is the reason.
fn pattern_fault(text: &str) -> String {
    let said = regex::Regex::new(text).err().map(|error| error.to_string()).unwrap_or_default();
    let reason = said.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
    format!("{text:?} is not one: {reason}")
}

fn all(mismatches: Vec<Mismatch>) -> Check {
    if mismatches.is_empty() { Ok(()) } else { Err(mismatches) }
}

/// The number in `"25%"`, from 0 to 100.
pub(crate) fn percent(text: &str) -> Option<f64> {
    let digits = text.strip_suffix('%')?;
    let plain = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = if plain { digits.parse().ok()? } else { return None };
    (0.0..=100.0).contains(&number).then_some(number)
}

fn with_sig(text: &str) -> String {
    let upper = text.to_ascii_uppercase();
    if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") }
}

fn mode(text: &str) -> bool {
    (3..=5).contains(&text.len())
        && text.bytes().all(|b| (b'0'..=b'7').contains(&b))
        && u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777)
}

fn absolute(text: &str) -> bool {
    text.starts_with('/') && !text.split('/').any(|part| part == ".." || part == ".")
}

/// `example.com`, `*.example.com`; labels as in RFC 1123.
fn host_name(text: &str) -> bool {
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= 253 && text.strip_prefix("*.").unwrap_or(text).split('.').all(label)
}

fn user(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 32
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$'))
            && !part.starts_with('-')
    };
    let mut parts = text.splitn(2, ':');
    parts.next().is_some_and(part) && parts.next().is_none_or(part)
}

/// `name`, `name:arch` or either with `=version`; names as in Debian Policy 5.6.1.
fn package(text: &str) -> bool {
    let (name, version) = match text.split_once('=') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let (name, architecture) = match name.split_once(':') {
        Some((name, architecture)) => (name, Some(architecture)),
        None => (name, None),
    };
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let in_version = |b: u8| b.is_ascii_alphanumeric() || b".+-~:".contains(&b);
    name.len() >= 2
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|b| letter(b) || b"+-.".contains(&b))
        && architecture.is_none_or(|a| !a.is_empty() && a.bytes().all(|b| letter(b) || b == b'-'))
        && version.is_none_or(|v| !v.is_empty() && v.bytes().all(in_version))
}
