//! What could not be done, as it crosses from one process to the next.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

/// A step that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// What was being done; `None` for executing the program itself.
    pub step: Option<String>,
    /// The system's error number; 0 if it gave none.
    pub number: i32,
    /// What the system said.
    pub reason: String,
}

impl Failure {
    /// The failure of executing the program.
    pub fn of_program(error: &io::Error) -> Self {
        Self { step: None, number: error.raw_os_error().unwrap_or(0), reason: error.to_string() }
    }

    /// The system's error.
    pub fn source(&self) -> io::Error {
        if self.number == 0 { io::Error::other(self.reason.clone()) } else { io::Error::from_raw_os_error(self.number) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step.as_deref().unwrap_or("execute the program"), self.reason)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { step: Some("run a shim".to_owned()), ..Self::of_program(&error) }
    }
}

/// Names the step that a result belongs to.
pub(super) trait Step<T> {
    /// The value, or a failure that says what was being done.
    fn step(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure { step: Some(doing()), ..Failure::of_program(&error.into()) })
    }
}
