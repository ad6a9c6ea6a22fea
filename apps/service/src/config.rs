//! Configuration from the environment: read once at start-up, checked whole, every mistake reported at once, secrets never shown.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    error::Error,
    fmt::{self, Display},
    ops::RangeInclusive,
    path::Path,
    str::FromStr,
    time::Duration,
};

/// Bytes of a bad value that an error message quotes.
const QUOTED: usize = 64;
/// Bytes that a file with a secret may have: more is certainly not a password or a key.
const SECRET_BYTES: u64 = 64 * 1024;

type Lookup<'a> = Box<dyn Fn(&str) -> Option<String> + 'a>;

/// Reads settings from environment variables and collects everything that is wrong with them.
///
/// A variable that is empty counts as unset, as Kubernetes' manifests and compose files have no other way to unset one. Nothing fails
/// before [`Env::done`], so that whoever starts the service sees all mistakes in one go.
///
/// ```
/// # use service::config::Env;
/// struct Config {
///     database: String,
///     pool: u32,
/// }
///
/// let mut env = Env::new(|name| (name == "POOL").then(|| "many".to_owned()));
/// let database = env.required("DATABASE_URL");
/// let pool = env.or("POOL", 10);
/// let wrong = env.done(|| Some(Config { database: database?, pool })).err().unwrap();
/// assert_eq!(wrong.to_string(), "DATABASE_URL is not set; POOL=\"many\": invalid digit found in string");
/// ```
pub struct Env<'a> {
    lookup: Lookup<'a>,
    problems: Vec<String>,
}

impl<'a> Env<'a> {
    /// Reads through `lookup`, which is `std::env::var` outside tests.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + 'a) -> Self {
        Self { lookup: Box::new(lookup), problems: Vec::new() }
    }

    /// The environment of this process. A value that is not UTF-8 counts as unset.
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    fn set(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// The variable's value, or `default` if it is unset. A value that does not parse is recorded, and `default` returned.
    pub fn or<T: FromStr<Err: Display>>(&mut self, name: &'static str, default: T) -> T {
        self.optional(name).unwrap_or(default)
    }

    /// As [`Env::or`], for a number with bounds: one outside of them is recorded, and returned all the same.
    pub fn within<T>(&mut self, name: &'static str, default: T, bounds: RangeInclusive<T>) -> T
    where
        T: FromStr<Err: Display> + PartialOrd + Display,
    {
        let value = self.or(name, default);
        if !bounds.contains(&value) {
            self.refuse(name, format_args!("{value} is not from {} to {}", bounds.start(), bounds.end()));
        }
        value
    }

    /// The variable's value, if it is set. A value that does not parse is recorded, and `None` returned.
    pub fn optional<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Option<T> {
        let value = self.set(name)?;
        value.parse().map_err(|e| self.bad(name, &value, &e)).ok()
    }

    /// The variable's value. That it is missing or does not parse is recorded, and `None` returned.
    pub fn required<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Option<T> {
        if self.set(name).is_none() {
            self.problems.push(format!("{name} is not set"));
        }
        self.optional(name)
    }

    /// A span of time in whole or decimal seconds, above zero and at most a year, as in `2.5`.
    pub fn seconds(&mut self, name: &'static str, default: Duration) -> Duration {
        let Some(seconds) = self.optional::<f64>(name) else { return default };
        if seconds > 0.0 && seconds <= 31_536_000.0 {
            return Duration::from_secs_f64(seconds);
        }
        self.refuse(name, format_args!("{seconds} is not a number of seconds above 0 and up to a year"));
        default
    }

    /// A secret: the variable's value, or the content of the file that the variable `NAME_FILE` names (as Kubernetes and compose mount
    /// secrets; one line break at its end is not part of it). Both at once, and a file that cannot be read, are recorded.
    pub fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let file = format!("{name}_FILE");
        match (self.set(name), self.set(&file)) {
            (Some(_), Some(_)) => {
                self.refuse(name, format_args!("{file} is set too; set one of them"));
                None
            }
            (value @ Some(_), None) => value.map(Secret::new),
            (None, Some(path)) => match read_secret(Path::new(&path)) {
                Ok(secret) => Some(secret),
                Err(why) => {
                    self.problems.push(format!("{file}={path:?}: {why}"));
                    None
                }
            },
            (None, None) => None,
        }
    }

    /// A secret that must be there: see [`Env::secret`].
    pub fn required_secret(&mut self, name: &'static str) -> Option<Secret> {
        let before = self.problems.len();
        let secret = self.secret(name);
        if secret.is_none() && self.problems.len() == before {
            self.problems.push(format!("{name} is not set, nor is {name}_FILE"));
        }
        secret
    }

    /// Records a rule of the service's own that a variable broke. Do not quote secrets in `why`.
    pub fn refuse(&mut self, name: &str, why: impl Display) {
        self.problems.push(format!("{name}: {why}"));
    }

    fn bad(&mut self, name: &str, value: &str, why: &dyn Display) {
        let end = value.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= QUOTED).last();
        let shown = value.get(..end.unwrap_or_default()).unwrap_or_default();
        let more = if shown.len() < value.len() { "…" } else { "" };
        self.problems.push(format!("{name}={shown:?}{more}: {why}"));
    }

    /// The settings that `value` makes of what was read, if nothing was wrong.
    ///
    /// # Errors
    /// Everything that was recorded, or, if nothing was and `value` has none, that the settings are incomplete.
    pub fn done<T>(&mut self, value: impl FnOnce() -> Option<T>) -> Result<T, ConfigError> {
        if !self.problems.is_empty() {
            return Err(ConfigError { problems: std::mem::take(&mut self.problems) });
        }
        value().ok_or_else(|| ConfigError { problems: vec!["a required setting is missing".to_owned()] })
    }
}

/// The variables that `read` asks for where these are `given`, for tests that hold a table of settings against them. Files with secrets
/// (`NAME_FILE` beside `NAME`) are not listed apart.
pub fn asked(given: &[(&str, &str)], read: impl FnOnce(&mut Env<'_>)) -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    read(&mut Env::new(|name| {
        names.borrow_mut().insert(name.to_owned());
        given.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned())
    }));
    let mut names = names.into_inner();
    let all = names.clone();
    names.retain(|name| name.strip_suffix("_FILE").is_none_or(|name| !all.contains(name)));
    names
}

impl fmt::Debug for Env<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("problems", &self.problems).finish_non_exhaustive()
    }
}

fn read_secret(path: &Path) -> Result<Secret, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > SECRET_BYTES {
        return Err(format!("{size} bytes, more than the {SECRET_BYTES} that a secret may have"));
    }
    let mut text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err("the file is empty".to_owned()) } else { Ok(Secret::new(text)) }
}

/// Everything that was wrong with the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<String>,
}

impl ConfigError {
    /// One sentence for each mistake, in the order in which the settings were read.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

impl Error for ConfigError {}

/// A password, key or token: no way of printing it shows it.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Hides `value`.
    pub fn new(value: impl Into<Box<str>>) -> Self {
        Self(value.into())
    }

    /// The secret itself, for whoever has to use it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret. How long that takes tells nothing but whether the lengths are equal.
    pub fn matches(&self, given: &str) -> bool {
        let pairs = self.0.bytes().zip(given.bytes());
        let differences = pairs.fold(0, |differences, (own, other)| std::hint::black_box(differences | (own ^ other)));
        self.0.len() == given.len() && differences == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(set: &'static [(&'static str, &'static str)]) -> Env<'static> {
        Env::new(move |name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn an_empty_variable_is_an_unset_one() {
        let mut env = env(&[("PORT", "")]);
        assert_eq!(env.or("PORT", 8000_u16), 8000);
        assert_eq!(env.done(|| Some(())), Ok(()));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let mut env = env(&[("PORT", "http"), ("IDLE", "-1")]);
        env.or("PORT", 1_u16);
        env.seconds("IDLE", Duration::from_secs(1));
        env.required::<String>("NAME");
        env.required_secret("KEY");
        env.refuse("KEY", "too short");
        let told = env.done(|| Some(())).unwrap_err();
        assert_eq!(told.problems().len(), 5, "{told}");
        assert!(told.to_string().starts_with("PORT=\"http\": invalid digit"), "{told}");
    }

    #[test]
    fn a_long_bad_value_is_quoted_in_part() {
        let mut env = Env::new(|_| Some("ü".repeat(1000)));
        env.or("N", 1_u8);
        let told = env.done(|| Some(())).unwrap_err().to_string();
        assert!(told.contains("ü\"…: "), "{told}");
        assert!(told.len() < 150, "{told}");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = env(&[("KEY", "hunter2")]).secret("KEY").unwrap();
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "[secret] [secret] Some([secret])");
        assert_eq!(secret.expose(), "hunter2");
        assert!(secret.matches("hunter2"));
        assert!(["", "hunter", "hunter3", "hunter22"].iter().all(|given| !secret.matches(given)));
    }

    #[test]
    fn a_secret_may_be_in_a_file_without_its_last_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "two words\r\n").unwrap();
        let path = path.to_str().unwrap().to_owned();
        let mut from_file = Env::new(|name| (name == "KEY_FILE").then(|| path.clone()));
        assert_eq!(from_file.secret("KEY").unwrap().expose(), "two words");
        let mut both = Env::new(|_| Some(path.clone()));
        assert!(both.secret("KEY").is_none() && both.done(|| Some(())).is_err());
        let mut gone = env(&[("KEY_FILE", "/nowhere/key")]);
        assert!(gone.required_secret("KEY").is_none());
        assert_eq!(gone.done(|| Some(())).unwrap_err().problems().len(), 1);
    }
}
