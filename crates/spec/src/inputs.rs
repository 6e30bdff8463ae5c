//! What a spec is given from outside.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kiln_model::Name;

/// Finds a variable of the environment.
type Lookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Values of variables, and the environment that `env(…)` and `KILN_VAR_…` are looked up in.
#[derive(Clone)]
pub struct Inputs {
    /// Values from `--var name=value`. Each must be declared by the spec.
    pub variables: BTreeMap<String, String>,
    /// The environment whose `variables` count; none when it is `None` or the spec has no such environment.
    pub environment: Option<Name>,
    env: Lookup,
}

impl Inputs {
    /// No variables, and an empty environment.
    pub fn none() -> Self {
        Self { variables: BTreeMap::new(), environment: None, env: Arc::new(|_| None) }
    }

    /// No variables, and the environment of this process.
    pub fn from_process() -> Self {
        Self::none().with_env(|name| std::env::var(name).ok())
    }

    /// Looks up the environment with a function.
    #[must_use]
    pub fn with_env(mut self, env: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.env = Arc::new(env);
        self
    }

    /// Evaluates for an environment.
    #[must_use]
    pub fn for_environment(mut self, environment: Name) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Gives a variable.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    pub(crate) fn lookup(&self, name: &str) -> Option<String> {
        if name.is_empty() || name.contains(['=', '\0']) { None } else { (self.env)(name) }
    }
}

impl Default for Inputs {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secret.
        f.debug_struct("Inputs").field("variables", &self.variables.keys()).finish_non_exhaustive()
    }
}
