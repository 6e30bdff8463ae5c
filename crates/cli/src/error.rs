//! How a failure reaches the person: kind, cause chain, next step, printed once; the kind decides the exit code.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use owo_colors::OwoColorize;

/// What sort of failure it was. Scripts see it as the exit code and as `kind` in `--json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything without a code of its own.
    Failed = 1,
    /// The spec is wrong.
    Spec = 3,
    /// The image could not be baked, or the lock does not fit.
    Bake = 4,
    /// The rollout did not succeed: rolled back or failed.
    Rollout = 5,
    /// The control plane cannot be reached.
    Unreachable = 6,
    /// Refused in the present state: something else runs, the content is quarantined, the environment is frozen, or
    /// somebody else must approve.
    Refused = 7,
    /// Nothing is known under the name that was asked for.
    NotFound = 8,
    /// A check of an image does not hold.
    Check = 9,
    /// An image does not satisfy its policy.
    Policy = 10,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Kind {
    /// The kind's name in `--json`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Spec => "spec",
            Self::Bake => "bake",
            Self::Rollout => "rollout",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::NotFound => "not-found",
            Self::Check => "check",
            Self::Policy => "policy",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A failure, ready to be told.
#[derive(Debug)]
pub(crate) struct Failure(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    rendered: Option<String>,
    detail: Option<serde_json::Value>,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// The kind.
    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// A failure with a message of its own.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            rendered: None,
            detail: None,
        }))
    }

    /// A failure from an error and its sources; texts that repeat the one before are left out.
    pub(crate) fn from_error(kind: Kind, error: &(dyn Error + 'static)) -> Self {
        let mut failure = Self::new(kind, error.to_string());
        failure.add_causes(error.source());
        failure
    }

    /// A failure whose text was already laid out, such as spec diagnostics.
    pub(crate) fn rendered(kind: Kind, message: impl Into<String>, text: String) -> Self {
        let mut failure = Self::new(kind, message);
        failure.0.rendered = Some(text);
        failure
    }

    /// Adds the cause chain of another error.
    pub(crate) fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        self.add_causes(Some(error));
        self
    }

    /// Adds causes that are already text.
    pub(crate) fn with_causes(mut self, causes: Vec<String>) -> Self {
        self.0.causes.extend(causes);
        self
    }

    /// Adds what `--json` tells beyond the text.
    pub(crate) fn detail(mut self, detail: serde_json::Value) -> Self {
        self.0.detail = Some(detail);
        self
    }

    /// Adds the next thing to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    fn add_causes(&mut self, mut next: Option<&(dyn Error + 'static)>) {
        while let Some(error) = next {
            let text = error.to_string();
            let told = self.0.causes.last().unwrap_or(&self.0.message);
            if !told.contains(&text) {
                self.0.causes.push(text);
            }
            next = error.source();
        }
    }

    /// Prints the failure to standard error (or, with `json`, as one object to standard output).
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json {
            let object = serde_json::json!({"error": {
                "kind": self.0.kind.name(), "message": self.0.message, "causes": self.0.causes, "hint": self.0.hint,
                "detail": self.0.detail,
            }});
            println!("{object}");
        } else {
            anstream::eprint!("{}", self.text());
        }
        ExitCode::from(self.0.kind as u8)
    }

    fn text(&self) -> String {
        if let Some(rendered) = &self.0.rendered {
            return format!("{}\n", rendered.trim_end());
        }
        let mut out = format!("{} {}\n", "error:".red().bold(), self.0.message);
        for cause in &self.0.causes {
            let mut lines = cause.lines();
            let _ = writeln!(out, "  {} {}", "because:".bold(), lines.next().unwrap_or_default());
            for line in lines {
                let _ = writeln!(out, "           {line}");
            }
        }
        if let Some(hint) = &self.0.hint {
            let _ = writeln!(out, "  {} {hint}", "help:".cyan().bold());
        }
        out
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::from_error(Kind::Failed, &error)
    }
}
