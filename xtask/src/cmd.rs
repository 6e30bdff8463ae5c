//! The one place that starts outside programs.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::Error;

/// A command line under construction.
#[derive(Debug)]
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
}

impl Cmd {
    /// A program without arguments.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), args: Vec::new(), envs: Vec::new(), dir: None }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// One environment variable over the inherited ones.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// The working folder.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The command line as a person would type it.
    pub fn line(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    /// The standard library's form, for callers that keep the child.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.envs.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    /// Runs it on the terminal and gives the exit status; 255 when a signal ended it.
    pub fn status(&self) -> Result<u8, Error> {
        let status = self.command().status().map_err(|source| self.start_error(source))?;
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
    }

    /// Runs it on the terminal; anything but exit status 0 is an error.
    pub fn run(&self) -> Result<(), Error> {
        match self.status()? {
            0 => Ok(()),
            code => Err(Error::Failed {
                line: self.line(),
                status: format!("status {code}"),
                said: String::new(),
            }),
        }
    }

    /// Runs it silently; anything but exit status 0 is an error that carries the last lines it printed.
    pub fn read(&self) -> Result<String, Error> {
        let output = self.output()?;
        if !output.status.success() {
            let printed = [output.stdout, output.stderr].concat();
            return Err(Error::Failed {
                line: self.line(),
                status: output.status.to_string(),
                said: tail(&String::from_utf8_lossy(&printed)),
            });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it silently and gives everything.
    pub fn output(&self) -> Result<Output, Error> {
        self.command().stdin(Stdio::null()).output().map_err(|source| self.start_error(source))
    }

    fn start_error(&self, source: std::io::Error) -> Error {
        let mut program = self.program.to_string_lossy().into_owned();
        // The system says "no such file" for a missing working folder too.
        if let Some(dir) = self.dir.as_deref().filter(|dir| !dir.is_dir()) {
            program.push_str(&format!(" in {}, which is not a folder", dir.display()));
        }
        Error::Start { program, source }
    }
}

/// The last 15 lines, each indented on a line of its own.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(15);
    lines[from..].iter().map(|line| format!("\n    {line}")).collect()
}
